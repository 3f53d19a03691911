package cmd

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/replay"
)

func newRecordingExportCommand(a *App) *cobra.Command {
	var format, output string
	c := &cobra.Command{
		Use:   "export [ID|FOLDER] --format FORMAT",
		Short: "Write a recording as CSV, JSON lines, OCSF or a web page",
		Long: `Write a recording in a form that other tools read. It is verified on the way; one
that was changed is not written.

  csv        one row per statement; cells that a spreadsheet would run as a
             formula begin with an apostrophe
  jsonl      the recorded events
  ocsf       OCSF 1.3.0 events of class 6005, Datastore Activity, for a SIEM:
             one JSON line per statement and login
  html       a report of the session on one page that loads nothing
  asciicast  the terminal, for asciinema, if one was recorded

What is written proves nothing by itself; for evidence use ` + "`jit audit export`" + `.`,
		Example: `  jit recording export SESSION --format csv -o session.csv
  jit recording export --format html -o report.html
  jit recording export ./evidence --format ocsf | logger`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := replay.ParseFormat(format)
			if err != nil {
				return usagef("--format: %w", err)
			}
			return a.exportRecording(first(args), f, output)
		},
	}
	c.Flags().StringVar(&format, "format", "", "csv, jsonl, ocsf, asciicast or html")
	c.Flags().StringVarP(&output, "output", "o", "", "the file to make (default: standard output)")
	_ = c.MarkFlagRequired("format") // the flag is there
	names := make([]string, 0, len(replay.Formats()))
	for _, f := range replay.Formats() {
		names = append(names, string(f))
	}
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp)) // as above
	return c
}

func (a *App) exportRecording(name string, f replay.Format, output string) error {
	rec, err := a.openReplay(name, false)
	if err != nil {
		return err
	}
	defer rec.Close() //nolint:errcheck // opened for reading
	if !rec.Report().Trusted {
		a.say("jit: no server known here vouches for this recording; it is whole, but may not be genuine.")
	}
	err = a.writeOutput(output, func(w io.Writer) error { return rec.Export(w, f) })
	if errors.Is(err, replay.ErrNoTerminal) {
		return &Failure{What: "exporting " + rec.Session().ID, Err: err, Fix: "--format html shows the statements on a timeline."}
	}
	return err
}

// writeOutput writes to a new file, or to stdout if path is empty or "-". A
// file that could not be written to its end does not stay.
func (a *App) writeOutput(path string, write func(io.Writer) error) error {
	if path == "" || path == "-" {
		return write(a.Out)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &Failure{Code: ExitUsage, What: path + " is there already", Fix: "Choose another name with -o, or remove it."}
	}
	if err != nil {
		return &Failure{What: "making " + path, Err: err}
	}
	err = errors.Join(write(f), f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
