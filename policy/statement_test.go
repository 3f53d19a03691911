package policy

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jit-access/jit/policy/sql"
)

// Hand-made facts, so that these tests say what the policy does whatever the
// parser understands.

func table(name string) sql.Object {
	return sql.Object{Kind: sql.ObjectTable, Name: sql.ObjectName{Database: "APP", Schema: "PUBLIC", Name: name}}
}

func column(name string) sql.Column {
	return sql.Column{Object: sql.ObjectName{Database: "APP", Schema: "PUBLIC", Name: "CUSTOMERS"}, Name: name}
}

func labels(names ...string) sql.Labels {
	var l sql.Labels
	for _, n := range names {
		l.Columns = append(l.Columns, column(n))
	}
	return l
}

func direct(name string) sql.Output {
	return sql.Output{Name: name, Labels: labels(name), Direct: true}
}

func query(outputs ...sql.Output) sql.Statement {
	return sql.Statement{Kind: "SELECT", Category: sql.CategoryQuery, OutputsKnown: true, Outputs: outputs,
		Reads: []sql.Object{table("CUSTOMERS")}}
}

func ana() Subject { return Subject{User: "idp|ana", Groups: []string{"analysts"}, Agent: "agent"} }

func prod() Setting {
	return Setting{Connection: "prod", Role: "ANALYST", Warehouse: "WH", Database: "APP", Schema: "PUBLIC", SessionID: "s1"}
}

func rule1(b *Bundle, statements ...sql.Statement) Ruling {
	return b.Statement(Input{Subject: ana(), Setting: prod(), Statements: statements})
}

func statement(kind sql.Kind, category sql.Category, writes ...sql.Object) sql.Statement {
	return sql.Statement{Kind: kind, Category: category, Writes: writes}
}

