package broker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session/recording"
)

// plan says what is released of one result.
type plan struct {
	outputs []sql.Output
	known   bool                // outputs lists every column
	masks   []policy.ColumnMask // one per output if known
	rest    policy.ColumnMask   // how to hide columns that masks does not list
	scrub   bool                // error texts may quote classed values
	reads   []sql.Object
	query   bool // the answer must be a query's
	limits  policy.Limits
	clear   []string // classes the subject may read
}

// planSet is what is released of a request: its statements' plans, and the
// request's own. They differ if there are several statements.
type planSet struct {
	own        plan
	statements []plan
}

func (p planSet) of(child int) plan {
	if child < 0 || child >= len(p.statements) {
		return p.own
	}
	return p.statements[child]
}

// plansOf fixes what may be released before anything is sent.
func plansOf(j *judgement) planSet {
	var set planSet
	for i := range j.analysis.Statements {
		st := &j.analysis.Statements[i]
		p := plan{outputs: st.Outputs, known: st.OutputsKnown, scrub: j.ruling.ReadsClassed, reads: st.Reads,
			query: st.Category == sql.CategoryQuery, limits: j.ruling.Limits, clear: j.ruling.Clear}
		if i < len(j.ruling.Masks) {
			p.masks = j.ruling.Masks[i]
		}
		if i < len(j.ruling.Rest) {
			p.rest = j.ruling.Rest[i]
		}
		if p.known && len(p.masks) != len(p.outputs) || i >= len(j.ruling.Rest) {
			// A ruling that does not fit its statement shows nothing.
			p.known, p.rest = false, policy.ColumnMask{Class: policy.UnknownClass, Mask: policy.MaskRedact}
		}
		set.statements = append(set.statements, p)
	}
	if len(set.statements) == 1 {
		set.own = set.statements[0]
	} else {
		// The answer to a batch is a fixed status row and the ids of the children.
		set.own = plan{scrub: j.ruling.ReadsClassed, limits: j.ruling.Limits}
	}
	return set
}

// errWithheld reports a result that may not be released; its text is fit for
// the agent.
type errWithheld struct{ why string }

func (e *errWithheld) Error() string { return e.why }

func withheld(format string, args ...any) error { return &errWithheld{fmt.Sprintf(format, args...)} }

// released is a result as it leaves, and what is recorded of it.
type released struct {
	body    []byte
	queryID string
	facts   recording.ResultFacts
}

// release masks, checks and records a result, and only then makes it the
// outcome.
func (b *Broker) release(ctx context.Context, l *login, s *statement, child int, rep *reply, began time.Time) outcome {
	s.mu.Lock()
	plans := s.plans
	s.mu.Unlock()
	p := plans.of(child)
	if !rep.success {
		return b.releaseError(ctx, s, p, rep, began)
	}
	r, err := b.rewrite(l, s, child, p, rep)
	if err == nil && child < 0 {
		err = b.adopt(l, s, plans, rep, r.queryID)
	}
	r.facts.Millis = time.Since(began).Milliseconds()
	ref := refuseRelease(p, &r, err)
	if ref != nil {
		r.facts.Error = ref.code
		b.log.Warn("result withheld", "statement", s.id, "code", ref.code, "err", err)
		l.catalog.clear() // what was believed about the columns may be wrong
	}
	// Commit point. A crash before this event is durable releases nothing; after
	// it, the recording says what may have been seen.
	if failed := b.record(ctx, recording.Event{Kind: recording.KindResult, Statement: s.id, Result: &r.facts}); failed != nil {
		failed.ran = hasRun
		return b.refused(ctx, s, failed)
	}
	if ref != nil {
		return b.refused(ctx, s, ref)
	}
	b.mu.Lock()
	b.usage.Rows += r.facts.Rows
	b.usage.Bytes += r.facts.Bytes
	b.mu.Unlock()
	if child < 0 {
		l.know(r.queryID, statementRef{s, -1})
		s.accept(r.queryID)
	}
	return outcome{success: true, body: r.body}
}

