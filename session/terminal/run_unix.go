//go:build unix

package terminal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Waits of Run. All of them are for what no event tells of.
const (
	foregroundLook = 200 * time.Millisecond // a job brought to the foreground gets no signal
	drainIdle      = 100 * time.Millisecond // of silence, after the command has ended
	drainMost      = 2 * time.Second
)

// Run runs a command on a terminal of its own, within this process's controlling
// terminal, and waits for it.
func Run(c Command) (Ended, error) {
	host, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return Ended{}, fmt.Errorf("opening the terminal: %w", err)
	}
	defer host.Close() //nolint:errcheck // nothing was written that could be lost
	master, slave, err := pty.Open()
	if err != nil {
		return Ended{}, fmt.Errorf("making a terminal: %w", err)
	}
	defer master.Close() //nolint:errcheck // as above
	r := &session{c: c, host: host, master: master, begun: make(chan struct{})}
	if err := r.dress(slave); err != nil {
		return Ended{}, errors.Join(err, slave.Close())
	}
	leader, control, err := r.startLeader(slave)
	if err != nil {
		return Ended{}, errors.Join(err, slave.Close())
	}
	defer control.Close() //nolint:errcheck // as above
	defer leader.Wait()   //nolint:errcheck // it has reported, or died; reaped either way
	defer r.leave()       // whatever happens, the person gets the terminal back
	_ = slave.Close()     // the command has it
	shown := make(chan struct{})
	go r.show(shown) // ends with the last process on the terminal, or with the master
	ended, err := r.follow(control)
	r.drain(shown)
	return ended, err
}

// session is one run.
type session struct {
	c            Command
	host, master *os.File
	pid          int           // of the command, once it has started
	early        []unix.Signal // came before it had
	begun        chan struct{} // closed when the person's terminal is ready for output

	mu      sync.Mutex // guards what follows
	before  *term.State
	reading chan struct{} // closed when the reader of keys has stopped; nil: there is none
	last    time.Time     // of the last output
}

// control runs f with a descriptor, without changing how the file is read.
func control(f *os.File, use func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = use(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// dress gives the new terminal the settings and the size of the person's.
func (s *session) dress(slave *os.File) error {
	err := control(s.host, func(from int) error {
		settings, err := unix.IoctlGetTermios(from, getTermios)
		if err != nil {
			return err
		}
		return control(slave, func(to int) error { return unix.IoctlSetTermios(to, setTermios, settings) })
	})
	if err != nil {
		return fmt.Errorf("copying the terminal's settings: %w", err)
	}
	_, err = s.resize()
	return err
}

func (s *session) resize() (Size, error) {
	var w *unix.Winsize
	err := control(s.host, func(fd int) (err error) {
		w, err = unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		return err
	})
	if err == nil {
		err = control(s.master, func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, w) })
	}
	if err != nil {
		return Size{}, fmt.Errorf("sizing the terminal: %w", err)
	}
	return Size{Cols: int(w.Col), Rows: int(w.Row)}, nil
}

// HostSize is the size of this process's controlling terminal.
func HostSize() (Size, error) {
	host, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return Size{}, fmt.Errorf("opening the terminal: %w", err)
	}
	defer host.Close() //nolint:errcheck // opened to ask one question
	cols, rows, err := term.GetSize(int(host.Fd()))
	if err != nil {
		return Size{}, fmt.Errorf("sizing the terminal: %w", err)
	}
	return Size{cols, rows}, nil
}

// startLeader starts the process that leads the new session.
func (s *session) startLeader(slave *os.File) (*exec.Cmd, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("starting the command: %w", err)
	}
	unix.CloseOnExec(pair[0])
	unix.CloseOnExec(pair[1])
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close() //nolint:errcheck // the leader has its own
	self := append(append([]string{}, s.c.Self...), s.c.Path)
	l := exec.Command(self[0], append(self[1:], s.c.Args...)...) //nolint:gosec,noctx // this program; it ends with the command
	l.Env = s.c.Env
	l.ExtraFiles = []*os.File{theirs} // descriptor 3
	ctty := -1
	for fd, f := range []*os.File{s.c.In, s.c.Out, s.c.Err} {
		if term.IsTerminal(int(f.Fd())) {
			f, ctty = slave, fd
		}
		switch fd {
		case 0:
			l.Stdin = f
		case 1:
			l.Stdout = f
		case 2:
			l.Stderr = f
		}
	}
	l.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: ctty}
	if s.c.Prepare != nil {
		s.c.Prepare(l)
	}
	if err := l.Start(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("starting the command: %w", err), ours.Close())
	}
	return l, ours, nil
}

// show copies the command's output to the person's terminal.
func (s *session) show(done chan<- struct{}) {
	defer close(done)
	<-s.begun
	buf := make([]byte, 32<<10)
	for {
		n, err := s.master.Read(buf)
		if n > 0 {
			s.mu.Lock()
			s.last = time.Now()
			s.mu.Unlock()
			_, _ = s.host.Write(buf[:n]) // a terminal that is gone shows nothing
			s.c.Shown(buf[:n])
		}
		if err != nil {
			return // EIO: nobody has the terminal any more
		}
	}
}

