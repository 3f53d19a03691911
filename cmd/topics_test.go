package cmd

import (
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each exit code is explained, once, in order: the type's constants are the list.
func TestExitCodesAreExplained(t *testing.T) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "exit.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	conf := types.Config{Importer: importer.Default(), Error: func(error) {}} // only the constants matter
	pkg, _ := conf.Check("cmd", fset, []*ast.File{file}, nil)
	declared := map[int64]string{}
	for _, name := range pkg.Scope().Names() {
		if c, ok := pkg.Scope().Lookup(name).(*types.Const); ok && strings.HasSuffix(c.Type().String(), "ExitCode") {
			v, _ := constant.Int64Val(c.Val())
			declared[v] = name
		}
	}
	if len(declared) < 10 {
		t.Fatalf("found only %d exit codes in exit.go", len(declared))
	}
	last := ExitCode(-1)
	for _, m := range meanings {
		if m.code <= last {
			t.Errorf("%d stands after %d", m.code, last)
		}
		last = m.code
		delete(declared, int64(m.code))
	}
	for v, name := range declared {
		t.Errorf("%s (%d) is not in `jit help exit-codes`", name, v)
	}
}

// Each JIT_ variable that the code names is in `jit help environment`, and the
// other way round.
func TestEnvironmentIsExplained(t *testing.T) {
	quoted := regexp.MustCompile(`(?:Getenv\("|")(JIT_[A-Z_]+)(?:"\)|=")`)
	named := map[string]bool{}
	for _, dir := range []string{".", "../tui", "../session/identity", "../session/secret", "../broker"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") || f == "topics.go" {
				continue
			}
			src, err := os.ReadFile(f) //nolint:gosec // this repository's own files
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range quoted.FindAllSubmatch(src, -1) {
				if name := string(m[1]); !strings.HasSuffix(name, "_") {
					named[name] = true
				}
			}
		}
	}
	if len(named) < 4 {
		t.Fatalf("found only %v in the code", named)
	}
	explained := map[string]bool{}
	for _, v := range append(append([]variable{}, reads...), sets...) {
		explained[v.name] = true
		if strings.HasPrefix(v.name, "JIT_") && !named[v.name] {
			t.Errorf("`jit help environment` explains %s, which no code names", v.name)
		}
	}
	for name := range named {
		if !explained[name] {
			t.Errorf("%s is not in `jit help environment`", name)
		}
	}
}