func TestDefaultBundle(t *testing.T) {
	unknown := query(direct("ID"))
	unknown.Unknown = []sql.Reason{{Text: "a construct"}}
	predicate := query(direct("ID"))
	predicate.Predicates = labels("EMAIL")
	plainPredicate := query(direct("ID"))
	plainPredicate.Predicates = labels("ID")
	topPredicate := query(direct("ID"))
	topPredicate.Predicates.Top = true
	opaque := query()
	opaque.OutputsKnown = false
	function := func(name string, r sql.FunctionRisk) sql.Statement {
		s := query(direct("ID"))
		s.Functions = []sql.Function{{Name: name, Risk: r}}
		return s
	}
	copies := statement("UPDATE", sql.CategoryWrite)
	copies.Stored = labels("EMAIL")
	role := func(to string) sql.Statement {
		s := statement("USE_ROLE", sql.CategoryRole)
		s.Effects.UseRole = to
		return s
	}
	nested := statement("EXECUTE_IMMEDIATE", sql.CategoryScript)
	nested.Nested = []sql.Statement{statement("DROP_DATABASE", sql.CategoryDefine)}
	hidden := statement("BLOCK", sql.CategoryScript)
	hidden.Nested = []sql.Statement{statement("ALTER_USER", sql.CategoryCredential)}
	outside := sql.Object{Kind: sql.ObjectLocation, Name: sql.ObjectName{Name: "s3://elsewhere/"}}
	stage := sql.Object{Kind: sql.ObjectStage, Name: sql.ObjectName{Name: "@~/x"}}
	fromStage := query(direct("ID"))
	fromStage.Reads = []sql.Object{stage}
	set := statement("SET", sql.CategorySession)
	set.Reads = []sql.Object{table("CUSTOMERS")}
	history := query(direct("ID"))
	history.Reads = []sql.Object{{Kind: sql.ObjectView, Name: sql.ObjectName{Database: "SNOWFLAKE", Schema: "ACCOUNT_USAGE", Name: "QUERY_HISTORY"}}}
	unnamed := query(direct("ID"))
	unnamed.Reads = []sql.Object{{Kind: sql.ObjectTable}}

	for _, tt := range []struct {
		name      string
		s         sql.Statement
		want      Verdict
		rule      string
		approvals int
	}{
		{"a read", query(direct("ID"), direct("EMAIL")), Allow, "reads", 0},
		{"SELECT 1", sql.Statement{Kind: "SELECT", Category: sql.CategoryQuery, OutputsKnown: true, Outputs: []sql.Output{{}}}, Allow, "reads", 0},
		{"a predicate on a plain column", plainPredicate, Allow, "reads", 0},
		{"a predicate on a classified column", predicate, Hold, "classified-predicates", 1},
		{"a predicate nobody could name", topPredicate, Hold, "unnamed-data", 1},
		{"an output nobody could name", query(sql.Output{Labels: sql.Labels{Top: true}}), Hold, "unnamed-data", 1},
		{"a query whose outputs are not known", opaque, Hold, "unnamed-data", 1},
		{"a query not wholly understood", unknown, Hold, "unclear", 1},
		{"an object without a name", unnamed, Hold, "unclear", 1},
		{"a kind no rule knows", statement(sql.KindUnknown, sql.CategoryUnknown), Hold, "unclear", 1},
		{"the zero statement", sql.Statement{}, Hold, "unclear", 1},
		{"SHOW TABLES", statement("SHOW_TABLES", sql.CategoryMetadata), Allow, "housekeeping", 0},
		{"SHOW USERS", statement("SHOW_USERS", sql.CategoryMetadata), Hold, "people-metadata", 1},
		{"USE WAREHOUSE", statement("USE_WAREHOUSE", sql.CategorySession), Allow, "housekeeping", 0},
		{"SET from a table", set, Hold, "variables-from-data", 1},
		{"COMMIT", statement("COMMIT", sql.CategoryTransaction), Allow, "housekeeping", 0},
		{"USE ROLE of the grant", role("ANALYST"), Allow, "housekeeping", 0},
		{"USE ROLE of another case", role("analyst"), Deny, "role-switch", 0},
		{"USE ROLE of another", role("ACCOUNTADMIN"), Deny, "role-switch", 0},
		{"USE SECONDARY ROLES", role(""), Deny, "role-switch", 0},
		{"INSERT", statement("INSERT", sql.CategoryWrite, table("ORDERS")), Hold, "writes", 1},
		{"UPDATE from a classified column", copies, Hold, "copies", 1},
		{"CREATE TABLE", statement("CREATE_TABLE", sql.CategoryDefine, table("T")), Hold, "definitions", 1},
		{"DROP TABLE", statement("DROP_TABLE", sql.CategoryDefine, table("T")), Hold, "definitions", 1},
		{"DROP DATABASE", statement("DROP_DATABASE", sql.CategoryDefine, sql.Object{Kind: sql.ObjectDatabase, Name: sql.ObjectName{Database: "APP"}}), Hold, "drop-database", 2},
		{"DROP SCHEMA", statement("DROP_SCHEMA", sql.CategoryDefine, sql.Object{Kind: sql.ObjectSchema, Name: sql.ObjectName{Database: "APP", Schema: "PUBLIC"}}), Hold, "drop-database", 2},
		{"DROP DATABASE inside EXECUTE IMMEDIATE", nested, Hold, "drop-database", 2},
		{"GRANT", statement("GRANT", sql.CategoryPrivilege, table("T")), Hold, "privileges", 2},
		{"ALTER USER", statement("ALTER_USER", sql.CategoryCredential), Deny, "credentials", 0},
		{"ALTER USER inside a block", hidden, Deny, "credentials", 0},
		{"PUT", statement("PUT", sql.CategoryTransfer, stage), Deny, "client-files", 0},
		{"COPY INTO a stage", statement("COPY_INTO_LOCATION", sql.CategoryUnload, stage), Hold, "unloads", 1},
		{"COPY INTO a place outside", statement("COPY_INTO_LOCATION", sql.CategoryUnload, outside), Deny, "leaves-the-account", 0},
		{"CREATE STAGE of a place outside", statement("CREATE_STAGE", sql.CategoryDefine, outside), Deny, "leaves-the-account", 0},
		{"COPY INTO a table", statement("COPY_INTO_TABLE", sql.CategoryLoad, table("T")), Hold, "loads", 1},
		{"a query on a stage", fromStage, Hold, "files", 1},
		{"ALTER SHARE", statement("ALTER_SHARE", sql.CategoryDefine, sql.Object{Kind: sql.ObjectShare, Name: sql.ObjectName{Name: "SH"}}), Deny, "shares", 0},
		{"CALL", statement("CALL", sql.CategoryCall), Hold, "calls", 1},
		{"a block", statement("BLOCK", sql.CategoryScript), Hold, "scripts", 1},
		{"a user's function", function("PY_EXFIL", sql.FunctionUnknown), Hold, "unknown-functions", 1},
		{"GET_DDL", function("GET_DDL", sql.FunctionSystem), Hold, "system-functions", 1},
		{"an AI function", function("SNOWFLAKE.CORTEX.COMPLETE", sql.FunctionEgress), Hold, "ai-functions", 1},
		{"an AI helper", function("PROMPT", sql.FunctionEgress), Hold, "ai-functions", 1},
		{"a notification", function("SYSTEM$SEND_SNOWFLAKE_NOTIFICATION", sql.FunctionSystem), Deny, "egress-functions", 0},
		{"a presigned URL", function("GET_PRESIGNED_URL", sql.FunctionEgress), Deny, "egress-functions", 0},
		{"query history", history, Hold, "account-history", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := rule1(Default(), tt.s)
			if got.Verdict != tt.want || got.Rule != tt.rule || got.Approvals != tt.approvals {
				t.Errorf("got %v by %s (%s), %d approvals; want %v by %s, %d approvals", got.Verdict, got.Rule, got.Reason, got.Approvals, tt.want, tt.rule, tt.approvals)
			}
			if got.Reason == "" {
				t.Error("the ruling gives no reason")
			}
		})
	}
}

