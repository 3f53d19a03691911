package cmd

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jit-access/jit/session/confine"
)

// TestMain lets this test binary be the sample agent that `jit demo` starts, and
// the processes of the crash test.
func TestMain(m *testing.M) {
	confine.Main(os.Args)
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "crash-") {
		os.Exit(crashProcess(os.Args[1:]))
	}
	if len(os.Args) == 2 && os.Args[1] == "demo-agent" {
		os.Exit(int(Main(context.Background(), os.Args[1:])))
	}
	os.Exit(m.Run())
}

// lockedBuffer takes what several people say at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestDemoShowsTheWholeStory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out, errOut lockedBuffer
	a := &App{Out: &out, Err: &errOut, Getenv: func(string) string { return "" }, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
	if code := a.Run(t.Context(), []string{"demo", "--plain"}); code != ExitOK {
		t.Fatalf("exit %d\n%s\n%s", code, &out, &errOut)
	}
	for _, want := range []string{
		`‹masked›@example\.com`, `‹masked:pii\.ssn›`, `HARMLESS\n.*‹masked:pii\.email›`,
		`JIT-2001 DENIED_BY_POLICY`, `OLD_REPORTS successfully dropped`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("the agent did not see %s:\n%s", want, &out)
		}
	}
	for _, want := range []string{"approves once", "1 held, 1 denied", "signed by the session and cosigned by the server"} {
		if !strings.Contains(errOut.String(), want) {
			t.Errorf("the demo does not say %q:\n%s", want, &errOut)
		}
	}
	if regexp.MustCompile(`\b9\d\d-\d\d-\d{4}\b|ada\S*@example`).MatchString(out.String()) {
		t.Errorf("a hidden value came out:\n%s", &out)
	}
	// What the demo tells the user to run next works.
	next := regexp.MustCompile(`check it +jit (recording verify \S+) (--witness-key \S+)`).FindStringSubmatch(errOut.String())
	if next == nil {
		t.Fatalf("the demo does not say how to check the recording:\n%s", &errOut)
	}
	if code := a.Run(t.Context(), strings.Fields(next[1]+" "+next[2])); code != ExitOK {
		t.Errorf("`jit %s` exits %d\n%s", next[0], code, &errOut)
	}
	replay := strings.Fields(strings.Replace(next[1], "recording verify", "replay --plain", 1))
	before := len(out.String())
	if code := a.Run(t.Context(), replay); code != ExitOK || !strings.Contains(out.String()[before:], "DROP DATABASE OLD_REPORTS") {
		t.Errorf("replay exits %d\n%s\n%s", code, &out, &errOut)
	}
}
