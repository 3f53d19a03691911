package cmd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/recording"
)

func newPolicySuggestCommand(a *App) *cobra.Command {
	var from []string
	var base, output string
	c := &cobra.Command{
		Use:   "suggest --from RECORDING... -o FOLDER",
		Short: "Make a bundle that allows what was approved",
		Long: `Make the tightest bundle that would have let run, without a person, what was
approved in past sessions: what the policy allowed, and what reviewers approved.

Each approved statement gets a rule for its person, connection, role, kind,
objects, functions and data classes; statements that differ in values alone share
one. Everything else is held, or denied as the base bundle denies it, with the
reviewers and approvals that it asks for. What was approved becomes the bundle's
tests. Read and edit it: what was approved once is not always what should run
unattended.`,
		Example: `  jit policy suggest --from SESSION -o ./policy
  jit policy suggest --from SESSION1 --from ./recording --base @server -o ./policy
  jit policy test ./policy && jit policy diff @default ./policy`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			b, err := a.bundle(c.Context(), base)
			if err != nil {
				return err
			}
			return a.suggestPolicy(b, from, output)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&from, "from", nil, "a recording: a session's id or a folder; may be repeated")
	f.StringVar(&base, "base", "@default", "the bundle to take denials, classes, limits and reviewers from")
	f.StringVarP(&output, "output", "o", "", "the folder to make")
	for _, name := range []string{"from", "output"} {
		_ = c.MarkFlagRequired(name) // the flags are there
	}
	return c
}

func (a *App) suggestPolicy(base *policy.Bundle, from []string, output string) error {
	var sessions []policy.Witnessed
	for _, name := range from {
		w, err := a.witnessed(name)
		if err != nil {
			return err
		}
		sessions = append(sessions, w)
	}
	s, err := base.Suggest(sessions)
	if err != nil {
		return &Failure{What: "suggesting a policy", Err: err}
	}
	for _, l := range s.Left {
		a.say("left out: %s\n          %s", replay.VisibleLine(cut(l.Text, 200)), replay.VisibleLine(l.Why))
	}
	if s.Allowed == 0 {
		return &Failure{What: "nothing that was approved can be allowed by a rule", Fix: "Name other recordings with --from."}
	}
	if err := writeBundleFolder(s.Bundle, output); err != nil {
		return err
	}
	a.say("jit: %s lets %d statements run by %d rules. Edit suggested.cedar, then: jit policy test %s", output, s.Allowed, s.Rules, output)
	return nil
}

// witnessed reads what was approved in one recording.
func (a *App) witnessed(name string) (policy.Witnessed, error) {
	rec, err := a.openReplay(name, false)
	if err != nil {
		return policy.Witnessed{}, err
	}
	defer rec.Close() //nolint:errcheck // opened for reading
	if !rec.Report().Trusted {
		a.say("jit: no server known here vouches for %s; read what it suggests with care.", rec.Session().ID)
	}
	s := rec.Session()
	w := policy.Witnessed{
		Subject: policy.Subject{User: s.Principal, Email: s.Email},
		Setting: policy.Setting{Connection: s.Connection, Role: s.Role, Warehouse: s.Warehouse, Database: s.Database, Schema: s.Schema, Emergency: s.Emergency},
	}
	x, err := rec.Index()
	if err != nil {
		return w, recordingFailure("reading the recording", err)
	}
	for _, e := range x.Entries {
		d, err := rec.Detail(e)
		if err != nil {
			return w, recordingFailure("reading the recording", err)
		}
		last, ok := d.Last(recording.KindStatement)
		if !ok || last.SQL == nil {
			continue
		}
		p := policy.Past{ID: e.ID, Text: last.SQL.Text, Rule: last.SQL.Rule, Columns: last.SQL.Predicates}
		p.Verdict, _ = policy.ParseVerdict(last.SQL.Verdict) // unknown is Deny
		for _, o := range last.SQL.Outputs {
			p.Columns = append(p.Columns, o.From...)
		}
		w.Past = append(w.Past, p)
		w.Approved = append(w.Approved, approved(e, p.Verdict))
	}
	return w, nil
}

// approved reports whether the statement was let run. That it was sent counts,
// not how it ended: an approval can expire, and a ruling can change meanwhile.
func approved(e replay.Entry, v policy.Verdict) bool {
	sent := e.Outcome == replay.OutcomeForwarded || e.Outcome == replay.OutcomeRan || e.Outcome == replay.OutcomeFailed
	return sent && (v == policy.Allow || v == policy.Hold && e.Decision == "approved")
}

// writeBundleFolder writes a bundle into a new folder.
func writeBundleFolder(b *policy.Bundle, folder string) error {
	if err := os.Mkdir(folder, 0o755); errors.Is(err, fs.ErrExist) { //nolint:gosec // a policy is no secret
		return &Failure{Code: ExitUsage, What: folder + " is there already", Fix: "Choose another folder with --output."}
	} else if err != nil {
		return &Failure{What: "making " + folder, Err: err}
	}
	for _, name := range b.Files() {
		data, _ := b.File(name) // it was just named
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as above
			return &Failure{What: "making " + folder, Err: err}
		}
		if err := os.WriteFile(path, data, 0o644); err != nil { //nolint:gosec // as above
			return &Failure{What: "writing the bundle", Err: err}
		}
	}
	return nil
}
