// Package sql understands Snowflake SQL well enough to decide on it: it lexes
// strictly, splits, classifies every statement, parses queries and DML, and
// resolves which base columns every output and every predicate may depend on.
//
// The package is pure: no I/O, no clock, no goroutines, no package state that
// changes after init.
//
// Invariants:
//
//  1. What is not understood is never permission. A text that cannot be lexed,
//     split or parsed is an error or a statement with Unknown reasons; neither
//     may run unattended.
//  2. Labels over-approximate: an output or a predicate carries every base
//     column its value can depend on, through values and control flow alike.
//     What cannot be resolved carries Top.
//  3. What was parsed is what is sent: Analysis.Canonical is the token stream
//     re-emitted, and parsing it again gives the same facts.
//  4. Work is bounded: by the length of the text, its tokens, the depth of the
//     parser and the steps of the resolver (limits.go).
//
// A text goes through a strict lexer (lex.go), a splitter that knows scripting
// blocks (split.go), a recursive-descent parser for queries, DML, COPY and
// scripting (parse_*.go) or the verb table for everything else (verbs.go), and
// the resolver (resolve_*.go). The language is that of docs.snowflake.com; what
// Snowflake takes beyond its documentation is refused unless its meaning is
// certain. Where the rules for a name leave several meanings, all of them
// count.
//
// A value carries what it is computed from and what chooses it (CASE, window,
// the rows of a subquery). Which rows exist, and in which order they come, is
// not in the labels of the outputs but in Predicates: a count of chosen rows
// has no label, and its statement has the predicate that chose them. What is
// computed and then dropped is in neither; Touched has it.
package sql

import "strings"

// ObjectName is a fully qualified Snowflake object name, folded as Snowflake
// folds it (unquoted parts upper-cased, quoted parts as written).
// The zero value names nothing.
type ObjectName struct {
	Database, Schema, Name string
}

// String formats the name as DB.SCHEMA.NAME, quoting parts that need it.
func (o ObjectName) String() string {
	parts := make([]string, 0, 3)
	for _, p := range [...]string{o.Database, o.Schema, o.Name} {
		if p != "" {
			parts = append(parts, FormatIdentifier(p))
		}
	}
	return strings.Join(parts, ".")
}

// FormatIdentifier writes a folded identifier so that Snowflake reads the same
// one back: bare where it can be, otherwise quoted with doubled quotes.
func FormatIdentifier(folded string) string {
	bare := folded != ""
	for i := 0; i < len(folded); i++ {
		c := folded[i]
		switch {
		case c >= 'A' && c <= 'Z', c == '_', i > 0 && (c >= '0' && c <= '9' || c == '$'):
		default:
			bare = false
		}
	}
	if bare {
		return folded
	}
	return `"` + strings.ReplaceAll(folded, `"`, `""`) + `"`
}

// ObjectKind says what an Object is.
type ObjectKind string

// The object kinds a statement can touch.
const (
	ObjectTable       ObjectKind = "table" // a table, or a relation not known to be a view
	ObjectView        ObjectKind = "view"
	ObjectStage       ObjectKind = "stage"
	ObjectShare       ObjectKind = "share"
	ObjectIntegration ObjectKind = "integration"
	ObjectDatabase    ObjectKind = "database"
	ObjectSchema      ObjectKind = "schema"
	ObjectWarehouse   ObjectKind = "warehouse"
	ObjectRole        ObjectKind = "role"
	ObjectUser        ObjectKind = "user"
	ObjectFunction    ObjectKind = "function"
	ObjectProcedure   ObjectKind = "procedure"
	ObjectLocation    ObjectKind = "location" // a URL outside the account
	ObjectOther       ObjectKind = "object"
)

// Object is something a statement reads or writes. For stages and locations
// Name.Name holds the reference as written (`@~/x`, `s3://bucket/`).
type Object struct {
	Kind ObjectKind
	Name ObjectName
}

// Column is one column of a base table, or of a view on the way to one: a value
// read through a view carries the view's column and all it is computed from.
type Column struct {
	Object ObjectName
	Name   string
}

// String formats the column as DB.SCHEMA.TABLE.COLUMN.
func (c Column) String() string { return c.Object.String() + "." + FormatIdentifier(c.Name) }

// Labels is the set of base columns a value may depend on. The zero value is
// the empty set: a value that depends on no data.
type Labels struct {
	Columns []Column // sorted by String, no duplicates
	Top     bool     // ⊤: may also depend on anything else
}

// Output is one column of a statement's result.
type Output struct {
	Name   string // the label Snowflake will give it; empty if the author gave none and Snowflake derives it
	Labels Labels
	// Direct is true when the value is one base column unchanged (possibly
	// renamed); only then may a mask that keeps part of the value be used.
	Direct bool
	// Counts is true when the value only counts values of plain base columns
	// (COUNT, APPROX_COUNT_DISTINCT): it depends on them, but tells a number.
	// A policy may show it although the columns themselves are masked.
	Counts bool
}

// Kind is the statement kind in upper snake case: SELECT, DROP_DATABASE,
// COPY_INTO_LOCATION, …. KindUnknown for a statement no rule knows.
type Kind string

// KindUnknown is the kind of a statement that no rule knows. Never permission.
const KindUnknown Kind = "UNKNOWN"

// Category groups kinds by what a policy cares about.
// The zero value is CategoryUnknown.
type Category uint8

