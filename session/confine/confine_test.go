package confine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSocketPaths(t *testing.T) {
	for address, want := range map[string]string{
		"unix:path=/run/user/1/bus,guid=12;unix:path=/a%20b": "/run/user/1/bus /a b",
		"unix:abstract=/tmp/dbus-x":                          "", "tcp:host=localhost": "", "": "",
		"unix:///var/run/docker.sock": "/var/run/docker.sock", "/run/keyring": "/run/keyring",
	} {
		if got := strings.Join(socketPaths(address), " "); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

func TestPrivateKeysThatConnectionsName(t *testing.T) {
	home := t.TempDir()
	for file, text := range map[string]string{
		".snowflake/connections.toml": "[a]\nprivate_key_file = \"~/k/a.p8\"  # mine\n[b]\n\"private_key_path\" = 'HOME/k/b.p8'\n",
		".dbt/profiles.yml":           "x:\n  outputs:\n    dev:\n      private_key_path: HOME/k/c.p8\n",
		".snowsql/config":             "[connections]\nprivate_key_path = HOME/k/d with space.p8\n",
		"loose.p8":                    "", "k/a.p8": "", "k/b.p8": "", "k/c.p8": "", "k/d with space.p8": "", "k/e.p8": "",
	} {
		file = filepath.Join(home, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "HOME", home)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := Person{Home: home, Getenv: func(name string) string {
		return map[string]string{"SNOWFLAKE_PRIVATE_KEY_PATH": home + "/k/e.p8", "SNOWFLAKE_PRIVATE_KEY_FILE": home}[name]
	}}
	got := p.privateKeys()
	for _, want := range []string{"k/a.p8", "k/b.p8", "k/c.p8", "k/d with space.p8", "k/e.p8", "loose.p8"} {
		if !slices.Contains(got, filepath.Join(home, want)) {
			t.Errorf("%s is missing in %q", want, got)
		}
	}
	if len(got) != 6 {
		t.Errorf("%q: a folder would be hidden", got)
	}
}

func TestReportNamesItsGaps(t *testing.T) {
	for want, r := range map[string]Report{
		"confined by a user namespace":                                 {Means: Namespace, Why: []string{"x"}},
		"partly confined by Landlock; open: sockets; no namespaces":    {Means: Landlock, Gaps: []string{"sockets"}, Why: []string{"no namespaces"}},
		"not confined; no means":                                       {Why: []string{"no means"}},
		"partly confined by Seatbelt; open: what nobody has tried yet": {Means: Seatbelt, Gaps: []string{"what nobody has tried yet"}},
	} {
		if got := r.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if full := strings.HasPrefix(want, "confined"); r.Full() != full {
			t.Errorf("%q: full %t", want, r.Full())
		}
	}
	if _, err := ParseMode(""); err == nil {
		t.Error("an empty mode is one")
	}
}

// TestSeatbeltProfile holds the text only: no Mac has run it.
func TestSeatbeltProfile(t *testing.T) {
	got := seatbelt(Plan{Hide: []string{"/Users/a/.snowflake", `/Users/a/.local/state/jit`}, Sockets: []string{`/Users/a/"odd`},
		Keep: []string{"/Users/a/.local/state/jit/wiring/x"}, KeepReadOnly: []string{"/Users/a/.ssh/config"}})
	last := -1
	for _, want := range []string{
		"(version 1)\n(allow default)\n",
		`(deny file-read* file-write* (subpath "/Users/a/.local/state/jit"))`,
		`(deny file-read* file-write* (subpath "/Users/a/.snowflake"))`,
		`(deny network-outbound (remote unix-socket (subpath "/Users/a/\"odd")))`,
		`(allow file-read* file-write* (subpath "/Users/a/.local/state/jit/wiring/x"))`, // the last rule counts
		`(allow file-read* (subpath "/Users/a/.ssh/config"))`,
		`(deny mach-lookup (global-name "com.apple.SecurityServer"))`,
	} {
		at := strings.Index(got, want)
		if at <= last {
			t.Errorf("%s is missing, or too early:\n%s", want, got)
		}
		last = at
	}
}
