package cmd

import (
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/replay"
)

func newAuditCommand(a *App) *cobra.Command {
	c := &cobra.Command{
		Use:     "audit",
		Short:   "Hand evidence to an auditor",
		Long:    "Hand evidence to an auditor: a recording with everything needed to verify it offline.",
		Example: "  jit audit export --session SESSION --evidence -o evidence.tar.gz",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newAuditExportCommand(a), newAuditSearchCommand(a), newAuditHoldCommand(a), newTombstoneCommand(a), newAuditEmergenciesCommand(a))
	return c
}

// auditOptions is what the flags of `jit audit export` say.
type auditOptions struct {
	Session  string
	Evidence bool
	Output   string
	Keys     verifyOptions
}

func newAuditExportCommand(a *App) *cobra.Command {
	o := auditOptions{}
	c := &cobra.Command{
		Use:   "export --session ID|FOLDER --evidence -o FILE.tar.gz",
		Short: "Write the evidence of one session into one file",
		Long: `Write the evidence of one session into one file: the recording byte for byte, the
keys that signed and cosigned it, the description of the format, a verifier in
Python that shares no code with jit, a report to read, and a README that says how
to verify all of it offline. What was written is unpacked and verified again
before the command succeeds.`,
		Example: "  jit audit export --session SESSION --evidence -o evidence.tar.gz",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !o.Evidence {
				return usagef("say what to export: --evidence (`jit recording export` writes other forms)")
			}
			return a.exportEvidence(o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Session, "session", "", "the session's id, or the folder of its recording")
	f.BoolVar(&o.Evidence, "evidence", false, "write an evidence bundle")
	f.StringVarP(&o.Output, "output", "o", "", "the file to make, a .tar.gz")
	f.StringArrayVar(&o.Keys.KeyFiles, "witness-key", nil, "file with the witness's verifier keys (default: those known on this machine)")
	for _, name := range []string{"session", "output"} {
		_ = c.MarkFlagRequired(name) // the flags are there
	}
	return c
}

func (a *App) exportEvidence(o auditOptions) error {
	dir, err := a.findRecording(o.Session)
	if err != nil {
		return err
	}
	keys, err := a.trustedWitnesses(o.Keys)
	if err != nil {
		return err
	}
	if o.Output == "-" {
		return usagef("-o: give a file; what is in it is verified after it was written")
	}
	err = a.writeOutput(o.Output, func(w io.Writer) error {
		if err := replay.WriteEvidence(w, dir, keys, a.Now()); err != nil {
			return recordingFailure("bundling "+dir, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := a.checkEvidence(o.Output, keys); err != nil {
		return errors.Join(err, os.Remove(o.Output))
	}
	return nil
}

// checkEvidence verifies a bundle as an auditor will: from the file alone.
func (a *App) checkEvidence(file string, keys []string) (err error) {
	f, err := os.Open(file) //nolint:gosec // the file just written
	if err != nil {
		return &Failure{What: "reading the bundle again", Err: err}
	}
	defer f.Close() //nolint:errcheck // opened for reading
	dir, err := os.MkdirTemp("", "jit-evidence-")
	if err != nil {
		return &Failure{What: "making a folder to verify the bundle in", Err: err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	rep, err := replay.VerifyEvidence(f, dir, keys)
	if err != nil {
		return recordingFailure("verifying the bundle", err)
	}
	a.say("jit: %s holds %d events of session %s, verified from the file.", file, rep.Events, rep.Session.ID)
	switch {
	case !rep.Trusted:
		a.say("     No server known here vouches for it: it is whole, but may not be genuine.")
	case rep.Unwitnessed > 0:
		a.say("     The server has not cosigned %d of them. `jit recording seal` sends them.", rep.Unwitnessed)
	}
	if !rep.Sealed {
		a.say("     The session has not ended, or its recording was cut off: what came after is not in it.")
	}
	return nil
}
