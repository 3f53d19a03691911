package cmd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/jit-access/jit/"

// levels is the layering of the module: a package imports only packages of a
// lower level, so that policy and wire formats can be read, tested and trusted
// without what stands on them. A package missing here fails the test: say where
// it belongs.
var levels = map[string]int{
	"session/secret":   0, // the secret type itself; everything may hold one
	"session/loopback": 0, // what counts as this machine

	"policy/sql":        1,
	"session/recording": 1,
	"session/terminal":  1,
	"session/confine":   1,
	"broker/snowflake":  1,

	"policy":                   2,
	"broker/credential":        2,
	"broker/intercept":         2,
	"broker/snowflake/sandbox": 2,
	"session/identity":         2,
	"session/identity/op":      2,
	"session/identity/bridge":  2,

	"session": 3,
	"replay":  3,

	"tui":              4,
	"broker":           4,
	"session/approval": 4,

	"cmd":     5,
	"cmd/jit": 6,
}

// pure lists packages that neither do I/O nor read a clock, and what they must
// therefore not import, themselves.
var pure = map[string][]string{
	"policy/sql": {"net", "net/http", "os", "os/exec", "syscall", "time", "unsafe", "log/slog"},
	"policy":     {"net", "net/http", "os", "os/exec", "syscall", "unsafe"},
}

func TestImportsPointDown(t *testing.T) {
	packages := list(t)
	if len(packages) < 2 {
		t.Fatalf("go list ./... named %d packages of this module", len(packages))
	}
	for name, imports := range packages {
		level, known := levels[name]
		if !known {
			t.Errorf("%s has no level: add it to the table", name)
			continue
		}
		for _, path := range imports {
			for _, banned := range pure[name] {
				if path == banned {
					t.Errorf("%s is pure and imports %s", name, path)
				}
			}
			below, ours := strings.CutPrefix(path, module)
			if ours && levels[below] >= level {
				t.Errorf("%s (level %d) imports %s (level %d): imports point down", name, level, below, levels[below])
			}
		}
	}
}

// list returns what each package of the module imports, tests aside.
func list(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	packages := map[string][]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("reading go list: %v", err)
		}
		packages[strings.TrimPrefix(p.ImportPath, module)] = p.Imports
	}
}
