package replay

import (
	"fmt"
	"strings"
	"time"

	"github.com/jit-access/jit/session/recording"
)

// Outcome is how a statement ended. The zero value is OutcomeOpen.
type Outcome uint8

// The outcomes of a statement.
const (
	OutcomeOpen      Outcome = iota // no end is recorded
	OutcomeForwarded                // sent, and no answer is recorded
	OutcomeRan
	OutcomeFailed // upstream refused it
	OutcomeRefused
	OutcomeAborted
)

var outcomeNames = [...]string{"open", "forwarded", "ran", "failed", "refused", "aborted"}

// String returns the outcome in one word.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return outcomeNames[OutcomeOpen]
}

// Entry is one row of the timeline: a statement, or something else that
// happened in the session.
type Entry struct {
	Kind      recording.Kind // KindStatement, or that of the only event
	Number    int            // of the statement, from 1; 0 for other entries
	ID        string         // of the statement
	At        time.Time
	Until     time.Time // of its last event
	Verdict   string    // allow, hold or deny; empty for other entries
	Decision  string    // approved, denied, expired, withdrawn; empty if nobody was asked
	Outcome   Outcome
	Masked    bool
	Describe  bool   // the driver only asked for the columns
	Title     string // one line, made visible and cut
	Unsigned  bool   // some of it is not covered by the session's own key
	Truncated bool   // Title was cut
	Events    []int32
}

// Statement reports whether the entry is a statement.
func (e Entry) Statement() bool { return e.Kind == recording.KindStatement }

// Held reports whether a human was asked.
func (e Entry) Held() bool { return e.Verdict == "hold" }

// Denied reports whether the agent was told no, by the policy or by a human.
func (e Entry) Denied() bool {
	return e.Verdict == "deny" || e.Decision == "denied" || e.Outcome == OutcomeRefused
}

// Batch is a part of a recording on its way into an Index.
type Batch struct {
	from, to int64
	signed   int64 // Report.Signed when it was read
	digests  []digest
}

// digest is an event with no more than the index needs of it.
type digest struct {
	recording.Event
	cut bool // SQL.Text is only the beginning
}

// Read reads up to n events from event number from on. It does the I/O, so that
// adding a Batch to an Index does none.
func (r *Recording) Read(from int64, n int) (Batch, error) {
	b := Batch{from: from, to: min(from+int64(n), r.len()), signed: r.Report().Signed}
	b.digests = make([]digest, 0, max(0, b.to-b.from))
	for seq := from; seq < b.to; seq++ {
		e, err := r.skim(seq)
		if err != nil {
			return Batch{}, err
		}
		d := digest{Event: e}
		if e.SQL != nil { // do not keep a megabyte for a title
			d.SQL = &recording.StatementFacts{Verdict: e.SQL.Verdict, Describe: e.SQL.Describe}
			d.SQL.Text, d.cut = head(e.SQL.Text)
		}
		b.digests = append(b.digests, d)
	}
	return b, nil
}

// Index is the timeline: entries in order of their first event. The zero value
// is empty. It is not safe for concurrent use.
type Index struct {
	Entries    []Entry
	Statements int
	byID       map[string]int
	next       int64
}

// Next is the event number the next Batch has to begin with.
func (x *Index) Next() int64 { return x.next }

// Summary counts the statements by what became of them.
func (x *Index) Summary() string {
	parts := []string{plural(int64(x.Statements), "statement")}
	for _, k := range filterWords {
		n := 0
		for _, e := range x.Entries {
			if e.Statement() && k.keep(e) {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, k.word))
		}
	}
	return strings.Join(parts, ", ")
}

// Index reads the whole recording.
func (r *Recording) Index() (*Index, error) {
	x := &Index{}
	for x.next < r.len() {
		b, err := r.Read(x.next, 4096)
		if err != nil {
			return nil, err
		}
		x.Add(b, r.Report().Signed)
	}
	return x, nil
}

// Add adds a batch; one that does not begin at Next is ignored. signed is
// Report.Signed.
func (x *Index) Add(b Batch, signed int64) {
	if b.from != x.next {
		return
	}
	if x.byID == nil {
		x.byID = map[string]int{}
	}
	signed = max(signed, b.signed) // a session that runs may have signed more
	for i, d := range b.digests {
		seq := b.from + int64(i)
		e := x.entry(d)
		e.Events = append(e.Events, int32(seq))
		e.Unsigned = e.Unsigned || seq >= signed
		e.Until = d.At
		e.apply(d)
	}
	x.next = b.to
}

// entry is the one that an event belongs to, made if need be. Events of a
// statement whose own event is missing still get one.
func (x *Index) entry(d digest) *Entry {
	if d.Statement != "" {
		if i, ok := x.byID[d.Statement]; ok {
			return &x.Entries[i]
		}
		x.byID[d.Statement] = len(x.Entries)
		x.Statements++
		x.Entries = append(x.Entries, Entry{Kind: recording.KindStatement, Number: x.Statements, ID: d.Statement, At: d.At})
	} else {
		x.Entries = append(x.Entries, Entry{Kind: d.Kind, At: d.At})
	}
	return &x.Entries[len(x.Entries)-1]
}

func (e *Entry) apply(d digest) {
	switch d.Kind {
	case recording.KindStatement:
		if d.SQL != nil {
			e.Verdict, e.Describe = VisibleLine(d.SQL.Verdict), d.SQL.Describe
			e.setTitle(d.SQL.Text)
			e.Truncated = e.Truncated || d.cut
		}
	case recording.KindDecision:
		if d.Decision != nil {
			e.Decision = VisibleLine(d.Decision.Outcome)
		}
	case recording.KindForwarded:
		e.Outcome = OutcomeForwarded
	case recording.KindRefused:
		e.Outcome = OutcomeRefused
	case recording.KindAborted:
		e.Outcome = OutcomeAborted
	case recording.KindResult:
		e.Outcome = OutcomeRan
		if d.Result != nil {
			e.Masked = len(d.Result.Masked) > 0
			if d.Result.Error != "" {
				e.Outcome = OutcomeFailed
			}
		}
	}
	if !e.Statement() {
		e.setTitle(d.title())
	}
}
