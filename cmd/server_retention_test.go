package cmd

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jit-access/jit/session/approval"
)

// The commands that run beside a server open its data and nothing else: not a
// folder that has none, and not a database of another version.
func TestServerUpkeep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	run := func(args ...string) (string, string, error) {
		a := serverApp(t, nil)
		root := newServerCommand(a)
		root.SetArgs(append(args, "--data", dir))
		root.SilenceErrors, root.SilenceUsage = true, true
		err := root.ExecuteContext(t.Context())
		return a.Out.(*bytes.Buffer).String(), "", err
	}
	if _, _, err := run("prune", "--recordings-retention", "400d"); err == nil {
		t.Error("a folder that is not there was opened")
	}
	store, err := approval.NewStore(approval.StoreConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		code ExitCode
		says string
	}{
		"no retention":    {[]string{"prune"}, ExitUsage, "--recordings-retention"},
		"a short one":     {[]string{"prune", "--recordings-retention", "3h"}, ExitUsage, "a day"},
		"another":         {[]string{"prune", "--recordings-retention", "soon"}, ExitUsage, "400d"},
		"a password":      {[]string{"reindex", "--database", "postgres://a:b@c/d"}, ExitUsage, "passfile"},
		"nothing to do":   {[]string{"prune", "--recordings-retention", "400d", "--json"}, ExitOK, ""},
		"nothing to find": {[]string{"reindex", "--all", "--json"}, ExitOK, ""},
	} {
		out, _, err := run(test.args...)
		if code, _ := exitOf(err); code != test.code || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && !json.Valid([]byte(out)) {
			t.Errorf("%s: printed %q", name, out)
		}
	}
}
