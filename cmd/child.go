package cmd

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// findCommand resolves the command before anything is asked of anybody, so
// that a typo costs no reviewer's time.
func findCommand(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, exec.ErrDot):
		return "", &Failure{Code: ExitNotFound, What: "finding the command " + name, Err: errors.New("it stands in the working directory only"), Fix: "Name it with its folder: ./" + name}
	case errors.Is(err, syscall.EISDIR):
		return "", &Failure{Code: ExitNotRunnable, What: "starting " + name, Err: errors.New("it is a folder"), Fix: "Name a program."}
	case errors.Is(err, fs.ErrPermission):
		return "", &Failure{Code: ExitNotRunnable, What: "starting " + name, Err: errors.New("it is not executable"), Fix: "Run `chmod +x` on it, or name its interpreter: `jit exec -- python " + name + "`."}
	default:
		return "", &Failure{Code: ExitNotFound, What: "finding the command " + name, Err: errors.New("no such command"), Fix: "Check the spelling and $PATH; what follows `--` is run as it is, without a shell."}
	}
}

// ended is how a child ended.
type ended struct {
	code   ExitCode
	signal string // name of the signal that killed it; empty if none
}

// program is a child to be run. path and args are required.
type program struct {
	path        string
	args, env   []string
	in          io.Reader
	out, errOut io.Writer
	kill        <-chan struct{} // closing it kills the child; nil: never
	started     func(pid int)   // nil: nobody is told
	wrap        wrap            // nil: it is started as it is
}

// notStarted is the failure of a child that could not be started.
func (p program) notStarted(err error) error {
	code := ExitNotRunnable
	if errors.Is(err, fs.ErrNotExist) {
		code = ExitNotFound
	}
	return &Failure{Code: code, What: "starting " + p.args[0], Err: err}
}

// runChild runs the command with jit's own streams and waits for it. Signals
// reach the child exactly once: from the terminal where both share the
// foreground group, from here otherwise.
func runChild(p program) (ended, error) {
	path, args, prepare := p.path, p.args, func(*exec.Cmd) {}
	if p.wrap != nil {
		var err error
		if path, args, prepare, err = p.wrap(path, args); err != nil {
			return ended{}, p.notStarted(err)
		}
	}
	c := exec.Command(path, args[1:]...) //nolint:gosec,noctx // running what the user names is the purpose; it ends by signals, not by a context
	c.Args[0] = args[0]
	c.Env = p.env
	c.Stdin, c.Stdout, c.Stderr = p.in, p.out, p.errOut
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	prepare(c)
	if err := c.Start(); err != nil {
		return ended{}, p.notStarted(err)
	}
	if p.started != nil {
		p.started(c.Process.Pid)
	}
	done := make(chan struct{})
	go func() { // ends with the child
		kill := p.kill
		for {
			select {
			case s := <-signals:
				if reachesChildAnyway(s) {
					continue
				}
				_ = c.Process.Signal(s) // the child may just have ended
			case <-kill:
				_ = c.Process.Kill() // likewise
				kill = nil
			case <-done:
				return
			}
		}
	}()
	how, err := waitChild(c)
	close(done)
	if err != nil {
		return ended{}, &Failure{Code: ExitError, What: "waiting for " + p.args[0], Err: err}
	}
	return how, nil
}