// refuseRelease is the refusal of a result that could not be worked on, or
// that exceeds its budget.
func refuseRelease(p plan, r *released, err error) *refusal {
	var w *errWithheld
	switch {
	case err != nil:
		why := "the result could not be read, so nothing of it was released"
		if errors.As(err, &w) {
			why = w.why
		}
		return faultWithheld.refuse(why)
	case p.limits.Rows > 0 && r.facts.Rows > p.limits.Rows:
		return faultLimit.refuse(fmt.Sprintf("the result has %d rows and the budget leaves %d", r.facts.Rows, p.limits.Rows))
	case p.limits.Bytes > 0 && r.facts.Bytes > p.limits.Bytes:
		return faultLimit.refuse(fmt.Sprintf("the result has %d bytes and the budget leaves %d", r.facts.Bytes, p.limits.Bytes))
	}
	return nil
}

// releaseError relays Snowflake's own error. Its text may quote cells, so it is
// replaced when the statement touches classed data.
func (b *Broker) releaseError(ctx context.Context, s *statement, p plan, rep *reply, began time.Time) outcome {
	f := snowflake.Failure{Code: rep.code}
	f.Message, _ = rep.top.Text("message")
	body := rep.raw
	f.SQLState, _ = rep.data.Text("sqlState")
	f.QueryID, _ = rep.data.Text("queryId")
	f.Type, _ = rep.data.Text("type")
	if p.scrub {
		f.Message = scrubbedText
	}
	if p.scrub || rep.data == nil || f.Message == "" {
		body = snowflake.AppendFailure(nil, f)
	}
	facts := &recording.ResultFacts{QueryID: f.QueryID, Error: f.Code + " " + clip(oneLine(f.Message), 500), Millis: time.Since(began).Milliseconds()}
	if ref := b.record(ctx, recording.Event{Kind: recording.KindResult, Statement: s.id, Result: facts}); ref != nil {
		return b.refused(ctx, s, ref)
	}
	return outcome{code: f.Code, body: body}
}

// rewrite turns an upstream success into what the driver may have.
func (b *Broker) rewrite(l *login, s *statement, child int, p plan, rep *reply) (released, error) {
	var r released
	if rep.data == nil {
		return r, withheld("Snowflake answered without data")
	}
	data := slices.Clone(rep.data)
	var err error
	r.queryID, _ = data.Text("queryId")
	if r.queryID != "" && !plainSegment(r.queryID) {
		return r, withheld("Snowflake answered with a query id that is none")
	}
	r.facts.QueryID = r.queryID
	if kind, ok := data.Int("statementTypeId"); ok && p.query && kind != 0 && kind&^0xfff != 0x1000 {
		return r, withheld("Snowflake ran something else than the query that was judged")
	}
	var columns []snowflake.Column
	if raw := data.Get("rowtype"); raw != nil {
		if columns, err = snowflake.ParseRowType(raw); err != nil {
			return r, withheld("the result's column list cannot be read")
		}
	}
	r.facts.Columns = len(columns)
	if err := verify(p, columns); err != nil {
		return r, err
	}
	if err := checkShape(data, columns); err != nil {
		return r, err
	}
	masks, err := b.masksOf(p, data, columns)
	if err != nil {
		return r, err
	}
	rewrites, changed := b.rewrites(masks, columns, &r.facts)
	if changed {
		if err := maskData(&data, columns, rewrites); err != nil {
			return r, err
		}
	}
	count(data, &r.facts)
	touched := changed
	if raw := data.Get("parameters"); raw != nil {
		if list, ok := overrideParameters(raw); ok {
			data.Set("parameters", list)
			touched = true
		}
	}
	if raw := data.Get("chunks"); raw != nil && string(raw) != "[]" {
		if err := b.publishChunks(l, s, child, &data, rewrites, &r.facts); err != nil {
			return r, err
		}
		touched = true
	}
	if data.Get("qrmk") != nil {
		data.Set("qrmk", json.RawMessage("null")) // the key of the chunks in cloud storage
		touched = true
	}
	if data.Get("stageInfo") != nil || data.Get("uploadInfo") != nil || data.Get("presignedUrls") != nil {
		return r, withheld("the answer holds storage credentials")
	}
	r.body = rep.raw
	if touched || !rep.top.Has("code") || !rep.top.Has("message") {
		top := append(snowflake.Object{}, rep.top...)
		for _, key := range [...]string{"code", "message"} { // drivers rely on both
			if !top.Has(key) {
				top.Set(key, json.RawMessage("null"))
			}
		}
		top.Set("data", data.Append(make([]byte, 0, len(rep.raw)+1024)))
		r.body = top.Append(make([]byte, 0, len(rep.raw)+2048))
	}
	r.facts.Bytes += int64(len(r.body))
	return r, nil
}

