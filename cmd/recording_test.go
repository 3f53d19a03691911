package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// recorder makes recordings in an App's state folder, cosigned by one server.
type recorder struct {
	t       *testing.T
	app     *App
	out     *bytes.Buffer
	errs    *bytes.Buffer
	witness *recording.Witness
	n       int
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	skey, _, err := recording.NewWitnessKey("witness.test")
	if err != nil {
		t.Fatal(err)
	}
	w, err := recording.NewWitness(skey)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{t: t, out: &bytes.Buffer{}, errs: &bytes.Buffer{}, witness: w}
	r.app = &App{In: strings.NewReader(""), Out: r.out, Err: r.errs, Getenv: func(string) string { return "" }, Now: time.Now,
		Logger: slog.New(slog.DiscardHandler), Paths: Paths{Config: t.TempDir(), State: t.TempDir()}}
	return r
}

// record makes a recording with one statement of each verdict. Its files are
// also what the server has.
func (r *recorder) record(id string, witnessed bool) (server map[string][]byte) {
	r.t.Helper()
	server = map[string][]byte{}
	skey, vkey, err := recording.NewKey("jit-session")
	if err != nil {
		r.t.Fatal(err)
	}
	signer, err := recording.NewSigner(skey)
	if err != nil {
		r.t.Fatal(err)
	}
	opt := recording.Options{Session: recording.SessionFacts{ID: id, Principal: "p", Email: "ana@example.test", Connection: "prod"},
		Signer: signer, VerifierKey: vkey, Interval: time.Hour}
	if witnessed {
		opt.WitnessKey = r.witness.Key()
		opt.Upload = func(_ context.Context, file string, offset int64, data []byte) error {
			server[file] = append(server[file][:offset], data...)
			return nil
		}
		opt.Witness = func(_ context.Context, cp []byte) ([]byte, error) {
			_, cosigned, err := r.witness.Observe(recording.Observation{SessionID: id, SessionKey: vkey, Checkpoint: cp,
				Events: bytes.NewReader(server[recording.FileEvents]), Now: time.Now()})
			server[recording.FileCosig] = cosigned
			return cosigned, err
		}
	}
	w, err := recording.Create(filepath.Join(r.app.Paths.Recordings(), id), opt)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, verdict := range []string{"allow", "hold", "deny"} {
		_, err := w.Append(context.Background(), recording.Event{Kind: recording.KindStatement, Statement: fmt.Sprintf("s%d", i),
			SQL: &recording.StatementFacts{Text: "SELECT '" + verdict + "\x1b[2J'", Kinds: []string{"SELECT"}, Verdict: verdict, Rule: "r"}})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	if err := w.Seal(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	// Files of one test are made within one tick of a coarse clock.
	r.n++
	at := time.Now().Add(time.Duration(r.n) * time.Minute)
	if err := os.Chtimes(filepath.Join(r.app.Paths.Recordings(), id, recording.FileSession), at, at); err != nil {
		r.t.Fatal(err)
	}
	return server
}

// run runs one command line and returns what it printed.
func (r *recorder) run(args ...string) (stdout, stderr string, code ExitCode) {
	r.t.Helper()
	r.out.Reset()
	r.errs.Reset()
	root := &cobra.Command{Use: "jit", SilenceErrors: true, SilenceUsage: true}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%w", err) })
	root.AddCommand(newReplayCommand(r.app), newRecordingCommand(r.app), newAuditCommand(r.app), newGCCommand(r.app))
	markUsage(root)
	root.SetArgs(args)
	code = r.app.report(root.ExecuteContext(r.t.Context()))
	return r.out.String(), r.errs.String(), code
}

func (r *recorder) trust() {
	r.t.Helper()
	if err := r.app.rememberWitness("https://jit.test", r.witness.Key(), time.Now()); err != nil {
		r.t.Fatal(err)
	}
}

// change replaces text in a file of a recording.
func (r *recorder) change(id, file, from, to string) {
	r.t.Helper()
	path := filepath.Join(r.app.Paths.Recordings(), id, file)
	data, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	changed := bytes.Replace(data, []byte(from), []byte(to), 1)
	if bytes.Equal(changed, data) {
		r.t.Fatalf("%s does not hold %q", file, from)
	}
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in:\n%s", w, text)
		}
	}
}

