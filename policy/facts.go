package policy

import (
	"math"
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

// settingFacts are the context facts every action shares.
func settingFacts(set Setting) cedar.RecordMap {
	return cedar.RecordMap{
		"connection": cedar.String(set.Connection), "role": cedar.String(set.Role),
		"warehouse": cedar.String(set.Warehouse), "database": cedar.String(set.Database),
		"schema": cedar.String(set.Schema), "emergency": cedar.Boolean(set.Emergency),
	}
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

// replaces reports whether a statement drops what had the name of what it
// creates. The text is canonical, so its first words are what Snowflake reads; a
// statement inside another may have none of its own, and is taken to replace.
func replaces(s *sql.Statement) bool {
	if s.Text == "" {
		return verbOf(s.Kind) == "CREATE"
	}
	rest := s.Text
	for _, want := range [...]string{"CREATE", "OR", "REPLACE"} {
		rest = skipBlank(rest)
		if len(rest) < len(want) || !strings.EqualFold(rest[:len(want)], want) {
			return false
		}
		rest = rest[len(want):]
	}
	return true
}

// skipBlank drops white space and comments.
func skipBlank(s string) string {
	for {
		s = strings.TrimSpace(s)
		end := ""
		switch {
		case strings.HasPrefix(s, "--"), strings.HasPrefix(s, "//"):
			end = "\n"
		case strings.HasPrefix(s, "/*"):
			end = "*/"
		default:
			return s
		}
		_, s, _ = strings.Cut(s, end)
	}
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
	"connection", "role", "warehouse", "database", "schema", "kind", "verb", "category", "replaces", "reads", "writes",
	"functions", "risks", "outputClasses", "maskedOutputs", "predicateClasses", "maskedPredicates", "storedClasses",
	"unknown", "unknownOutputs", "unknownPredicates", "useRole", "useWarehouse", "useDatabase", "useSchema",
	"statements", "nested", "usage", "emergency",
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
	case "replaces":
		return cedar.Boolean(replaces(s))
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
	case "storedClasses":
		return t.withParents(f.stored)
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
	case "emergency":
		return cedar.Boolean(in.Setting.Emergency)
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
