//go:build e2e

// The end-to-end suite: the real jit binary, unmodified Snowflake drivers, an
// identity provider and upstreams nobody here wrote. Everything listens on
// loopback, is started here and stopped here. .ci/parts.sh prepares the parts.
//
// What is independent evidence and what is not: fakesnow (Go and Python) and
// WireMock (Node) are other people's; the sandbox is ours and only shows that
// the three drivers and the sandbox agree.
package main_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// world is what every test shares. It is built once, before the first test.
type world struct {
	root  string // the repository
	dir   string // everything the suite writes
	jit   string // the binary under test
	agent map[string]agent
	op    *identityProvider

	fakesnow, wiremock, sandbox *upstream
	server                      *approvalServer

	alice *person // asks; may open sessions without a reviewer
	dora  *person // asks; needs a reviewer for a session
	bob   *person // reviews and administers
	carol *person // reviews
}

var shared *world // set by TestMain, read by tests

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (_ int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	w := &world{}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.build(ctx); err != nil {
		return 1, fmt.Errorf("setting up: %w", err)
	}
	shared = w
	return m.Run(), nil
}

// build makes the binaries and starts the parts, in the order they need each
// other.
func (w *world) build(ctx context.Context) (err error) {
	if w.root, err = filepath.Abs("../.."); err != nil {
		return err
	}
	for _, part := range []string{"driver/bin/python", "fakesnow/bin/fakesnow", "node/node_modules/snowflake-sdk"} {
		if _, err := os.Stat(w.part(part)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is missing: run .ci/parts.sh first (make test does)", w.part(part))
		} else if err != nil {
			return err
		}
	}
	if w.dir, err = os.MkdirTemp("", "jit-e2e-"); err != nil {
		return err
	}
	w.jit = filepath.Join(w.dir, "jit")
	goagent := filepath.Join(w.dir, "goagent")
	for out, pkg := range map[string]string{w.jit: "./cmd/jit", goagent: "./cmd/jit/testdata/agents/goagent"} {
		build := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
		build.Dir = w.root
		if text, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", pkg, err, text)
		}
	}
	w.agent = w.agents(goagent)
	for _, step := range []func(context.Context) error{w.startIdentityProvider, w.startUpstreams, w.startPeople, w.startServer} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// part is a path in the folder of prepared parts.
func (w *world) part(path string) string { return filepath.Join(w.root, ".cache", path) }

// testdata is a path in this package's testdata.
func (w *world) testdata(path string) string {
	return filepath.Join(w.root, "cmd", "jit", "testdata", path)
}

// close stops everything that build started, last first.
func (w *world) close() error {
	err := stopAll()
	if w.dir != "" {
		err = errors.Join(err, os.RemoveAll(w.dir))
	}
	return err
}
