package sandbox

import (
	"errors"
	"fmt"
	"strings"
)

func (d *definition) drop() (*outcome, error) {
	d.i = 1
	kind := d.peek(0).val
	d.i++
	d.ifExists = d.accept("IF", "EXISTS")
	switch kind {
	case "DATABASE", "SCHEMA", "TABLE", "VIEW":
	case "ROLE", "USER", "WAREHOUSE":
		return status(d.peek(0).val+" successfully dropped.", typeDDL), nil
	default:
		return nil, errUnsupported("DROP " + kind)
	}
	parts, err := d.name()
	if err != nil {
		return nil, err
	}
	if !d.accept("CASCADE") {
		d.accept("RESTRICT")
	}
	if d.peek(0).sort != sortEnd {
		return nil, d.unexpected()
	}
	last := parts[len(parts)-1]
	switch kind {
	case "DATABASE":
		if len(parts) != 1 || d.server.cat.databases[last] == nil {
			err = errAbsentKind("Database", strings.Join(parts, "."))
		} else {
			err = d.dropDatabase(last)
		}
	case "SCHEMA":
		var db *database
		db, last, err = d.schemaName(parts)
		if err == nil && db.schemas[last] == nil {
			err = errAbsentKind("Schema", strings.Join(parts, "."))
		}
		if err == nil {
			err = d.dropSchema(db, last)
		}
	default:
		err = d.dropNamed(kind, parts)
	}
	var absent *sqlError
	if errors.As(err, &absent) && d.ifExists && absent.code == "002003" {
		return status("Drop statement executed successfully ("+last+" already dropped).", typeDDL), nil
	}
	if err != nil {
		return nil, err
	}
	return status(last+" successfully dropped.", typeDDL), nil
}

// dropNamed drops a table or view.
func (d *definition) dropNamed(kind string, parts []string) error {
	p, err := d.sess.current().qualify(parts, "DROP")
	if err != nil {
		return err
	}
	r, err := d.server.cat.find(p)
	if err != nil {
		return err
	}
	if r.view != (kind == "VIEW") {
		return &sqlError{code: "001003", state: "42601", line: -1, pos: -1,
			message: fmt.Sprintf("SQL compilation error:\nObject found is of type '%s', not specified type '%s'.", kindOf(r), kind)}
	}
	sc, _ := d.server.cat.schema(p.database, p.schema)
	return d.dropRelation(sc, r)
}

func kindOf(r *relation) string {
	if r.view {
		return "VIEW"
	}
	return "TABLE"
}

func (d *definition) dropRelation(sc *schema, r *relation) error {
	if err := d.exec("DROP " + kindOf(r) + " " + tick(r.physical())); err != nil {
		return err
	}
	delete(sc.relations, r.name)
	return nil
}

func (d *definition) dropSchema(db *database, name string) error {
	sc := db.schemas[name]
	// Views first: SQLite checks them when a table they read goes.
	for _, views := range []bool{true, false} {
		for _, r := range sorted(sc.relations) {
			if r.view == views {
				if err := d.dropRelation(sc, r); err != nil {
					return err
				}
			}
		}
	}
	delete(db.schemas, name)
	d.server.leave(place{db.name, name})
	return nil
}

func (d *definition) dropDatabase(name string) error {
	db := d.server.cat.databases[name]
	for _, sc := range sorted(db.schemas) {
		if err := d.dropSchema(db, sc.name); err != nil {
			return err
		}
	}
	delete(d.server.cat.databases, name)
	d.server.leave(place{database: name})
	return nil
}

// leave takes sessions out of a schema or database that is gone.
func (s *Server) leave(gone place) {
	s.mu.Lock()
	open := s.openSessions()
	s.mu.Unlock()
	for _, sess := range open {
		sess.mu.Lock()
		if sess.place.database == gone.database && (gone.schema == "" || sess.place.schema == gone.schema) {
			sess.place.schema = ""
			if gone.schema == "" {
				sess.place.database = ""
			}
		}
		sess.mu.Unlock()
	}
}

func (d *definition) truncate() (*outcome, error) {
	d.i = 1
	d.accept("TABLE")
	d.ifExists = d.accept("IF", "EXISTS")
	parts, err := d.name()
	if err != nil {
		return nil, err
	}
	p, err := d.sess.current().qualify(parts, "TRUNCATE")
	if err != nil {
		return nil, err
	}
	r, err := d.server.cat.find(p)
	if err != nil {
		return nil, err
	}
	if r.view {
		return nil, errAbsent(p.String())
	}
	if err := d.exec("DELETE FROM " + tick(r.physical())); err != nil {
		return nil, err
	}
	return status("Statement executed successfully.", typeDDL), nil
}
