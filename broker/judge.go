package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// analyzeFunc is sql.Analyze.
type analyzeFunc func(text string, ctx sql.Context, cat sql.Catalog) (*sql.Analysis, error)

// judgement is what is known and ruled about a statement in one place.
type judgement struct {
	place    place
	analysis *sql.Analysis
	input    policy.Input // of ruling
	ruling   policy.Ruling
	kase     session.Case
	digest   string // of kase
	cancels  bool   // it only stops statements of its own connection
	restated bool   // kase tells what the text means, not the text alone
	// variables is what the text can read and does not say: see variables.
	variables variables
}

// effects are the statements that may change the session's context.
func (j *judgement) effects() []sql.Statement {
	if j.cancels {
		return nil
	}
	return j.analysis.Statements
}

// judge analyses and rules. Relations the catalog lacks are fetched and the
// analysis repeated, unless the verdict is Deny already: precision cannot turn
// that, and nothing is looked up for it.
func (b *Broker) judge(ctx context.Context, l *login, s *statement) (*judgement, *refusal) {
	j := &judgement{place: b.settledPlace(ctx, l)}
	l.mu.Lock()
	j.variables = l.variables
	l.mu.Unlock()
	names := sql.Context{Database: j.place.database, Schema: j.place.schema, Variables: j.variables.literals}
	for round := 0; ; round++ {
		var err error
		if j.analysis, err = b.analyze(s.req.SQL, names, &l.catalog); err != nil {
			return nil, notUnderstood(err)
		}
		if len(j.analysis.Statements) == 0 {
			return nil, faultSyntax.refuse("the text holds no statement")
		}
		j.cancels = l.cancelsOwn(j.analysis)
		j.ruling = b.rule(ctx, l, j)
		if j.ruling.Verdict == policy.Deny || round == catalogRounds ||
			!b.fetchMissing(ctx, l, j.analysis.Missing) {
			break
		}
	}
	j.kase = b.caseOf(s, j)
	j.digest = j.kase.Digest()
	return j, nil
}

// notUnderstood turns the analyser's errors, whose texts hold no data, into the
// answer; an error of another kind shows nothing.
func notUnderstood(err error) *refusal {
	var syntax *sql.SyntaxError
	var unsupported *sql.UnsupportedError
	switch {
	case errors.As(err, &syntax):
		return faultSyntax.refuse(syntax.Error())
	case errors.As(err, &unsupported):
		return faultSyntax.refuse(unsupported.Error())
	}
	return faultSyntax.refuse("the statement could not be analysed")
}

func (b *Broker) rule(ctx context.Context, l *login, j *judgement) policy.Ruling {
	b.mu.Lock()
	usage := b.usage
	if !b.firstUse.IsZero() {
		usage.Elapsed = time.Since(b.firstUse)
	}
	b.mu.Unlock()
	j.input = policy.Input{
		Subject: b.cfg.Subject,
		Setting: policy.Setting{Connection: b.cfg.Session.Scope.Connection, Role: j.place.role, Warehouse: j.place.warehouse,
			Database: j.place.database, Schema: j.place.schema, SessionID: b.cfg.Session.ID, Emergency: b.cfg.Session.Emergency},
		Statements: j.analysis.Statements, Usage: usage,
		// One estimate serves the active bundle and the one in dry run.
		Estimate: sync.OnceValues(func() (policy.Estimate, error) { return b.estimate(ctx, l, j.analysis) }),
	}
	return l.ownQueries(j, b.cfg.Policy.Statement(j.input))
}

// dryRun is what the bundle in dry run would have said, if that differs.
func (b *Broker) dryRun(l *login, j *judgement) *recording.DryRunFacts {
	if b.cfg.DryRun == nil {
		return nil
	}
	would := l.ownQueries(j, b.cfg.DryRun.Statement(j.input))
	masks := would.Verdict != policy.Deny && !slices.EqualFunc(would.Masks, j.ruling.Masks, slices.Equal[[]policy.ColumnMask])
	if would.Verdict == j.ruling.Verdict && !masks {
		return nil
	}
	return &recording.DryRunFacts{Policy: b.cfg.DryRun.Digest(), Verdict: would.Verdict.String(), Rule: would.Rule, Reason: would.Reason, Masks: masks}
}

