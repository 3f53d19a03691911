package broker

import (
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/jit-access/jit/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
