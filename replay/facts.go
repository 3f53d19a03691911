package replay

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jit-access/jit/session/recording"
)

// Tone says how a Fact is meant. The zero value is ToneNormal.
type Tone uint8

// The tones.
const (
	ToneNormal Tone = iota
	ToneGood
	ToneWarn
	ToneBad
	ToneDim
)

// Fact is one labelled line, or for Text with newlines one labelled paragraph,
// of what is known about an entry. All of it is visible text.
type Fact struct {
	Label string
	Text  string
	Tone  Tone
}

// facts collects what is not empty.
type facts []Fact

func (f *facts) add(label, text string, tone Tone) {
	if text != "" {
		*f = append(*f, Fact{label, Visible(text), tone})
	}
}

func (f *facts) list(label string, items []string, tone Tone) {
	f.add(label, strings.Join(items, ", "), tone)
}

// SQL is the canonical text of the statement, visible; empty for other entries.
func (d Detail) SQL() string {
	if e, ok := d.Last(recording.KindStatement); ok && e.SQL != nil {
		return Visible(e.SQL.Text)
	}
	return ""
}

// Facts lists what is known about the entry besides its text, in the order
// people ask: what was ruled and why, what it touches, who decided, how it ended.
func (d Detail) Facts() []Fact {
	var f facts
	if d.Entry.Unsigned {
		f.add("proof", "not covered by the session's own signature", ToneWarn)
	}
	for i, e := range d.Events {
		if e.Kind == recording.KindStatement && i > 0 {
			f.add("again", "ruled on once more at "+clock(e.At), ToneDim)
		}
		d.event(&f, e)
	}
	slices.SortStableFunc(f, func(a, b Fact) int { // what is read last stands last
		return cmp.Compare(toneOrder(a.Tone), toneOrder(b.Tone))
	})
	return f
}

func toneOrder(t Tone) int {
	if t == ToneDim {
		return 1
	}
	return 0
}

func (d Detail) event(f *facts, e recording.Event) {
	switch {
	case e.SQL != nil:
		statementFacts(f, *e.SQL)
	case e.Request != nil:
		f.add("request", requestText(*e.Request), ToneWarn)
	case e.Decision != nil:
		f.add("decision", decisionText(*e.Decision)+d.after(e), decisionTone(e.Decision.Outcome))
	case e.Forwarded != nil:
		f.add("forwarded", clock(e.At)+d.after(e)+", request "+e.Forwarded.RequestID, ToneDim)
	case e.Refused != nil:
		f.add("refused", refusedText(*e.Refused), ToneBad)
	case e.Result != nil:
		resultFacts(f, *e.Result)
	case e.Login != nil:
		f.add("driver", strings.TrimSpace(e.Login.Driver+" "+e.Login.Version), ToneNormal)
		f.add("upstream", e.Login.Upstream, ToneDim)
		f.add("why", e.Login.Why, ToneNormal)
	case e.Agent != nil:
		f.list("command", e.Agent.Command, ToneNormal)
		if e.Kind == recording.KindAgentExited {
			f.add("exit code", strconv.Itoa(e.Agent.Exit), ToneNormal)
			f.add("signal", e.Agent.Signal, ToneWarn)
		}
	case e.Session != nil:
		sessionFacts(f, *e.Session)
	case e.Kind == recording.KindAborted:
		f.add("aborted", clock(e.At)+d.after(e)+" "+e.Note, ToneWarn)
		return
	}
	if r := e.Recovered; r != nil {
		f.add("recovered", fmt.Sprintf("sealed by a later run with key %s; %d bytes of an unfinished event were dropped", r.Key, r.Torn), ToneWarn)
	}
	f.add("note", e.Note, ToneNormal)
}

// after is the time since the entry began, in parentheses.
func (d Detail) after(e recording.Event) string {
	return " (after " + Elapsed(e.At.Sub(d.Entry.At)) + ")"
}

func statementFacts(f *facts, s recording.StatementFacts) {
	if s.Emergency {
		f.add("EMERGENCY", "in a session that was opened without a reviewer", ToneBad)
	}
	f.add("rule", s.Rule, ToneNormal)
	if d := s.DryRun; d != nil {
		f.add("dry run", dryRunText(*d), ToneNormal)
	}
	f.add("reason", s.Reason, ToneNormal)
	f.list("kind", s.Kinds, ToneNormal)
	if s.Describe {
		f.add("describe", "the driver asked for the columns only", ToneDim)
	}
	f.list("reads", s.Reads, ToneNormal)
	f.list("writes", s.Writes, ToneWarn)
	f.list("calls", s.Functions, ToneNormal)
	f.list("unknown", s.Unknown, ToneWarn)
	for _, o := range s.Outputs {
		tone := ToneNormal
		if o.Mask != "" {
			tone = ToneGood
		}
		f.add("column", outputText(o), tone)
	}
	f.list("filters on", s.Predicates, ToneNormal)
	f.add("binds", string(s.Binds), ToneNormal)
	f.add("driver", s.Driver, ToneDim)
	f.add("digest", s.Digest, ToneDim)
}