func TestEmptyBatchIsDenied(t *testing.T) {
	for _, b := range []*Bundle{Default(), Demo(), mustLoad(t, permitAll)} {
		if got := rule1(b); got.Verdict != Deny || got.Rule != ruleEmpty {
			t.Errorf("got %v by %s", got.Verdict, got.Rule)
		}
	}
}

const permitAll = `
@id("all")
@reason("Everything.")
permit (principal, action, resource);
`

// What was not understood is never run unattended, whatever the bundle says.
func TestPermissiveBundleCannotAllowTheUnknown(t *testing.T) {
	b := mustLoad(t, permitAll)
	unknown := query(direct("ID"))
	unknown.Unknown = []sql.Reason{{Text: "x"}}
	opaque := query()
	opaque.OutputsKnown = false
	unnamed := query(direct("ID"))
	unnamed.Reads = []sql.Object{{Kind: sql.ObjectTable}}
	for _, s := range []sql.Statement{{}, {Kind: sql.KindUnknown, Category: sql.CategoryQuery, OutputsKnown: true}, unknown, opaque, unnamed} {
		if got := rule1(b, s); got.Verdict != Hold || got.Rule != ruleNotKnown || got.Approvals != 1 {
			t.Errorf("%+v: got %v by %s", s, got.Verdict, got.Rule)
		}
	}
	if got := rule1(b, query(direct("ID"))); got.Verdict != Allow {
		t.Errorf("a plain query: %v by %s", got.Verdict, got.Rule)
	}
}

func TestBatchIsAsStrictAsItsStrictestStatement(t *testing.T) {
	read, write, credential := query(direct("ID")), statement("INSERT", sql.CategoryWrite), statement("ALTER_USER", sql.CategoryCredential)
	drop := statement("DROP_DATABASE", sql.CategoryDefine)
	for _, tt := range []struct {
		batch     []sql.Statement
		want      Verdict
		approvals int
	}{
		{[]sql.Statement{read, read}, Allow, 0},
		{[]sql.Statement{read, write}, Hold, 1},
		{[]sql.Statement{drop, write}, Hold, 2},
		{[]sql.Statement{write, drop}, Hold, 2},
		{[]sql.Statement{drop, read, credential}, Deny, 0},
		{[]sql.Statement{credential, read}, Deny, 0},
	} {
		got := rule1(Default(), tt.batch...)
		if got.Verdict != tt.want || got.Approvals != tt.approvals {
			t.Errorf("%v: got %v, %d approvals by %s", tt.batch, got.Verdict, got.Approvals, got.Rule)
		}
		if len(got.Masks) != len(tt.batch) || len(got.Rest) != len(tt.batch) {
			t.Errorf("%d masks, %d rests for %d statements", len(got.Masks), len(got.Rest), len(tt.batch))
		}
	}
}

