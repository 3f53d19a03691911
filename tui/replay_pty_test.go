//go:build unix

package tui

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
)

// TestReplayOnATerminal runs the whole screen on a real pseudo-terminal: keys
// in, cells out.
func TestReplayOnATerminal(t *testing.T) {
	const width, height = 100, 30
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close() //nolint:errcheck // test
	if err := pty.Setsize(master, &pty.Winsize{Cols: width, Rows: height}); err != nil {
		t.Fatal(err)
	}
	screen := vt10x.New(vt10x.WithSize(width, height), vt10x.WithWriter(io.Discard))
	var raw bytes.Buffer // read once copied is closed
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(io.MultiWriter(screen, &raw), master) // ends with the terminal
	}()

	rec := openReplay(t, replayStory())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- Replay(ctx, rec, ReplayOptions{In: tty, Out: tty, Environ: []string{"TERM=xterm-256color", "NO_COLOR=1"}})
	}()
	steps := []struct{ keys, shows string }{
		{"", "session opened"},
		{"\x1b[C", "masked: keep-domain"}, // right
		{"l", "Dropping a database needs a person."},
		{"/nowhere\r", "Nothing matches"},
		{"/outcome:failed\r", "100051 division by zero"},
		{"?", "next and previous match"},
		{"?f", "only held, denied"},
		{"+++++ ", "The end."}, // plays what is left at 64×
	}
	for _, s := range steps {
		if _, err := master.WriteString(s.keys); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); !strings.Contains(screen.String(), s.shows); {
			if time.Now().After(end) {
				t.Fatalf("after %q the screen does not show %q:\n%s", s.keys, s.shows, screen.String())
			}
			select {
			case err := <-done:
				t.Fatalf("the screen ended: %v", err)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	if _, err := master.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("leaving: %v", err)
	}
	_ = tty.Close()
	<-copied
	if colour := regexp.MustCompile(`\x1b\[(\d+;)*(3|4|9|10)\d[;m]`).FindString(raw.String()); colour != "" {
		t.Errorf("NO_COLOR is set, but it draws %q", colour)
	}
}
