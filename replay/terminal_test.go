package replay

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/session/recording"
)

const shortCast = `{"version":3,"term":{"cols":20,"rows":3},"timestamp":0}
[1,"o","one\r\n"]
[1,"o","two\r\n"]
[1,"r","4x1"]
[1,"o","\u001b[2J\u001b[Hlonger"]
`

// castOf is a sealed recording with a terminal.
func castOf(t *testing.T, cast string) *Recording {
	t.Helper()
	sum := sha256.Sum256([]byte(cast))
	events := story()
	r := record(t, slices.Insert(events, len(events)-1, recording.Event{Kind: recording.KindTerminal, Terminal: &recording.TerminalFacts{
		File: recording.FileTerminal, Bytes: int64(len(cast)), SHA256: base64.StdEncoding.EncodeToString(sum[:])}}))
	writeCast(t, r, cast)
	return r
}

func writeCast(t *testing.T, r *Recording, cast string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, recording.FileTerminal), []byte(cast), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTerminalAt(t *testing.T) {
	term, err := castOf(t, shortCast).Terminal(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		seconds int64
		size    [2]int
		lines   string
	}{
		{0, [2]int{20, 3}, ""}, {1, [2]int{20, 3}, "one"}, {2, [2]int{20, 3}, "one|two"}, {-5, [2]int{20, 3}, ""},
		{4, [2]int{4, 1}, "er"}, {9, [2]int{4, 1}, "er"}, {1, [2]int{20, 3}, "one"},
	} {
		s, err := term.At(time.Unix(tt.seconds, 0))
		if got := strings.Join(s.Lines, "|"); err != nil || got != tt.lines || [2]int{s.Cols, s.Rows} != tt.size {
			t.Errorf("at %d s: %q of %d×%d, %v; want %q of %v", tt.seconds, got, s.Cols, s.Rows, err, tt.lines, tt.size)
		}
	}
}

func TestTerminalThatIsNotTheRecordedOne(t *testing.T) {
	r := castOf(t, shortCast)
	writeCast(t, r, strings.Replace(shortCast, "one", "two", 1))
	if _, err := r.Terminal(nil); !errors.Is(err, errCast) {
		t.Errorf("a changed file: %v", err)
	}
	if err := os.Remove(filepath.Join(r.dir, recording.FileTerminal)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Terminal(nil); !errors.Is(err, ErrNoTerminal) {
		t.Errorf("a missing file: %v", err)
	}
}

// TestRedactedTerminalIsNotShown, even if the file is there: the redaction was cut
// short, or somebody put it back.
func TestRedactedTerminalIsNotShown(t *testing.T) {
	r := castOf(t, shortCast)
	skey, vkey, err := recording.NewKey("ana")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := recording.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := recording.Redact(r.dir, recording.RedactOptions{By: "ana", Why: "a password was shown", Signer: signer, VerifierKey: vkey,
		Choose: func(int64, recording.Event, string, string) bool { return false }, Files: []string{recording.FileTerminal}, Now: start}); err != nil {
		t.Fatal(err)
	}
	writeCast(t, r, shortCast)
	again, err := Open(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close() //nolint:errcheck // opened for reading
	if _, err := again.Terminal(nil); !errors.Is(err, ErrNoTerminal) {
		t.Errorf("a redacted terminal: %v", err)
	}
	if err := again.Export(&strings.Builder{}, FormatAsciicast); !errors.Is(err, ErrNoTerminal) {
		t.Errorf("its export: %v", err)
	}
}

// TestTerminalThatCannotBeDrawn: output that the emulator cannot take is counted,
// and hides nothing of what comes after it.
func TestTerminalThatCannotBeDrawn(t *testing.T) {
	term, err := castOf(t, `{"version":3,"term":{"cols":20,"rows":3},"timestamp":0}
[1,"o","before"]
[1,"o","\u001b[-5;-7Hx\u001b[-3@\u001b[-3P\u001b[-3X\u001b[-3L\u001b[-3M"]
[1,"o","after"]
`).Terminal(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := term.At(time.Unix(3, 0))
	if err != nil || s.Lost != 1 || !slices.Equal(s.Lines, []string{"after"}) {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = term.At(time.Unix(1, 0)); err != nil || s.Lost != 0 || !slices.Equal(s.Lines, []string{"before"}) {
		t.Errorf("going back: %+v, %v", s, err)
	}
}