// The statement categories.
const (
	CategoryUnknown     Category = iota
	CategoryQuery                // SELECT, WITH, VALUES
	CategoryMetadata             // SHOW, DESCRIBE, EXPLAIN, LIST of own things
	CategorySession              // USE, SET, UNSET, ALTER SESSION of harmless parameters
	CategoryTransaction          // BEGIN, COMMIT, ROLLBACK
	CategoryWrite                // INSERT, UPDATE, DELETE, MERGE, TRUNCATE
	CategoryDefine               // CREATE, ALTER, DROP, UNDROP, COMMENT
	CategoryPrivilege            // GRANT, REVOKE, ownership
	CategoryCredential           // users, tokens, security and network integrations
	CategoryRole                 // USE ROLE, USE SECONDARY ROLES
	CategoryLoad                 // COPY INTO a table
	CategoryUnload               // COPY INTO a stage or a location, COPY FILES
	CategoryTransfer             // PUT, GET, REMOVE
	CategoryCall                 // CALL
	CategoryScript               // scripting blocks, EXECUTE IMMEDIATE, EXECUTE TASK
)

var categoryNames = [...]string{"unknown", "query", "metadata", "session", "transaction", "write", "define",
	"privilege", "credential", "role", "load", "unload", "transfer", "call", "script"}

// String returns the lower-case word used in policies.
func (c Category) String() string {
	if int(c) < len(categoryNames) {
		return categoryNames[c]
	}
	return categoryNames[CategoryUnknown]
}

// FunctionRisk says what calling a function can do beyond computing a value.
// The zero value is FunctionUnknown.
type FunctionRisk uint8

// The function risks.
const (
	FunctionUnknown FunctionRisk = iota // user-defined or not in the table
	FunctionPure                        // on the allow-list
	FunctionSystem                      // SYSTEM$…, GET_DDL, history and context leaks
	FunctionEgress                      // AI, notification, presigned URL, external
)

// Function is one function a statement calls, folded, qualified as written.
type Function struct {
	Name string
	Risk FunctionRisk
}

// Statement is one parsed SQL statement with its facts.
type Statement struct {
	Kind     Kind
	Category Category
	Pos, End int    // byte offsets in the original text, End exclusive
	Text     string // canonical text of this statement, without the terminating ';'

	Reads     []Object
	Writes    []Object
	Functions []Function

	Outputs []Output // in result order; meaningful only if OutputsKnown
	// OutputsKnown is true if Outputs lists every result column. It is false
	// for kinds whose result Snowflake fixes (SHOW, DML counts, DDL status).
	OutputsKnown bool
	Predicates   Labels // base columns that decide which rows exist or in which order
	// Stored are the base columns whose values the statement stores somewhere:
	// in a table, a file, a variable. Reading the place back may give them away.
	Stored Labels
	// Touched are the base columns that anything in the statement reads, in the
	// text or in a view below it, whether or not the value reaches a result:
	// Snowflake's error texts quote the values it could not compute with.
	// It includes all of Outputs, Predicates and Stored.
	Touched Labels

	Unknown []Reason // why the facts are incomplete; empty = fully understood
	Effects Effects  // what the statement does to the session context
	// Nested are the statements inside this one (scripting, EXECUTE IMMEDIATE,
	// the body of CTAS, the steps of a ->> chain). Their facts are merged into
	// this one's already; their Text is empty where it is a part of this Text.
	Nested []Statement
}

// Reason says in a few words, for people and agents, what was not understood.
type Reason struct {
	Pos  int
	Text string // lower case, no data: "table APP.PUBLIC.T is not in the catalog"
	// Absent is set if the reason is a name used as a column, and every relation
	// it could belong to is fully known and has none of that name: folded, as
	// Snowflake would print it. The statement is likely not to compile; whether it
	// does is Snowflake's to say, and until then it is as unknown as any other.
	Absent string
}

// Effects are the changes a statement makes to the session context when it
// succeeds. The zero value changes nothing.
type Effects struct {
	UseDatabase, UseSchema, UseWarehouse, UseRole string   // folded; empty = unchanged
	SetVariables                                  []string // names assigned or unset, folded
	// Literals holds those of SetVariables that were assigned a constant; they
	// may go into Context.Variables. The others must be removed from it.
	Literals       map[string]string
	CatalogChanged bool // DDL that may change what names or columns mean
	// Anything is true if the statement may have run others that nobody saw:
	// whatever is tracked about the session may have changed. SetVariables then
	// names all variables of the Context.
	Anything bool
}

// Context is the session context a script is analysed in. The zero value has
// no current database or schema: unqualified names are then unknown.
type Context struct {
	Database, Schema string
	// Variables that are tracked as string literals; any other $name is ⊤.
	Variables map[string]string
}

// Relation is what the catalog knows about a table or view.
type Relation struct {
	Kind    ObjectKind // ObjectTable or ObjectView
	Columns []string   // folded, in order
	// ViewText is the SELECT text of a view when readable, resolved in the
	// view's own schema. Empty for tables and opaque (secure) views, whose
	// columns are then labelled with the view's own column names and ⊤.
	ViewText string
}

// Catalog answers what is known about relations. Implementations do no I/O
// while a script is analysed: the broker fetches what Analysis.Missing names
// and analyses again. A nil Catalog knows nothing.
type Catalog interface {
	// Relation returns the relation and true, or false if it is not known.
	Relation(ObjectName) (Relation, bool)
}

// Analysis is the result of Analyze.
type Analysis struct {
	// Canonical is the text to send, hash and show to reviewers.
	Canonical  string
	Statements []Statement
	// Missing lists the relations the catalog did not know, in order of first
	// use. Fetching them and analysing again can only add precision.
	Missing []ObjectName
}
