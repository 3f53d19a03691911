package cmd

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/recording"
	"github.com/jit-access/jit/tui"
)

// replayOptions is what the flags of `jit replay` say.
type replayOptions struct {
	Recording string // id or folder; empty: the latest
	Only      string
	Search    string
	Plain     bool
	JSON      bool
	Follow    bool
}

func newReplayCommand(a *App) *cobra.Command {
	o := replayOptions{}
	c := &cobra.Command{
		Use:   "replay [ID|FOLDER]",
		Short: "See what happened in a session",
		Long: `See what happened in a session: every statement with what was ruled and why,
who decided, what came back. Without an argument it is the latest session
recorded on this machine.

The recording is verified as it is read; one that was changed is not shown. It
works offline. On a terminal this is a full-screen timeline; press ? in it for
its keys. With --plain or --json, or when the output is not a terminal, it
prints instead.

With --follow it shows a session that is still running, as its recording is
signed: every few seconds.`,
		Example: `  jit replay
  jit replay SESSION --only held,denied
  jit replay SESSION --search "table:customers verdict:hold" --plain
  jit replay SESSION --follow
  jit replay ./recording --json | jq 'select(.kind == "decision")'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.Recording = args[0]
			}
			return a.replay(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Only, "only", "", "show only statements that were allowed, held, denied, masked, failed or aborted; separate by commas")
	f.StringVar(&o.Search, "search", "", "print only what matches: words, table: column: verdict: rule: outcome: who:")
	f.BoolVar(&o.Plain, "plain", false, "print as text, line by line")
	f.BoolVar(&o.JSON, "json", false, "print the recorded events, one JSON object per line")
	f.BoolVarP(&o.Follow, "follow", "f", false, "show what a running session adds, until it ends")
	c.MarkFlagsMutuallyExclusive("plain", "json")
	for _, other := range []string{"plain", "search"} {
		c.MarkFlagsMutuallyExclusive("follow", other)
	}
	return c
}

func (a *App) replay(ctx context.Context, o replayOptions) error {
	filter, err := replay.ParseFilter(o.Only)
	if err != nil {
		return usagef("--only: %w", err)
	}
	opt := replay.WriteOptions{Filter: filter}
	if o.Search != "" {
		q, err := replay.ParseQuery(o.Search)
		if err != nil {
			return usagef("--search: %w", err)
		}
		opt.Query = &q
	}
	screen := a.outIsTerminal() && a.interactive() && !o.JSON && !o.Plain && o.Search == ""
	rec, err := a.openReplay(o.Recording, screen)
	if err != nil {
		return err
	}
	defer rec.Close() //nolint:errcheck // opened for reading
	switch {
	case o.Follow && o.JSON:
		if o.Only != "" {
			return usagef("--follow --json prints every event; filter them with jq, or leave out --follow")
		}
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		err = replay.FollowJSON(ctx, a.Out, rec, tick.C)
	case o.Follow && !screen:
		return usagef("--follow needs a terminal, or --json")
	case o.JSON:
		err = replay.WriteJSON(a.Out, rec, opt)
	case !screen:
		err = replay.WritePlain(a.Out, rec, opt)
	default:
		err = tui.Replay(ctx, rec, tui.ReplayOptions{Filter: filter, Follow: o.Follow, In: a.In, Out: a.Out})
	}
	if err != nil {
		return &Failure{What: "replaying", Err: err}
	}
	return nil
}

// openReplay opens a recording with the witness keys known here. One whose
// witness is not among them can be looked at all the same; what is shown then
// says that only its own keys were there to check it. lazy is for a screen, see
// recording.VerifyOptions.
func (a *App) openReplay(name string, lazy bool) (*replay.Recording, error) {
	dir, err := a.findRecording(name)
	if err != nil {
		return nil, err
	}
	keys, err := a.witnessKeys()
	if err != nil {
		return nil, err
	}
	rec, err := replay.OpenTrusted(dir, recording.VerifyOptions{WitnessKeys: keys, Lazy: lazy})
	var tamper *recording.TamperError
	if errors.As(err, &tamper) && tamper.Segment == recording.FileCosig {
		rec, err = replay.OpenTrusted(dir, recording.VerifyOptions{Lazy: lazy})
	}
	if err != nil {
		return nil, recordingFailure("opening the recording "+dir, err)
	}
	return rec, nil
}