func TestRecordingVerify(t *testing.T) {
	r := newRecorder(t)
	r.record("ses_1", true)

	out, _, code := r.run("recording", "verify", "ses_1")
	if code != ExitOK {
		t.Fatalf("exit %d", code)
	}
	contains(t, out, "5 events, sealed", "not that it is genuine")

	r.trust()
	out, _, code = r.run("recording", "verify", "ses_1")
	if code != ExitOK || strings.Contains(out, "genuine") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	contains(t, out, "witness.test, 5 of 5 events")

	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("# the server\nhttps://jit.test "+r.witness.Key()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(r.app.Paths.Recordings(), "ses_1")
	for _, args := range [][]string{{folder}, {filepath.Join(folder, recording.FileEvents)}, {"ses_"}, {}, {folder, "--witness-key", keys}} {
		if _, errs, code := r.run(append([]string{"recording", "verify"}, args...)...); code != ExitOK {
			t.Errorf("%q: exit %d: %s", args, code, errs)
		}
	}

	out, _, code = r.run("recording", "verify", "ses_1", "--json")
	var doc verifyDoc
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != ExitOK {
		t.Fatalf("exit %d, %v", code, err)
	}
	if !doc.OK || !doc.Trusted || !doc.Sealed || doc.Events != 5 || doc.Unwitnessed != 0 || len(doc.Cosigned) != 1 || doc.Cosigned[0].Events != 5 {
		t.Errorf("doc = %+v", doc)
	}
}

func TestRecordingVerifyNamesTheChange(t *testing.T) {
	r := newRecorder(t)
	r.trust()
	r.record("ses_1", true)
	r.change("ses_1", recording.FileEvents, "SELECT 'hold", "SELECT 'hole")

	_, errs, code := r.run("recording", "verify", "ses_1")
	if code != ExitError {
		t.Errorf("exit %d, want 1", code)
	}
	contains(t, errs, "events.jsonl has been changed at event 2", "it is evidence")

	out, _, code := r.run("recording", "verify", "ses_1", "--json")
	var doc verifyDoc
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != ExitError {
		t.Fatalf("exit %d, %v", code, err)
	}
	if doc.OK || doc.Segment != recording.FileEvents || doc.Event == nil || *doc.Event != 2 {
		t.Errorf("doc = %+v", doc)
	}
	for _, args := range [][]string{{"replay", "ses_1"}, {"replay", "ses_1", "--json"}, {"recording", "show", "ses_1"}, {"recording", "seal", "ses_1", "--offline"}} {
		if out, _, code := r.run(args...); code != ExitError || out != "" {
			t.Errorf("%q: exit %d, printed %q", args, code, out)
		}
	}
	out, _, _ = r.run("recording", "list")
	contains(t, out, "changed")
}

// TestRecordingOfAnUnknownWitness: with known servers, a recording that none of
// them witnessed does not pass; it can be looked at, and says so.
func TestRecordingOfAnUnknownWitness(t *testing.T) {
	r := newRecorder(t)
	r.trust()
	r.record("ses_1", false)
	_, errs, code := r.run("recording", "verify", "ses_1")
	if code != ExitError {
		t.Errorf("exit %d, want 1", code)
	}
	contains(t, errs, "cosig", "--own-keys")
	if _, errs, code := r.run("recording", "verify", "ses_1", "--own-keys"); code != ExitOK {
		t.Errorf("with --own-keys: exit %d: %s", code, errs)
	}
	out, _, code := r.run("replay", "ses_1")
	if code != ExitOK {
		t.Errorf("replay: exit %d", code)
	}
	contains(t, out, "not that it is genuine", "no known witness covers")
}

// TestRecordingPutBack: an older state of the whole folder looks like a crash,
// until the server says what it witnessed.
func TestRecordingPutBack(t *testing.T) {
	r := newRecorder(t)
	files := serverFiles(r.record("ses_1", true))
	dir := filepath.Join(r.app.Paths.Recordings(), "ses_1")
	note, err := askWitness(context.Background(), files, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := recording.Verify(dir, recording.VerifyOptions{Cosig: note}); err != nil {
		t.Errorf("the recording as it is: %v", err)
	}
	events, err := os.ReadFile(filepath.Join(dir, recording.FileEvents))
	if err != nil {
		t.Fatal(err)
	}
	events = events[:bytes.LastIndexByte(events[:len(events)-1], '\n')+1]
	if err := os.WriteFile(filepath.Join(dir, recording.FileEvents), events, 0o600); err != nil {
		t.Fatal(err)
	}
	var tamper *recording.TamperError
	if _, err := recording.Verify(dir, recording.VerifyOptions{Cosig: note}); !errors.As(err, &tamper) || tamper.Event != 4 {
		t.Errorf("an older state: %v, want a TamperError at event 4", err)
	}
}

func TestRecordingBadInput(t *testing.T) {
	r := newRecorder(t)
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("not a key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := r.run("replay"); code != ExitError || !strings.Contains(errs, "no recording on this machine yet") {
		t.Errorf("replay of nothing: exit %d: %s", code, errs)
	}
	r.record("ses_1", true)
	r.record("ses_2", true)
	tests := []struct {
		args []string
		code ExitCode
		says string
	}{
		{[]string{"recording", "verify", "nope"}, ExitError, "recording fetch"},
		{[]string{"recording", "verify", "ses_"}, ExitUsage, "ses_2, ses_1"},
		{[]string{"recording", "verify", t.TempDir()}, ExitError, "is a folder with"},
		{[]string{"recording", "verify", "ses_1", "--witness-key", "nowhere"}, ExitUsage, "--witness-key"},
		{[]string{"recording", "verify", "ses_1", "--witness-key", bad}, ExitUsage, "ask the server's administrator"},
		{[]string{"recording", "verify", "ses_1", "--witness-key", empty}, ExitUsage, "no key"},
		{[]string{"recording", "verify", "a", "b"}, ExitUsage, "--help"},
		{[]string{"replay", "ses_1", "--only", "nice"}, ExitUsage, "held, denied"},
		{[]string{"replay", "ses_1", "--search", "table:"}, ExitUsage, "missing"},
		{[]string{"replay", "../../etc"}, ExitError, "no recording"},
	}
	for _, tt := range tests {
		_, errs, code := r.run(tt.args...)
		if code != tt.code || !strings.Contains(errs, tt.says) {
			t.Errorf("%q: exit %d, %s; want %d and %q", tt.args, code, errs, tt.code, tt.says)
		}
	}
}

func TestReplayPrints(t *testing.T) {
	r := newRecorder(t)
	r.record("ses_1", true)
	r.record("ses_2", true)
	out, _, code := r.run("replay")
	if code != ExitOK || strings.ContainsRune(out, 0x1b) {
		t.Errorf("exit %d:\n%q", code, out)
	}
	contains(t, out, "ses_2", "#1 ALLOW", "#2 HOLD", "#3 DENY", "‹U+001B›")

	out, _, _ = r.run("replay", "ses_1", "--only", "held,denied")
	if strings.Contains(out, "#1 ") || !strings.Contains(out, "#2 ") || !strings.Contains(out, "#3 ") {
		t.Errorf("--only printed:\n%s", out)
	}
	out, _, _ = r.run("replay", "ses_1", "--search", "verdict:deny")
	if strings.Contains(out, "#2 ") || !strings.Contains(out, "#3 ") {
		t.Errorf("--search printed:\n%s", out)
	}
	out, _, code = r.run("replay", "ses_1", "--json")
	if n := strings.Count(out, "\n"); code != ExitOK || n != 5 {
		t.Errorf("exit %d, %d lines", code, n)
	}
	out, _, _ = r.run("recording", "show", "ses_1")
	contains(t, out, "3 statements, 1 allowed, 1 held, 1 denied", "ana@example.test")
	out, _, _ = r.run("recording", "list", "--json")
	var rows []recordingRow
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 2 || rows[0].ID != "ses_2" || rows[0].State != stateSealed || rows[0].Events != 5 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestRecordingSeal(t *testing.T) {
	r := newRecorder(t)
	_, errs, code := r.run("recording", "seal", "--offline")
	if code != ExitOK || !strings.Contains(errs, "Nothing to seal") {
		t.Errorf("exit %d: %s", code, errs)
	}
	r.record("ses_1", false)
	own := r.app.Paths.Recordings()
	end := running(t, filepath.Join(own, "ses_2"))
	// A copy of a recording under way, with half a line more, is what a crash leaves.
	if err := os.CopyFS(filepath.Join(own, "ses_3"), os.DirFS(filepath.Join(own, "ses_2"))); err != nil {
		t.Fatal(err)
	}
	r.change("ses_3", recording.FileEvents, "}\n", "}\n{\"seq\":1,\"pr")
	_, errs, code = r.run("recording", "seal", "--offline")
	if code != ExitOK {
		t.Errorf("exit %d", code)
	}
	contains(t, errs, "ses_2 is still being recorded", "ses_3 is sealed: 2 events", "12 bytes of an unfinished line")
	end()
	if _, errs, code = r.run("recording", "seal", "ses_1", "--offline"); code != ExitOK || !strings.Contains(errs, "sealed already") {
		t.Errorf("a sealed one: exit %d: %s", code, errs)
	}
	out, _, _ := r.run("recording", "list", "--json")
	var rows []recordingRow
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for _, row := range rows {
		states[row.ID] = row.State
	}
	if states["ses_1"] != stateUnwitnessed || states["ses_2"] != stateUnwitnessed || states["ses_3"] != stateUnwitnessed {
		t.Errorf("states: %v", states)
	}
	out, _, _ = r.run("replay", "ses_3")
	contains(t, out, "the process that recorded it died")
}

// lateServer takes the rest of a recording, once it is up.
type lateServer struct {
	*recorder
	key   string // the session's
	up    bool
	files map[string][]byte
}

func (l *lateServer) Upload(_ context.Context, file string, offset int64, data []byte) error {
	if !l.up {
		return session.ErrUnavailable
	}
	l.files[file] = append(l.files[file][:offset], data...)
	return nil
}

func (l *lateServer) Cosign(_ context.Context, cp []byte) ([]byte, error) {
	_, cosigned, err := l.witness.Observe(recording.Observation{SessionID: "ses_2", SessionKey: l.key, Checkpoint: cp,
		Events: bytes.NewReader(l.files[recording.FileEvents]), Now: time.Now(), Recovery: true})
	return cosigned, err
}

// TestRecordingSealSends: a crashed recording is sealed, and sent when the
// server is back.
func TestRecordingSealSends(t *testing.T) {
	r := newRecorder(t)
	r.trust()
	own := r.app.Paths.Recordings()
	elsewhere := filepath.Join(t.TempDir(), "ses_2")
	end := running(t, elsewhere)
	defer end()
	if err := os.CopyFS(filepath.Join(own, "ses_2"), os.DirFS(elsewhere)); err != nil {
		t.Fatal(err)
	}
	rec, err := recording.Open(filepath.Join(own, "ses_2"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &lateServer{recorder: r, key: rec.Report().Key, files: map[string][]byte{}}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	s := &sealer{a: r.app, wait: sendTime, target: func(string) recordingTarget { return srv }}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // one try
	if err := s.all(ctx); !errors.Is(err, recording.ErrPending) || !errors.Is(err, session.ErrUnavailable) {
		t.Fatalf("with the server down: %v, want ErrPending", err)
	}
	if row := r.app.recordingRow("ses_2"); row.State != stateUnwitnessed {
		t.Errorf("state %q", row.State)
	}
	srv.up = true
	if err := s.all(context.Background()); err != nil {
		t.Fatal(err)
	}
	if row := r.app.recordingRow("ses_2"); row.State != stateRecovered {
		t.Errorf("state %q", row.State)
	}
	contains(t, r.errs.String(), "is sealed: 2 events", "the server has all of it")
}

// running starts a recording, which the returned func seals.
func running(t *testing.T, dir string) func() {
	t.Helper()
	skey, vkey, err := recording.NewKey("jit-session")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := recording.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	w, err := recording.Create(dir, recording.Options{Session: recording.SessionFacts{ID: "ses_2"}, Signer: signer, VerifierKey: vkey})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := w.Seal(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// serverFiles is the approval server's copy of one recording.
type serverFiles map[string][]byte

func (s serverFiles) Recording(_ context.Context, _, file string) (io.ReadCloser, error) {
	data, ok := s[file]
	if !ok {
		return nil, session.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func TestRecordingFetch(t *testing.T) {
	r := newRecorder(t)
	r.trust()
	files := serverFiles(r.record("ses_1", true))
	ctx := context.Background()

	to := filepath.Join(t.TempDir(), "copy")
	if err := r.app.fetchInto(ctx, files, "ses_1", to); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := r.run("recording", "verify", to); code != ExitOK {
		t.Errorf("the copy: exit %d: %s", code, errs)
	}
	if err := r.app.fetchInto(ctx, files, "ses_1", to); err == nil {
		t.Error("a folder that is there was written to")
	}
	if err := r.app.fetchInto(ctx, files, "ses_2", to+"2"); err == nil {
		t.Error("another session's recording was accepted")
	}
	changed := serverFiles{}
	for name, data := range files {
		changed[name] = bytes.Replace(data, []byte("'deny"), []byte("'fine"), 1)
	}
	if err := r.app.fetchInto(ctx, changed, "ses_1", to+"3"); err == nil {
		t.Error("a copy that the server changed was accepted")
	}
	delete(files, recording.FileCosig)
	if err := r.app.fetchInto(ctx, files, "ses_1", to+"4"); err == nil {
		t.Error("a copy that is not witnessed was accepted")
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(to), "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, errs, code := r.run("recording", "fetch", "../x"); code == ExitOK {
		t.Errorf("a path as an id: %s", errs)
	}
}