func TestMasksFollowLabels(t *testing.T) {
	s := query(
		direct("ID"),
		direct("EMAIL"),
		sql.Output{Name: "CITY", Labels: labels("EMAIL"), Direct: true}, // renamed
		sql.Output{Name: "UPPER", Labels: labels("EMAIL")},              // derived
		sql.Output{Name: "EMAIL", Labels: labels("ID"), Direct: true},   // a plain column under that name
		direct("SSN"),
		sql.Output{Name: "BOTH", Labels: labels("EMAIL", "SSN")},
		sql.Output{Name: "VIEW", Labels: labels("EMAIL", "PHONE"), Direct: true}, // one column, seen through a view
		sql.Output{Name: "N", Labels: labels("EMAIL"), Counts: true},
		sql.Output{Name: "NKEYS", Labels: labels("API_KEY", "EMAIL"), Counts: true}, // secrets are not even counted
		sql.Output{Name: "NTOP", Labels: sql.Labels{Top: true, Columns: []sql.Column{column("EMAIL")}}, Counts: true},
		sql.Output{Name: "BIRTH", Labels: labels("DOB", "EMAIL")},
		sql.Output{Name: "TOP", Labels: sql.Labels{Top: true}},
		sql.Output{Name: "TOPMAIL", Labels: sql.Labels{Top: true, Columns: []sql.Column{column("EMAIL")}}, Direct: true},
	)
	got := rule1(Default(), s)
	want := []ColumnMask{
		{},
		{"pii.email", MaskKeepDomain},
		{"pii.email", MaskKeepDomain},
		{"pii.email", MaskRedact},
		{},
		{"pii.ssn", MaskRedact},
		{"pii.email", MaskRedact},
		{"pii.phone", MaskKeepLast4},
		{},
		{"secret.key", MaskRedact},
		{UnknownClass, MaskRedact},
		{"pii.birth", MaskNull},
		{UnknownClass, MaskRedact},
		{UnknownClass, MaskRedact},
	}
	if !slices.Equal(got.Masks[0], want) {
		t.Errorf("masks\n got %v\nwant %v", got.Masks[0], want)
	}
	if want := []string{"pii.birth", "pii.email", "pii.phone", "pii.ssn", "secret.key"}; !slices.Equal(got.Classes, want) || !got.ReadsClassed {
		t.Errorf("classes %v, reads classed %v", got.Classes, got.ReadsClassed)
	}
}

func TestColumnsNobodyListedAreHidden(t *testing.T) {
	opaque := query()
	opaque.OutputsKnown = false
	call := statement("CALL", sql.CategoryCall)
	show := statement("SHOW_TABLES", sql.CategoryMetadata)
	got := rule1(Default(), opaque, call, show, query(direct("ID")))
	hidden := ColumnMask{UnknownClass, MaskRedact}
	if want := []ColumnMask{hidden, hidden, {}, hidden}; !slices.Equal(got.Rest, want) {
		t.Errorf("rest %v, want %v", got.Rest, want)
	}
}

func TestReadClear(t *testing.T) {
	b := mustLoadOver(t, map[string]string{"clear.cedar": `
@id("clear-email")
@reason("Support reads e-mail addresses.")
permit (principal in Group::"support", action == Action::"readClear", resource in Class::"pii")
unless { resource == Class::"pii.ssn" };
`})
	s := query(direct("EMAIL"), direct("SSN"))
	s.Predicates = labels("EMAIL")
	in := Input{Subject: Subject{User: "sam", Groups: []string{"support"}}, Setting: prod(), Statements: []sql.Statement{s}}
	got := b.Statement(in)
	if got.Verdict != Allow || got.Masks[0][0].Hides() || got.Masks[0][1].Mask != MaskRedact {
		t.Errorf("support: %v by %s, masks %v", got.Verdict, got.Rule, got.Masks)
	}
	if !slices.Contains(got.Clear, "pii.email") || slices.Contains(got.Clear, "pii.ssn") {
		t.Errorf("clear: %v", got.Clear)
	}
	in.Subject.Groups = nil
	if got := b.Statement(in); got.Verdict != Hold || got.Rule != "classified-predicates" || !got.Masks[0][0].Hides() || len(got.Clear) != 0 {
		t.Errorf("others: %v by %s, masks %v, clear %v", got.Verdict, got.Rule, got.Masks, got.Clear)
	}
}

