package cmd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sf "github.com/snowflakedb/gosnowflake/v2"
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
// and type it makes.
func connectionsAreRead(t *testing.T) {
	w := testWire(t, nil)
	for _, e := range w.environ() {
		name, value, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "SNOWFLAKE_") {
			t.Setenv(name, value)
		}
	}
	cfg, err := sf.LoadConnectionConfig()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Account != "acct" || cfg.Host != "127.0.0.1" || cfg.Port != 8443 || cfg.Protocol != "http" ||
		cfg.Authenticator != sf.AuthTypePat || cfg.Token != "lease-value" || cfg.Database != "DEMO" || cfg.Role != "ANALYST" {
		t.Errorf("the driver read account %q host %q port %d protocol %q", cfg.Account, cfg.Host, cfg.Port, cfg.Protocol)
	}
	info, err := os.Stat(filepath.Join(w.dir, "connections.toml"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	// The driver's own check is at work: with a looser mode it refuses.
	if err := os.Chmod(filepath.Join(w.dir, "connections.toml"), 0o620); err != nil {
		t.Fatal(err)
	}
	if _, err := sf.LoadConnectionConfig(); err == nil {
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