// caseOf is what a reviewer judges and what an approval binds to.
func (b *Broker) caseOf(s *statement, j *judgement) session.Case {
	c := session.Case{
		SessionID: b.cfg.Session.ID, Canonical: j.analysis.Canonical, Binds: boundValues(s, j),
		Classes: j.ruling.Classes, Role: j.place.role, Warehouse: j.place.warehouse, Database: j.place.database,
		Schema: j.place.schema, Policy: b.cfg.Policy.Digest(),
	}
	held := j.ruling.Verdict == policy.Hold // shape and lineage are for reviewers
	if held {
		shape, err := sql.Shape(c.Canonical)
		if err != nil || shape == "" {
			shape = c.Canonical // nothing but the text itself has this shape
		}
		c.Shape = shape
	}
	for i := range j.analysis.Statements {
		st := &j.analysis.Statements[i]
		c.Kinds = append(c.Kinds, string(st.Kind))
		c.Reads = appendObjects(c.Reads, st.Reads)
		c.Writes = appendObjects(c.Writes, st.Writes)
		for _, f := range st.Functions {
			c.Functions = appendNew(c.Functions, f.Name)
		}
		for _, u := range st.Unknown {
			c.Unknown = appendNew(c.Unknown, u.Text)
		}
		for _, o := range st.Outputs {
			if !held {
				break
			}
			c.Lineage = append(c.Lineage, o.Name+" ← "+strings.Join(labelNames(o.Labels), ", "))
		}
	}
	return c
}

// boundValues is what the text does not say: the binds, the statement parameters
// that can change what a literal means or whether a write stays, and the session
// variables. All are shown to reviewers (long binds in short) and bound by the
// digest, so that none can be another one when an approval is used. Tags and result formats are neither.
func boundValues(s *statement, j *judgement) string {
	var extra snowflake.Object
	for _, p := range s.params {
		if p.Key != "QUERY_TAG" && !isResultFormat(p.Key) {
			extra = append(extra, p)
		}
	}
	var set snowflake.Object
	if j != nil {
		set = j.variables.readBy(j.analysis).object()
	}
	binds := shownBinds(s.req.Binds)
	if len(extra)+len(set) == 0 {
		return binds
	}
	var all snowflake.Object
	if binds != "" {
		all = snowflake.Object{{Key: "binds", Raw: json.RawMessage(binds)}}
	}
	if len(extra) > 0 {
		slices.SortFunc(extra, func(a, b snowflake.Member) int { return strings.Compare(a.Key, b.Key) })
		all.Set("parameters", extra.Append(nil))
	}
	if len(set) > 0 {
		all.Set("variables", set.Append(nil))
	}
	return string(all.Append(nil))
}

func appendObjects(dst []string, objects []sql.Object) []string {
	for _, o := range objects {
		name := o.Name.String()
		if o.Kind != sql.ObjectTable && o.Kind != sql.ObjectView {
			name = string(o.Kind) + " " + name
		}
		dst = appendNew(dst, name)
	}
	return dst
}

func appendNew(dst []string, s string) []string {
	for _, have := range dst {
		if have == s {
			return dst
		}
	}
	return append(dst, s)
}

func labelNames(l sql.Labels) []string {
	var names []string
	for _, c := range l.Columns {
		names = append(names, c.String())
	}
	if l.Top {
		names = append(names, "⊤")
	}
	if names == nil {
		names = []string{"constant"}
	}
	return names
}

// recordStatement records what was understood and ruled, before anything else
// happens to the statement.
func (b *Broker) recordStatement(ctx context.Context, l *login, s *statement, j *judgement) *refusal {
	facts := &recording.StatementFacts{
		Text: b.cfg.Policy.HideText(j.kase.Canonical, b.cfg.Policy.Compared(j.analysis.Statements)...), Digest: j.digest, Kinds: j.kase.Kinds, Reads: j.kase.Reads, Writes: j.kase.Writes,
		Functions: j.kase.Functions, Verdict: j.ruling.Verdict.String(), Rule: j.ruling.Rule,
		Reason: j.ruling.Reason, DryRun: b.dryRun(l, j), Emergency: b.cfg.Session.Emergency,
	}
	for _, text := range j.kase.Unknown {
		facts.Unknown = append(facts.Unknown, b.cfg.Policy.HideText(text))
	}
	for i := range j.analysis.Statements {
		st := &j.analysis.Statements[i]
		for n, o := range st.Outputs {
			of := recording.OutputFacts{Name: o.Name, From: labelNames(o.Labels), Top: o.Labels.Top}
			if i < len(j.ruling.Masks) && n < len(j.ruling.Masks[i]) {
				if m := j.ruling.Masks[i][n]; m.Hides() {
					of.Class, of.Mask = m.Class, m.Mask.String()
				}
			}
			facts.Outputs = append(facts.Outputs, of)
		}
		for _, name := range labelNames(st.Predicates) {
			if name != "constant" {
				facts.Predicates = appendNew(facts.Predicates, name)
			}
		}
	}
	return b.recordFacts(ctx, l, s, j, facts)
}

