package policy

import (
	"cmp"
	"strings"

	"github.com/cedar-policy/cedar-go"

	"github.com/jit-access/jit/policy/sql"
)

// entityType maps object kinds to Cedar entity types; a kind that is not
// listed is an Object.
func entityType(k sql.ObjectKind) cedar.EntityType {
	switch k {
	case sql.ObjectTable:
		return "Table"
	case sql.ObjectView:
		return "View"
	case sql.ObjectStage:
		return "Stage"
	case sql.ObjectShare:
		return "Share"
	case sql.ObjectIntegration:
		return "Integration"
	case sql.ObjectDatabase:
		return "Database"
	case sql.ObjectSchema:
		return "Schema"
	case sql.ObjectWarehouse:
		return "Warehouse"
	case sql.ObjectRole:
		return "Role"
	case sql.ObjectUser:
		return "SnowflakeUser"
	case sql.ObjectFunction:
		return "Function"
	case sql.ObjectProcedure:
		return "Procedure"
	case sql.ObjectLocation:
		return "Location"
	}
	return "Object"
}

// world holds the entities of one evaluation.
type world struct {
	entities cedar.EntityMap
	account  cedar.EntityUID
	agent    cedar.EntityUID
	set      Setting
	details  bool // some rule looks at attributes
}

func newWorld(sub Subject, set Setting, details bool) *world {
	w := &world{entities: make(cedar.EntityMap, 8), set: set, details: details}
	w.account = w.object("Account", set.Connection, sql.ObjectName{Name: set.Connection})
	w.agent = cedar.NewEntityUID("Agent", cedar.String(sub.User))
	w.entities[w.agent] = cedar.Entity{
		UID:        w.agent,
		Parents:    cedar.NewEntityUIDSet(w.user(sub)),
		Attributes: w.attributes("program", sub.Agent, "email", sub.Email),
	}
	return w
}

// attributes makes a record of pairs of names and values, if any rule looks.
func (w *world) attributes(pairs ...string) cedar.Record {
	if !w.details {
		return cedar.Record{}
	}
	m := make(cedar.RecordMap, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		m[cedar.String(pairs[i])] = cedar.String(pairs[i+1])
	}
	return cedar.NewRecord(m)
}

// user adds a user and their groups.
func (w *world) user(sub Subject) cedar.EntityUID {
	uid := cedar.NewEntityUID("User", cedar.String(sub.User))
	groups := make([]cedar.EntityUID, len(sub.Groups))
	for i, g := range sub.Groups {
		groups[i] = cedar.NewEntityUID("Group", cedar.String(g))
	}
	w.entities[uid] = cedar.Entity{
		UID:        uid,
		Parents:    cedar.NewEntityUIDSet(groups...),
		Attributes: w.attributes("email", sub.Email),
	}
	return uid
}

// object adds an object under its parents.
func (w *world) object(t cedar.EntityType, id string, name sql.ObjectName, parents ...cedar.EntityUID) cedar.EntityUID {
	uid := cedar.NewEntityUID(t, cedar.String(id))
	if _, ok := w.entities[uid]; ok {
		return uid
	}
	w.entities[uid] = cedar.Entity{
		UID:        uid,
		Parents:    cedar.NewEntityUIDSet(parents...),
		Attributes: w.attributes("database", name.Database, "schema", name.Schema, "name", name.Name),
	}
	return uid
}

// touched adds an object a statement touches, and what it lies in.
func (w *world) touched(o sql.Object) cedar.EntityUID {
	parent := w.account
	db, sc := o.Name.Database, o.Name.Schema
	switch o.Kind {
	case sql.ObjectDatabase:
		db = cmp.Or(db, o.Name.Name)
		return w.object("Database", sql.FormatIdentifier(db), o.Name, w.account)
	case sql.ObjectSchema:
		sc = cmp.Or(sc, o.Name.Name)
	case sql.ObjectStage:
		if db == "" {
			db, sc = stageHome(o.Name.Name, w.set)
		}
	}
	if db != "" {
		parent = w.object("Database", sql.FormatIdentifier(db), sql.ObjectName{Database: db, Name: db}, w.account)
		if sc != "" {
			in := sql.ObjectName{Database: db, Schema: sc}
			parent = w.object("Schema", in.String(), sql.ObjectName{Database: db, Schema: sc, Name: sc}, parent)
		}
	}
	if o.Kind == sql.ObjectSchema && db != "" {
		return parent
	}
	return w.object(entityType(o.Kind), objectID(o), o.Name, parent)
}

// stageHome finds the schema a stage reference as written lies in: the current
// one unless it names another. A user's own stage (@~) lies in none.
func stageHome(ref string, set Setting) (database, schema string) {
	rest, ok := strings.CutPrefix(ref, "@")
	if !ok || strings.HasPrefix(rest, "~") {
		return "", ""
	}
	var names []string
	for len(names) < 3 {
		var part globPart
		if part, rest, ok = parseGlobPart(strings.TrimPrefix(rest, "%")); !ok {
			return "", ""
		}
		names = append(names, part.text)
		if rest, ok = strings.CutPrefix(rest, "."); !ok {
			break
		}
	}
	switch len(names) {
	case 1:
		return set.Database, set.Schema
	case 2:
		return set.Database, names[0]
	}
	return names[0], names[1]
}

// objectID is the name as rules write it. Stages, locations and the like are
// named as the statement wrote them.
func objectID(o sql.Object) string {
	if o.Kind == sql.ObjectStage || o.Kind == sql.ObjectLocation {
		return o.Name.Name
	}
	return o.Name.String()
}

// class adds a data class and the classes above it.
func (w *world) class(name string) cedar.EntityUID {
	uid := cedar.NewEntityUID("Class", cedar.String(name))
	if _, ok := w.entities[uid]; !ok {
		var parents []cedar.EntityUID
		for _, p := range (&class{name: name}).parents() {
			parents = append(parents, cedar.NewEntityUID("Class", cedar.String(p)))
		}
		w.entities[uid] = cedar.Entity{UID: uid, Parents: cedar.NewEntityUIDSet(parents...)}
	}
	return uid
}
