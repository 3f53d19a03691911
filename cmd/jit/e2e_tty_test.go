//go:build e2e

package main_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
)

// terminal is a program on a pseudo-terminal of its own, as a terminal emulator
// would have it: it leads a session whose controlling terminal that is.
type terminal struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	raw    *transcript    // every byte
	screen vt10x.Terminal // what a person sees
	done   chan struct{}
}

// terminal starts argv as this person on a terminal of 100×30 cells.
func (p *person) terminal(t *testing.T, argv ...string) *terminal {
	t.Helper()
	c := exec.Command(argv[0], argv[1:]...)
	c.Env, c.Dir = append(p.with("TERM=xterm-256color", "PS1=ready> ").env, "JITX="+p.w.jit), filepath.Join(p.home, "work")
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	master, err := pty.StartWithAttrs(c, &pty.Winsize{Cols: 100, Rows: 30}, c.SysProcAttr)
	if err != nil {
		t.Fatal(err)
	}
	s := &terminal{t: t, master: master, cmd: c, raw: &transcript{}, screen: vt10x.New(vt10x.WithSize(100, 30), vt10x.WithWriter(io.Discard)), done: make(chan struct{})}
	go func() { // ends with the terminal
		_, _ = io.Copy(io.MultiWriter(s.raw, s.screen), master)
		_ = c.Wait()
		close(s.done)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		_ = master.Close() // hangs up on what is left
		<-s.done
	})
	return s
}

// shell starts an interactive bash, which has job control.
func (p *person) shell(t *testing.T) *terminal {
	t.Helper()
	s := p.terminal(t, "bash", "--norc", "--noprofile", "-i")
	s.shows("ready> ")
	return s
}

func (s *terminal) types(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.master, keys); err != nil {
		s.t.Fatal(err)
	}
}

// shows waits until the screen has a text.
func (s *terminal) shows(want string) {
	s.t.Helper()
	eventuallyOr(s.t, "the screen to show "+want, func() bool { return strings.Contains(s.screen.String(), want) }, func() string { return s.screen.String() })
}

// printed waits until the raw output matches, and returns the match.
func (s *terminal) printed(pattern string) []string {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	eventuallyOr(s.t, "output like "+pattern, func() bool { return re.MatchString(s.raw.String()) }, func() string { return fmt.Sprintf("%q", s.raw) })
	return re.FindStringSubmatch(s.raw.String())
}

// code waits for the end and returns the exit code.
func (s *terminal) code() int {
	s.t.Helper()
	select {
	case <-s.done:
		return s.cmd.ProcessState.ExitCode()
	case <-time.After(limit / 2):
		s.t.Fatalf("it goes on:\n%s", s.screen.String())
		return 0
	}
}

func eventuallyOr(t *testing.T, what string, ok func() bool, seen func() string) {
	t.Helper()
	for deadline := time.Now().Add(limit / 3); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s:\n%s", what, seen())
		}
	}
}

// onTerminals runs a test without and with the terminal being recorded: a command
// must not be able to tell the difference.
func onTerminals(t *testing.T, test func(t *testing.T, flags string)) {
	t.Run("plain", func(t *testing.T) { t.Parallel(); test(t, "--connection sandbox") })
	url := keepingTerminals(t)
	t.Run("recorded", func(t *testing.T) {
		t.Parallel()
		test(t, "--connection sandbox --record-terminal --server "+url)
	})
}

// TestScreenBelongsToTheCommand: from its first byte to its last, nothing but the
// command's own output reaches the terminal; the title is set before and put back
// after.
func TestScreenBelongsToTheCommand(t *testing.T) {
	onTerminals(t, func(t *testing.T, flags string) {
		args := append([]string{shared.jit, "exec"}, strings.Fields(flags)...)
		s := shared.alice.terminal(t, append(args, "--", "sh", "-c", `printf '<<'; sleep 2; stty size; test -t 0 && test -t 1 && test -t 2 && printf 'tty '; printf '>>'`)...)
		if code := s.code(); code != 0 {
			t.Errorf("exit %d", code)
		}
		all := s.raw.String()
		before, rest, _ := strings.Cut(all, "<<")
		inside, after, ok := strings.Cut(rest, ">>")
		if !ok || strings.TrimSpace(strings.ReplaceAll(inside, "\r\n", " ")) != "30 100 tty" {
			t.Errorf("the command's part of the screen is %q of %q", inside, all)
		}
		if !strings.Contains(before, "\x1b[22;2t\x1b]2;jit · sandbox · sh · until ") || !strings.Contains(before, "is open until") {
			t.Errorf("before the command: %q", before)
		}
		if !strings.Contains(after, "\x1b[23;2t") || strings.Count(after, "\n") != 1 || !strings.Contains(after, "ended: no statements") {
			t.Errorf("after the command: %q", after)
		}
	})
	t.Run("title off", func(t *testing.T) {
		t.Parallel()
		s := shared.alice.terminal(t, shared.jit, "exec", "--connection", "sandbox", "--no-title", "--", "true")
		if s.code(); strings.Contains(s.raw.String(), "\x1b]") {
			t.Errorf("printed %q", s.raw)
		}
	})
	t.Run("no terminal", func(t *testing.T) {
		t.Parallel()
		if r := shared.alice.must(t, "exec", "--connection", "sandbox", "--", "echo", "hello"); r.stdout != "hello\n" || strings.Contains(r.stderr, "\x1b") {
			t.Errorf("%s", r)
		}
	})
}

