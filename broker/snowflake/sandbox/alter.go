package sandbox

import (
	"slices"
	"strings"
)

// alterTable is ALTER TABLE name with one of RENAME TO, ADD [COLUMN], DROP
// [COLUMN] and RENAME COLUMN. The table is made anew with the rows of the old:
// SQLite's own ALTER looks at every view and stumbles over those whose table is
// gone.
func (d *definition) alterTable() (*outcome, error) {
	d.i = 2
	d.ifExists = d.accept("IF", "EXISTS")
	parts, err := d.name()
	if err != nil {
		return nil, err
	}
	p, err := d.sess.current().qualify(parts, "ALTER")
	if err != nil {
		return nil, err
	}
	old, err := d.server.cat.find(p)
	if err != nil {
		return nil, err
	}
	if old.view {
		return nil, errUnsupported("ALTER TABLE of a view")
	}
	sc, _ := d.server.cat.schema(p.database, p.schema)
	r := *old
	r.columns = slices.Clone(old.columns)
	kept := slices.Clone(old.columns) // those whose values are taken over
	switch {
	case d.accept("RENAME", "TO"):
		return d.rename(sc, old, &r)
	case d.accept("RENAME", "COLUMN"):
		err = d.renameColumn(&r)
	case d.accept("ADD"):
		d.accept("COLUMN")
		if err = d.column(&r); err == nil && r.columns[len(r.columns)-1].notNull && r.columns[len(r.columns)-1].fallback == "" {
			err = errUnsupported("ADD COLUMN … NOT NULL without DEFAULT")
		}
	case d.accept("DROP"):
		d.accept("COLUMN")
		kept, err = d.dropColumn(&r)
	default:
		return nil, errUnsupported("ALTER TABLE " + d.peek(0).val)
	}
	if err == nil && d.peek(0).sort != sortEnd {
		err = d.unexpected()
	}
	if err != nil {
		return nil, err
	}
	return status("Statement executed successfully.", typeDDL), d.remake(sc, old, &r, kept)
}

// remake replaces old by r, with the values of the kept columns, which come
// first in both. A column that is added gets its DEFAULT.
func (d *definition) remake(sc *schema, old, r *relation, kept []column) error {
	values := make([]string, 0, len(r.columns))
	for _, c := range kept {
		values = append(values, tick(c.name))
	}
	for _, c := range r.columns[len(kept):] {
		v := "NULL"
		if c.fallback != "" {
			toks, err := lex(c.fallback)
			if err != nil {
				return err
			}
			tr, err := translate(toks, d.server.cat, place{}, stored)
			if err != nil {
				return err
			}
			v = tr.sql
		}
		values = append(values, v)
	}
	if err := d.fill(sc, old, r, "SELECT "+strings.Join(values, ", ")+" FROM "+tick(old.physical())); err != nil {
		return err
	}
	sc.relations[r.name] = r
	return nil
}

func (d *definition) rename(sc *schema, old, r *relation) (*outcome, error) {
	to, target, err := d.target()
	if err != nil {
		return nil, err
	}
	if _, exists := target.relations[to.name]; exists {
		return nil, errExists(to.name)
	}
	r.database, r.schema, r.name = to.database, to.schema, to.name
	if err := d.remake(sc, old, r, old.columns); err != nil {
		return nil, err
	}
	delete(sc.relations, r.name) // remake put it into the old schema
	target.relations[r.name] = r
	return status("Statement executed successfully.", typeDDL), nil
}

func (d *definition) renameColumn(r *relation) error {
	from := d.peek(0).val
	d.i++
	if !d.accept("TO") || !d.peek(0).name() {
		return d.unexpected()
	}
	to := d.peek(0).val
	d.i++
	if _, dup := r.column(to); dup {
		return errExists(to)
	}
	for i := range r.columns {
		if r.columns[i].name == from {
			r.columns[i].name = to
			return nil
		}
	}
	return errColumn(from)
}

func (d *definition) dropColumn(r *relation) ([]column, error) {
	name := d.peek(0).val
	d.i++
	left := slices.DeleteFunc(slices.Clone(r.columns), func(c column) bool { return c.name == name })
	if len(left) == len(r.columns) {
		return nil, errColumn(name)
	}
	if len(left) == 0 {
		return nil, errUnsupported("dropping the last column")
	}
	r.columns = left
	return slices.Clone(left), nil
}

func errColumn(name string) error {
	return &sqlError{code: "000904", state: "42000", line: -1, pos: -1,
		message: "SQL compilation error: error line 1 at position -1\ninvalid identifier '" + name + "'"}
}