// dryRunText says what the bundle in dry run would have done.
func dryRunText(d recording.DryRunFacts) string {
	text := fmt.Sprintf("policy %.12s would %s it (%s)", d.Policy, d.Verdict, d.Rule)
	if d.Masks {
		text += ", with other masks"
	}
	return text
}

func outputText(o recording.OutputFacts) string {
	from := append([]string(nil), o.From...)
	if o.Top {
		from = append(from, "anything")
	}
	name := o.Name
	if name == "" {
		name = "(unnamed)"
	}
	text := name
	if len(from) > 0 {
		text += " ← " + strings.Join(from, ", ")
	}
	if o.Class != "" {
		text += " [" + o.Class + "]"
	}
	if o.Mask != "" {
		text += " masked: " + o.Mask
	}
	return text
}

func requestText(r recording.RequestFacts) string {
	text := r.ID
	if len(r.Reviewers) > 0 {
		text += " to " + strings.Join(r.Reviewers, ", ")
	}
	if r.Approvals != 1 {
		text += fmt.Sprintf(", %d approvals", r.Approvals)
	}
	if !r.Expires.IsZero() {
		text += ", until " + clock(r.Expires)
	}
	return text
}

func decisionText(d recording.DecisionFacts) string {
	text := d.Outcome
	if len(d.Reviewer) > 0 {
		text += " by " + strings.Join(d.Reviewer, ", ")
	}
	if d.Reuse != "" {
		text += ", " + d.Reuse
	}
	if d.KeepMasks {
		text += ", every mask kept"
	}
	if d.Reason != "" {
		text += ": " + d.Reason
	}
	return text
}

// refusedText leads with the code, which most messages do by themselves.
func refusedText(r recording.RefusedFacts) string {
	if strings.HasPrefix(r.Message, r.Code) {
		return r.Message
	}
	return r.Code + " " + r.Message
}

func resultFacts(f *facts, r recording.ResultFacts) {
	took := " in " + Elapsed(time.Duration(r.Millis)*time.Millisecond)
	if r.Error != "" {
		f.add("failed", r.Error+took, ToneBad)
	} else {
		f.add("result", fmt.Sprintf("%s, %s, %s%s", plural(r.Rows, "row"), plural(int64(r.Columns), "column"), Bytes(r.Bytes), took), ToneGood)
	}
	f.list("masked", r.Masked, ToneGood)
	if r.Chunks > 0 {
		f.add("chunks", strconv.Itoa(r.Chunks), ToneDim)
	}
	f.add("query id", r.QueryID, ToneDim)
	if k := r.Kept; k != nil {
		f.add("all rows", fmt.Sprintf("encrypted, %s at %d of %s", Bytes(k.Bytes), k.Offset, recording.FileRows), ToneDim)
	}
	if r.Sample != "" {
		f.add("first rows", sampleText(r.Sample), ToneNormal)
	}
}

// sampleText is a sample with a row on each line; one that cannot be read, such as
// a redacted one, as it stands.
func sampleText(sample string) string {
	var rows []json.RawMessage
	if err := json.Unmarshal([]byte(sample), &rows); err != nil {
		return sample
	}
	lines := make([]string, len(rows))
	for i, row := range rows {
		lines[i] = string(row)
	}
	return strings.Join(lines, "\n")
}

func sessionFacts(f *facts, s recording.SessionFacts) {
	f.add("session", s.ID, ToneNormal)
	f.add("who", strings.TrimSpace(s.Email+" "+s.Principal), ToneNormal)
	f.add("connection", s.Connection, ToneNormal)
	f.add("role", s.Role, ToneNormal)
	f.add("warehouse", s.Warehouse, ToneNormal)
	f.add("database", strings.Trim(s.Database+"."+s.Schema, "."), ToneNormal)
	f.add("reason", s.Reason, ToneNormal)
	f.add("granted by", s.Rule, ToneNormal)
	f.add("policy", s.Policy, ToneDim)
	if s.Emergency {
		f.add("EMERGENCY", "opened without a reviewer", ToneBad)
	}
	f.add("ticket", s.Ticket, ToneNormal)
	if !s.Deadline.IsZero() {
		f.add("deadline", s.Deadline.UTC().Format(time.DateTime)+" UTC", ToneNormal)
	}
	f.add("ended", s.End, ToneNormal)
}

func decisionTone(outcome string) Tone {
	if outcome == "approved" {
		return ToneGood
	}
	return ToneBad
}

// clock is the time of day, UTC, as everywhere in a replay.
func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

// Elapsed writes a duration for people: 12ms, 3.4s, 2m05s, 1h02m.
func Elapsed(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// Bytes writes a size for people.
func Bytes(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1000)
	case n < 1000*1000*1000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.FormatInt(n, 10) + " " + what + "s"
}
