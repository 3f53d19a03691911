package approval

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// A whole recording: written, uploaded, cosigned, sealed, read back from the
// server and verified with the server's witness key.
func TestRecordingReachesTheServer(t *testing.T) {
	for name, closeFirst := range map[string]bool{"closed, then sealed": true, "sealed, then closed": false} {
		t.Run(name, func(t *testing.T) { testRecordingReachesTheServer(t, closeFirst) })
	}
}

func testRecordingReachesTheServer(t *testing.T, closeFirst bool) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		r := must[session.Request](t)(s.person(w.dave).Submit(ctx, sessionSubmission()))
		skey, vkey := recordingKey(t)
		o := must[session.Opened](t)(s.person(w.dave).Open(ctx, r.GrantID, vkey))
		b := s.broker(o)
		signer, err := recording.NewSigner(skey)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := recording.Create(filepath.Join(t.TempDir(), o.Session.ID), recording.Options{
			Session: recording.SessionFacts{ID: o.Session.ID, Principal: w.dave.ID(), Connection: "prod"},
			Signer:  signer, VerifierKey: vkey, WitnessKey: o.WitnessKey, Witness: b.Cosign, Upload: b.Upload, Interval: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if _, err := rec.Append(ctx, recording.Event{Kind: recording.KindProtocol, Note: "GET /x"}); err != nil {
				t.Fatal(err)
			}
		}
		steps := []func() error{func() error { return b.Close(ctx) }, func() error { return rec.Seal(ctx) }}
		if !closeFirst {
			slices.Reverse(steps)
		}
		for _, step := range steps {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		if ses := must[session.Session](t)(s.person(w.dave).Session(ctx, o.Session.ID)); ses.Phase != session.PhaseSealed {
			t.Errorf("the session is %s", ses.Phase)
		}
		wantErr(t, b.Upload(ctx, recording.FileEvents, 0, []byte("x")), session.ErrConflict)

		// Whoever may see the session reads a copy and trusts only the keys.
		dir := t.TempDir()
		reviewer := w.client(w.bob)
		files := must[[]RecordingFile](t)(reviewer.RecordingFiles(ctx, o.Session.ID))
		for _, f := range files {
			body := must[io.ReadCloser](t)(reviewer.Recording(ctx, o.Session.ID, f.Name))
			data, err := io.ReadAll(body)
			if err != nil || int64(len(data)) != f.Size {
				t.Fatalf("%s: %d bytes of %d, %v", f.Name, len(data), f.Size, err)
			}
			_ = body.Close()
			if err := os.WriteFile(filepath.Join(dir, f.Name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		report, err := recording.Verify(dir, recording.VerifyOptions{WitnessKeys: []string{o.WitnessKey}})
		if err != nil {
			t.Fatal(err)
		}
		if report.Events < 10 {
			t.Errorf("verified %d events", report.Events)
		}
		_, err = w.client(w.mallory).RecordingFiles(ctx, o.Session.ID)
		wantErr(t, err, session.ErrNotFound)
		_, err = w.client(w.mallory).Recording(ctx, o.Session.ID, recording.FileEvents)
		wantErr(t, err, session.ErrNotFound)
	})
}

// The developer's machine rewrites what it already sent.
func TestAttackRewrittenRecording(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		o := openSessionFor(t, w, s, w.alice)
		b := s.broker(o)
		up := func(offset int64, text string) error {
			return b.Upload(ctx, recording.FileEvents, offset, []byte(text))
		}
		for _, step := range []struct {
			offset int64
			text   string
			want   error
		}{
			{0, "line one\n", nil},
			{0, "line one\n", nil},                  // sent again: fine
			{9, "line two\n", nil},                  // appended
			{0, "line one\nline two\nthree\n", nil}, // overlapping and going on
			{5, "one\nline", nil},                   // a part in the middle
			{0, "LINE one\n", session.ErrConflict},
			{9, "line 2\n", session.ErrConflict},
			{20, "rEe\nX", session.ErrConflict},
			{100, "a hole", session.ErrConflict},
			{1 << 62, "far", session.ErrConflict},
		} {
			if err := up(step.offset, step.text); !errors.Is(err, step.want) {
				t.Errorf("%q at %d: %v, want %v", step.text, step.offset, err, step.want)
			}
		}
		body := must[io.ReadCloser](t)(w.client(w.alice).Recording(ctx, o.Session.ID, recording.FileEvents))
		defer func() { _ = body.Close() }()
		if got, err := io.ReadAll(body); err != nil || string(got) != "line one\nline two\nthree\n" {
			t.Errorf("stored %q, %v", got, err)
		}
		_, err := b.Cosign(ctx, []byte("not a note"))
		wantErr(t, err, session.ErrInvalid)
	})
}