// verify compares the result's own account of its columns with what was
// computed from the text: a second opinion before masks are applied by
// position.
func verify(p plan, columns []snowflake.Column) error {
	if !p.known {
		return nil
	}
	if len(columns) != len(p.outputs) {
		return withheld("the result has %d columns and %d were expected", len(columns), len(p.outputs))
	}
	for i, c := range columns {
		o := p.outputs[i]
		if o.Name != "" && !strings.EqualFold(o.Name, c.Name) {
			return withheld("column %d of the result has another name than expected", i+1)
		}
		if c.Database != "" && c.Schema != "" && c.Table != "" && !o.Labels.Top && !reads(p.reads, c) {
			return withheld("column %d of the result comes from an object the statement does not name", i+1)
		}
	}
	return nil
}

func reads(objects []sql.Object, c snowflake.Column) bool {
	for _, o := range objects {
		if strings.EqualFold(o.Name.Name, c.Table) && strings.EqualFold(o.Name.Schema, c.Schema) && strings.EqualFold(o.Name.Database, c.Database) {
			return true
		}
	}
	return false
}

// detectSample is how many values of a column are looked at.
const detectSample = 64

// masksOf is the mask of every column: what the lineage demands, and where it
// demands none, what the values themselves show to be needed. The second is a
// net under the first, for columns that hold what nobody declared.
func (b *Broker) masksOf(p plan, data snowflake.Object, columns []snowflake.Column) ([]policy.ColumnMask, error) {
	masks := make([]policy.ColumnMask, len(columns))
	look := false
	wanted := make([]bool, len(columns))
	for i := range columns {
		masks[i] = p.rest
		if p.known {
			masks[i] = p.masks[i]
		}
		wanted[i] = p.query && !masks[i].Hides() && columns[i].IsText()
		look = look || wanted[i]
	}
	if !look {
		return masks, nil
	}
	samples, err := snowflake.Sample(data, wanted, detectSample)
	if err != nil {
		return nil, err
	}
	for i, sample := range samples {
		if len(sample) == 0 {
			continue
		}
		if mask, found := b.cfg.Policy.DetectColumn(sample, p.clear...); found && mask.Hides() {
			masks[i] = mask
		}
	}
	return masks, nil
}

// maskGrowth is how much longer than the original a masked text may get, apart
// from the name of its class.
const maskGrowth = 128

// rewrites turns the plan's masks into operations on cells and declares them in
// the columns, the same way for a description and for a result.
func (b *Broker) rewrites(masks []policy.ColumnMask, columns []snowflake.Column, facts *recording.ResultFacts) ([]snowflake.Rewrite, bool) {
	rewrites := make([]snowflake.Rewrite, len(columns))
	changed := false
	for i, mask := range masks {
		if !mask.Hides() {
			continue
		}
		changed = true
		facts.Masked = append(facts.Masked, clip(columns[i].Name, 256))
		columns[i].Nullable()
		if !columns[i].IsText() || mask.Nulls() {
			rewrites[i].Null = true
			continue
		}
		columns[i].Grow(maskGrowth + int64(len(mask.Class)))
		rewrites[i].Text = func(dst, value []byte) []byte { return b.masker.AppendText(dst, mask, value) }
	}
	return rewrites, changed
}

