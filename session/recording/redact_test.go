package recording

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

const secretText = "SELECT 'canary-7131'"

// redacted is a sealed recording, with a secret in events 3 and 4, from which it
// was redacted.
func redacted(t *testing.T) (f *fixture, before fstest.MapFS, trust VerifyOptions) {
	t.Helper()
	f = newFixture(t, func(o *Options) { o.Session.Reason = "canary-7131 again" })
	f.append(t, 2)
	for range 2 {
		e := statement(f.Size())
		e.SQL.Text, e.SQL.Unknown = secretText, []string{"canary-7131"}
		if _, err := f.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Append(t.Context(), Event{Kind: KindForwarded, Statement: "stmt-3", Forwarded: &ForwardedFacts{RequestID: "r", Digest: "d"}}); err != nil {
		t.Fatal(err)
	}
	f.append(t, 1)
	f.seal(t)
	before = copyOf(t, f.dir)
	if _, err := Redact(f.dir, f.redaction(t)); err != nil {
		t.Fatal(err)
	}
	return f, before, VerifyOptions{WitnessKeys: []string{f.srv.witness.Key()}}
}

func (f *fixture) redaction(t *testing.T) RedactOptions {
	t.Helper()
	signer, vkey := newKey(t, "jit-redaction")
	return RedactOptions{By: "dora", Why: "a customer asked for it", Signer: signer, VerifierKey: vkey, Now: start,
		Choose: func(_ int64, _ Event, _, text string) bool { return strings.Contains(text, "canary-7131") }}
}

func TestRedactKeepsTheLogVerifiable(t *testing.T) {
	f, before, trust := redacted(t)
	after := copyOf(t, f.dir)
	for name, file := range after {
		if bytes.Contains(file.Data, []byte("canary-7131")) {
			t.Errorf("%s still holds it", name)
		}
	}
	if !bytes.Equal(before[FileCheckpoint].Data, after[FileCheckpoint].Data) || !bytes.Equal(before[FileCosig].Data, after[FileCosig].Data) {
		t.Error("what was signed has changed")
	}
	rep, err := Verify(f.dir, trust)
	if err != nil {
		t.Fatal(err)
	}
	if !rep.Sealed || !rep.Trusted || rep.Unwitnessed != 0 || rep.Left != 0 || rep.Session.Reason != Redacted || len(rep.Redactions) != 1 {
		t.Errorf("report: %+v", rep)
	}
	if r := rep.Redactions[0]; r.By != "dora" || r.Why != "a customer asked for it" || !r.At.Equal(start) || len(r.Texts) != 2*3+1+3 {
		t.Errorf("redaction: %+v", r) // text, digest and unknown, twice; the digest that was sent; the reason in session.json, event 0 and the end
	}
	r, err := Open(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	e, err := r.Event(3)
	if err != nil {
		t.Fatal(err)
	}
	if got := e.RedactedTexts(); e.SQL.Text != Redacted || e.SQL.Verdict != "allow" || strings.Join(got, " ") != "sql.text sql.digest sql.unknown" {
		t.Errorf("event 3: %+v, redacted %v", e.SQL, got)
	}
	if e, err := r.Event(2); err != nil || e.SQL.Text != statement(2).SQL.Text {
		t.Errorf("event 2 is another one: %v, %+v", err, e.SQL)
	}
	if _, err := Redact(f.dir, f.redaction(t)); !errors.Is(err, ErrNothing) {
		t.Errorf("redacting it again: %v", err)
	}
}

// TestRedactTwice: a second redaction leaves the first one in force.
func TestRedactTwice(t *testing.T) {
	f, _, trust := redacted(t)
	again := f.redaction(t)
	again.Choose = func(seq int64, _ Event, name, _ string) bool { return seq == 1 && name == "sql.binds" }
	if _, err := Redact(f.dir, again); err != nil {
		t.Fatal(err)
	}
	rep, err := Verify(f.dir, trust)
	if err != nil || len(rep.Redactions) != 2 {
		t.Fatalf("%v, %+v", err, rep.Redactions)
	}
	r, err := Open(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if e, err := r.Event(1); err != nil || string(e.SQL.Binds) != `"`+Redacted+`"` || e.SQL.Text != statement(1).SQL.Text {
		t.Errorf("%v, %+v", err, e.SQL)
	}
}

// TestRedactionAttacks: who has the folder can take out no more than texts, and
// those not unseen; and can put back nothing else.
func TestRedactionAttacks(t *testing.T) {
	f, before, trust := redacted(t)
	after := copyOf(t, f.dir)
	sealed := clone(before)
	signer, vkey := newKey(t, "jit-redaction")
	sign := func(m fstest.MapFS, change func(*Redaction)) {
		rep, err := OpenFS(sealed, trust)
		if err != nil {
			t.Fatal(err)
		}
		r := Redaction{At: start, By: "mallory", Why: "none", Key: vkey, Size: rep.Report().Events, Root: rep.Report().Root}
		change(&r)
		line, err := formatRedactionLine("s1", r, signer)
		if err != nil {
			t.Fatal(err)
		}
		m[FileRedactions] = &fstest.MapFile{Data: append(line, '\n')}
	}
	replace := func(m fstest.MapFS, name, from, to string) {
		if !bytes.Contains(m[name].Data, []byte(from)) {
			t.Fatalf("%s does not hold %s", name, from)
		}
		m[name].Data = bytes.Replace(m[name].Data, []byte(from), []byte(to), 1)
	}
	firstText := func(m fstest.MapFS, n int) string { // the first opening of line n
		_, texts, _ := splitTexts(lines(m)[n])
		return string(texts[1 : bytes.IndexByte(texts, ']')+1])
	}
	for name, tt := range map[string]struct {
		from    fstest.MapFS
		do      func(m fstest.MapFS)
		segment string
		event   int64
	}{
		"another text in place of a redacted one": {after, func(m fstest.MapFS) {
			ls := lines(m)
			ls[3] = bytes.Replace(ls[3], []byte(`"texts":[null`), []byte(`"texts":[["AAAAAAAAAAAAAAAAAAAAAA==","SELECT 1"]`), 1)
			m[FileEvents].Data = join(ls)
		}, FileEvents, 3},
		"another text with the true salt": {before, func(m fstest.MapFS) { replace(m, FileEvents, secretText, "SELECT 'nothing'") }, FileEvents, 3},
		"a text taken out unsaid":         {before, func(m fstest.MapFS) { replace(m, FileEvents, firstText(m, 2), "null") }, FileEvents, 2},
		"the reason taken out unsaid":     {after, func(m fstest.MapFS) { delete(m, FileRedactions) }, FileSession, -1},
		"one more text than was said":     {after, func(m fstest.MapFS) { replace(m, FileEvents, firstText(m, 2), "null") }, FileEvents, 2},
		"a verdict":                       {after, func(m fstest.MapFS) { replace(m, FileEvents, `"verdict":"allow"`, `"verdict":"deny"`) }, FileEvents, 1},
		"a verdict made a commitment": {before, func(m fstest.MapFS) {
			o := opening{text: "allow"}
			replace(m, FileEvents, `"verdict":"allow"`, `"verdict":"`+o.commit()+`"`)
			sign(m, func(r *Redaction) { r.Texts = []TextRef{{Seq: 1}} })
		}, FileEvents, 1},
		"the openings of two events swapped": {before, func(m fstest.MapFS) {
			ls := lines(m)
			a, b := bytes.Index(ls[1], []byte(textsMark)), bytes.Index(ls[2], []byte(textsMark))
			one, two := bytes.Clone(ls[1][a:]), bytes.Clone(ls[2][b:])
			ls[1], ls[2] = append(ls[1][:a:a], two...), append(ls[2][:b:b], one...)
			m[FileEvents].Data = join(ls)
		}, FileEvents, 1},
		"a redaction with a letter changed": {after, func(m fstest.MapFS) { replace(m, FileRedactions, "dora", "dori") }, FileRedactions, 0},
		"a redaction cut short":             {after, func(m fstest.MapFS) { m[FileRedactions].Data = m[FileRedactions].Data[:40] }, FileRedactions, 0},
		"a redaction without its newline":   {after, func(m fstest.MapFS) { m[FileRedactions].Data = bytes.TrimSuffix(m[FileRedactions].Data, []byte("\n")) }, FileRedactions, 1},
		"a redaction of another log":        {before, func(m fstest.MapFS) { sign(m, func(r *Redaction) { r.Root[0]++ }) }, FileRedactions, 0},
		"a redaction that gives no reason":  {before, func(m fstest.MapFS) { sign(m, func(r *Redaction) { r.Why = "" }) }, FileRedactions, 0},
		"a redaction of the log itself":     {before, func(m fstest.MapFS) { sign(m, func(r *Redaction) { r.Files = []string{FileEvents} }) }, FileRedactions, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := clone(tt.from)
			tt.do(m)
			dir := unpack(t, m)
			_, err := Verify(dir, trust)
			var te *TamperError
			if !errors.As(err, &te) || te.Segment != tt.segment || te.Event != tt.event {
				t.Errorf("got %v, want a TamperError of %s at %d", err, tt.segment, tt.event)
			}
			needPython(t)
			if rep, err := python(t, dir, f.srv.witness.Key()); err == nil {
				t.Errorf("verify.py accepted it: %+v", rep)
			}
		})
	}
}

func unpack(t *testing.T, m fstest.MapFS) string {
	t.Helper()
	dir := t.TempDir()
	for name, f := range m {
		if err := os.WriteFile(filepath.Join(dir, name), f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRedactCutShort: the account is written and nothing is taken out yet. No
// reader shows the texts, verify counts them, and the next redaction finishes.
func TestRedactCutShort(t *testing.T) {
	f, before, trust := redacted(t)
	m := clone(before)
	data, err := os.ReadFile(filepath.Join(f.dir, FileRedactions))
	if err != nil {
		t.Fatal(err)
	}
	m[FileRedactions] = &fstest.MapFile{Data: data}
	dir := unpack(t, m)
	rep, err := Verify(dir, trust)
	if err != nil || rep.Left != 10 || rep.Session.Reason != Redacted {
		t.Fatalf("%v: %+v", err, rep)
	}
	needPython(t)
	if theirs, err := python(t, dir, f.srv.witness.Key()); err != nil || theirs.Left != 10 || theirs.Redacted != 0 {
		t.Errorf("verify.py: %v, %+v", err, theirs)
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	e, err := r.Event(3)
	if cerr := r.Close(); err != nil || cerr != nil || e.SQL.Text != Redacted {
		t.Fatalf("%v, %v, %+v", err, cerr, e.SQL)
	}
	if _, err := Redact(dir, f.redaction(t)); !errors.Is(err, ErrNothing) {
		t.Fatal(err)
	}
	events, err := os.ReadFile(filepath.Join(dir, FileEvents))
	if err != nil || bytes.Contains(events, []byte("canary")) {
		t.Errorf("%v; it is still there", err)
	}
	if rep, err := Verify(dir, trust); err != nil || rep.Left != 0 {
		t.Errorf("%v: %+v", err, rep)
	}
}

func TestRedactRefuses(t *testing.T) {
	open := newFixture(t)
	open.append(t, 1)
	if _, err := Redact(open.dir, open.redaction(t)); !errors.Is(err, ErrBusy) {
		t.Errorf("a session that is running: %v", err)
	}
	open.srv.setDown(true)
	if err := open.Seal(t.Context()); !errors.Is(err, ErrPending) {
		t.Fatal(err)
	}
	if _, err := Redact(open.dir, open.redaction(t)); !errors.Is(err, ErrNotSealed) {
		t.Errorf("one that the witness has not seen: %v", err)
	}
	f, _, _ := redacted(t)
	opt := f.redaction(t)
	opt.Why, opt.Choose = "", func(int64, Event, string, string) bool { return true }
	if _, err := Redact(f.dir, opt); err == nil {
		t.Error("it gives no reason")
	}
	opt.Why, opt.Files = "because", []string{FileTerminal}
	if _, err := Redact(f.dir, opt); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
