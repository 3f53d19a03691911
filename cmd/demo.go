package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
	"github.com/spf13/cobra"
)

func newDemoCommand(a *App) *cobra.Command {
	var plain bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "See jit work on this machine, with no account",
		Long: `Run the whole of jit on this machine: an identity provider, the approval
server, a small Snowflake-compatible server with made-up customers, and a sample
agent behind the broker. Nothing is configured and nothing leaves the machine.

In a terminal you are the reviewer: the agent runs in the upper half, its held
statement waits for you in the lower one. Without a terminal, or with --plain, a
scripted second person reviews.`,
		Example: "  jit demo\n  jit demo --plain",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), demoTimeout)
			defer cancel()
			return a.demo(ctx, !plain && a.interactive() && a.outIsTerminal())
		},
	}
	c.Flags().BoolVar(&plain, "plain", false, "print line by line and let a scripted person review")
	return c
}

const demoTimeout = 10 * time.Minute

// demo plays the whole story and says what happened.
func (a *App) demo(ctx context.Context, interactive bool) (err error) {
	dir, err := os.MkdirTemp("", "jit-demo-")
	if err != nil {
		return &Failure{What: "making the demo's folder", Err: err}
	}
	stage, err := a.raise(ctx, dir)
	if err != nil {
		return errors.Join(&Failure{What: "starting the demo", Err: err}, os.RemoveAll(dir))
	}
	defer func() {
		err = errors.Join(err, stage.close())
	}()
	play := stage.playScripted
	if interactive {
		play = stage.playInteractive
	}
	if err := play(ctx); err != nil {
		return err
	}
	return a.demoEnd(stage)
}

// demoEnd verifies the recording and says how to go on.
func (a *App) demoEnd(stage *demoStage) error {
	folder, err := stage.recording()
	if err != nil {
		return err
	}
	keys, err := stage.alice.witnessKeys()
	if err != nil {
		return err
	}
	report, err := recording.Verify(folder, recording.VerifyOptions{WitnessKeys: keys})
	if err != nil {
		return &Failure{What: "verifying the recording", Err: err}
	}
	if !report.Sealed || report.Unwitnessed > 0 {
		return &Failure{What: "verifying the recording", Err: fmt.Errorf("sealed: %v, events that the server did not cosign: %d", report.Sealed, report.Unwitnessed)}
	}
	a.say("")
	a.say("The recording is whole: %d events, signed by the session and cosigned by the server.", report.Events)
	a.say("")
	a.say("  see it again   jit replay %s", folder)
	a.say("  check it       jit recording verify %s --witness-key %s", folder, stage.alice.witnessKeyFile())
	a.say("  (without jit on your PATH: go run ./cmd/jit replay %s)", folder)
	return nil
}

// recording is the folder of the one session of this demo.
func (s *demoStage) recording() (string, error) {
	folders, err := filepath.Glob(filepath.Join(s.alice.Paths.Recordings(), "*"))
	if err != nil || len(folders) != 1 {
		return "", &Failure{What: "finding the recording", Err: fmt.Errorf("%d folders, expected one (%w)", len(folders), errors.Join(err, session.ErrNotFound))}
	}
	return folders[0], nil
}
