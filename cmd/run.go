package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/jit-access/jit/broker"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/approval"
	"github.com/jit-access/jit/session/recording"
	"github.com/jit-access/jit/session/secret"
	"github.com/jit-access/jit/session/terminal"
)

// exec runs one `jit exec`.
func (a *App) exec(ctx context.Context, o execOptions) error {
	f, err := a.openFeed(o.StatusFD)
	if err != nil {
		return err
	}
	a.feed = f
	f.send(feedEvent{Event: feedStarted, PID: os.Getpid()})
	err = a.execSession(ctx, o)
	code, _ := exitOf(err)
	var child childExit
	if errors.As(err, &child) {
		f.end(code, nil)
	} else {
		f.end(code, err)
	}
	return err
}

func (a *App) execSession(ctx context.Context, o execOptions) error {
	if id := a.Getenv("JIT_SESSION"); id != "" {
		return &Failure{Code: ExitNotStarted, What: "this already runs inside jit session " + id,
			Err: errors.New("a session does not open another"), Fix: "Run the command without `jit exec`: it finds the broker by itself."}
	}
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	if err := a.settle(cfg, &o); err != nil {
		return err
	}
	if o.RecordTerminal && !a.hasTerminal() {
		return usagef("--record-terminal: neither input nor output is a terminal")
	}
	path := ""
	if !o.EnvOnly {
		if path, err = findCommand(o.Command[0]); err != nil {
			return err
		}
	}
	if o.confined, err = a.confinement(ctx, o); err != nil {
		return err
	}
	client, cfg, err := a.client(ctx)
	if err != nil {
		return beforeStart(err)
	}
	a.sealLeftovers(ctx, &sealer{a: a, target: func(id string) recordingTarget { return client.ForRecovery(id) }, end: client.Revoke})
	req, err := a.ask(ctx, client, o)
	if err != nil {
		return beforeStart(err)
	}
	run, err := a.openRun(ctx, client, cfg, req, o)
	if err != nil {
		return beforeStart(err)
	}
	return run.run(ctx, path)
}

// beforeStart gives 125 to failures that have no code of their own.
func beforeStart(err error) error {
	if code, fix := exitOf(err); code == ExitError {
		return &Failure{Code: ExitNotStarted, What: err.Error(), Fix: fix}
	}
	return err
}

// upstreams is what a run needs of the approval server once its session is open.
type upstreams interface {
	session.Desk
	session.Upstreams
}

// run is one session from opened to sealed.
type run struct {
	a      *App
	o      execOptions
	cfg    Config
	opened session.Opened
	up     upstreams
	writer *recording.Writer
	dir    string
	bundle *policy.Bundle // once it serves
	board  *board         // once it runs
	cast   atomic.Pointer[terminal.Cast]

	ending atomic.Bool // the broker is being stopped
	over   chan string // receives why the session ended before its command did
}

// openRun opens the session and its recording. From here on every way out
// seals the one and closes the other.
func (a *App) openRun(ctx context.Context, client *approval.Client, cfg Config, req session.Request, o execOptions) (*run, error) {
	skey, vkey, err := recording.NewKey("jit-session")
	if err != nil {
		return nil, &Failure{What: "making the recording's key", Err: err}
	}
	signer, err := recording.NewSigner(skey)
	if err != nil {
		return nil, &Failure{What: "making the recording's key", Err: err}
	}
	opened, err := client.Open(ctx, req.GrantID, vkey)
	if err != nil {
		return nil, &Failure{What: "opening the session", Err: err}
	}
	if id := opened.Session.ID; !filepath.IsLocal(id) || filepath.Base(id) != id {
		return nil, &Failure{What: "opening the session", Err: fmt.Errorf("the server named it %q, which is no session id", id)}
	}
	if err := a.rememberWitness(cfg.Server, opened.WitnessKey, a.Now()); err != nil {
		return nil, errors.Join(err, client.Revoke(ctx, opened.Session.ID, "jit does not accept the server's witness key"))
	}
	r := &run{a: a, o: o, cfg: cfg, opened: opened, up: client.ForBroker(opened.Session.ID, opened.Token), over: make(chan string, 1)}
	r.dir = filepath.Join(a.Paths.Recordings(), opened.Session.ID)
	r.writer, err = recording.Create(r.dir, recording.Options{
		Session: r.facts(req), Signer: signer, VerifierKey: vkey, WitnessKey: opened.WitnessKey,
		Witness: r.up.Cosign, Upload: r.up.Upload, Logger: a.Logger,
	})
	if err != nil {
		return nil, errors.Join(&Failure{What: "starting the recording", Err: err, Fix: "Without a recording there is no session; make room or rights at " + r.dir + "."}, r.closeSession(ctx))
	}
	return r, nil
}