// checkShape refuses results no driver reads one way: rows without columns, or
// rows in both forms.
func checkShape(data snowflake.Object, columns []snowflake.Column) error {
	rowset, encoded := data.Get("rowset"), data.Get("rowsetBase64")
	if rowset != nil && string(rowset) != "[]" && encoded != nil && string(encoded) != `""` {
		return withheld("the result carries its rows twice")
	}
	hasRows := rowset != nil && string(rowset) != "[]" || encoded != nil && string(encoded) != `""` ||
		data.Get("chunks") != nil && string(data.Get("chunks")) != "[]"
	if hasRows && len(columns) == 0 {
		return withheld("the result has rows and no columns")
	}
	return nil
}

// maskData rewrites the rows and the column list.
func maskData(data *snowflake.Object, columns []snowflake.Column, rewrites []snowflake.Rewrite) error {
	data.Set("rowtype", snowflake.AppendRowType(nil, columns))
	if raw := data.Get("rowset"); raw != nil {
		rows, _, err := snowflake.NewRowMasker(rewrites).MaskArray(make([]byte, 0, len(raw)+len(raw)/4), raw)
		if err != nil {
			return err
		}
		data.Set("rowset", rows)
	}
	if raw := data.Get("rowsetBase64"); raw != nil {
		encoded, ok := snowflake.Text(raw)
		if !ok {
			return withheld("the result's rows are not in a form drivers read")
		}
		masked, _, err := snowflake.MaskArrowBase64(encoded, rewrites)
		if err != nil {
			return err
		}
		data.Set("rowsetBase64", snowflake.Quote(masked))
	}
	return nil
}

// count reads the row count from the metadata, and the size of an Arrow body.
func count(data snowflake.Object, facts *recording.ResultFacts) {
	if n, ok := data.Int("total"); ok {
		facts.Rows = n
	} else if n, ok := data.Int("returned"); ok {
		facts.Rows = n
	}
	if raw := data.Get("rowsetBase64"); raw != nil {
		facts.Bytes -= int64(len(raw)) - int64(base64.StdEncoding.DecodedLen(len(raw)))
	}
}

// overrideParameters replaces the parameters drivers are told otherwise.
func overrideParameters(raw json.RawMessage) (json.RawMessage, bool) {
	list, err := snowflake.ParseArray(raw)
	if err != nil {
		return json.RawMessage("[]"), true
	}
	changed := false
	out := []byte{'['}
	for i, e := range list {
		o, err := snowflake.ParseObject(e)
		if err != nil {
			return json.RawMessage("[]"), true
		}
		name, _ := o.Text("name")
		for _, p := range clientOverrides {
			if p.Name == name {
				o.Set("value", p.Value)
				e, changed = o.Append(nil), true
			}
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, e...)
	}
	return append(out, ']'), changed
}

// adopt takes over the children of a batch, each under its own plan.
func (b *Broker) adopt(l *login, s *statement, plans planSet, rep *reply, queryID string) error {
	ids, _ := rep.data.Text("resultIds")
	if ids == "" {
		if len(plans.statements) > 1 && !s.describe {
			return withheld("the batch came back without its children")
		}
		return nil
	}
	list := strings.Split(ids, ",")
	kinds, _ := rep.data.Text("resultTypes")
	if len(plans.statements) < 2 || len(list) != len(plans.statements) || len(strings.Split(kinds, ",")) != len(list) {
		return withheld("Snowflake ran another number of statements than were judged")
	}
	for i, id := range list {
		id = strings.TrimSpace(id)
		if !plainSegment(id) || id == queryID {
			return withheld("Snowflake answered with a query id that is none")
		}
		l.know(id, statementRef{s, i})
	}
	return nil
}