// drain waits until everything that was written has been shown. What the command
// left running may keep the terminal open; silence ends the wait then.
func (s *session) drain(shown <-chan struct{}) {
	most := time.After(drainMost)
	began := time.Now()
	for {
		select {
		case <-shown:
			return
		case <-most:
		case <-time.After(drainIdle / 4):
			s.mu.Lock()
			silent := time.Since(s.last)
			s.mu.Unlock()
			if min(silent, time.Since(began)) < drainIdle {
				continue
			}
		}
		_ = s.master.Close()
		<-shown
		return
	}
}

// follow acts on what the leader says and on signals until the command has ended.
func (s *session) follow(ctl *os.File) (Ended, error) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGWINCH, unix.SIGCONT, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	defer signal.Stop(signals)
	heard := make(chan message, 4) // more than the leader says unasked
	go func() {                    // ends with the leader
		defer close(heard)
		for dec := json.NewDecoder(ctl); ; {
			var m message
			if dec.Decode(&m) != nil {
				return
			}
			heard <- m
		}
	}()
	look := time.NewTicker(foregroundLook)
	defer look.Stop()
	kill := s.c.Kill
	begin := sync.OnceFunc(func() { close(s.begun) })
	defer begin() // also if nothing ever does
	for {
		select {
		case m, ok := <-heard:
			switch {
			case !ok:
				return Ended{}, errors.New("the leader of the terminal died")
			case m.Error != "":
				return Ended{}, &StartError{m.Error, m.Missing}
			case m.Ended != nil:
				return *m.Ended, nil
			case m.Stopped:
				s.stop()
				if err := json.NewEncoder(ctl).Encode(message{Continue: true}); err != nil {
					return Ended{}, fmt.Errorf("continuing the command: %w", err)
				}
			default:
				// Not before: a key that arrives while the leader has the foreground would
				// be the leader's.
				s.pid = m.Started
				s.c.Started(m.Started)
				s.enter()
				begin()
				for _, sig := range s.early {
					_ = unix.Kill(s.pid, sig) // it may just have ended
				}
			}
		case sig := <-signals:
			s.handle(sig)
		case <-look.C:
			s.enter()
		case <-kill:
			kill = nil
			if s.pid > 0 {
				_ = unix.Kill(s.pid, unix.SIGKILL) // it may just have ended
			}
		}
	}
}

func (s *session) handle(sig os.Signal) {
	switch sig {
	case unix.SIGWINCH:
		if size, err := s.resize(); err == nil {
			s.c.Resized(size)
		}
	case unix.SIGCONT:
		s.again()
		s.enter()
	default:
		switch n, ok := sig.(unix.Signal); {
		case !ok:
		case s.pid == 0:
			s.early = append(s.early, n)
		default:
			_ = unix.Kill(s.pid, n) // it may just have ended
		}
	}
}

// stop gives the terminal back and stops this process, as the command has stopped,
// until a shell continues it. Where no shell would, the command goes on.
func (s *session) stop() {
	s.leave()
	if leader, err := unix.Getsid(0); err == nil && leader != unix.Getpid() && s.foreground() {
		resumed := make(chan os.Signal, 1)
		signal.Notify(resumed, unix.SIGCONT)
		if unix.Kill(unix.Getpid(), unix.SIGSTOP) == nil {
			<-resumed
		}
		signal.Stop(resumed)
	}
	s.enter()
}

// foreground reports whether the person's terminal listens to this process.
func (s *session) foreground() bool {
	group := 0
	err := control(s.host, func(fd int) (err error) {
		group, err = unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		return err
	})
	return err == nil && group == unix.Getpgrp()
}

// enter takes the person's terminal: keys go to the command unseen. In the
// background it does nothing.
func (s *session) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid == 0 || s.before != nil || !s.foreground() {
		return
	}
	err := control(s.host, func(fd int) (err error) {
		s.before, err = term.MakeRaw(fd)
		return err
	})
	if err != nil {
		s.before = nil
		return
	}
	if size, err := s.resize(); err == nil {
		s.c.Resized(size)
	}
	_ = s.host.SetReadDeadline(time.Time{}) // see leave
	_ = s.master.SetWriteDeadline(time.Time{})
	s.reading = make(chan struct{})
	go s.keys(s.reading)
}

// keys copies what is typed until leave.
func (s *session) keys(done chan<- struct{}) {
	defer close(done)
	_, _ = io.Copy(struct{ io.Writer }{s.master}, struct{ io.Reader }{s.host}) // ends by its deadline, or with either terminal
}

// again makes the terminal raw once more, after a shell that had it meanwhile made
// it its own.
func (s *session) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before != nil && s.foreground() {
		_ = control(s.host, func(fd int) error { // the terminal may be gone
			_, err := term.MakeRaw(fd)
			return err
		})
	}
}

// leave gives the person's terminal back as it was.
func (s *session) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before == nil {
		return
	}
	// Systems that cannot wait for a terminal with a deadline let the reader be; it
	// then takes what is typed first after the command has stopped.
	past := time.Unix(1, 0)
	if s.host.SetReadDeadline(past) == nil && s.master.SetWriteDeadline(past) == nil {
		<-s.reading
	}
	_ = control(s.host, func(fd int) error { return term.Restore(fd, s.before) }) // the terminal may be gone
	s.before = nil
}