func (r *run) facts(req session.Request) recording.SessionFacts {
	s := r.opened.Session
	return recording.SessionFacts{
		ID: s.ID, Principal: s.Principal.ID(), Email: s.Principal.Email, Connection: s.Scope.Connection, Role: s.Scope.Role,
		Warehouse: s.Scope.Warehouse, Database: s.Scope.Database, Schema: s.Scope.Schema, Reason: req.Reason,
		Rule: req.Rule, Policy: s.PolicyDigest, Deadline: s.Deadline, Emergency: s.Emergency, Ticket: req.Ticket,
		Confined: r.o.confined.report.Full(), Confinement: r.o.confined.report.String(),
	}
}

// record makes an event durable, then tells who looks on.
func (r *run) record(ctx context.Context, e recording.Event) (int64, error) {
	seq, err := r.writer.Append(ctx, e)
	if err != nil {
		return seq, fmt.Errorf("recording %s: %w", e.Kind, err)
	}
	if c := r.cast.Load(); c != nil && e.Kind == recording.KindStatement && e.SQL != nil && !e.SQL.Describe {
		c.Marker(e.Statement)
	}
	if r.board == nil {
		return seq, nil
	}
	first := false
	s := r.board.change(func(s *runningSession) {
		unused := s.FirstUse.IsZero()
		s.see(e, r.opened.Session.Scope, r.a.Now())
		first = unused && !s.FirstUse.IsZero()
	})
	r.a.feed.see(e, s, first)
	return seq, nil
}

// run serves the broker, runs the child, and ends the session whatever happens.
func (r *run) run(ctx context.Context, path string) (err error) {
	interrupted := ctx.Done()
	// A signal must not cut the session's end short: it is the child's to act on.
	ctx = context.WithoutCancel(ctx)
	end := "the command ended"
	defer func() {
		if err != nil {
			var c childExit
			if !errors.As(err, &c) {
				end = "jit failed: " + err.Error()
			}
		}
		if endErr := r.finish(ctx, end); endErr != nil {
			r.a.say("jit: %s", replay.Visible(endErr.Error()))
			if err == nil {
				err = childExit{ExitError}
			}
		}
	}()
	if err := harden(); err != nil {
		return &Failure{Code: ExitNotStarted, What: "protecting jit's memory", Err: err}
	}
	if r.board, err = r.a.Paths.openBoard(r.status()); err != nil {
		return &Failure{Code: ExitNotStarted, What: "starting the session", Err: err}
	}
	w, stop, err := r.serve(ctx)
	if err != nil {
		return &Failure{Code: ExitNotStarted, What: "starting the broker", Err: err}
	}
	defer func() {
		r.ending.Store(true)
		if stopErr := stop(); stopErr != nil {
			r.a.say("jit: the broker stopped early: %s", replay.Visible(stopErr.Error()))
		}
	}()
	r.board.copyTo(w.dir)
	s := r.board.change(func(s *runningSession) { s.Wiring = w.dir })
	if err := r.board.save(); err != nil { // before the child may ask
		return &Failure{Code: ExitNotStarted, What: "starting the session", Err: err}
	}
	r.a.feed.send(feedEvent{Event: feedOpen, Session: s.Session, Connection: s.Connection, Deadline: &s.Deadline})
	r.a.say("jit: session %s is open until %s at the latest. Recording: jit replay %s",
		s.Session, s.Deadline.Local().Format("15:04:05"), s.Session)
	if r.o.EnvOnly {
		return r.elsewhere(w, interrupted)
	}
	defer r.a.setTitle(r.cfg, r.o, s)()
	defer r.a.hush()()
	return r.child(ctx, path, w)
}

