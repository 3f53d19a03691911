package sandbox

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// sep joins database, schema and name to the name of the table in SQLite. It
// cannot be typed into a statement unnoticed and cannot be ambiguous.
const sep = "\x1f"

// catalog is what exists: databases, schemas and relations. The Server's
// schema lock guards it.
type catalog struct {
	databases map[string]*database
	now       func() time.Time
}

type database struct {
	name    string
	created time.Time
	schemas map[string]*schema
}

type schema struct {
	database, name string
	created        time.Time
	relations      map[string]*relation
}

// relation is a table or a view.
type relation struct {
	database, schema, name string
	columns                []column
	view                   bool
	text                   string // of a view, the statement that made it
	created                time.Time
}

type column struct {
	name     string
	typ      colType
	notNull  bool
	fallback string // the DEFAULT expression as written; empty if none
}

// physical is the relation's name in SQLite.
func (r *relation) physical() string { return r.database + sep + r.schema + sep + r.name }

func (r *relation) column(name string) (column, bool) {
	for _, c := range r.columns {
		if c.name == name {
			return c, true
		}
	}
	return column{}, false
}

// place is where unqualified names are looked up.
type place struct{ database, schema string }

// path is a fully qualified name.
type path struct{ database, schema, name string }

func (p path) String() string { return p.database + "." + p.schema + "." + p.name }

// qualify completes a name of one to three parts. An empty schema part
// (DB..TABLE) is PUBLIC.
func (at place) qualify(parts []string, verb string) (path, error) {
	switch len(parts) {
	case 1:
		if at.database == "" || at.schema == "" {
			return path{}, errNoDatabase(verb)
		}
		return path{at.database, at.schema, parts[0]}, nil
	case 2:
		if at.database == "" {
			return path{}, errNoDatabase(verb)
		}
		return path{at.database, parts[0], parts[1]}, nil
	case 3:
		if parts[1] == "" {
			parts[1] = "PUBLIC"
		}
		return path{parts[0], parts[1], parts[2]}, nil
	}
	return path{}, errAbsent(strings.Join(parts, "."))
}

func (c *catalog) schema(database, name string) (*schema, bool) {
	d, ok := c.databases[database]
	if !ok {
		return nil, false
	}
	s, ok := d.schemas[name]
	return s, ok
}

// find returns the relation at p; a missing one is Snowflake's error, which
// names the outermost part that is missing.
func (c *catalog) find(p path) (*relation, error) {
	d, ok := c.databases[p.database]
	if !ok {
		return nil, errAbsentKind("Database", p.database)
	}
	s, ok := d.schemas[p.schema]
	if !ok {
		return nil, errAbsentKind("Schema", p.database+"."+p.schema)
	}
	r, ok := s.relations[p.name]
	if !ok {
		return nil, errAbsent(p.String())
	}
	return r, nil
}

// addDatabase makes an empty database with a PUBLIC schema.
func (c *catalog) addDatabase(name string) {
	d := &database{name: name, created: c.now(), schemas: map[string]*schema{}}
	c.databases[name] = d
	c.addSchema(d, "PUBLIC")
}

func (c *catalog) addSchema(d *database, name string) {
	d.schemas[name] = &schema{database: d.name, name: name, created: c.now(), relations: map[string]*relation{}}
}

// sorted returns the values of m by key.
func sorted[V any](m map[string]V) []V {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, cmp.Compare[string])
	out := make([]V, 0, len(m))
	for _, k := range keys {
		out = append(out, m[k])
	}
	return out
}

// all returns every relation of the database, sorted.
func (d *database) all() []*relation {
	var out []*relation
	for _, s := range sorted(d.schemas) {
		out = append(out, sorted(s.relations)...)
	}
	return out
}
