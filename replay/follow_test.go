package replay

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jit-access/jit/session/recording"
)

// live is a session that is being recorded, with a checkpoint every moment.
func live(t *testing.T, dir string) *recording.Writer {
	t.Helper()
	skey, vkey, err := recording.NewKey("session")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := recording.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	w, err := recording.Create(dir, recording.Options{Session: recording.SessionFacts{ID: "s1", Principal: "p"},
		Signer: signer, VerifierKey: vkey, Interval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func add(t *testing.T, w *recording.Writer, events ...recording.Event) {
	t.Helper()
	for _, e := range events {
		if _, err := w.Append(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// until refreshes r until it covers n events.
func until(t *testing.T, r *Recording, n int64) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); r.Report().Events < n; {
		if time.Now().After(end) {
			t.Fatalf("%d events are signed, want %d", r.Report().Events, n)
		}
		if _, err := r.Refresh(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFollowALiveSession(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s1")
	w := live(t, dir)
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // opened for reading
	x := &Index{}
	read := func() {
		b, err := r.Read(x.Next(), 100)
		if err != nil {
			t.Fatal(err)
		}
		x.Add(b, 0)
	}
	read()
	events := story()
	for i, e := range events[:8] {
		add(t, w, e)
		until(t, r, int64(i+2))
		read()
	}
	if got := x.Summary(); got != "2 statements, 1 allowed, 1 held, 1 masked" {
		t.Errorf("followed: %s", got)
	}
	for _, e := range x.Entries {
		if e.Unsigned {
			t.Errorf("%q counts as unsigned", e.Title)
		}
	}
	if err := w.Seal(context.Background()); err != nil {
		t.Fatal(err)
	}
	until(t, r, 10)
	if !r.Report().Sealed {
		t.Error("the end was not seen")
	}
	if changed, err := r.Refresh(); changed || err != nil {
		t.Errorf("nothing happened, and it says %v, %v", changed, err)
	}
}

func TestFollowJSON(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s1")
	w := live(t, dir)
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // opened for reading
	tick := make(chan time.Time)
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- FollowJSON(t.Context(), &out, r, tick) }()
	add(t, w, story()[:3]...)
	if err := w.Seal(context.Background()); err != nil {
		t.Fatal(err)
	}
	for ended := false; !ended; {
		select {
		case tick <- time.Time{}:
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			ended = true
		}
	}
	if want := export(t, r, FormatJSONL); out.String() != string(want) {
		t.Errorf("followed:\n%s\nrecorded:\n%s", &out, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	unsealed := filepath.Join(t.TempDir(), "s1")
	live(t, unsealed)
	if r, err = Open(unsealed); err != nil {
		t.Fatal(err)
	}
	if err := FollowJSON(ctx, &out, r, nil); err != nil {
		t.Errorf("stopping to look is an error: %v", err)
	}
}

// TestFollowNoticesAnotherLog: while somebody watches, the folder is replaced by
// another whole recording of the same session.
func TestFollowNoticesAnotherLog(t *testing.T) {
	at := t.TempDir()
	dir, other := filepath.Join(at, "s1"), filepath.Join(at, "s2")
	w := live(t, dir)
	add(t, w, story()[0])
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // opened for reading
	until(t, r, 2)
	forged := live(t, other)
	add(t, forged, story()[2:6]...)
	if err := forged.Seal(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, filepath.Join(at, "gone")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, dir); err != nil {
		t.Fatal(err)
	}
	var tamper *recording.TamperError
	if _, err := r.Refresh(); !errors.As(err, &tamper) {
		t.Errorf("the other log was taken: %v", err)
	}
	if r.Report().Events != 2 {
		t.Error("it shows the other log")
	}
	if err := w.Seal(context.Background()); err == nil {
		t.Log("the first writer went on in the folder that was moved")
	}
	if _, err := New(r.reader).Refresh(); err == nil {
		t.Error("a recording without a folder was followed")
	}
}