// recordRefusedText records a statement that could not be analysed, as it was
// received.
func (b *Broker) recordRefusedText(ctx context.Context, l *login, s *statement, ref *refusal) *refusal {
	return b.recordFacts(ctx, l, s, nil, &recording.StatementFacts{
		Text: b.cfg.Policy.HideText(s.req.SQL), Kinds: []string{string(sql.KindUnknown)}, Verdict: policy.Deny.String(), Rule: ref.code, Reason: ref.why})
}

func (b *Broker) recordFacts(ctx context.Context, l *login, s *statement, j *judgement, facts *recording.StatementFacts) *refusal {
	facts.Describe = s.req.DescribeOnly
	facts.Driver = l.driver.name
	facts.Upstream = l.upstreamSession().ID
	if bound := boundValues(s, j); bound != "" {
		var compared []string
		if j != nil {
			compared = b.cfg.Policy.Compared(j.analysis.Statements)
		}
		facts.Binds = hideStrings(bound, func(value string, data bool) string {
			if data {
				return b.cfg.Policy.HideValue(value, compared...)
			}
			return b.cfg.Policy.HideValue(value)
		})
	}
	return b.record(ctx, recording.Event{Kind: recording.KindStatement, Statement: s.id, SQL: facts})
}

// record appends an event that the next step depends on. It is not cut short by
// a cancelled statement: an event half waited for would still be written.
func (b *Broker) record(ctx context.Context, e recording.Event) *refusal {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if _, err := b.cfg.Record(ctx, e); err != nil {
		b.log.Error("recording failed", "kind", string(e.Kind), "statement", e.Statement, "err", err)
		return faultRecord.refuse("the recording cannot be written")
	}
	return nil
}

// estimateTimeout bounds an EXPLAIN: a rule that needs it holds without it.
const estimateTimeout = 10 * time.Second

// estimate asks Snowflake what a query would scan. EXPLAIN compiles and does
// not run; its answer stays in the broker.
func (b *Broker) estimate(ctx context.Context, l *login, a *sql.Analysis) (policy.Estimate, error) {
	text, ok := b.explaining(a)
	if !ok {
		return policy.Estimate{}, fmt.Errorf("estimating anything but one plain query: %w", errors.ErrUnsupported)
	}
	ctx, cancel := context.WithTimeout(ctx, estimateTimeout)
	defer cancel()
	rows, _, err := b.metadata(ctx, l, text, false)
	if err != nil {
		return policy.Estimate{}, fmt.Errorf("explaining: %w", err)
	}
	if len(rows) != 1 || len(rows[0]) == 0 || rows[0][0] == nil {
		return policy.Estimate{}, fmt.Errorf("explaining: %w: no plan", errUpstream)
	}
	var plan struct {
		GlobalStats struct {
			PartitionsAssigned int64 `json:"partitionsAssigned"`
			BytesAssigned      int64 `json:"bytesAssigned"`
		}
	}
	if err := json.Unmarshal([]byte(*rows[0][0]), &plan); err != nil {
		return policy.Estimate{}, fmt.Errorf("reading the plan: %w", err)
	}
	return policy.Estimate{Bytes: plan.GlobalStats.BytesAssigned, Partitions: plan.GlobalStats.PartitionsAssigned, Known: true}, nil
}

// explaining is the text that asks for the plan of a lone query that was fully
// understood. EXPLAIN in front of anything else may explain the first step of it
// and run the rest; that the whole is one EXPLAIN is asked of the analyser, not
// taken for granted.
func (b *Broker) explaining(a *sql.Analysis) (string, bool) {
	if len(a.Statements) != 1 {
		return "", false
	}
	st := &a.Statements[0]
	if st.Category != sql.CategoryQuery || st.Kind != "SELECT" || len(st.Nested)+len(st.Writes)+len(st.Unknown) != 0 ||
		changesContext(a.Statements) {
		return "", false
	}
	text := "EXPLAIN USING JSON " + st.Text
	whole, err := b.analyze(text, sql.Context{}, nil)
	return text, err == nil && len(whole.Statements) == 1 && whole.Statements[0].Kind == "EXPLAIN" && whole.Canonical == text
}
