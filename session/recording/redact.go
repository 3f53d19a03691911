package recording

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// ErrNotSealed means a recording cannot be redacted yet: it is not sealed, or its
// witness has not seen all of it.
var ErrNotSealed = errors.New("only a sealed recording that its witness has seen whole can be redacted")

// ErrNothing means that nothing was chosen to be redacted.
var ErrNothing = errors.New("there is nothing to redact")

// RedactOptions say what is taken out of a recording, and who says so.
type RedactOptions struct {
	By, Why     string // required
	Signer      note.Signer
	VerifierKey string // of Signer
	// Choose reports whether a text goes; seq is HeaderSeq for session.json.
	Choose func(seq int64, e Event, name, text string) bool
	Files  []string // to be removed: FileTerminal, FileRows
	Now    time.Time
	DryRun bool // only find out what would be taken out
}

// Redact takes texts out of the sealed recording in dir, and says so in
// redactions.jsonl. What the checkpoint and the witness signed still verifies.
// Redacting a text that was redacted before changes nothing.
//
// The account is on disk before anything is taken out: a crash in between leaves
// texts that no reader shows, and that the next Redact takes out.
func Redact(dir string, opt RedactOptions) (Redaction, error) {
	r, err := redact(dir, opt)
	if err != nil {
		return r, fmt.Errorf("redacting recording: %w", err)
	}
	return r, nil
}

func redact(dir string, opt RedactOptions) (r Redaction, err error) {
	f, err := os.OpenFile(filepath.Join(dir, FileEvents), os.O_RDWR, 0)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := lock(f); err != nil {
		return r, err
	}
	l, err := load(os.DirFS(dir), VerifyOptions{})
	if err != nil {
		return r, err
	}
	defer l.closer.Close() //nolint:errcheck // opened for reading
	if !l.report.Sealed || l.head.Witness != "" && l.report.Unwitnessed > 0 {
		return r, ErrNotSealed
	}
	if opt.By == "" || opt.Why == "" {
		return r, errors.New("it must say who, and why")
	}
	r = Redaction{At: opt.Now, By: opt.By, Why: opt.Why, Key: opt.VerifierKey, Size: l.report.Events, Root: l.report.Root}
	if r.Texts, err = l.choose(opt); err != nil {
		return r, err
	}
	for _, name := range opt.Files {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return r, err
		}
		r.Files = append(r.Files, name)
	}
	if len(r.Texts)+len(r.Files) == 0 {
		if len(l.redacted.all) == 0 || opt.DryRun {
			return r, ErrNothing
		}
		if err := l.applyRedactions(dir); err != nil { // an earlier one may have been cut short
			return r, err
		}
		return r, ErrNothing
	}
	if opt.DryRun {
		return r, nil
	}
	line, err := formatRedactionLine(l.head.Session.ID, r, opt.Signer)
	if err != nil {
		return r, err
	}
	if _, err := parseRedactionLine(line, l.head.Session.ID); err != nil {
		return r, err // what no reader takes must not be written
	}
	old, err := readNote(os.DirFS(dir), FileRedactions)
	if err != nil {
		return r, err
	}
	// Commit point: from here on no reader shows the texts. A crash before it leaves
	// the recording as it was.
	if err := replaceFile(dir, FileRedactions, append(append(old, line...), '\n')); err != nil {
		return r, err
	}
	l.redacted.add(r)
	return r, l.applyRedactions(dir)
}

// choose lists the texts that are there and that opt takes out. With any text of
// what a statement says go its digests, which would confirm a guess.
func (l *loader) choose(opt RedactOptions) ([]TextRef, error) {
	if opt.Choose == nil {
		return nil, nil
	}
	var refs, digests []TextRef
	of := map[TextRef]string{} // the statement that a digest is of
	said := map[string]bool{}  // statements with a text that goes
	look := func(seq int64, e Event) error {
		i := 0
		return e.eachText(false, func(name string, text *string) error {
			ref := TextRef{seq, i, name}
			switch {
			case e.openings[i].redacted():
			case opt.Choose(seq, e, name, *text):
				refs = append(refs, ref)
				said[e.Statement] = said[e.Statement] || strings.HasPrefix(name, "sql.")
			case name == "sql.digest" || name == "forwarded.digest":
				digests = append(digests, ref)
				of[ref] = e.Statement
			}
			i++
			return nil
		})
	}
	head := Event{Kind: KindSessionOpened, Session: &l.head.Session, openings: l.head.openings}
	if err := look(HeaderSeq, head.clone()); err != nil {
		return nil, err
	}
	for e, err := range l.Events() {
		if err != nil {
			return nil, err
		}
		if err := look(e.Seq, e); err != nil {
			return nil, err
		}
	}
	for _, ref := range digests {
		if said[of[ref]] {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, func(a, b TextRef) int { return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Index, b.Index)) })
	return refs, nil
}

// applyRedactions writes session.json and events.jsonl without what was redacted,
// and removes the files that were.
func (l *loader) applyRedactions(dir string) error {
	e := Event{Session: &l.head.Session, openings: l.head.openings}
	if err := e.takeOut(func(i int) bool { return l.redacted.texts[at(HeaderSeq, i)] || e.openings[i].redacted() }); err != nil {
		return err
	}
	head := l.head
	head.Session, head.openings = *e.Session, e.openings
	data, err := formatHeader(head)
	if err != nil {
		return err
	}
	if err := replaceFile(dir, FileSession, data); err != nil {
		return err
	}
	if err := l.rewriteEvents(dir); err != nil {
		return err
	}
	for _, r := range l.redacted.all {
		for _, name := range r.Files {
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return syncDir(dir)
}

// rewriteEvents replaces events.jsonl by one without the redacted texts.
func (l *loader) rewriteEvents(dir string) (err error) {
	tmp := filepath.Join(dir, "."+FileEvents+".new")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // in the recording's folder
	if err != nil {
		return err
	}
	out := bufio.NewWriter(f)
	var buf []byte
	for seq := range l.report.Events {
		line, lerr := l.line(seq, &buf)
		if lerr == nil {
			line, lerr = l.redacted.withoutTexts(seq, line)
		}
		if lerr != nil {
			return errors.Join(lerr, f.Close())
		}
		_, _ = out.Write(line) // Flush reports it
		_ = out.WriteByte('\n')
	}
	if err := errors.Join(out.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, FileEvents)); err != nil {
		return err
	}
	return syncDir(dir)
}

// withoutTexts is the line without the texts that were redacted.
func (x *redactions) withoutTexts(seq int64, line []byte) ([]byte, error) {
	if _, _, ok := splitTexts(line); !ok {
		return line, nil
	}
	e, err := ParseEvent(line)
	if err != nil {
		return nil, tampered(FileEvents, seq, "%v", err)
	}
	if left, err := x.check(FileEvents, seq, &e); left == 0 || err != nil {
		return line, err
	}
	return FormatEvent(e)
}

// gone reports whether a file was taken out whole.
func (x *redactions) gone(name string) bool {
	return slices.ContainsFunc(x.all, func(r Redaction) bool { return slices.Contains(r.Files, name) })
}
