package cmd

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sf "github.com/snowflakedb/gosnowflake/v2"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// TestConformance holds the cases of the protocol's checklist that are about what
// jit writes for drivers. The others are in package broker; that drivers of other
// languages read the same is shown by the end-to-end suite.
func TestConformance(t *testing.T) {
	for id, run := range map[string]func(*testing.T){"D01": connectionsAreRead, "D03": proxiesAreBypassed} {
		t.Run(id, run)
	}
}

// connectionsAreRead lets the Go driver read the file, with the checks of mode
// and type it makes, and log in by it.
func connectionsAreRead(t *testing.T) {
	type login struct {
		Data struct {
			Account       string `json:"ACCOUNT_NAME"`
			Authenticator string `json:"AUTHENTICATOR"`
			Token         string `json:"TOKEN"`
		}
	}
	logins := make(chan login, 1)
	broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var got login
		if err := json.NewDecoder(r.Body).Decode(&got); err == nil && r.URL.Path == "/session/v1/login-request" && r.URL.Query().Get("databaseName") == "DEMO" {
			logins <- got
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"data":{"nextAction":"RETRY_LOGIN"},"code":"390100","message":"enough","success":false}`)
	}))
	defer broker.Close()
	s := session.Session{ID: "s-1", Scope: session.Scope{Database: "DEMO"}}
	w, err := wire(t.TempDir(), nil, broker.Listener.Addr().(*net.TCPAddr), secret.New("lease-value"), s, "acct")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.close() })
	for name, value := range w.vars {
		t.Setenv(name, value)
	}
	c, err := sf.SnowflakeDriver{}.OpenConnector("autoConfig")
	if err != nil {
		t.Fatal(err)
	}
	var refused *sf.SnowflakeError
	if _, err := c.Connect(t.Context()); !errors.As(err, &refused) || refused.Number != 390100 {
		t.Fatalf("got %v", err)
	}
	if got := (<-logins).Data; got.Account != "acct" || got.Authenticator != "PROGRAMMATIC_ACCESS_TOKEN" || got.Token != "lease-value" {
		t.Errorf("the driver sent %+v", got)
	}
	file := filepath.Join(w.dir, "connections.toml")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	// The driver's own check is at work: with a looser mode it refuses.
	if err := os.Chmod(file, 0o620); err != nil {
		t.Fatal(err)
	}
	if _, err := (sf.SnowflakeDriver{}).OpenConnector("autoConfig"); err == nil {
		t.Error("the driver does not look at the mode")
	}
}

// proxiesAreBypassed: whatever proxy the parent names, in either case, the broker
// is excepted from it in both.
func proxiesAreBypassed(t *testing.T) {
	for _, parent := range [][]string{
		{"HTTPS_PROXY=http://proxy:3128", "HTTP_PROXY=http://proxy:3128"},
		{"https_proxy=http://proxy:3128", "no_proxy=internal.example"},
		{"ALL_PROXY=socks5://proxy:1080", "NO_PROXY="},
	} {
		env := testWire(t, parent).environ()
		for _, name := range []string{"NO_PROXY=", "no_proxy="} {
			var lists []string
			for _, e := range env {
				if list, ok := strings.CutPrefix(e, name); ok {
					lists = append(lists, list)
				}
			}
			if len(lists) != 1 {
				t.Fatalf("%v: %s is there %d times", parent, name, len(lists))
			}
			for _, host := range []string{"127.0.0.1", "localhost"} {
				if !slices.Contains(strings.Split(lists[0], ","), host) {
					t.Errorf("%v: %s%s does not except %s", parent, name, lists[0], host)
				}
			}
		}
	}
}
