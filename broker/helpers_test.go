package broker

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/jit-access/jit/session"
)

// TestMain keeps the real driver from probing clouds and writing into the home
// folder.
func TestMain(m *testing.M) {
	home, err := os.MkdirTemp("", "broker-test-")
	if err != nil {
		panic(err)
	}
	for k, v := range map[string]string{"SNOWFLAKE_DISABLE_PLATFORM_DETECTION": "true", "SF_DISABLE_MINICORE": "true",
		"SNOWFLAKE_DISABLE_MINICORE": "true", "SF_TELEMETRY_DISABLE_CONNECTION_SHAPE": "true", "SNOWFLAKE_HOME": home, "HOME": home,
		"NO_PROXY": "127.0.0.1"} {
		_ = os.Setenv(k, v)
	}
	code := m.Run()
	_ = os.RemoveAll(home)
	os.Exit(code)
}

// noLeaks fails the test if it leaves a goroutine behind.
func noLeaks(t testing.TB) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := goleak.Find(before); err != nil {
			t.Error(err)
		}
	})
}

func toText(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// noSecrets checks that neither logs nor events hold a lease or a token.
func (r *rig) noSecrets() {
	r.t.Helper()
	r.stop() // the log is written to until then
	events, err := json.Marshal(r.events)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, s := range []string{r.lease.Reveal(), "upstream-secret", "planted-"} {
		if strings.Contains(string(events), s) || strings.Contains(r.logs.String(), s) {
			r.t.Errorf("%q is in the logs or the recording", s)
		}
	}
}

// age makes the session token of a login expire.
func (r *rig) age(tk tokens) {
	l := r.b.tokens[keyOf(tk.token)]
	l.mu.Lock()
	l.token.until = l.seen
	l.mu.Unlock()
}

func sessionEnded(id string) session.Event {
	return session.Event{Kind: session.EventSessionEnded, SessionID: id}
}

func rawRequest(t *testing.T, host, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