// A forbid that errors must not be skipped.
func TestEvaluationErrorIsDeny(t *testing.T) {
	b := mustLoadOver(t, map[string]string{"error.cedar": `
@id("overflows")
@reason("Adds up.")
forbid (principal, action == Action::"run", resource)
when { context.usage.rows + 1 > 10 };
`})
	in := Input{Subject: ana(), Setting: prod(), Statements: []sql.Statement{query(direct("ID"))}, Usage: Usage{Rows: math.MaxInt64}}
	b.limits = budgets{} // the session budget would answer first
	if got := b.Statement(in); got.Verdict != Deny || got.Rule != ruleError {
		t.Errorf("got %v by %s", got.Verdict, got.Rule)
	}
	in.Usage = Usage{}
	if got := b.Statement(in); got.Verdict != Allow {
		t.Errorf("got %v by %s", got.Verdict, got.Rule)
	}
}

func TestEstimateIsAskedOnlyWhenARuleNeedsIt(t *testing.T) {
	asked := 0
	in := Input{Subject: ana(), Setting: prod(), Statements: []sql.Statement{query(direct("ID")), query(direct("ID"))},
		Estimate: func() (Estimate, error) { asked++; return Estimate{Bytes: 10, Partitions: 1, Known: true}, nil }}
	if Default().Statement(in); asked != 0 {
		t.Errorf("the default bundle asked %d times", asked)
	}
	b := mustLoadOver(t, map[string]string{"cost.cedar": `
@id("large-scan")
@reason("Large scans need a person.")
forbid (principal, action == Action::"runUnattended", resource)
when { context.estimate.bytes > 1000 };
`})
	if got := b.Statement(in); got.Verdict != Allow || asked != 1 {
		t.Errorf("small: %v by %s, asked %d times", got.Verdict, got.Rule, asked)
	}
	for name, estimate := range map[string]func() (Estimate, error){
		"large":    func() (Estimate, error) { return Estimate{Bytes: 1001, Known: true}, nil },
		"error":    func() (Estimate, error) { return Estimate{Known: true}, errors.New("no answer") },
		"unknown":  func() (Estimate, error) { return Estimate{}, nil },
		"negative": func() (Estimate, error) { return Estimate{Bytes: -1, Known: true}, nil },
		"nil":      nil,
	} {
		in.Estimate = estimate
		if got := b.Statement(in); got.Verdict != Hold || got.Rule != "large-scan" {
			t.Errorf("%s: %v by %s", name, got.Verdict, got.Rule)
		}
	}
	in.Statements = []sql.Statement{statement("SHOW_TABLES", sql.CategoryMetadata)}
	if got := b.Statement(in); got.Verdict != Allow {
		t.Errorf("SHOW: %v by %s", got.Verdict, got.Rule)
	}
}

func TestBudgets(t *testing.T) {
	in := func(u Usage) Input {
		return Input{Subject: ana(), Setting: prod(), Statements: []sql.Statement{query(direct("ID"))}, Usage: u}
	}
	got := Default().Statement(in(Usage{}))
	if want := (Limits{Rows: 1_000_000, Bytes: 1 << 30, Wall: 30 * time.Minute}); got.Limits != want {
		t.Errorf("limits %v, want %v", got.Limits, want)
	}
	got = Default().Statement(in(Usage{Rows: 19_999_990, Elapsed: 24*time.Hour - time.Minute}))
	if got.Verdict != Allow || got.Limits.Rows != 10 || got.Limits.Wall != time.Minute {
		t.Errorf("nearly spent: %v, limits %+v", got.Verdict, got.Limits)
	}
	for name, u := range map[string]Usage{
		"statements": {Statements: 10_000}, "rows": {Rows: 20_000_000}, "bytes": {Bytes: 20 << 30}, "wall": {Elapsed: 24 * time.Hour},
	} {
		if got := Default().Statement(in(u)); got.Verdict != Deny || got.Rule != ruleBudget {
			t.Errorf("%s spent: %v by %s", name, got.Verdict, got.Rule)
		}
	}
}

