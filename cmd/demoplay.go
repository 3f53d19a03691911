package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/confine"
	"github.com/jit-access/jit/tui"
)

// demoReviewPause is how long the scripted reviewer looks before deciding, so
// that a person can see the statement being held.
const demoReviewPause = 2 * time.Second

// playScripted runs the agent while a scripted second person reviews.
func (s *demoStage) playScripted(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reviewed := make(chan error, 1)
	go func() { reviewed <- s.review(ctx) }()
	err := s.runAgent(ctx)
	cancel()
	if reviewErr := <-reviewed; reviewErr != nil && !errors.Is(reviewErr, context.Canceled) {
		err = errors.Join(err, &Failure{What: "reviewing", Err: reviewErr})
	}
	return err
}

// playInteractive runs the agent in the upper half of the screen; in the lower
// half whoever sits there reviews, as bob.
func (s *demoStage) playInteractive(ctx context.Context) error {
	desk, _, err := s.bob.client(ctx)
	if err != nil {
		return err
	}
	bob, _, err := desk.Whoami(ctx)
	if err != nil {
		return &Failure{What: "asking who reviews", Err: err}
	}
	screen := tui.ReviewOptions{Viewer: bob, In: os.Stdin, Out: os.Stdout, Now: s.alice.Now}
	out, errOut := s.alice.Out, s.alice.Err
	written, err := tui.ReviewBeside(ctx, desk, desk, screen, "jit demo: the agent above, you review below", func(ctx context.Context, w io.Writer) error {
		s.alice.Out, s.alice.Err, s.alice.kill = w, w, ctx.Done()
		return s.runAgent(ctx)
	})
	s.alice.Out, s.alice.Err = out, errOut
	if printErr := s.alice.printf("%s", written); printErr != nil {
		err = errors.Join(err, printErr)
	}
	return err
}

// runAgent is `jit exec -- jit demo-agent`, as alice.
func (s *demoStage) runAgent(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return &Failure{What: "finding the sample agent", Err: err}
	}
	s.alice.say("")
	s.alice.say("$ jit exec --reason \"look at the customers\" -- sample-agent")
	return s.alice.exec(ctx, execOptions{
		Confine:    string(confine.Auto),
		Connection: demoConnection, TTL: 15 * time.Minute, Reason: "look at the customers", Hold: 5 * time.Minute,
		Command: []string{self, "demo-agent"},
	})
}

// review plays bob: he approves dropping the old database and nothing else.
func (s *demoStage) review(ctx context.Context) error {
	desk, _, err := s.bob.client(ctx)
	if err != nil {
		return err
	}
	changes, err := desk.Watch(ctx, -1)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for {
		pending, err := desk.Pending(ctx, session.Filter{})
		if err != nil {
			return err
		}
		for _, req := range pending {
			if seen[req.ID] {
				continue
			}
			seen[req.ID] = true
			if err := s.decide(ctx, desk, req); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, ok := <-changes:
			if !ok {
				return fmt.Errorf("following requests: %w", session.ErrUnavailable)
			}
		}
	}
}

func (s *demoStage) decide(ctx context.Context, desk session.Desk, req session.Request) error {
	say := func(format string, args ...any) { s.bob.say("[bob]   "+format, args...) }
	say("%s asks: %s", req.Principal.Display(), replay.Visible(req.Case.Canonical))
	say("held by %s: %s", req.Rule, replay.Visible(req.RuleText))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(demoReviewPause):
	}
	choice := session.Choice{Outcome: session.OutcomeDeny, Reason: "not part of the demo"}
	if req.Kind == session.RequestStatement {
		choice.Digest = req.Case.Digest()
	}
	if strings.EqualFold(strings.TrimSpace(req.Case.Canonical), "DROP DATABASE OLD_REPORTS") {
		choice.Outcome, choice.Reason = session.OutcomeApprove, "nobody reads it any more"
	}
	if _, err := desk.Decide(ctx, req.ID, choice); err != nil {
		return err
	}
	words := "denies"
	if choice.Outcome == session.OutcomeApprove {
		words = "approves once"
	}
	say("%s: %s", words, choice.Reason)
	return nil
}