func (r *run) status() runningSession {
	s := r.opened.Session
	return runningSession{
		Session: s.ID, State: stateOpen, PID: os.Getpid(), Connection: s.Scope.Connection, Role: s.Scope.Role, Command: redactCommand(r.o.Command),
		Opened: r.a.Now(), Deadline: s.Deadline, TTL: s.Scope.TTL.String(), Pending: []pending{}, Recording: r.dir,
		Confinement: r.o.confined.report.String(),
	}
}

// child runs the command and records that it started and how it ended.
func (r *run) child(ctx context.Context, path string, w *wiring) error {
	command := redactCommand(r.o.Command)
	if _, err := r.record(ctx, recording.Event{Kind: recording.KindAgentStarted, Agent: &recording.AgentFacts{Command: command}}); err != nil {
		return &Failure{Code: ExitNotStarted, What: "starting the command", Err: err}
	}
	p := program{
		path: path, args: r.o.Command, env: r.o.confined.environ(w.environ()), wrap: r.o.confined.wrapper(w), in: r.a.In, out: r.a.Out, errOut: r.a.Err, kill: r.a.kill,
		started: func(pid int) {
			r.a.feed.send(feedEvent{Event: feedRunning, Session: r.opened.Session.ID, PID: pid})
		},
	}
	how, err := r.runProgram(ctx, p, w)
	if err != nil {
		return err
	}
	exit := int(how.code)
	r.a.feed.send(feedEvent{Event: feedExited, Session: r.opened.Session.ID, Exit: &exit, Signal: how.signal})
	_, err = r.record(ctx, recording.Event{Kind: recording.KindAgentExited,
		Agent: &recording.AgentFacts{Command: command, Exit: exit, Signal: how.signal}})
	if err != nil {
		return &Failure{What: "recording how the command ended", Err: err}
	}
	if how.code != ExitOK {
		return childExit{how.code}
	}
	return nil
}

// elsewhere prints the environment for a command that is started elsewhere, and
// waits until jit is interrupted or the session ends.
func (r *run) elsewhere(w *wiring, interrupted <-chan struct{}) error {
	if err := r.a.printExports(w.vars, "sh"); err != nil {
		return err
	}
	r.a.say("jit: the session stays open until you press Ctrl-C. Elsewhere: eval \"$(jit env %s)\"", r.opened.Session.ID)
	select {
	case <-interrupted:
		return nil
	case why := <-r.over:
		return &Failure{Code: ExitExpired, What: "session " + r.opened.Session.ID + " has ended: " + why}
	}
}

// serve starts the broker and wires a child to it. stop ends the broker, waits
// for it, and removes the wiring.
func (r *run) serve(ctx context.Context) (_ *wiring, stop func() error, err error) {
	if r.bundle, err = policy.Parse(r.opened.Bundle); err != nil {
		return nil, nil, fmt.Errorf("reading the policy of the server: %w", err)
	}
	if r.o.RecordTerminal && r.bundle.Keeping().Terminal != policy.TerminalOutput {
		return nil, nil, errors.New("--record-terminal: the policy of the server keeps no terminals (recording: {terminal: output} in its limits.yaml)")
	}
	lease, err := broker.NewLease()
	if err != nil {
		return nil, nil, err
	}
	b, err := r.broker(lease)
	if err != nil {
		return nil, nil, err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("listening on loopback: %w", err)
	}
	addr, ok := ln.Addr().(*net.TCPAddr)
	if !ok {
		return nil, nil, errors.Join(fmt.Errorf("listening on loopback gave %s", ln.Addr()), ln.Close())
	}
	s := r.opened.Session
	w, err := wire(r.a.Paths.Wiring(), r.a.childEnv(r.cfg), addr, lease, s, s.Scope.Connection)
	if err != nil {
		return nil, nil, errors.Join(err, ln.Close())
	}
	serveCtx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- b.Serve(serveCtx, ln) }()
	stop = func() error {
		cancel()
		return errors.Join(<-served, w.close())
	}
	if err := r.wireMore(serveCtx, b, w, &stop); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return w, stop, nil
}

