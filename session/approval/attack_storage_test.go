package approval

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

func sha256Of(b []byte) [sha256.Size]byte { return sha256.Sum256(b) }

// Whoever can write to the database, or brings a backup of their own, names
// objects outside of the recording.
func TestAttackBlobKeyTraversal(t *testing.T) {
	w := newWorld(t, Limits{})
	ctx := t.Context()
	secretFile := filepath.Join(w.dir, "recordings", "secret")
	if err := os.WriteFile(secretFile, []byte("another's\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := recordedSession(t, w, localSide{w}, w.dave, statementFacts("select 1", "allow", nil, nil))
	other := recordedSession(t, w, localSide{w}, w.alice, statementFacts("select 2", "allow", nil, nil))
	g := must[[]segment](t)(segments(ctx, w.store.db.read, other.Session.ID, recording.FileEvents, 0))[0]
	hash := fmt.Sprintf("%x", sha256Of([]byte("another's\n")))
	for _, key := range []string{
		"../jit.db", "../../../../etc/passwd", "/etc/passwd", "secret", `..\secret`, "", "..",
		g.key, // of another session
		o.Session.ID + "/events.jsonl/../../secret",
		o.Session.ID + "/events.jsonl/0000000000000000-" + hash + "/../../../secret",
		"../" + o.Session.ID + "/events.jsonl/0000000000000000-" + hash,
		o.Session.ID + "/session.json/0000000000000000-" + hash,
		o.Session.ID + "/events.jsonl/0000000000000001-" + hash,
		o.Session.ID + "/events.jsonl/0000000000000000-" + strings.ToUpper(hash),
		o.Session.ID + "/events.jsonl/0000000000000000-" + hash[:62],
	} {
		if _, err := w.store.db.write.ExecContext(ctx, `UPDATE recording_segments SET blob_key = $1 WHERE session_id = $2 AND file = 'events.jsonl'`, key, o.Session.ID); err != nil {
			t.Fatal(err)
		}
		r, err := w.store.openRecording(ctx, Caller{Principal: w.bob}, o.Session.ID, recording.FileEvents)
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if !errors.Is(err, errDamaged) {
			t.Errorf("key %q: %v", key, err)
		}
		if _, err := Copy(ctx, Place{Dir: w.dir}, Place{Dir: t.TempDir()}); !errors.Is(err, errDamaged) {
			t.Errorf("copying with key %q: %v", key, err)
		}
	}
	// By the API, names are looked up and never joined.
	for _, path := range []string{
		"/v1/sessions/" + other.Session.ID + "/recording/..%2f..%2fjit.db", "/v1/sessions/..%2f" + other.Session.ID + "/recording/events.jsonl",
		"/v1/sessions/" + other.Session.ID + "/recording/%2e%2e", "/v1/sessions/%2e%2e/recording/sealing.key",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut} {
			if status, _, body := w.raw(method, path, w.token(w.bob), "application/octet-stream", strings.NewReader("x")); status < 400 && status != http.StatusMovedPermanently && status != http.StatusTemporaryRedirect {
				t.Errorf("%s %s: %d %q", method, path, status, body)
			}
		}
	}
}

// A forged segment, sent by a machine that has the session's token: what was
// never signed is not cosigned, and what was cosigned is not replaced.
func TestAttackForgedSegment(t *testing.T) {
	w := newWorld(t, Limits{})
	ctx := t.Context()
	o := recordedSession(t, w, localSide{w}, w.dave, statementFacts("select TRUTH", "allow", nil, nil))
	g := must[[]segment](t)(segments(ctx, w.store.db.read, o.Session.ID, recording.FileEvents, 0))[0]
	data := must[[]byte](t)(readPiece(ctx, w.store.blobs, g))
	plantPiece(t, w, o.Session.ID, g, []byte(strings.Replace(string(data), "TRUTH", "FORGE", 1)))
	dir := download(t, w, w.bob, o.Session.ID)
	_, err := recording.Verify(dir, recording.VerifyOptions{WitnessKeys: []string{o.WitnessKey}})
	var tamper *recording.TamperError
	if !errors.As(err, &tamper) {
		t.Errorf("a reader takes the forged recording: %v", err)
	}
}

// An older backup is restored under a session that goes on. The server refuses
// what would leave a hole, and sees by the bucket that it once had more: it says
// so to the broker, in its log and in the audit.
func TestAttackOlderBackupRestored(t *testing.T) {
	root := t.TempDir()
	bucket := "file://" + filepath.ToSlash(filepath.Join(root, "bucket")) + "?create_dir=true&metadata=skip"
	w := newWorldOn(t, "", Limits{}, func(cfg *StoreConfig) { cfg.RecordingsURL = bucket })
	ctx := t.Context()
	o := openSessionFor(t, w, localSide{w}, w.dave)
	b := localSide{w}.broker(o)
	if err := b.Upload(ctx, recording.FileEvents, 0, []byte("line one\n")); err != nil {
		t.Fatal(err)
	}
	wantErr(t, b.Upload(ctx, recording.FileEvents, 100, []byte("a hole\n")), session.ErrConflict)
	if strings.Contains(w.log.text(), "older than") {
		t.Error("a hole was taken for an older backup")
	}
	backup := Place{Dir: filepath.Join(root, "backup"), RecordingsURL: bucket}
	must[Copied](t)(Copy(ctx, Place{Dir: w.dir, RecordingsURL: bucket}, backup))
	if err := b.Upload(ctx, recording.FileEvents, 9, []byte("line two\n")); err != nil {
		t.Fatal(err)
	}
	key := must[[]byte](t)(os.ReadFile(filepath.Join(w.dir, keyFile)))
	if err := os.WriteFile(filepath.Join(backup.Dir, keyFile), key, 0o600); err != nil {
		t.Fatal(err)
	}
	w.dir = backup.Dir
	w.open(Limits{})
	restored := localSide{w}.broker(o)
	err := restored.Upload(ctx, recording.FileEvents, 18, []byte("line three\n"))
	wantErr(t, err, session.ErrConflict)
	if !strings.Contains(err.Error(), "older backup") || !strings.Contains(w.log.text(), "older than") {
		t.Errorf("it went unnoticed: %v", err)
	}
	if n := count(t, w, `SELECT COUNT(*) FROM audit WHERE action = 'recording.upload' AND detail LIKE '%went_back%'`); n != 1 {
		t.Errorf("%d audit rows tell of it", n)
	}
	// The broker still has everything: from the beginning it is taken.
	if err := restored.Upload(ctx, recording.FileEvents, 0, []byte("line one\nline two\nline three\n")); err != nil {
		t.Error(err)
	}
}

// Every route that takes a body refuses one that is too large, before it holds
// all of it, and without a token it reads nothing at all.
func TestAttackOversizedBodyOnEveryRoute(t *testing.T) {
	w := newWorld(t, Limits{})
	o := openSessionFor(t, w, localSide{w}, w.dave)
	tried := 0
	for path, item := range w.server.api.OpenAPI().Paths {
		for method, op := range map[string]*huma.Operation{http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodDelete: item.Delete, http.MethodPatch: item.Patch} {
			if op == nil || op.RequestBody == nil {
				continue
			}
			tried++
			target := strings.NewReplacer("{id}", o.Session.ID, "{file}", recording.FileEvents).Replace(path)
			target = regexp.MustCompile(`\{[a-z_]+\}`).ReplaceAllString(target, "x")
			kind := "application/json"
			if _, json := op.RequestBody.Content[kind]; !json {
				kind = "application/octet-stream"
			}
			for _, token := range []string{"", w.token(w.root), o.Token.Reveal()} {
				sent := &endless{left: 16 << 20}
				status := w.flood(method, target, token, kind, sent)
				if token == "" && (status != http.StatusUnauthorized && status != http.StatusForbidden) && len(op.Security) > 0 {
					t.Errorf("%s %s without a token: %d", method, path, status)
				}
				if status < 400 || status >= 500 {
					t.Errorf("%s %s with 16 MiB: %d", method, path, status)
				}
			}
		}
	}
	if tried < 10 {
		t.Errorf("only %d routes take a body", tried)
	}
}

// endless is a body of JSON that never gets to its end.
type endless struct {
	left  int
	begun bool
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	for i := range p[:n] {
		p[i] = 'a'
	}
	if !e.begun {
		copy(p, `{"reason":"`)
		e.begun = true
	}
	e.left -= n
	return n, nil
}

// flood sends a body without saying how long it is. A server that hangs up while
// it is sent has refused it too: then the status is 499.
func (w *world) flood(method, path, token, contentType string, body io.Reader) int {
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.web.URL+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := w.web.Client().Do(req)
	if err != nil {
		return 499
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
