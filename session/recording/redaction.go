package recording

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const formatRedaction = "jit redaction v1"

// HeaderSeq stands for session.json where texts are named by their events.
const HeaderSeq = -1

// TextRef names one text: the Index-th, from 0, of event Seq.
type TextRef struct {
	Seq   int64
	Index int
	Name  string // which text it is, such as sql.text; empty where that is not known
}

func at(seq int64, index int) TextRef { return TextRef{Seq: seq, Index: index} }

// Redaction is the signed account of texts that were taken out of a recording:
// who, when and why. It binds to the log, not to the texts.
type Redaction struct {
	At    time.Time
	By    string // as the signer says
	Why   string
	Texts []TextRef
	Files []string  // removed whole: FileTerminal, FileRows
	Key   string    // verifier key of the signer
	Size  int64     // events of the log
	Root  tlog.Hash // of that many
}

// redactionLine is a Redaction as one line of redactions.jsonl. The signature is
// over the bytes before ,"sig":.
type redactionLine struct {
	Format  string     `json:"format"`
	Session string     `json:"session"`
	Size    int64      `json:"size"`
	Root    string     `json:"root"`
	At      time.Time  `json:"at"`
	By      string     `json:"by"`
	Why     string     `json:"why"`
	Texts   [][2]int64 `json:"texts,omitempty"`
	Files   []string   `json:"files,omitempty"`
	Key     string     `json:"key"`
	Sig     string     `json:"sig"` // base64 of what the key signed
}

const sigMark = `,"sig":"`

// formatRedactionLine signs r, for the session's log, as a line without newline.
func formatRedactionLine(sessionID string, r Redaction, signer note.Signer) ([]byte, error) {
	l := redactionLine{Format: formatRedaction, Session: sessionID, Size: r.Size, Root: r.Root.String(),
		At: r.At.UTC().Round(0), By: r.By, Why: r.Why, Files: r.Files, Key: r.Key}
	for _, t := range r.Texts {
		l.Texts = append(l.Texts, [2]int64{t.Seq, int64(t.Index)})
	}
	unsigned, err := marshal(l)
	if err != nil {
		return nil, err
	}
	signed, _, _ := bytes.Cut(unsigned, []byte(sigMark))
	sig, err := signer.Sign(signed)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	l.Sig = base64.StdEncoding.EncodeToString(sig)
	return marshal(l)
}

// parseRedactionLine reads a line that its own key signed.
func parseRedactionLine(line []byte, sessionID string) (Redaction, error) {
	var l redactionLine
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return Redaction{}, err
	}
	again, err := marshal(l)
	if err != nil || !bytes.Equal(again, line) {
		return Redaction{}, errors.New("not in canonical form")
	}
	v, err := newVerifier(l.Key)
	if err != nil {
		return Redaction{}, err
	}
	sig, err := base64.StdEncoding.DecodeString(l.Sig)
	signed, _, _ := bytes.Cut(line, []byte(sigMark))
	if err != nil || !v.Verify(signed, sig) {
		return Redaction{}, errors.New("its signature is wrong")
	}
	root, err := tlog.ParseHash(l.Root)
	switch {
	case l.Format != formatRedaction:
		return Redaction{}, fmt.Errorf("format %q is not %q", l.Format, formatRedaction)
	case l.Session != sessionID:
		return Redaction{}, fmt.Errorf("it is of session %q", l.Session)
	case err != nil || l.Size < 1:
		return Redaction{}, errors.New("malformed root or size")
	case l.By == "" || l.Why == "":
		return Redaction{}, errors.New("it does not say who, or why")
	}
	r := Redaction{At: l.At, By: l.By, Why: l.Why, Files: l.Files, Key: l.Key, Size: l.Size, Root: root}
	for _, t := range l.Texts {
		if t[0] < HeaderSeq || t[0] >= l.Size || t[1] < 0 || t[1] > MaxEvent {
			return Redaction{}, errors.New("it names a text of no event")
		}
		r.Texts = append(r.Texts, at(t[0], int(t[1])))
	}
	for _, name := range r.Files {
		if name != FileTerminal && name != FileRows {
			return Redaction{}, fmt.Errorf("%q cannot be redacted", name)
		}
	}
	return r, nil
}

// redactions is what was taken out of a recording.
type redactions struct {
	all   []Redaction
	texts map[TextRef]bool
}

// loadRedactions reads redactions.jsonl, if there is one.
func (l *loader) loadRedactions(fsys fs.FS) error {
	data, err := readNote(fsys, FileRedactions)
	if err != nil || data == nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, MaxEvent)
	for n := int64(0); lines.Scan(); n++ {
		r, err := parseRedactionLine(lines.Bytes(), l.head.Session.ID)
		if err == nil && (r.Size > l.tree.size || l.rootAt(r.Size) != r.Root) {
			err = errors.New("it is of another log")
		}
		if err != nil {
			return tampered(FileRedactions, n, "%v", err)
		}
		l.redacted.add(r)
	}
	if lines.Err() != nil || len(data) == 0 || data[len(data)-1] != '\n' {
		return tampered(FileRedactions, int64(len(l.redacted.all)), "its last line is unfinished")
	}
	l.report.Redactions = l.redacted.all
	return nil
}

func (x *redactions) add(r Redaction) {
	x.all = append(x.all, r)
	if x.texts == nil {
		x.texts = map[TextRef]bool{}
	}
	for _, t := range r.Texts {
		x.texts[at(t.Seq, t.Index)] = true
	}
}

// check compares what is missing from an event with what was redacted: nothing
// may be missing that no redaction names. A text that should be gone and is not,
// since a redaction was cut short, is taken out here; it returns how many.
func (x *redactions) check(segment string, seq int64, e *Event) (left int, err error) {
	for i := range e.openings {
		named := x.texts[at(seq, i)]
		switch gone := e.openings[i].redacted(); {
		case gone && !named:
			return 0, tampered(segment, seq, "%s was taken out, and no redaction says so", e.textNames()[i])
		case !gone && named:
			left++
		}
	}
	if left == 0 {
		return 0, nil
	}
	return left, e.takeOut(func(i int) bool { return x.texts[at(seq, i)] })
}

// takeOut redacts the texts that gone names by their index.
func (e *Event) takeOut(gone func(i int) bool) error {
	openings := slices.Clone(e.openings)
	for i, o := range openings {
		if gone(i) {
			openings[i] = opening{commitment: o.commit()}
		}
	}
	sealed, _, err := e.seal()
	if err != nil {
		return err
	}
	*e = sealed
	return e.unseal(openings)
}
