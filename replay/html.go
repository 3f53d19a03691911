package replay

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"
)

// The HTML report is one page without scripts, links to elsewhere, images or
// fonts: its policy forbids all of them, so that nothing recorded can load or
// run anything even if an escape were missed. The only style is its own, named
// by its hash.

//go:embed report.html
var reportHTML string

//go:embed report.css
var reportCSS string

// reportTemplates are the parts of the page, in the order they are written.
// html/template escapes all text for where it stands.
func reportTemplates() (*template.Template, error) {
	return template.New("report").Funcs(template.FuncMap{
		"clock": clock,
		"upper": strings.ToUpper,
		"tone":  func(t Tone) string { return toneClasses[min(int(t), len(toneClasses)-1)] },
	}).Parse(reportHTML)
}

var toneClasses = [...]string{ToneNormal: "normal", ToneGood: "good", ToneWarn: "warn", ToneBad: "bad", ToneDim: "dim"}

// reportHead is the data of the page's head.
type reportHead struct {
	Session string
	CSS     template.CSS
	Policy  string
	Facts   []Fact
	Summary string
	Opened  time.Time
	Marks   []reportMark
	Width   int
}

// reportMark is a piece of the timeline: the gravest thing that began in it.
type reportMark struct {
	X      int
	Class  string
	Title  string
	Target string // id of the entry it leads to
}

// reportEntry is one entry of the page.
type reportEntry struct {
	ID    string
	Entry Entry
	SQL   string
	Class string
	Facts []Fact
}

const reportWidth = 960 // pieces of the timeline

func (r *Recording) exportHTML(w io.Writer) error {
	t, err := reportTemplates()
	if err != nil {
		return err
	}
	x, err := r.Index()
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(reportCSS))
	head := reportHead{
		Session: VisibleLine(r.Session().ID),
		CSS:     template.CSS(reportCSS), //nolint:gosec // ours, embedded
		Policy: fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'",
			base64.StdEncoding.EncodeToString(digest[:])),
		Facts: append(r.SessionFacts(), ProofFacts(r.Report())...), Summary: x.Summary(),
		Marks: reportMarks(x.Entries), Width: reportWidth,
	}
	if len(x.Entries) > 0 {
		head.Opened = x.Entries[0].At
	}
	if err := t.ExecuteTemplate(w, "head", head); err != nil {
		return err
	}
	for i, e := range x.Entries {
		d, err := r.Detail(e)
		if err != nil {
			return err
		}
		if err := t.ExecuteTemplate(w, "entry", reportEntry{entryID(i), e, d.SQL(), entryClass(e), d.Facts()}); err != nil {
			return err
		}
	}
	return t.ExecuteTemplate(w, "foot", nil)
}

func entryID(i int) string { return fmt.Sprintf("e%d", i) }

// entryClass names what became of an entry: one of graveness.
func entryClass(e Entry) string {
	switch {
	case !e.Statement():
		return "other"
	case e.Denied():
		return "denied"
	case e.Held():
		return "held"
	}
	return "allowed"
}

// graveness lists the classes of entries, the gravest last.
var graveness = []string{"other", "allowed", "held", "denied"}

func graver(class, than string) bool {
	return slices.Index(graveness, class) > slices.Index(graveness, than)
}

// reportMarks lays the entries out on the timeline.
func reportMarks(entries []Entry) []reportMark {
	if len(entries) == 0 {
		return nil
	}
	from, to := entries[0].At, entries[0].At
	for _, e := range entries {
		if e.At.After(to) {
			to = e.At
		}
	}
	var at [reportWidth]*reportMark
	for i, e := range entries {
		x := 0
		if span := to.Sub(from); span > 0 {
			x = int(float64(max(e.At.Sub(from), 0)) / float64(span) * (reportWidth - 1))
		}
		m := reportMark{X: x, Class: entryClass(e), Title: clock(e.At) + " " + e.Title, Target: "#" + entryID(i)}
		if at[x] == nil || graver(m.Class, at[x].Class) {
			at[x] = &m
		}
	}
	var marks []reportMark
	for _, m := range at {
		if m != nil {
			marks = append(marks, *m)
		}
	}
	return marks
}