func TestReviewersAndApprovals(t *testing.T) {
	b := mustLoad(t, `
@id("ask") @reason("r") @reviewers("security, dba")
permit (principal, action == Action::"run", resource);
@id("drop") @reason("r") @reviewers("dba") @approvals("2")
forbid (principal, action == Action::"runUnattended", resource) when { context.verb == "DROP" };
@id("write") @reason("r") @reviewers("dba,owners")
forbid (principal, action == Action::"runUnattended", resource) when { context.access == "write" };
@id("privacy") @reason("r") @reviewers("privacy")
forbid (principal, action == Action::"runUnattended", resource) when { context.category == "privilege" };
`)
	got := rule1(b, statement("DROP_TABLE", sql.CategoryDefine, table("T")))
	if got.Verdict != Hold || got.Rule != "drop" || got.Approvals != 2 || !slices.Equal(got.Reviewers, []string{"dba"}) {
		t.Errorf("drop: %+v", got)
	}
	got = rule1(b, statement("TRUNCATE", sql.CategoryWrite))
	if got.Verdict != Hold || got.Rule != ruleAsk || got.Approvals != 1 || !slices.Equal(got.Reviewers, []string{"dba", "security"}) {
		t.Errorf("ask: %+v", got)
	}
	got = rule1(b, statement("GRANT", sql.CategoryPrivilege, table("T")))
	if got.Verdict != Deny || got.Rule != ruleNoReviewer || got.Approvals != 0 || got.Reviewers != nil {
		t.Errorf("conflict: %+v", got)
	}
}

func TestOpen(t *testing.T) {
	trusted := Subject{User: "u", Groups: []string{"jit-unattended"}}
	admin := prod()
	admin.Role = "ACCOUNTADMIN"
	for _, tt := range []struct {
		name      string
		b         *Bundle
		sub       Subject
		set       Setting
		ttl       time.Duration
		want      Verdict
		rule      string
		approvals int
	}{
		{"anyone", Default(), ana(), prod(), time.Hour, Hold, ruleAsk, 1},
		{"a member of jit-unattended", Default(), trusted, prod(), 8 * time.Hour, Allow, "open-unattended", 0},
		{"longer than that", Default(), trusted, prod(), 8*time.Hour + 1, Hold, ruleAsk, 1},
		{"an administrator role", Default(), trusted, admin, time.Hour, Hold, "open-admin-role", 2},
		{"more than a day", Default(), trusted, prod(), 24*time.Hour + 1, Deny, "open-too-long", 0},
		{"no time at all", Default(), trusted, prod(), 0, Deny, "open-session", 0},
		{"less than no time", Demo(), trusted, prod(), -time.Hour, Deny, "open-session", 0},
		{"the demo", Demo(), ana(), prod(), time.Hour, Allow, "demo-open", 0},
	} {
		got := tt.b.Open(tt.sub, tt.set, tt.ttl)
		if got.Verdict != tt.want || got.Rule != tt.rule || got.Approvals != tt.approvals {
			t.Errorf("%s: got %v by %s, %d approvals", tt.name, got.Verdict, got.Rule, got.Approvals)
		}
	}
}

