package cmd

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/recording"
)

func newRecordingCommand(a *App) *cobra.Command {
	c := &cobra.Command{
		Use:   "recording",
		Short: "Verify, list, export and seal recordings",
		Long: `Verify, list, export and seal recordings. Each session leaves one: a folder with every
statement, verdict, decision and result, in a log that cannot be changed unnoticed.`,
		Example: `  jit recording list
  jit recording verify SESSION
  jit recording verify ./evidence --witness-key server.pub`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRecordingVerifyCommand(a), newRecordingListCommand(a), newRecordingShowCommand(a),
		newRecordingFetchCommand(a), newRecordingSealCommand(a), newRecordingExportCommand(a),
		newRecordingRedactCommand(a))
	return c
}

// findRecording is the folder of a recording: one on this machine by its
// session's id, or the beginning of it; otherwise a path. Empty: the latest.
func (a *App) findRecording(name string) (string, error) {
	own := a.Paths.Recordings()
	ids, err := a.recordingIDs()
	if err != nil {
		return "", err
	}
	if name == "" {
		if len(ids) == 0 {
			return "", &Failure{What: "there is no recording on this machine yet", Fix: "Name a folder, or make one with `jit exec` or `jit demo`."}
		}
		return filepath.Join(own, ids[0]), nil
	}
	if slices.Contains(ids, name) {
		return filepath.Join(own, name), nil
	}
	if _, err := os.Stat(name); err == nil {
		if !isDir(name) {
			name = filepath.Dir(name) // a file of the recording
		}
		return name, nil
	}
	var found []string
	for _, id := range ids {
		if strings.HasPrefix(id, name) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", &Failure{What: "there is no recording " + name + " on this machine, and no such folder",
			Fix: "`jit recording list` shows what is here; `jit recording fetch ID` gets one from the approval server."}
	case 1:
		return filepath.Join(own, found[0]), nil
	}
	return "", &Failure{Code: ExitUsage, What: name + " is the beginning of " + strconv.Itoa(len(found)) + " recordings", Fix: "Give more of the id: " + strings.Join(found, ", ") + "."}
}

