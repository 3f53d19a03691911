package policy

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"

	"github.com/jit-access/jit/policy/sql"
)

// The values of context.access and context.risks.
const (
	accessStatement = "statement"
	accessRead      = "read"
	accessWrite     = "write"

	riskUnknown = "unknown"
	riskSystem  = "system"
	riskEgress  = "egress"
	riskAI      = "ai"
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
	details  bool // some rule looks at attributes
}

func newWorld(sub Subject, set Setting, details bool) *world {
	w := &world{entities: make(cedar.EntityMap, 8), details: details}
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

// objectID is the name as rules write it. Stages, locations and the like are
// named as the statement wrote them.
func objectID(o sql.Object) string {
	if o.Kind == sql.ObjectStage || o.Kind == sql.ObjectLocation {
		return o.Name.Name
	}
	return o.Name.String()
}

// settingFacts are the context facts every action shares.
func settingFacts(set Setting) cedar.RecordMap {
	return cedar.RecordMap{
		"connection": cedar.String(set.Connection), "role": cedar.String(set.Role),
		"warehouse": cedar.String(set.Warehouse), "database": cedar.String(set.Database),
		"schema": cedar.String(set.Schema),
	}
}

// findings are what a statement touches beyond its objects.
type findings struct {
	outputs, maskedOutputs       []string // classes, sorted
	predicates, maskedPredicates []string
	topOutputs, topPredicates    bool
	unknown                      bool
	masks                        []ColumnMask // one per output, if they are known
	rest                         ColumnMask   // for columns that masks does not list
}

// touches reports whether anything the statement reads may be classified.
func (f *findings) touches() bool {
	return len(f.outputs)+len(f.predicates) > 0 || f.topOutputs || f.topPredicates || f.unknown
}

// returnsData reports whether a statement of this category answers with rows
// that come from tables, so that columns nobody listed must be hidden.
func returnsData(c sql.Category) bool {
	switch c {
	case sql.CategoryMetadata, sql.CategorySession, sql.CategoryTransaction, sql.CategoryWrite, sql.CategoryDefine,
		sql.CategoryPrivilege, sql.CategoryCredential, sql.CategoryRole, sql.CategoryLoad, sql.CategoryUnload, sql.CategoryTransfer:
		return false
	}
	return true // queries, calls, scripts, and what is not known
}

// find looks up the classes of everything a statement outputs or filters on.
// clear says which classes the subject may read.
func (t *classTable) find(s *sql.Statement, clear func(class string) bool) findings {
	f := findings{
		topPredicates: s.Predicates.Top,
		unknown:       s.Kind == sql.KindUnknown || s.Kind == "" || s.Category == sql.CategoryUnknown || len(s.Unknown) > 0,
	}
	for _, o := range slices.Concat(s.Reads, s.Writes) {
		f.unknown = f.unknown || o.Name.Name == "" && o.Name.Schema == "" && o.Name.Database == ""
	}
	for _, col := range s.Predicates.Columns {
		for _, c := range t.of(col) {
			f.predicates = append(f.predicates, c.name)
			if !clear(c.name) {
				f.maskedPredicates = append(f.maskedPredicates, c.name)
			}
		}
	}
	if s.OutputsKnown {
		f.masks = make([]ColumnMask, len(s.Outputs))
	} else if returnsData(s.Category) {
		f.topOutputs = true
		f.rest = ColumnMask{Class: UnknownClass, Mask: MaskRedact}
	}
	for i, o := range s.Outputs {
		var cm ColumnMask
		if o.Labels.Top {
			f.topOutputs = true
			if !clear(UnknownClass) {
				cm = ColumnMask{Class: UnknownClass, Mask: MaskRedact}
			}
		}
		direct := o.Direct && len(o.Labels.Columns) == 1 && !o.Labels.Top
		for _, col := range o.Labels.Columns {
			for _, c := range t.of(col) {
				f.outputs = append(f.outputs, c.name)
				if !clear(c.name) {
					f.maskedOutputs = append(f.maskedOutputs, c.name)
					cm = strictest(cm, c.columnMask(direct))
				}
			}
		}
		if f.masks != nil {
			f.masks[i] = cm
		}
	}
	for _, list := range []*[]string{&f.outputs, &f.maskedOutputs, &f.predicates, &f.maskedPredicates} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return f
}

// withParents lists classes and the classes above them, as a Cedar set.
func (t *classTable) withParents(names []string) cedar.Set {
	var values []cedar.Value
	for _, n := range names {
		values = append(values, cedar.String(n))
		if c := t.byName[n]; c != nil {
			for _, p := range c.parents() {
				values = append(values, cedar.String(p))
			}
		}
	}
	return cedar.NewSet(values...)
}

// riskOf names the risk of a function; pure functions have none. Within
// egress, functions that hand data to a model inside the account are told
// apart from those that send it out.
func riskOf(f sql.Function) string {
	switch f.Risk {
	case sql.FunctionPure:
		return ""
	case sql.FunctionSystem:
		if strings.HasPrefix(f.Name, "SYSTEM$SEND_") {
			return riskEgress
		}
		return riskSystem
	case sql.FunctionEgress:
		if isAI(f.Name) {
			return riskAI
		}
		return riskEgress
	}
	return riskUnknown
}

// isAI lists the functions of Snowflake Cortex, qualified or not.
func isAI(name string) bool {
	switch name {
	case "COMPLETE", "TRY_COMPLETE", "SUMMARIZE", "SENTIMENT", "ENTITY_SENTIMENT", "EXTRACT_ANSWER", "EMBED_TEXT_768",
		"EMBED_TEXT_1024", "CLASSIFY_TEXT", "PARSE_DOCUMENT", "SEARCH_PREVIEW", "PROMPT", "SPLIT_TEXT_RECURSIVE_CHARACTER", "FINETUNE":
		return true
	}
	return strings.HasPrefix(name, "AI_") || strings.HasPrefix(name, "SNOWFLAKE.CORTEX.") || strings.HasPrefix(name, "SNOWFLAKE.ML.")
}

func verbOf(k sql.Kind) string {
	verb, _, _ := strings.Cut(string(k), "_")
	return verb
}

// noEstimate stands in for an estimate that is not known: larger than any
// bound a rule can name.
func noEstimate() Estimate { return Estimate{Bytes: math.MaxInt64, Partitions: math.MaxInt64} }

func (e Estimate) record() cedar.Record {
	if !e.Known || e.Bytes < 0 || e.Partitions < 0 {
		e = noEstimate()
	}
	return cedar.NewRecord(cedar.RecordMap{
		"known": cedar.Boolean(e.Known), "bytes": cedar.Long(e.Bytes), "partitions": cedar.Long(e.Partitions),
	})
}

// scansNothing reports whether a statement of this category reads no tables,
// so that its estimate is 0 without asking.
func scansNothing(c sql.Category) bool {
	switch c {
	case sql.CategoryMetadata, sql.CategorySession, sql.CategoryTransaction, sql.CategoryRole:
		return true
	}
	return false
}

// statementFactNames are the facts of StatementFacts in schema.cedarschema
// but access and estimate, which are added per question.
var statementFactNames = [...]string{
	"connection", "role", "warehouse", "database", "schema", "kind", "verb", "category", "reads", "writes",
	"functions", "risks", "outputClasses", "maskedOutputs", "predicateClasses", "maskedPredicates",
	"unknown", "unknownOutputs", "unknownPredicates", "useRole", "useWarehouse", "useDatabase", "useSchema",
	"statements", "nested", "usage",
}

// statementFacts builds the context of one statement, as far as rules can see
// it: a fact no rule names cannot change an answer.
func (b *Bundle) statementFacts(in *Input, s *sql.Statement, f *findings, nested bool) cedar.RecordMap {
	m := make(cedar.RecordMap, len(b.seen)+2)
	for fact := range b.seen {
		m[cedar.String(fact)] = b.classes.statementFact(fact, in, s, f, nested)
	}
	return m
}

func (t *classTable) statementFact(fact string, in *Input, s *sql.Statement, f *findings, nested bool) cedar.Value {
	switch fact {
	case "connection":
		return cedar.String(in.Setting.Connection)
	case "role":
		return cedar.String(in.Setting.Role)
	case "warehouse":
		return cedar.String(in.Setting.Warehouse)
	case "database":
		return cedar.String(in.Setting.Database)
	case "schema":
		return cedar.String(in.Setting.Schema)
	case "kind":
		return cedar.String(s.Kind)
	case "verb":
		return cedar.String(verbOf(s.Kind))
	case "category":
		return cedar.String(s.Category.String())
	case "reads":
		return objectSet(s.Reads)
	case "writes":
		return objectSet(s.Writes)
	case "functions":
		return functionSet(s.Functions, func(f sql.Function) string { return f.Name })
	case "risks":
		return functionSet(s.Functions, riskOf)
	case "outputClasses":
		return t.withParents(f.outputs)
	case "maskedOutputs":
		return t.withParents(f.maskedOutputs)
	case "predicateClasses":
		return t.withParents(f.predicates)
	case "maskedPredicates":
		return t.withParents(f.maskedPredicates)
	case "unknown":
		return cedar.Boolean(f.unknown)
	case "unknownOutputs":
		return cedar.Boolean(f.topOutputs)
	case "unknownPredicates":
		return cedar.Boolean(f.topPredicates)
	case "useRole":
		return cedar.String(s.Effects.UseRole)
	case "useWarehouse":
		return cedar.String(s.Effects.UseWarehouse)
	case "useDatabase":
		return cedar.String(s.Effects.UseDatabase)
	case "useSchema":
		return cedar.String(s.Effects.UseSchema)
	case "statements":
		return cedar.Long(len(in.Statements))
	case "nested":
		return cedar.Boolean(nested)
	case "usage":
		return cedar.NewRecord(cedar.RecordMap{
			"statements": cedar.Long(in.Usage.Statements), "rows": cedar.Long(in.Usage.Rows),
			"bytes": cedar.Long(in.Usage.Bytes), "seconds": cedar.Long(in.Usage.Elapsed.Seconds()),
		})
	}
	panic("policy: statementFactNames lists a fact that statementFact does not make: " + fact)
}

// functionSet is what of gives for each function, without the empty ones.
func functionSet(functions []sql.Function, of func(sql.Function) string) cedar.Set {
	var values []cedar.Value
	for _, f := range functions {
		if v := of(f); v != "" {
			values = append(values, cedar.String(v))
		}
	}
	return cedar.NewSet(values...)
}

func objectSet(objects []sql.Object) cedar.Set {
	values := make([]cedar.Value, len(objects))
	for i, o := range objects {
		values[i] = cedar.String(objectID(o))
	}
	return cedar.NewSet(values...)
}
