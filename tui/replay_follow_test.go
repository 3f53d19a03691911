package tui

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/recording"
)

// TestReplayFollows: the screen of a running session shows what it adds, stays
// at the end unless the viewer looks elsewhere, and says when it is over.
func TestReplayFollows(t *testing.T) {
	skey, vkey, err := recording.NewKey("session")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := recording.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "s1")
	w, err := recording.Create(dir, recording.Options{Session: recording.SessionFacts{ID: "s1", Principal: "p"},
		Signer: signer, VerifierKey: vkey, Interval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := replay.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close() //nolint:errcheck // opened for reading
	s := &replayScreen{t: t, player: newPlayer(rec, stillCommands{recordingCommands{rec}})}
	s.player.follow = true
	s.run(s.Init())
	s.send(tea.WindowSizeMsg{Width: 100, Height: 24})

	signed := int64(1)
	add := func(events ...recording.Event) {
		t.Helper()
		for _, e := range events {
			if _, err := w.Append(context.Background(), e); err != nil {
				t.Fatal(err)
			}
		}
		signed += int64(len(events))
		for end := time.Now().Add(20 * time.Second); rec.Report().Events < signed; {
			if _, err := rec.Refresh(); err != nil || time.Now().After(end) {
				t.Fatalf("%d events are signed, want %d: %v", rec.Report().Events, signed, err)
			}
		}
		s.send(followMsg{report: rec.Report()})
	}
	story := replayStory()
	add(story[:2]...)
	if !strings.HasPrefix(s.under(), "SELECT id") || len(s.detail.Events) != 1 {
		t.Fatalf("on %q with %d events", s.under(), len(s.detail.Events))
	}
	add(story[2:4]...) // its result
	if len(s.detail.Events) != 3 {
		t.Errorf("the statement's end does not show: %d events", len(s.detail.Events))
	}
	if text := s.text(); !strings.Contains(text, "following") || !strings.Contains(text, "running") {
		t.Errorf("it does not say that the session runs:\n%s", text)
	}
	add(story[4])
	if !strings.HasPrefix(s.under(), "DROP") {
		t.Errorf("it does not stay at the end: on %q", s.under())
	}
	s.press("up")
	add(story[5:9]...)
	add(story[9])
	if !strings.HasPrefix(s.under(), "SELECT id") {
		t.Errorf("it moved away from where the viewer looked: on %q", s.under())
	}
	s.press("G")
	if err := w.Seal(context.Background()); err != nil {
		t.Fatal(err)
	}
	signed++
	add()
	if text := s.text(); !strings.Contains(text, "ended") || strings.Contains(text, "following") || !strings.HasPrefix(s.under(), "session ended") {
		t.Errorf("on %q; it does not say that the session is over:\n%s", s.under(), text)
	}
	s.send(followMsg{err: &recording.TamperError{Segment: recording.FileEvents, Why: "gone"}})
	if !strings.Contains(s.text(), "NOT WHAT WAS RECORDED") {
		t.Error("a log that changed is not shown as one")
	}
}