func TestRecordingHasALimit(t *testing.T) {
	eachSide(t, Limits{MaxBytes: 10}, func(t *testing.T, w *world, s side) {
		o := openSessionFor(t, w, s, w.alice)
		wantErr(t, s.broker(o).Upload(t.Context(), recording.FileEvents, 0, []byte("more than ten")), session.ErrCapacity)
	})
}

// Long after a session's end its broker token is worth nothing.
func TestBrokerTokenDies(t *testing.T) {
	w := newWorld(t, Limits{UploadGrace: time.Hour})
	o := openSessionFor(t, w, httpSide{w}, w.alice)
	b := httpSide{w}.broker(o)
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Upload(t.Context(), recording.FileEvents, 0, []byte("late\n")); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Hour + time.Second)
	wantErr(t, b.Upload(t.Context(), recording.FileEvents, 5, []byte("too late\n")), session.ErrExpired)
	_, err := b.Session(t.Context(), o.Session.ID)
	wantErr(t, err, session.ErrExpired)
}

// The machine that recorded died. Its person sends what is on disk, sealed by
// another key; nobody else can, and not while the session runs.
func TestRecordingIsRecoveredByItsPerson(t *testing.T) {
	w := newWorld(t, Limits{})
	ctx := t.Context()
	s := httpSide{w}
	r := must[session.Request](t)(s.person(w.dave).Submit(ctx, sessionSubmission()))
	skey, vkey := recordingKey(t)
	o := must[session.Opened](t)(s.person(w.dave).Open(ctx, r.GrantID, vkey))
	signer, err := recording.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), o.Session.ID)
	rec, err := recording.Create(dir, recording.Options{
		Session: recording.SessionFacts{ID: o.Session.ID}, Signer: signer, VerifierKey: vkey, WitnessKey: o.WitnessKey, Interval: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rec.Append(ctx, recording.Event{Kind: recording.KindProtocol, Note: "the last thing before the power went"}); err != nil {
		t.Fatal(err)
	}
	dead := t.TempDir() // what a dead process leaves: no seal, no lock
	if err := os.CopyFS(dead, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := rec.Seal(ctx); err != nil {
		t.Fatal(err)
	}

	wantErr(t, w.client(w.dave).ForRecovery(o.Session.ID).Upload(ctx, recording.FileEvents, 0, []byte("x")), session.ErrForbidden)
	if err := w.client(w.dave).Revoke(ctx, o.Session.ID, "the machine died"); err != nil {
		t.Fatal(err)
	}
	wantErr(t, w.client(w.bob).ForRecovery(o.Session.ID).Upload(ctx, recording.FileEvents, 0, []byte("x")), session.ErrForbidden)
	wantErr(t, w.client(w.mallory).ForRecovery(o.Session.ID).Upload(ctx, recording.FileEvents, 0, []byte("x")), session.ErrNotFound)

	key, vkey2 := recordingKey(t)
	if signer, err = recording.NewSigner(key); err != nil {
		t.Fatal(err)
	}
	mine := w.client(w.dave).ForRecovery(o.Session.ID)
	got, err := recording.Recover(ctx, dead, recording.Options{Signer: signer, VerifierKey: vkey2, WitnessKey: o.WitnessKey, Witness: mine.Cosign, Upload: mine.Upload})
	if err != nil || !got.Sealed || got.Pending {
		t.Fatalf("recovered %+v, %v", got, err)
	}
	body := must[io.ReadCloser](t)(w.client(w.bob).Recording(ctx, o.Session.ID, recording.FileEvents))
	defer func() { _ = body.Close() }()
	if data, err := io.ReadAll(body); err != nil || !strings.Contains(string(data), "before the power went") {
		t.Errorf("the server has %q, %v", data, err)
	}
}