// TestKeysReachTheCommand: Ctrl-C and Ctrl-\ once, and the size of the terminal.
func TestKeysReachTheCommand(t *testing.T) {
	onTerminals(t, func(t *testing.T, flags string) {
		const script = `trap 'n=$((n+1)); echo "interrupt $n"' INT; trap 'stty size; echo resized' WINCH; trap 'echo quit; exit 7' QUIT
echo started; while :; do sleep 0.1; done`
		args := append([]string{shared.jit, "exec"}, strings.Fields(flags)...)
		s := shared.alice.terminal(t, append(args, "--", "bash", "-c", script)...)
		s.shows("started")
		s.types("\x03")
		s.shows("interrupt 1")
		if err := pty.Setsize(s.master, &pty.Winsize{Cols: 90, Rows: 20}); err != nil {
			t.Fatal(err)
		}
		s.shows("20 90")
		s.types("\x03")
		s.shows("interrupt 2")
		s.types("\x1c")
		if code := s.code(); code != 7 {
			t.Errorf("exit %d", code)
		}
		if all := s.raw.String(); strings.Contains(all, "interrupt 3") || strings.Count(all, "resized") != 1 {
			t.Errorf("a key came more than once: %q", all)
		}
	})
}

// TestJobControl: in a shell, a command under jit stops, goes on in the background
// and comes back like any other, also if it stops itself and nothing but itself.
func TestJobControl(t *testing.T) {
	onTerminals(t, func(t *testing.T, flags string) {
		s := shared.alice.shell(t)
		for i, stop := range []struct{ script, keys string }{
			{`echo "waiting"; read line; echo "got $line"`, "\x1a"},
			{`echo "waiting"; kill -STOP $$; read line; echo "got $line"`, ""},
		} {
			s.types(fmt.Sprintf("clear; $JITX exec %s -- bash -c '%s'\n", flags, stop.script))
			s.printed(`(?s)` + strings.Repeat(`waiting\r+\n.*`, i+1))
			s.types(stop.keys)
			s.shows("Stopped")
			s.types("echo shell-$((40+2))\n")
			s.shows("shell-42")
			s.types("fg\n")
			word := fmt.Sprintf("word%d", i)
			s.types(word + "\n")
			s.shows("got " + word)
			s.shows("ended: no statements")
			s.shows("ready> ")
		}
		// In the background, to the end.
		s.types(fmt.Sprintf("clear; $JITX exec %s -- bash -c 'sleep 0.3; echo from the back' &\n", flags))
		s.shows("from the back")
		s.types("wait; echo code=$?\n")
		s.shows("code=0")
		// Stopped, then let go on in the background.
		s.types(fmt.Sprintf("clear; $JITX exec %s -- bash -c 'echo begun; sleep 1; echo and done'\n", flags))
		s.shows("begun")
		s.types("\x1a")
		s.shows("Stopped")
		s.types("bg\n")
		s.shows("and done")
		s.types("wait; echo code=$?\n")
		s.shows("code=0")
		// Killed by a key, seen by the shell.
		s.types(fmt.Sprintf("clear; $JITX exec %s -- bash -c 'echo as\"\"leep; exec sleep 60'; echo code=$?\n", flags))
		s.shows("asleep")
		s.types("\x03")
		s.shows("code=130")
	})
}

// TestStreams: pipes and files on the standard streams, as without jit.
func TestStreams(t *testing.T) {
	sh := func(t *testing.T, script string) result {
		t.Helper()
		return launch(t, append(shared.alice.env, "JITX="+shared.jit), filepath.Join(shared.alice.home, "work"), "bash", "-o", "pipefail", "-c", script).wait()
	}
	for name, c := range map[string]struct {
		script, out string
		code        int
	}{
		"pipes on both sides": {`printf 'one\ntwo\n' | $JITX exec --connection sandbox -- cat 2>/dev/null | tr a-z A-Z`, "ONE\nTWO\n", 0},
		"input is closed":     {`$JITX exec --connection sandbox -- cat <&- 2>/dev/null; echo $?`, "0\n", 0},
		"a reader that left":  {`$JITX exec --connection sandbox -- yes 2>/dev/null | head -1`, "y\n", 141},
		"killed":              {`$JITX exec --connection sandbox -- sh -c 'kill -KILL $$' 2>/dev/null; echo $?`, "137\n", 0},
		"its own code":        {`$JITX exec --connection sandbox -- sh -c 'exit 42' 2>/dev/null; echo $?`, "42\n", 0},
		"no such command":     {`$JITX exec --connection sandbox -- ./no-such-command 2>/dev/null; echo $?`, "127\n", 0},
		"not executable":      {`$JITX exec --connection sandbox -- /etc/passwd 2>/dev/null; echo $?`, "126\n", 0},
		"no such connection":  {`$JITX exec --connection nowhere -- true 2>/dev/null; echo $?`, "125\n", 0},
		"inside a session":    {`$JITX exec --connection sandbox -- $JITX exec -- true 2>&1 >/dev/null | grep -c 'already runs inside jit session'; $JITX exec --connection sandbox -- $JITX exec -- true 2>/dev/null; echo $?`, "1\n125\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := sh(t, c.script); r.stdout != c.out || r.code != c.code {
				t.Errorf("want exit %d and %q: %s", c.code, c.out, r)
			}
		})
	}
}
