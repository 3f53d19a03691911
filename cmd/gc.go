package cmd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

func newGCCommand(a *App) *cobra.Command {
	var dryRun, asJSON bool
	c := &cobra.Command{
		Use:   "gc",
		Short: "Finish what sessions that crashed left on this machine",
		Long: `Finish what sessions that crashed left on this machine: end them at the approval
server, seal their recordings and send what the server does not have; remove the
folders of sessions that never began. Sessions that run are left alone, and a
recording that was changed is left as the evidence it is.

The next ` + "`jit exec`" + ` does the same for recordings that are not sealed. With --dry-run
nothing is done: it lists what there is to do.`,
		Example: "  jit gc --dry-run\n  jit gc\n  jit gc --dry-run --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := a.leftovers()
			if err != nil {
				return err
			}
			switch {
			case asJSON && dryRun:
				return a.printJSON(list)
			case len(list) == 0:
				a.say("Nothing is left to do.")
				return nil
			case dryRun:
				return tableOf(a, []string{"ID", "STATE", "TO DO"}, list, func(l leftover) []string { return []string{l.ID, l.State, l.ToDo} })
			}
			return a.finishLeftovers(c.Context(), list)
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only list what there is to do")
	c.Flags().BoolVar(&asJSON, "json", false, "with --dry-run: print JSON")
	return c
}

// leftover is a recording that is not finished.
type leftover struct {
	ID    string `json:"id"`
	State string `json:"state"` // unsealed, unwitnessed, empty or unreadable
	ToDo  string `json:"to_do"`
	Why   string `json:"why,omitempty"` // it is unreadable

	left recording.Left
}

// leftovers are the recordings on this machine with something left to do,
// latest first. Those that are being written are none.
func (a *App) leftovers() ([]leftover, error) {
	ids, err := a.recordingIDs()
	if err != nil {
		return nil, err
	}
	list := []leftover{}
	for _, id := range ids {
		left, err := recording.LeftOf(filepath.Join(a.Paths.Recordings(), id))
		l := leftover{ID: id, left: left}
		switch {
		case err != nil:
			l.State, l.ToDo, l.Why = stateUnreadable, "look at it: jit recording verify "+id, replay.VisibleLine(err.Error())
		case left == recording.LeftUnsealed:
			l.State, l.ToDo = stateUnsealed, "seal and send"
		case left == recording.LeftUnsent:
			l.State, l.ToDo = stateUnwitnessed, "send"
		case left == recording.LeftEmpty:
			l.State, l.ToDo = stateEmpty, "remove"
		default:
			continue
		}
		list = append(list, l)
	}
	return list, nil
}

// finishLeftovers does what is left to do, and goes on after a failure.
func (a *App) finishLeftovers(ctx context.Context, list []leftover) error {
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	s := &sealer{a: a, wait: sendTime, target: func(id string) recordingTarget { return client.ForRecovery(id) }, end: client.Revoke}
	var errs []error
	for _, l := range list {
		dir := filepath.Join(a.Paths.Recordings(), l.ID)
		switch l.left {
		case recording.LeftUnsealed, recording.LeftUnsent:
			errs = append(errs, s.finish(ctx, dir, l.ID))
		case recording.LeftEmpty:
			errs = append(errs, a.removeEmpty(dir))
		default:
			errs = append(errs, &Failure{What: "looking at " + dir, Err: errors.New(l.Why), Fix: "Keep the folder as it is, and see `jit recording verify`."})
		}
	}
	return errors.Join(errs...)
}

// finish ends a session whose process died, and seals and sends its recording.
func (s *sealer) finish(ctx context.Context, dir, id string) error {
	// Until it is ended, the server takes the recording from the dead process only.
	err := s.end(ctx, id, "jit gc: the process that ran the session died")
	if err != nil && !errors.Is(err, session.ErrConflict) && !errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrExpired) && !errors.Is(err, session.ErrRevoked) {
		s.a.say("jit: session %s could not be ended: %s", id, replay.VisibleLine(err.Error()))
	}
	err = s.seal(ctx, dir)
	if errors.Is(err, recording.ErrBusy) {
		return nil // it runs after all
	}
	return err
}

// removeEmpty removes a recording that never began, and nothing else.
func (a *App) removeEmpty(dir string) error {
	rec, err := recording.Open(dir)
	if err == nil {
		return rec.Close()
	}
	if !errors.Is(err, recording.ErrEmpty) {
		return recordingFailure("looking at "+dir, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return &Failure{What: "removing " + dir, Err: err}
	}
	a.say("%s was empty, and is removed.", dir)
	return nil
}

// The next run finishes a few crashed sessions, and does not wait long for it.
const (
	leftoversAtOnce = 3
	leftoverWait    = 2 * time.Second
)

// sealLeftovers seals and sends what crashed sessions left unsealed, as far as
// that is quickly done. What fails is for `jit gc`; a session does not depend on it.
func (a *App) sealLeftovers(ctx context.Context, s *sealer) {
	list, err := a.leftovers()
	if err != nil {
		return
	}
	s.wait = leftoverWait
	n := 0
	for _, l := range list {
		if l.left != recording.LeftUnsealed {
			continue
		}
		if n++; n > leftoversAtOnce {
			a.say("jit: more sessions that crashed are not sealed: run `jit gc`.")
			return
		}
		if err := s.finish(ctx, filepath.Join(a.Paths.Recordings(), l.ID), l.ID); err != nil {
			a.say("jit: %s: run `jit gc` later.", replay.VisibleLine(err.Error()))
		}
	}
}
