package cmd

import (
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/recording"
	"github.com/jit-access/jit/session/terminal"
)

// leaderCommand starts the process between jit and a command whose terminal is
// recorded; see package terminal.
const leaderCommand = "terminal-leader"

func newTerminalLeaderCommand() *cobra.Command {
	return &cobra.Command{
		Use:    leaderCommand + " PATH NAME [ARG...]",
		Short:  "Lead the session of a command whose terminal is recorded",
		Hidden: true, DisableFlagParsing: true,
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := terminal.Lead(args[0], args[1:]); err != nil {
				return &Failure{What: "leading a terminal's session", Err: err}
			}
			return nil
		},
	}
}

// runProgram runs the child, on a terminal of its own if that is recorded.
func (r *run) runProgram(ctx context.Context, p program, w *wiring) (ended, error) {
	if !r.o.RecordTerminal {
		return runChild(p)
	}
	in, inOK := p.in.(*os.File)
	out, outOK := p.out.(*os.File)
	errOut, errOK := p.errOut.(*os.File)
	self, err := os.Executable()
	if err != nil || !inOK || !outOK || !errOK {
		return ended{}, &Failure{Code: ExitNotStarted, What: "recording the terminal", Err: errors.Join(errors.New("jit's own streams are no files"), err)}
	}
	size, err := terminal.HostSize()
	if err != nil {
		return ended{}, &Failure{Code: ExitNotStarted, What: "recording the terminal", Err: err}
	}
	file, err := os.OpenFile(filepath.Join(r.dir, recording.FileTerminal), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return ended{}, &Failure{Code: ExitNotStarted, What: "recording the terminal", Err: err}
	}
	defer file.Close() //nolint:errcheck // synced before it counts
	leader, prepare := []string{self, leaderCommand}, func(*exec.Cmd) {}
	if p.wrap != nil {
		var path string
		if path, leader, prepare, err = p.wrap(self, leader); err != nil {
			return ended{}, p.notStarted(err)
		}
		leader[0] = path
	}
	cast := terminal.NewCast(file, size, r.a.Getenv("TERM"), agentName(p.args), w.secrets(), r.a.Now)
	r.cast.Store(cast)
	how, err := terminal.Run(terminal.Command{
		Self: leader, Prepare: prepare, Path: p.path, Args: p.args, Env: p.env, In: in, Out: out, Err: errOut,
		Kill: p.kill, Started: p.started, Shown: cast.Output, Resized: cast.Resize,
	})
	r.cast.Store(nil)
	got := endedOn(how)
	sum, castErr := cast.End(int(got.code))
	if err := errors.Join(castErr, file.Sync()); err != nil {
		r.a.say("jit: %s; what was recorded of the terminal is not part of the recording", replay.Visible(err.Error()))
		_ = os.Remove(file.Name()) // what is not in the log proves nothing
	} else if err := r.keepTerminal(ctx, file, sum); err != nil {
		return got, err
	}
	var start *terminal.StartError
	switch {
	case errors.As(err, &start):
		code := ExitNotRunnable
		if start.Missing {
			code = ExitNotFound
		}
		return got, &Failure{Code: code, What: "starting " + p.args[0], Err: err}
	case err != nil:
		return got, &Failure{What: "running " + p.args[0] + " on a recorded terminal", Err: err}
	}
	return got, nil
}

// endedOn maps how a command ended as a shell does.
func endedOn(how terminal.Ended) ended {
	if how.Signal != 0 {
		return ended{code: ExitCode(128 + how.Signal), signal: signalName(syscall.Signal(how.Signal))}
	}
	return ended{code: ExitCode(how.Code)}
}

// keepTerminal makes the finished capture part of the recording: an event holds
// its digest, and the server gets a copy.
func (r *run) keepTerminal(ctx context.Context, file *os.File, sum terminal.Sum) error {
	_, err := r.record(ctx, recording.Event{Kind: recording.KindTerminal,
		Terminal: &recording.TerminalFacts{File: recording.FileTerminal, Bytes: sum.Bytes, SHA256: sum.SHA256}})
	if err != nil {
		return &Failure{What: "recording the terminal", Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	const piece = 1 << 20
	buf := make([]byte, piece)
	for offset := int64(0); offset < sum.Bytes; {
		n, err := file.ReadAt(buf, offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return &Failure{What: "sending the recorded terminal", Err: err}
		}
		if err := r.up.Upload(ctx, recording.FileTerminal, offset, buf[:n]); err != nil {
			r.a.say("jit: the terminal is recorded here (%s), but the server has not all of it: %s", r.dir, replay.Visible(err.Error()))
			return nil
		}
		offset += int64(n)
	}
	return nil
}

// secretName finds variables that hold secrets, whoever's they are.
var secretName = regexp.MustCompile(`(?i)(password|passwd|passphrase|token|secret|api_?key|private_?key|credential)`)

// secrets are what a recorded terminal must not show: the lease, the proxy's
// token, and what the child's environment has under a telling name.
func (w *wiring) secrets() []string {
	var all []string
	for _, e := range w.environ() {
		name, value, _ := strings.Cut(e, "=")
		if secretName.MatchString(name) {
			all = append(all, value)
		}
		if u, err := url.Parse(value); err == nil && u.User != nil {
			if password, ok := u.User.Password(); ok {
				all = append(all, password)
			}
		}
	}
	return all
}