// fetchResult reads a result again from Snowflake by its id.
func (b *Broker) fetchResult(ctx context.Context, l *login, queryID string) (*reply, error) {
	return b.call(ctx, l, upstreamCall{method: http.MethodGet, path: snowflake.ResultPath(queryID), requestID: uuid.NewString()})
}

// answerAgain serves a child's result, or a large result asked for once more,
// from Snowflake under the plan that was fixed before it ran.
func (b *Broker) answerAgain(w http.ResponseWriter, r *http.Request, l *login, s *statement, child int) {
	ctx, cancel := context.WithTimeout(r.Context(), longPoll)
	defer cancel()
	id := pathID(r.URL.Path)
	s.mu.Lock()
	if child < 0 {
		id = s.queryID
	}
	s.mu.Unlock()
	began := time.Now()
	rep, err := b.fetchResult(ctx, l, id)
	switch {
	case err != nil && ctx.Err() != nil, err == nil && inProgress(rep):
		writeAnswer(w, snowflake.AppendInProgress(nil, snowflake.CodeInProgress, id))
		return
	case err != nil:
		writeAnswer(w, faultUpstream.refuse("Snowflake gave no usable answer").envelope())
		return
	}
	out := b.release(ctx, l, s, child, rep, began)
	if out.refusal != nil {
		writeAnswer(w, out.refusal.envelope())
		return
	}
	writeAnswer(w, out.body)
}

func pathID(path string) string {
	path = strings.TrimPrefix(path, "/queries/")
	id, _, _ := strings.Cut(path, "/")
	return id
}

// ownResultScan recognises the one form drivers use to read an asynchronous
// result, by comparing the whole text: it is served from the broker's table and
// never sent as SQL.
func ownResultScan(text string) (queryID string, ok bool) {
	compact := strings.ToLower(strings.Join(strings.Fields(strings.TrimSuffix(strings.TrimSpace(text), ";")), " "))
	rest, ok := strings.CutPrefix(compact, "select * from table(result_scan('")
	if !ok {
		return "", false
	}
	id, ok := strings.CutSuffix(rest, "'))")
	return id, ok && plainSegment(id)
}

// scanOwn answers such a statement with the stored result of an own query,
// under that query's plan.
func (b *Broker) scanOwn(ctx context.Context, l *login, s *statement, queryID string) outcome {
	facts := &recording.StatementFacts{Text: s.req.SQL, Kinds: []string{"SELECT"}, Verdict: policy.Deny.String(), Rule: "own-results",
		Functions: []string{"RESULT_SCAN"}}
	ref, found := l.find(queryID)
	var origin string
	if found {
		ref.s.mu.Lock()
		found = ref.s.phase == phaseDone && ref.s.out.success
		origin = ref.s.queryID
		s.plans = planSet{own: ref.s.plans.of(ref.child)}
		ref.s.mu.Unlock()
		if ref.child >= 0 {
			origin = queryID
		}
	}
	if found && origin != "" {
		facts.Verdict = policy.Allow.String()
	}
	if failed := b.recordFacts(ctx, l, s, facts); failed != nil {
		return b.refused(ctx, s, failed)
	}
	if facts.Verdict != policy.Allow.String() {
		return b.refused(ctx, s, faultUnknownID.refuse("no finished statement of this connection has this query id"))
	}
	if failed := b.record(ctx, recording.Event{Kind: recording.KindForwarded, Statement: s.id,
		Forwarded: &recording.ForwardedFacts{RequestID: origin}}); failed != nil {
		return b.refused(ctx, s, failed)
	}
	s.enter(phaseRunning)
	began := time.Now()
	rep, err := b.fetchResult(ctx, l, origin)
	if err == nil {
		rep, err = b.follow333(ctx, l, rep, func(string) {})
	}
	if err != nil {
		return b.lost(ctx, l, s, began, err)
	}
	return b.release(ctx, l, s, -1, rep, began)
}
