package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jit-access/jit/broker"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/approval"
	"github.com/jit-access/jit/session/recording"
)

// exec runs one `jit exec`.
func (a *App) exec(ctx context.Context, o execOptions) error {
	if id := a.Getenv("JIT_SESSION"); id != "" {
		return &Failure{Code: ExitNotStarted, What: "this already runs inside jit session " + id,
			Err: errors.New("a session does not open another"), Fix: "Run the command without `jit exec`: it finds the broker by itself."}
	}
	path, err := findCommand(o.Command[0])
	if err != nil {
		return err
	}
	client, cfg, err := a.client(ctx)
	if err != nil {
		return beforeStart(err)
	}
	for _, fallback := range []string{a.Getenv("JIT_CONNECTION"), cfg.Connection} {
		if o.Connection == "" && o.Request == "" {
			o.Connection = fallback
		}
	}
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
	tally  tally
	dir    string
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
	if changed, err := a.rememberWitness(cfg.Server, opened.WitnessKey); err != nil {
		return nil, errors.Join(err, client.Revoke(ctx, opened.Session.ID, "jit could not keep the server's witness key"))
	} else if changed {
		a.say("jit: the approval server signs recordings with a new key. If nobody announced that, ask its administrator.")
	}
	r := &run{a: a, o: o, cfg: cfg, opened: opened, up: client.ForBroker(opened.Session.ID, opened.Token)}
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
	}
}

// record counts an event and makes it durable.
func (r *run) record(ctx context.Context, e recording.Event) (int64, error) {
	seq, err := r.writer.Append(ctx, e)
	if err != nil {
		return seq, fmt.Errorf("recording %s: %w", e.Kind, err)
	}
	r.tally.count(e)
	return seq, nil
}

// run serves the broker, runs the child, and ends the session whatever happens.
func (r *run) run(ctx context.Context, path string) (err error) {
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
	w, stop, err := r.serve(ctx)
	if err != nil {
		return &Failure{Code: ExitNotStarted, What: "starting the broker", Err: err}
	}
	defer func() {
		if stopErr := stop(); stopErr != nil {
			r.a.say("jit: the broker stopped early: %s", replay.Visible(stopErr.Error()))
		}
	}()
	r.a.say("jit: session %s is open until %s at the latest. Recording: jit replay %s",
		r.opened.Session.ID, r.opened.Session.Deadline.Local().Format("15:04:05"), r.opened.Session.ID)
	return r.child(ctx, path, w)
}

// child runs the command and records that it started and how it ended.
func (r *run) child(ctx context.Context, path string, w *wiring) error {
	command := redactCommand(r.o.Command)
	if _, err := r.record(ctx, recording.Event{Kind: recording.KindAgentStarted, Agent: &recording.AgentFacts{Command: command}}); err != nil {
		return &Failure{Code: ExitNotStarted, What: "starting the command", Err: err}
	}
	how, err := runChild(path, r.o.Command, w.environ(), r.a.In, r.a.Out, r.a.Err, r.a.kill)
	if err != nil {
		return err
	}
	_, err = r.record(ctx, recording.Event{Kind: recording.KindAgentExited,
		Agent: &recording.AgentFacts{Command: command, Exit: int(how.code), Signal: how.signal}})
	if err != nil {
		return &Failure{What: "recording how the command ended", Err: err}
	}
	if how.code != ExitOK {
		return childExit{how.code}
	}
	return nil
}

// serve starts the broker and wires a child to it. stop ends the broker, waits
// for it, and removes the wiring.
func (r *run) serve(ctx context.Context) (*wiring, func() error, error) {
	bundle, err := policy.Parse(r.opened.Bundle)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the policy of the server: %w", err)
	}
	var dryRun broker.Rules
	if len(r.opened.DryRun) > 0 {
		trial, err := policy.Parse(r.opened.DryRun)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the policy in dry run of the server: %w", err)
		}
		dryRun = trial
	}
	lease, err := broker.NewLease()
	if err != nil {
		return nil, nil, err
	}
	s := r.opened.Session
	b, err := broker.New(broker.Config{
		Session: s, LeaseDigest: lease.Digest(), Account: s.Scope.Connection, Upstreams: r.up, Desk: r.up, Policy: bundle, DryRun: dryRun,
		Subject: policy.Subject{User: s.Principal.ID(), Email: s.Principal.Email, Groups: s.Principal.Groups, Agent: agentName(r.o.Command)},
		Record:  r.record, Hold: r.o.Hold, Logger: r.a.Logger,
	})
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
	w, err := wire(r.a.childEnv(r.cfg), addr, lease, s, s.Scope.Connection)
	if err != nil {
		return nil, nil, errors.Join(err, ln.Close())
	}
	serveCtx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- b.Serve(serveCtx, ln) }()
	return w, func() error {
		cancel()
		return errors.Join(<-served, w.close())
	}, nil
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
	r.a.say("jit: session %s ended: %s. Replay: jit replay %s", r.opened.Session.ID, r.tally.String(), r.opened.Session.ID)
	return err
}

func (r *run) closeSession(ctx context.Context) error {
	if err := r.up.Close(ctx); err != nil && !errors.Is(err, session.ErrRevoked) && !errors.Is(err, session.ErrExpired) {
		return fmt.Errorf("ending the session at the approval server: %w (it ends by itself at %s)", err, r.opened.Session.Deadline.Local().Format("15:04:05"))
	}
	return nil
}

// agentName is what policies and reviewers know the program by.
func agentName(command []string) string { return filepath.Base(command[0]) }

// tally counts what happened, for the summary line.
type tally struct {
	mu                             sync.Mutex
	allowed, held, denied, results int
	masked                         int
}

func (t *tally) count(e recording.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case e.Kind == recording.KindStatement && e.SQL != nil && !e.SQL.Describe:
		switch e.SQL.Verdict {
		case policy.Allow.String():
			t.allowed++
		case policy.Hold.String():
			t.held++
		default:
			t.denied++
		}
	case e.Kind == recording.KindResult && e.Result != nil:
		t.results++
		if len(e.Result.Masked) > 0 {
			t.masked++
		}
	}
}

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	total := t.allowed + t.held + t.denied
	if total == 0 {
		return "no statements"
	}
	words := []string{fmt.Sprintf("%d statements", total), fmt.Sprintf("%d ran unattended", t.allowed)}
	if total == 1 {
		words[0] = "1 statement"
	}
	for _, part := range []struct {
		n    int
		what string
	}{{t.held, "held"}, {t.denied, "denied"}, {t.masked, "results masked"}} {
		if part.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	return strings.Join(words, ", ")
}
