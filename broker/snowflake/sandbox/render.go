package sandbox

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
)

// rowType is one column of a rowtype on the wire.
type rowType struct {
	Name       string  `json:"name"`
	Database   string  `json:"database"`
	Schema     string  `json:"schema"`
	Table      string  `json:"table"`
	Nullable   bool    `json:"nullable"`
	Type       string  `json:"type"`
	Length     *int    `json:"length"`
	ByteLength *int    `json:"byteLength"`
	Precision  *int    `json:"precision"`
	Scale      *int    `json:"scale"`
	Collation  *string `json:"collation"`
}

// resultData is the data of a query's answer.
type resultData struct {
	Parameters   []snowflake.Parameter `json:"parameters"`
	RowType      []rowType             `json:"rowtype"`
	RowSet       [][]*string           `json:"rowset,omitzero"`
	RowSetBase64 *string               `json:"rowsetBase64,omitempty"`
	Total        int                   `json:"total"`
	Returned     int                   `json:"returned"`
	QueryID      string                `json:"queryId"`
	Provider     *string               `json:"databaseProvider"`
	Database     string                `json:"finalDatabaseName"`
	Schema       string                `json:"finalSchemaName"`
	Warehouse    string                `json:"finalWarehouseName"`
	Role         string                `json:"finalRoleName"`
	Binds        int                   `json:"numberOfBinds"`
	ArrayBinds   bool                  `json:"arrayBindSupported"`
	TypeID       int                   `json:"statementTypeId"`
	Version      int                   `json:"version"`
	SentAt       int64                 `json:"sendResultTime"`
	Format       string                `json:"queryResultFormat"`
	Chunks       []chunkInfo           `json:"chunks,omitempty"`
	ChunkHeaders map[string]string     `json:"chunkHeaders,omitempty"`
	ResultIDs    string                `json:"resultIds,omitempty"`
	ResultTypes  string                `json:"resultTypes,omitempty"`
	Stats        *dmlStats             `json:"stats,omitempty"`
	Context      queryContext          `json:"queryContext"`
}

type queryContext struct {
	Entries []struct{} `json:"entries"`
}

type dmlStats struct {
	Inserted   int64 `json:"numRowsInserted"`
	Updated    int64 `json:"numRowsUpdated"`
	Deleted    int64 `json:"numRowsDeleted"`
	Duplicates int64 `json:"numDmlDuplicates"`
}

// render writes ex's outcome for the client of r. It is called for each answer
// anew, so that chunk URLs are fresh and name the host the client came by.
func (s *Server) render(r *http.Request, ex *execution) (*resultData, error) {
	out := ex.out
	at, warehouse, role := ex.session.facts()
	d := &resultData{
		Parameters: s.parameters(ex.session), RowType: make([]rowType, len(out.columns)),
		QueryID: ex.id, Database: at.database, Schema: at.schema, Warehouse: warehouse, Role: role,
		Binds: len(ex.req.Bindings), ArrayBinds: out.typeID == typeInsert, TypeID: out.typeID, Version: 1,
		SentAt: time.Now().UnixMilli(), Total: len(out.rows), Returned: len(out.rows), Format: "json",
		Context: queryContext{Entries: []struct{}{}},
	}
	for i, c := range out.columns {
		d.RowType[i] = c.rowType()
	}
	switch out.typeID {
	case typeInsert, typeUpdate, typeDelete:
		d.Stats = &dmlStats{Inserted: out.inserted, Updated: out.updated, Deleted: out.deleted}
	case typeMulti:
		var ids, types []string
		for _, child := range out.children {
			ids = append(ids, child.id)
			types = append(types, strconv.Itoa(child.out.typeID))
		}
		d.ResultIDs, d.ResultTypes = strings.Join(ids, ","), strings.Join(types, ",")
	}
	inline, rest := out.rows, [][]any(nil)
	if n := s.opt.ChunkRows; n > 0 && len(out.rows) > n && out.typeID == typeSelect {
		inline, rest = out.rows[:n], out.rows[n:]
	}
	if out.typeID == typeSelect && ex.wantsArrow() {
		return d, s.renderArrow(r, d, out, inline, rest)
	}
	return d, s.renderJSON(r, d, out, inline, rest)
}

func (s *Server) renderJSON(r *http.Request, d *resultData, out *outcome, inline, rest [][]any) error {
	d.RowSet = make([][]*string, 0, len(inline))
	for _, row := range inline {
		cells, err := encodeRow(row, out.columns)
		if err != nil {
			return err
		}
		d.RowSet = append(d.RowSet, cells)
	}
	return s.addChunks(r, d, rest, func(rows [][]any) ([]byte, error) { return jsonChunk(rows, out.columns) })
}

func encodeRow(row []any, columns []outCol) ([]*string, error) {
	cells := make([]*string, len(row))
	for i, v := range row {
		c, err := cell(v, columns[i].typ)
		if err != nil {
			return nil, err
		}
		cells[i] = c
	}
	return cells, nil
}

// wantsArrow is whether a *_QUERY_RESULT_FORMAT parameter asks for Arrow: one of
// the statement, else one of the session, else the sandbox's default. Node's
// driver cannot read it and never gets it.
func (ex *execution) wantsArrow() bool {
	if ex.session.client == "JavaScript" {
		return false
	}
	for name, value := range ex.req.Params {
		if isFormat(name) {
			return isArrow(paramText(value))
		}
	}
	ex.session.mu.Lock()
	defer ex.session.mu.Unlock()
	told := false
	for name, value := range ex.session.params {
		if isFormat(name) {
			if isArrow(value) {
				return true
			}
			told = true
		}
	}
	return !told && ex.session.server.opt.Arrow
}

func isFormat(name string) bool {
	return strings.HasSuffix(strings.ToUpper(name), "_QUERY_RESULT_FORMAT")
}

func isArrow(value string) bool { return strings.HasPrefix(strings.ToUpper(value), "ARROW") }

func (c outCol) rowType() rowType {
	t := rowType{Name: c.name, Nullable: c.nullable, Type: c.typ.wire()}
	if c.from != nil {
		t.Database, t.Schema, t.Table = c.from.database, c.from.schema, c.from.name
	}
	num := func(n int) *int { return &n }
	switch c.typ.kind {
	case kindFixed:
		t.Precision, t.Scale = num(c.typ.precision), num(c.typ.scale)
	case kindTime, kindNTZ, kindLTZ, kindTZ:
		t.Precision, t.Scale = num(0), num(c.typ.scale)
	case kindText, kindUnknown:
		t.Length, t.ByteLength = num(c.typ.length), num(min(4*c.typ.length, maxText))
	case kindBinary:
		t.Length, t.ByteLength = num(c.typ.length), num(c.typ.length)
	}
	return t
}