func TestMayReview(t *testing.T) {
	reviewer := Subject{User: "rex", Groups: []string{"jit-reviewers"}}
	for _, tt := range []struct {
		name     string
		reviewer Subject
		want     bool
	}{
		{"a reviewer", reviewer, true},
		{"an admin", Subject{User: "ada", Groups: []string{"jit-admins"}}, true},
		{"anyone else", Subject{User: "bob", Groups: []string{"analysts"}}, false},
		{"the requester", Subject{User: ana().User, Groups: []string{"jit-admins"}}, false},
		{"nobody", Subject{Groups: []string{"jit-admins"}}, false},
	} {
		if got := Default().MayReview(tt.reviewer, ana(), prod(), []string{"DROP_DATABASE"}); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if mustLoad(t, permitAll).MayReview(reviewer, reviewer, prod(), nil) {
		t.Error("a bundle let the requester decide")
	}
}

func TestDemoHoldsForOneReviewer(t *testing.T) {
	drop := statement("DROP_DATABASE", sql.CategoryDefine, sql.Object{Kind: sql.ObjectDatabase, Name: sql.ObjectName{Database: "APP"}})
	if got := rule1(Demo(), drop); got.Verdict != Hold || got.Rule != "drop-database" || got.Approvals != 1 {
		t.Errorf("got %+v", got)
	}
}

func mustLoad(t testing.TB, cedar string) *Bundle {
	t.Helper()
	b, err := Load(fstest.MapFS{"rules.cedar": {Data: []byte(cedar)}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mustLoadOver lays files over the default bundle.
func mustLoadOver(t testing.TB, files map[string]string) *Bundle {
	t.Helper()
	m := fstest.MapFS{}
	for _, f := range Default().files {
		m[f.name] = &fstest.MapFile{Data: f.data}
	}
	for name, data := range files {
		m[name] = &fstest.MapFile{Data: []byte(data)}
	}
	b, err := Load(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A rule about a database holds for the stages in it, however they are named.
func TestStagesLieInTheirSchema(t *testing.T) {
	b := mustLoad(t, `
@id("all") @reason("r") permit (principal, action, resource);
@id("finance") @reason("r") forbid (principal, action == Action::"run", resource in Database::"FINANCE");
@id("vault") @reason("r") forbid (principal, action == Action::"run", resource in Schema::"APP.VAULT");
`)
	at := prod()
	for _, tt := range []struct {
		ref, database, schema, rule string
	}{
		{"@finance.public.s/x", "APP", "PUBLIC", "finance"},
		{`@"FINANCE"."s 1".s/x`, "APP", "PUBLIC", "finance"},
		{`@"finance".public.s`, "APP", "PUBLIC", "all"}, // another database
		{"@finance.public.%t", "APP", "PUBLIC", "finance"},
		{"@s", "FINANCE", "PUBLIC", "finance"},
		{"@%t/x.csv", "FINANCE", "PUBLIC", "finance"},
		{"@vault.s/a.b.c", "APP", "PUBLIC", "vault"},
		{"@s/finance.public.x", "APP", "PUBLIC", "all"},
		{"@~/finance", "FINANCE", "PUBLIC", "all"},
	} {
		at.Database, at.Schema = tt.database, tt.schema
		s := statement("LIST", sql.CategoryMetadata)
		s.Reads = []sql.Object{{Kind: sql.ObjectStage, Name: sql.ObjectName{Name: tt.ref}}}
		if got := b.Statement(Input{Subject: ana(), Setting: at, Statements: []sql.Statement{s}}); got.Rule != tt.rule {
			t.Errorf("%s in %s.%s: %v by %s, want %s", tt.ref, tt.database, tt.schema, got.Verdict, got.Rule, tt.rule)
		}
	}
}

// One bundle serves every statement of a broker at once.
func TestBundleIsSafeForConcurrentUse(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			s, want := query(direct("ID"), direct("EMAIL")), Allow
			if i%2 == 0 {
				s, want = statement("DROP_DATABASE", sql.CategoryDefine), Hold
			}
			for range 100 {
				if got := rule1(Default(), s); got.Verdict != want {
					t.Errorf("%v, want %v", got.Verdict, want)
				}
			}
		})
	}
	wg.Wait()
}

// What a batch touches is collected statement by statement; what was found
// before must not be copied for each.
func TestCostOfABatchGrowsWithItsStatements(t *testing.T) {
	cost := func(n int) uint64 {
		batch := make([]sql.Statement, n)
		for i := range batch {
			batch[i] = query(direct("EMAIL"), direct("SSN"))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if got := rule1(Default(), batch...); !slices.Equal(got.Classes, []string{"pii.email", "pii.ssn"}) {
			t.Fatalf("classes %v", got.Classes)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	cost(10)
	if few, many := cost(200), cost(2000); many > 15*few {
		t.Errorf("200 statements cost %d bytes, 2000 cost %d", few, many)
	}
}

// A chain of steps may be a SELECT of another category: what one statement of a
// batch may read in clear says nothing about another.
func TestClearReadingIsAskedForEachCategory(t *testing.T) {
	b := mustLoadOver(t, map[string]string{"clear.cedar": `
@id("clear")
@reason("Plain queries show addresses.")
permit (principal, action == Action::"readClear", resource)
when { context.category == "query" };
`})
	plain, chain := query(direct("EMAIL")), query(direct("EMAIL"))
	chain.Category = sql.CategoryWrite
	for _, batch := range [][]sql.Statement{{plain, chain}, {chain, plain}} {
		got := rule1(b, batch...)
		for i, s := range batch {
			if hides := got.Masks[i][0].Hides(); hides != (s.Category == sql.CategoryWrite) {
				t.Errorf("statement %d, %v: hidden %v", i+1, s.Category, hides)
			}
		}
	}
}
