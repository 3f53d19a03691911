//go:build e2e

package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a service of the suite, in a process group of its own.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *transcript
	done chan struct{} // closed when it has ended
}

// started holds every process, so that none outlives the suite.
var started struct {
	mu   sync.Mutex
	list []*process
}

// start runs argv until stop; in holds what it reads from standard input.
func start(name string, env []string, in io.Reader, argv ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(argv[0], argv[1:]...), log: &transcript{}, done: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = env, in, p.log, p.log
	if err := spawn(p.cmd, p.done); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	started.mu.Lock()
	started.list = append(started.list, p)
	started.mu.Unlock()
	return p, nil
}

// spawn starts cmd in a process group of its own and closes done when it has
// ended. If the suite dies, the kernel kills what it started: that is tied to
// the starting thread, which therefore waits here.
func spawn(cmd *exec.Cmd, done chan<- struct{}) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	begun := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		begun <- err
		if err == nil {
			_ = cmd.Wait() // how it ended shows in its state and its output
			close(done)
		}
	}()
	return <-begun
}

// stop asks the process to end, and kills its group if it does not.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
		return fmt.Errorf("%s did not stop when asked:\n%s", p.name, p.log)
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // what it left behind
	return nil
}

func stopAll() error {
	started.mu.Lock()
	defer started.mu.Unlock()
	var errs []error
	for i := len(started.list) - 1; i >= 0; i-- {
		errs = append(errs, started.list[i].stop())
	}
	started.list = nil
	return errors.Join(errs...)
}

// await polls until ok, the process ends, or ctx ends.
func (p *process) await(ctx context.Context, what string, ok func() bool) error {
	for !ok() {
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before %s:\n%s", p.name, what, p.log)
		case <-ctx.Done():
			return fmt.Errorf("%s: no %s in time:\n%s", p.name, what, p.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// transcript collects what a process prints.
type transcript struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.Write(b)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// result is how a command ended.
type result struct {
	code           int // as a shell reports it: 128+n for a signal
	stdout, stderr string
	took           time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("exit %d after %s\n--- stdout\n%s--- stderr\n%s", r.code, r.took.Round(time.Millisecond), r.stdout, r.stderr)
}

// running is a command in progress.
type running struct {
	cmd            *exec.Cmd
	stdout, stderr *transcript
	began          time.Time
	done           chan struct{}
}

// limit is how long any one command of the suite may take. It is far above what
// they need: it turns a hang into a failure with a transcript.
const limit = 90 * time.Second

// launch runs argv in a process group of its own and kills it at the limit, or
// when the test ends.
func launch(t *testing.T, env []string, dir string, argv ...string) *running {
	t.Helper()
	return launchFor(t, limit, env, dir, argv...)
}

// launchFor is launch with another limit.
func launchFor(t *testing.T, limit time.Duration, env []string, dir string, argv ...string) *running {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	r := &running{stdout: &transcript{}, stderr: &transcript{}, began: time.Now(), done: make(chan struct{})}
	r.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	r.cmd.Env, r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = env, dir, r.stdout, r.stderr
	r.cmd.Cancel = func() error { return syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) }
	r.cmd.WaitDelay = 5 * time.Second
	if err := spawn(r.cmd, r.done); err != nil {
		t.Fatalf("starting %s: %v", strings.Join(argv, " "), err)
	}
	t.Cleanup(func() {
		cancel()
		<-r.done
	})
	return r
}

// wait returns how the command ended.
func (r *running) wait() result {
	<-r.done
	code := r.cmd.ProcessState.ExitCode()
	if ws, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		code = 128 + int(ws.Signal())
	}
	return result{code: code, stdout: r.stdout.String(), stderr: r.stderr.String(), took: time.Since(r.began)}
}

// eventually polls until ok, and fails the test after the limit.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit / 3); !ok(); time.Sleep(25 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// freePort names a port nobody listens on.
func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// plainEnv is the least environment a program needs, with a home of its own.
func plainEnv(home string, more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + os.TempDir(), "LANG=C.UTF-8",
		// What keeps the drivers from looking for clouds and caches outside.
		"SNOWFLAKE_DISABLE_PLATFORM_DETECTION=true", "SF_DISABLE_MINICORE=true", "SNOWFLAKE_DISABLE_MINICORE=true",
		"SF_TELEMETRY_DISABLE_CONNECTION_SHAPE=true", "SF_OCSP_RESPONSE_CACHE_SERVER_ENABLED=false",
	}, more...)
}