// recordingIDs are the sessions recorded on this machine, latest first.
func (a *App) recordingIDs() ([]string, error) {
	entries, err := os.ReadDir(a.Paths.Recordings())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &Failure{What: "listing recordings", Err: err}
	}
	type made struct {
		id string
		at time.Time
	}
	var list []made
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(a.Paths.Recordings(), e.Name(), recording.FileSession))
		if err == nil && !strings.HasPrefix(e.Name(), ".") {
			list = append(list, made{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(list, func(x, y made) int { return cmp.Or(y.at.Compare(x.at), cmp.Compare(x.id, y.id)) })
	ids := make([]string, len(list))
	for i, m := range list {
		ids[i] = m.id
	}
	return ids, nil
}

// recordingFailure says what to do about a recording that cannot be read.
func recordingFailure(what string, err error) error {
	var tamper *recording.TamperError
	switch {
	case errors.As(err, &tamper) && tamper.Segment == recording.FileCosig:
		return &Failure{What: what, Err: err, Fix: "If another server witnessed it, give that server's key with --witness-key; --own-keys checks only that it is whole."}
	case errors.As(err, &tamper):
		return &Failure{What: what, Err: err, Fix: "Keep the folder as it is: it is evidence. The approval server has its own copy: `jit recording fetch`."}
	case errors.Is(err, recording.ErrEmpty):
		return &Failure{What: what, Err: err, Fix: "Its process died before the session began; the folder can be deleted."}
	case errors.Is(err, recording.ErrBusy):
		return &Failure{What: what, Err: err, Fix: "Its session is still running; end that first."}
	case errors.Is(err, fs.ErrNotExist):
		return &Failure{What: what, Err: err, Fix: "A recording is a folder with " + recording.FileSession + " and " + recording.FileEvents + "."}
	}
	return &Failure{What: what, Err: err}
}

// The states of a recording in `jit recording list`.
const (
	stateSealed      = "sealed"      // ended, and witnessed to the end
	stateRecovered   = "recovered"   // as sealed, by a later run with another key
	stateUnwitnessed = "unwitnessed" // ended, and no known server has all of it
	stateUnsealed    = "unsealed"    // running, or left behind by a crash
	stateChanged     = "changed"     // not what was recorded
	stateEmpty       = "empty"       // its process died before the session began
	stateUnreadable  = "unreadable"
)

// recordingRow is one line of `jit recording list`.
type recordingRow struct {
	ID         string    `json:"id"`
	Opened     time.Time `json:"opened,omitzero"`
	Who        string    `json:"who,omitempty"`
	Connection string    `json:"connection,omitempty"`
	Events     int64     `json:"events"`
	State      string    `json:"state"` // one of the states below
	Why        string    `json:"why,omitempty"`
}

func newRecordingListCommand(a *App) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the recordings on this machine",
		Long:    "List the recordings on this machine, latest first, and whether each is whole.",
		Example: "  jit recording list\n  jit recording list --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			rows, err := a.recordingRows()
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(rows)
			}
			if len(rows) == 0 {
				a.say("No session has been recorded on this machine.")
				return nil
			}
			return tableOf(a, []string{"ID", "OPENED", "WHO", "CONNECTION", "EVENTS", "STATE"}, rows, func(r recordingRow) []string {
				opened := ""
				if !r.Opened.IsZero() {
					opened = r.Opened.Local().Format(time.DateTime)
				}
				return []string{r.ID, opened, r.Who, r.Connection, strconv.FormatInt(r.Events, 10), r.State}
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *App) recordingRows() ([]recordingRow, error) {
	ids, err := a.recordingIDs()
	if err != nil {
		return nil, err
	}
	rows := []recordingRow{}
	for _, id := range ids {
		rows = append(rows, a.recordingRow(id))
	}
	return rows, nil
}

func (a *App) recordingRow(id string) recordingRow {
	rec, err := a.openReplay(filepath.Join(a.Paths.Recordings(), id), false)
	if err != nil {
		row := recordingRow{ID: id, State: stateUnreadable, Why: err.Error()}
		var tamper *recording.TamperError
		switch {
		case errors.As(err, &tamper):
			row.State = stateChanged
		case errors.Is(err, recording.ErrEmpty):
			row.State = stateEmpty
		}
		return row
	}
	defer rec.Close() //nolint:errcheck // opened for reading
	s, rep := rec.Session(), rec.Report()
	row := recordingRow{ID: id, Who: cmp.Or(s.Email, s.Principal), Connection: s.Connection, Events: rep.Events, State: stateSealed}
	switch {
	case !rep.Sealed:
		row.State = stateUnsealed
	case rep.Unwitnessed > 0:
		row.State = stateUnwitnessed
	case rep.Recovered:
		row.State = stateRecovered
	}
	if at, err := rec.OpenedAt(); err == nil {
		row.Opened = at
	}
	return row
}

func newRecordingShowCommand(a *App) *cobra.Command {
	c := &cobra.Command{
		Use:     "show [ID|FOLDER]",
		Short:   "Show whose session it was and what is proven",
		Long:    "Show whose session it was, what is proven about its recording, and how many statements were allowed, held and denied.",
		Example: "  jit recording show SESSION",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			rec, err := a.openReplay(first(args), false)
			if err != nil {
				return err
			}
			defer rec.Close() //nolint:errcheck // opened for reading
			x, err := rec.Index()
			if err != nil {
				return recordingFailure("reading the recording", err)
			}
			facts := append(rec.SessionFacts(), replay.ProofFacts(rec.Report())...)
			return a.printFacts(append(facts, replay.Fact{Label: "statements", Text: x.Summary()}))
		},
	}
	return c
}

func (a *App) printFacts(facts []replay.Fact) error {
	for _, f := range facts {
		if err := a.printf("%-12s %s\n", f.Label, strings.ReplaceAll(f.Text, "\n", "\n"+strings.Repeat(" ", 13))); err != nil {
			return err
		}
	}
	return nil
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
