package cmd

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
	"github.com/pelletier/go-toml/v2"
)

func testWire(t *testing.T, parent []string) *wiring {
	t.Helper()
	s := session.Session{ID: "s-1", Principal: session.Principal{Subject: "alice", Email: "alice@example.test"},
		Scope: session.Scope{Database: "DEMO", Schema: "PUBLIC", Role: "ANALYST"}}
	w, err := wire(t.TempDir(), parent, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8443}, secret.New("lease-value"), s, "acct")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func TestWiringWritesPrivateFilesDriversAccept(t *testing.T) {
	w := testWire(t, nil)
	for name, mode := range map[string]os.FileMode{"": 0o700, "connections.toml": 0o600} {
		info, err := os.Stat(filepath.Join(w.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != mode {
			t.Errorf("%q has mode %o, want %o", name, got, mode)
		}
	}
	data, err := os.ReadFile(filepath.Join(w.dir, "connections.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]map[string]any
	if err := toml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"default", "jit"} {
		if port, ok := file[name]["port"].(string); !ok || port != "8443" {
			t.Errorf("[%s] port = %#v, want the string 8443: gosnowflake refuses a number", name, file[name]["port"])
		}
	}
}

func TestWiringDropsTheParentsCredentials(t *testing.T) {
	const planted = "planted-credential"
	w := testWire(t, []string{
		"PATH=/bin", "SNOWFLAKE_PASSWORD=" + planted, "SNOWFLAKE_PRIVATE_KEY_PATH=" + planted, "snowflake_token=" + planted,
		"SNOWSQL_PWD=" + planted, "SF_PASSWORD=" + planted, "SNOWFLAKE_CONNECTIONS_PROD_TOKEN=" + planted,
		"DBT_PROFILES_DIR=/nowhere-" + planted, "JIT_SERVER=" + planted, "SF_DISABLE_MINICORE=true",
	})
	for _, e := range w.environ() {
		if strings.Contains(e, planted) {
			t.Errorf("the child's environment keeps %s", e)
		}
	}
	for _, want := range []string{"PATH=/bin", "SF_DISABLE_MINICORE=true"} {
		if !slices.Contains(w.environ(), want) {
			t.Errorf("the child's environment lost %s", want)
		}
	}
}

func TestWiringKeepsProxyExceptions(t *testing.T) {
	w := testWire(t, []string{"NO_PROXY=internal.example", "HTTPS_PROXY=http://proxy:3128"})
	if !slices.Contains(w.environ(), "NO_PROXY=127.0.0.1,localhost,internal.example") {
		t.Errorf("NO_PROXY lost an entry: %q", w.environ())
	}
	if !slices.Contains(w.environ(), "HTTPS_PROXY=http://proxy:3128") {
		t.Error("the proxy for everything else was dropped")
	}
}

func TestDbtOverlayKeepsNamesAndDropsCredentials(t *testing.T) {
	dir := t.TempDir()
	profiles := `shop:
  target: prod
  outputs:
    dev: {type: snowflake, account: a, password: planted}
    prod: {type: snowflake, account: a, password: planted}
    local: {type: duckdb, path: x}
`
	if err := os.WriteFile(filepath.Join(dir, "profiles.yml"), []byte(profiles), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DBT_PROFILES_DIR", dir)
	w := testWire(t, os.Environ())
	data, err := os.ReadFile(filepath.Join(w.dir, "profiles.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "planted") || !strings.Contains(string(data), "target: prod") || strings.Contains(string(data), "duckdb") {
		t.Errorf("overlay is wrong:\n%s", data)
	}
	if !strings.Contains(string(data), "password: lease-value") || strings.Contains(string(data), "authenticator") {
		t.Errorf("dbt-snowflake would not send the lease:\n%s", data)
	}
	if !slices.Contains(w.environ(), "DBT_PROFILES_DIR="+w.dir) {
		t.Error("DBT_PROFILES_DIR does not point at the overlay")
	}
}
