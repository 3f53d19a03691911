package sandbox

import (
	"strconv"
	"strings"
)

// information writes a view of INFORMATION_SCHEMA as a query over literals.
func (c *catalog) information(p path) (string, error) {
	db, ok := c.databases[p.database]
	if !ok {
		return "", errAbsentKind("Database", p.database)
	}
	var columns []string
	var rows [][]any
	switch p.name {
	case "DATABASES":
		columns = []string{"DATABASE_NAME", "DATABASE_OWNER", "CREATED"}
		for _, d := range sorted(c.databases) {
			rows = append(rows, []any{d.name, "SYSADMIN", stamp(d.created)})
		}
	case "SCHEMATA":
		columns = []string{"CATALOG_NAME", "SCHEMA_NAME", "SCHEMA_OWNER", "CREATED"}
		for _, s := range sorted(db.schemas) {
			rows = append(rows, []any{db.name, s.name, "SYSADMIN", stamp(s.created)})
		}
	case "TABLES":
		columns = []string{"TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "TABLE_OWNER", "TABLE_TYPE", "CREATED"}
		for _, r := range db.all() {
			typ := "BASE TABLE"
			if r.view {
				typ = "VIEW"
			}
			rows = append(rows, []any{r.database, r.schema, r.name, "SYSADMIN", typ, stamp(r.created)})
		}
	case "VIEWS":
		columns = []string{"TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "VIEW_DEFINITION"}
		for _, r := range db.all() {
			if r.view {
				rows = append(rows, []any{r.database, r.schema, r.name, r.text})
			}
		}
	case "COLUMNS":
		columns = []string{"TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "COLUMN_NAME", "ORDINAL_POSITION", "IS_NULLABLE", "DATA_TYPE",
			"CHARACTER_MAXIMUM_LENGTH", "NUMERIC_PRECISION", "NUMERIC_SCALE"}
		for _, r := range db.all() {
			for i, col := range r.columns {
				rows = append(rows, informationColumn(r, col, i+1))
			}
		}
	default:
		return "", errAbsent(p.String())
	}
	return "(" + literalQuery(columns, rows) + ")", nil
}

func informationColumn(r *relation, col column, at int) []any {
	var length, precision, scale any
	data, _, _ := strings.Cut(col.typ.ddl(), "(")
	switch col.typ.kind {
	case kindText:
		data, length = "TEXT", int64(col.typ.length)
	case kindFixed:
		precision, scale = int64(col.typ.precision), int64(col.typ.scale)
	}
	null := "YES"
	if col.notNull {
		null = "NO"
	}
	return []any{r.database, r.schema, r.name, col.name, int64(at), null, data, length, precision, scale}
}

// literalQuery is a SELECT of the rows.
func literalQuery(columns []string, rows [][]any) string {
	var b strings.Builder
	write := func(row []any) {
		b.WriteString("SELECT ")
		for i, v := range row {
			if i > 0 {
				b.WriteString(", ")
			}
			switch v := v.(type) {
			case nil:
				b.WriteString("NULL")
			case int64:
				b.WriteString(strconv.FormatInt(v, 10))
			default:
				b.WriteString(literal(show(v)))
			}
			b.WriteString(" AS " + tick(columns[i]))
		}
	}
	for i, row := range rows {
		if i > 0 {
			b.WriteString(" UNION ALL ")
		}
		write(row)
	}
	if len(rows) == 0 {
		write(make([]any, len(columns)))
		b.WriteString(" WHERE 0")
	}
	return b.String()
}
