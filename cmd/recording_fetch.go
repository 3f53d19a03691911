package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

func newRecordingFetchCommand(a *App) *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "fetch ID",
		Short: "Get a recording from the approval server",
		Long: `Get the approval server's copy of a recording, and verify it. It covers what the
server witnessed. Reading a recording is itself in the server's audit.`,
		Example: "  jit recording fetch SESSION\n  jit recording fetch SESSION --to ./evidence",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.fetchRecording(c.Context(), args[0], to) },
	}
	c.Flags().StringVar(&to, "to", "", "the folder to make (default: among the recordings of this machine)")
	return c
}

// recordingSource is the server as fetch sees it.
type recordingSource interface {
	Recording(ctx context.Context, sessionID, file string) (io.ReadCloser, error)
}

func (a *App) fetchRecording(ctx context.Context, id, to string) error {
	client, _, err := a.client(ctx)
	if err != nil {
		return err
	}
	if to == "" {
		if id != filepath.Base(id) || id == "." || id == ".." {
			return usagef("%q is not the id of a session", id)
		}
		to = filepath.Join(a.Paths.Recordings(), id)
	}
	return a.fetchInto(ctx, client, id, to)
}

// fetchInto downloads next to the target and renames at the end: a folder that
// is there is whole.
func (a *App) fetchInto(ctx context.Context, src recordingSource, id, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return &Failure{What: to + " is there already", Fix: "Choose another folder with --to."}
	}
	parent := filepath.Dir(to)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return &Failure{What: "making " + parent, Err: err}
	}
	tmp, err := os.MkdirTemp(parent, ".fetch-")
	if err != nil {
		return &Failure{What: "making a folder in " + parent, Err: err}
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // gone after the rename
	// The cosigned note comes first: what is written while the others are read
	// then only adds events behind it.
	for _, name := range []string{recording.FileCosig, recording.FileSession, recording.FileEvents} {
		if err := fetchFile(ctx, src, id, name, filepath.Join(tmp, name)); err != nil {
			return &Failure{What: "getting " + name + " of session " + id, Err: err}
		}
	}
	for _, name := range []string{recording.FileTerminal, recording.FileRows} {
		// Most recordings have neither; one that the log tells of is missed below.
		if err := fetchFile(ctx, src, id, name, filepath.Join(tmp, name)); err != nil && !errors.Is(err, session.ErrNotFound) {
			return &Failure{What: "getting " + name + " of session " + id, Err: err}
		}
	}
	keys, err := a.witnessKeys()
	if err != nil {
		return err
	}
	rep, err := recording.Verify(tmp, recording.VerifyOptions{WitnessKeys: keys})
	if err != nil {
		return recordingFailure("verifying the server's copy", err)
	}
	if rep.Session.ID != id {
		return &Failure{What: fmt.Sprintf("the server sent the recording of session %q", rep.Session.ID)}
	}
	if err := os.Rename(tmp, to); err != nil {
		return &Failure{What: "making " + to, Err: err}
	}
	a.say("jit: %d events, verified. See them: jit replay %s", rep.Events, to)
	return nil
}

func fetchFile(ctx context.Context, src recordingSource, id, name, to string) (err error) {
	body, err := src.Recording(ctx, id, name)
	if errors.Is(err, session.ErrNotFound) {
		return fmt.Errorf("the server has none: %w", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, body)
	return errors.Join(err, f.Close())
}
