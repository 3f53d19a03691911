package replay

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/jit-access/jit/session/recording"
)

// WriteOptions narrow what is written.
type WriteOptions struct {
	Filter Filter
	Query  *Query // nil: everything
}

// WritePlain writes the recording as text for pipes and screen readers: no
// colour, no cursor movement, one statement after the other.
func WritePlain(w io.Writer, r *Recording, opt WriteOptions) error {
	var text strings.Builder
	for _, f := range append(r.SessionFacts(), ProofFacts(r.Report())...) {
		writeFact(&text, "", f)
	}
	text.WriteByte('\n')
	out := bufio.NewWriter(w)
	apart := false // a statement stands between blank lines
	err := r.each(opt, func(d Detail) error {
		if d.Entry.Statement() || apart {
			text.WriteByte('\n')
		}
		apart = d.Entry.Statement()
		writeEntry(&text, d)
		_, err := out.WriteString(text.String())
		text.Reset()
		return err
	})
	if err != nil {
		return err
	}
	if _, err := out.WriteString(text.String()); err != nil { // the head, if nothing passed
		return err
	}
	return out.Flush()
}

// WriteJSON writes the events as they are recorded, one JSON object per line,
// those of one statement together.
func WriteJSON(w io.Writer, r *Recording, opt WriteOptions) error {
	out := bufio.NewWriter(w)
	err := r.each(opt, func(d Detail) error {
		for _, seq := range d.Entry.Events {
			line, err := r.line(int64(seq))
			if err != nil {
				return err
			}
			if _, err := out.Write(append(line, '\n')); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

// each calls do for every entry that passes.
func (r *Recording) each(opt WriteOptions, do func(Detail) error) error {
	x, err := r.Index()
	if err != nil {
		return err
	}
	for _, e := range x.Entries {
		if !opt.Filter.Keep(e) {
			continue
		}
		d, err := r.Detail(e)
		if err != nil {
			return err
		}
		if opt.Query != nil && !opt.Query.Match(d) {
			continue
		}
		if err := do(d); err != nil {
			return err
		}
	}
	return nil
}

// SessionFacts says whose session it was, where and why.
func (r *Recording) SessionFacts() []Fact {
	var f facts
	sessionFacts(&f, r.Session())
	return f
}

// ProofFacts says what is proven about a recording.
func ProofFacts(p recording.Report) []Fact {
	var f facts
	switch {
	case p.Sealed && p.Recovered:
		f.add("recording", fmt.Sprintf("%s; sealed by a later run: the process that recorded it died, its own signature covers %d", plural(p.Events, "event"), p.Signed), ToneWarn)
	case p.Sealed:
		f.add("recording", plural(p.Events, "event")+", sealed", ToneGood)
	default:
		f.add("recording", plural(p.Events, "event")+", not sealed: it is still running, or was cut off; what came after cannot be known", ToneWarn)
	}
	f.add("root", p.Root.String(), ToneDim)
	f.add("signed by", p.Key, ToneDim)
	for _, c := range p.Cosigned {
		text := fmt.Sprintf("%s, %d of %d events", c.Name, c.Size, p.Events+p.Tail)
		if !c.At.IsZero() {
			text += ", at " + c.At.Format("2006-01-02 15:04:05") + " UTC"
		}
		f.add("witness", text, ToneGood)
	}
	if !p.Trusted {
		f.add("trust", "checked with the keys it names itself only: that shows that it is whole, not that it is genuine", ToneWarn)
	}
	if p.Unwitnessed > 0 {
		f.add("unwitnessed", plural(p.Unwitnessed, "event")+" that no known witness covers", ToneWarn)
	}
	if p.Tail > 0 {
		f.add("unsigned", plural(p.Tail, "event")+" after the last signature, not shown", ToneWarn)
	}
	if p.Torn > 0 {
		f.add("torn", plural(p.Torn, "byte")+" of an unfinished event at the end", ToneWarn)
	}
	for _, r := range p.Redactions {
		what := plural(int64(len(r.Texts)), "text")
		if len(r.Files) > 0 {
			what += " and " + strings.Join(r.Files, ", ")
		}
		f.add("redacted", fmt.Sprintf("%s, at %s UTC by %s: %s (signed by %s)", what, r.At.UTC().Format("2006-01-02 15:04:05"), r.By, r.Why, r.Key), ToneWarn)
	}
	if p.Left > 0 {
		f.add("left", plural(p.Left, "text")+" that was redacted is still in the files: redact again to finish", ToneBad)
	}
	return f
}

func writeEntry(w *strings.Builder, d Detail) {
	e := d.Entry
	if !e.Statement() {
		fmt.Fprintf(w, "%s  %s\n", clock(e.At), e.Title)
		return
	}
	fmt.Fprintf(w, "%s  #%d %s, %s\n", clock(e.At), e.Number, strings.ToUpper(e.Verdict), e.Summary())
	writeFact(w, "  ", Fact{Label: "sql", Text: d.SQL()})
	for _, f := range d.Facts() {
		writeFact(w, "  ", f)
	}
}

func writeFact(w *strings.Builder, indent string, f Fact) {
	for i, line := range strings.Split(f.Text, "\n") {
		label := f.Label
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(w, "%s%-12s %s\n", indent, label, line)
	}
}

// Summary is how the statement went, in a few words.
func (e Entry) Summary() string {
	var parts []string
	if e.Decision != "" {
		parts = append(parts, e.Decision)
	}
	parts = append(parts, e.Outcome.String())
	if e.Masked {
		parts = append(parts, "masked")
	}
	return strings.Join(parts, ", ")
}