// wireMore adds to the wiring what needs a broker that serves.
func (r *run) wireMore(ctx context.Context, b *broker.Broker, w *wiring, stop *func() error) error {
	if r.o.Intercept {
		<-b.Ready()
		stopProxy, err := r.interception(ctx, b, w)
		if err != nil {
			return err
		}
		stopBroker := *stop
		*stop = func() error { return errors.Join(stopProxy(), stopBroker()) }
	}
	return w.writeExports()
}

func (r *run) broker(lease secret.Text) (*broker.Broker, error) {
	s := r.opened.Session
	cfg := broker.Config{
		Session: s, LeaseDigest: lease.Digest(), Account: s.Scope.Connection, Upstreams: r.up, Desk: r.up, Policy: r.bundle,
		Subject: policy.Subject{User: s.Principal.ID(), Email: s.Principal.Email, Groups: s.Principal.Groups, Agent: agentName(r.o.Command)},
		Record:  r.record, Hold: r.o.Hold, Logger: r.a.Logger, Ended: r.ended,
	}
	if len(r.opened.DryRun) > 0 {
		trial, err := policy.Parse(r.opened.DryRun)
		if err != nil {
			return nil, fmt.Errorf("reading the policy in dry run of the server: %w", err)
		}
		cfg.DryRun = trial
	}
	return broker.New(cfg)
}

// ended learns from the broker that the session is over.
func (r *run) ended(why string) {
	if r.ending.Load() {
		return
	}
	r.board.change(func(s *runningSession) { s.State, s.Why, s.Pending = stateEnded, why, []pending{} })
	r.a.feed.send(feedEvent{Event: feedExpired, Session: r.opened.Session.ID, Why: why})
	r.over <- why
}

const endTimeout = 20 * time.Second

// finish records the end, seals the recording, ends the session at the server,
// and prints the one summary line.
func (r *run) finish(ctx context.Context, end string) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	_, err := r.record(ctx, recording.Event{Kind: recording.KindSessionEnded, Session: &recording.SessionFacts{ID: r.opened.Session.ID, End: end}})
	switch sealErr := r.writer.Seal(ctx); {
	case errors.Is(sealErr, recording.ErrPending):
		r.a.say("jit: the recording is whole here, but the server does not have all of it yet. Run `jit recording seal %s` to send the rest.", r.opened.Session.ID)
	case sealErr != nil:
		err = errors.Join(err, fmt.Errorf("sealing the recording: %w (what was recorded is kept in %s)", sealErr, r.dir))
	}
	err = errors.Join(err, r.closeSession(ctx))
	var last runningSession
	if r.board != nil {
		last = r.board.change(func(*runningSession) {})
		err = errors.Join(err, r.board.close())
	}
	r.a.say("jit: session %s ended: %s%s. Replay: jit replay %s", r.opened.Session.ID, last.Statements, why(last), r.opened.Session.ID)
	return err
}

// why is said of a session that ended before its command did.
func why(s runningSession) string {
	if s.Why == "" {
		return ""
	}
	return " (" + s.Why + ")"
}

func (r *run) closeSession(ctx context.Context) error {
	if err := r.up.Close(ctx); err != nil && !errors.Is(err, session.ErrRevoked) && !errors.Is(err, session.ErrExpired) {
		return fmt.Errorf("ending the session at the approval server: %w (it ends by itself at %s)", err, r.opened.Session.Deadline.Local().Format("15:04:05"))
	}
	return nil
}

// agentName is what policies and reviewers know the program by.
func agentName(command []string) string { return filepath.Base(command[0]) }
