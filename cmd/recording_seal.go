package cmd

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/session/recording"
)

func newRecordingSealCommand(a *App) *cobra.Command {
	var offline bool
	c := &cobra.Command{
		Use:   "seal [ID|FOLDER]",
		Short: "Seal and send what a session that crashed left behind",
		Long: `Seal and send what a session that crashed left behind: drop a line it did not
finish, write the end, sign, and send the approval server what it does not have.
The session's own key died with it, so another key signs, and the recording says
so. The server takes it from the session's own person once the session has ended
(` + "`jit session revoke`" + ` ends it).

Without an argument it is every recording on this machine that is not sealed or
not wholly witnessed; sessions that still run are left alone.`,
		Example: "  jit recording seal\n  jit recording seal SESSION\n  jit recording seal SESSION --offline",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.newSealer(c.Context(), offline)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return s.all(c.Context())
			}
			dir, err := a.findRecording(args[0])
			if err != nil {
				return err
			}
			return s.seal(c.Context(), dir)
		},
	}
	c.Flags().BoolVar(&offline, "offline", false, "seal only; send nothing")
	return c
}

// recordingTarget is the server as the rest of a recording is sent to it.
type recordingTarget interface {
	Cosign(ctx context.Context, checkpoint []byte) ([]byte, error)
	Upload(ctx context.Context, file string, offset int64, data []byte) error
}

// sealer seals recordings, and sends them if it has somewhere to.
type sealer struct {
	a      *App
	wait   time.Duration                          // how long one recording may take to reach the server
	target func(sessionID string) recordingTarget // nil: offline
	end    func(ctx context.Context, sessionID, why string) error
}

func (a *App) newSealer(ctx context.Context, offline bool) (*sealer, error) {
	if offline {
		return &sealer{a: a, wait: sendTime}, nil
	}
	client, _, err := a.client(ctx)
	if err != nil {
		return nil, errors.Join(err, &Failure{What: "nothing was sealed", Fix: "--offline seals without sending."})
	}
	return &sealer{a, sendTime, func(id string) recordingTarget { return client.ForRecovery(id) }, client.Revoke}, nil
}

// sendTime is how long one recording may take to reach the server.
const sendTime = 10 * time.Second

func (s *sealer) all(ctx context.Context) error {
	rows, err := s.a.recordingRows()
	if err != nil {
		return err
	}
	var errs []error
	n := 0
	for _, r := range rows {
		if r.State != stateUnsealed && (r.State != stateUnwitnessed || s.target == nil) {
			continue
		}
		err := s.seal(ctx, filepath.Join(s.a.Paths.Recordings(), r.ID))
		if errors.Is(err, recording.ErrBusy) {
			s.a.say("%s is still being recorded.", r.ID)
			continue
		}
		n++
		errs = append(errs, err)
	}
	if n == 0 {
		s.a.say("Nothing to seal.")
	}
	return errors.Join(errs...)
}

func (s *sealer) seal(ctx context.Context, dir string) error {
	skey, vkey, err := recording.NewKey("jit-recovery")
	if err != nil {
		return &Failure{What: "making a key", Err: err}
	}
	signer, err := recording.NewSigner(skey)
	if err != nil {
		return &Failure{What: "making a key", Err: err}
	}
	opt := recording.Options{Signer: signer, VerifierKey: vkey, SealWait: s.wait, Logger: s.a.Logger, Now: s.a.Now}
	if s.target != nil {
		id, err := recording.SessionID(dir)
		if err != nil {
			return recordingFailure("sealing "+dir, err)
		}
		t := s.target(id)
		opt.Witness, opt.Upload = t.Cosign, t.Upload
	}
	got, err := recording.Recover(ctx, dir, opt)
	if got.Sealed {
		s.a.say("%s is sealed: %d events, %d of them after the session's last signature; %d bytes of an unfinished line were dropped.",
			dir, got.Events, got.Unsaid, got.Torn)
	}
	switch {
	case errors.Is(err, recording.ErrPending):
		return &Failure{What: "sending " + dir, Err: err, Fix: "Nothing is lost: run `jit recording seal` again. If its session has not ended yet, `jit session revoke` ends it."}
	case err != nil:
		return recordingFailure("sealing "+dir, err)
	case !got.Sealed && s.target == nil:
		s.a.say("%s was sealed already.", dir)
	case !got.Sealed:
		s.a.say("%s was sealed already, and the server has all of it.", dir)
	}
	return nil
}
