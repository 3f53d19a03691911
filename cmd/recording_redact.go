package cmd

import (
	"context"
	"errors"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/recording"
	"github.com/jit-access/jit/session/secret"
)

// redactOptions is what the flags of `jit recording redact` say.
type redactOptions struct {
	Recording    string
	Statements   []string // numbers as replay shows them, or ids
	Events       []int64
	Containing   []string
	Reason       bool
	Terminal     bool
	Why, By      string
	DryRun, JSON bool
}

func newRecordingRedactCommand(a *App) *cobra.Command {
	o := redactOptions{}
	c := &cobra.Command{
		Use:   "redact ID|FOLDER --why WHY [what]",
		Short: "Take texts out of a sealed recording, which still verifies",
		Long: `Take texts out of a sealed recording: what people and agents wrote, and what may
quote data. The log commits to salted hashes of its texts, so that its root, its
signature and the server's cosignature still verify; nothing else can be put in
the place of what was taken out. Verdicts, times, names of tables and columns, who
asked and who decided cannot be redacted.

What is taken out is gone for good in this folder. Who, when and why is written
into the recording first, signed with a key that jit makes once and keeps where
the sign-in is kept; verify and replay show it. The copy at the approval server,
its audit log, and backups are not changed.

  --statement   the texts of a statement: its number in replay, or its id
  --event       the texts of one event, by its number in the log
  --containing  every text in which this stands, whatever its case
  --reason      the reason given for the session
  --terminal    the whole terminal

With a text goes the digest of the statement, which could confirm a guess.`,
		Example: `  jit recording redact SESSION --statement 12 --why "ticket 4711: a customer's name"
  jit recording redact SESSION --containing ana@example.com --why "erasure request" --dry-run
  jit recording redact ./recording --terminal --why "screen showed a contract"`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.Recording = args[0]
			return a.redactRecording(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&o.Statements, "statement", nil, "the texts of a statement, by number or id; may be repeated")
	f.Int64SliceVar(&o.Events, "event", nil, "the texts of an event, by number; may be repeated")
	f.StringArrayVar(&o.Containing, "containing", nil, "every text that contains this; may be repeated")
	f.BoolVar(&o.Reason, "reason", false, "the reason given for the session")
	f.BoolVar(&o.Terminal, "terminal", false, "the whole terminal")
	f.StringVar(&o.Why, "why", "", "why; it stands in the recording from then on")
	f.StringVar(&o.By, "by", "", "who (default: the user of this process)")
	f.BoolVar(&o.DryRun, "dry-run", false, "only say what would be taken out")
	f.BoolVar(&o.JSON, "json", false, "print JSON")
	_ = c.MarkFlagRequired("why") // the flag is there
	c.MarkFlagsOneRequired("statement", "event", "containing", "reason", "terminal")
	return c
}

// redactDoc is what `jit recording redact --json` prints.
type redactDoc struct {
	Recording string    `json:"recording"`
	Applied   bool      `json:"applied"`
	Texts     []textDoc `json:"texts"`
	Files     []string  `json:"files,omitempty"`
	Key       string    `json:"key,omitempty"`
}

type textDoc struct {
	Event int64  `json:"event"` // -1: session.json
	Text  string `json:"text"`  // which, not what
}

func (a *App) redactRecording(ctx context.Context, o redactOptions) error {
	if slices.Contains(o.Containing, "") {
		return usagef("--containing: everything contains nothing")
	}
	if strings.TrimSpace(o.Why) == "" {
		return usagef("--why: say why; whoever reads the recording will ask")
	}
	dir, err := a.findRecording(o.Recording)
	if err != nil {
		return err
	}
	choose, err := o.chooser(dir)
	if err != nil {
		return err
	}
	doc := redactDoc{Recording: dir, Texts: []textDoc{}}
	if o.Terminal {
		doc.Files = []string{recording.FileTerminal}
	}
	opt := recording.RedactOptions{By: o.By, Why: o.Why, Now: a.Now(), Files: doc.Files, DryRun: o.DryRun, Choose: choose}
	if opt.By == "" {
		opt.By = processUser()
	}
	if !o.DryRun {
		if opt.Signer, opt.VerifierKey, err = a.redactionKey(ctx); err != nil {
			return err
		}
	}
	done, err := recording.Redact(dir, opt)
	if err != nil {
		return redactFailure(dir, err)
	}
	doc.Applied, doc.Key = !o.DryRun, opt.VerifierKey
	for _, t := range done.Texts {
		doc.Texts = append(doc.Texts, textDoc{t.Seq, t.Name})
	}
	if o.JSON {
		return a.printJSON(doc)
	}
	verb := "Taken out of "
	if o.DryRun {
		verb = "Would be taken out of "
	}
	a.say("%s%s: %d texts%s.", verb, replay.VisibleLine(dir), len(doc.Texts), andFiles(doc.Files))
	for _, t := range doc.Texts {
		a.say("  event %d: %s", t.Event, t.Text)
	}
	if !o.DryRun {
		a.say("Signed by %s. The approval server's copy and backups still hold it.", doc.Key)
	}
	return nil
}

func andFiles(files []string) string {
	if len(files) == 0 {
		return ""
	}
	return " and " + strings.Join(files, ", ")
}

func redactFailure(dir string, err error) error {
	switch {
	case errors.Is(err, recording.ErrNotSealed):
		return &Failure{What: "redacting " + dir, Err: err, Fix: "End the session, and run `jit recording seal`: it seals, and sends what the server does not have."}
	case errors.Is(err, recording.ErrNothing):
		return &Failure{What: "redacting " + dir, Err: err, Fix: "What you named is not in the recording, or was taken out before: `jit replay` shows it."}
	}
	return recordingFailure("redacting "+dir, err)
}

// chooser reports which texts the flags mean. Statements are counted as replay
// counts them.
func (o redactOptions) chooser(dir string) (func(int64, recording.Event, string, string) bool, error) {
	ids := map[string]bool{}
	if len(o.Statements) > 0 {
		rec, err := recording.Open(dir)
		if err != nil {
			return nil, recordingFailure("redacting "+dir, err)
		}
		defer rec.Close() //nolint:errcheck // opened for reading
		if ids, err = statementIDs(rec, o.Statements); err != nil {
			return nil, err
		}
	}
	var parts []string
	for _, c := range o.Containing {
		parts = append(parts, strings.ToLower(c))
	}
	return func(seq int64, e recording.Event, name, text string) bool {
		return e.Statement != "" && ids[e.Statement] || slices.Contains(o.Events, seq) ||
			o.Reason && name == "session.reason" ||
			slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(strings.ToLower(text), p) })
	}, nil
}

// statementIDs finds statements by number or id.
func statementIDs(rec *recording.Reader, names []string) (map[string]bool, error) {
	var order []string
	known := map[string]bool{}
	for e, err := range rec.Events() {
		if err != nil {
			return nil, recordingFailure("reading the recording", err)
		}
		if e.Statement != "" && !known[e.Statement] {
			known[e.Statement] = true
			order = append(order, e.Statement)
		}
	}
	ids := map[string]bool{}
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil && n >= 1 && n <= len(order) {
			ids[order[n-1]] = true
		} else if known[name] {
			ids[name] = true
		} else {
			return nil, usagef("--statement %s: the recording has %d statements, and none with this id", name, len(order))
		}
	}
	return ids, nil
}

// redactionKeyName is where the key that signs redactions is kept.
const redactionKeyName = "redaction-key"

// redactionKey is this user's key for signing redactions, made when it is first
// needed. It is kept with the sign-in, so that the redactions of one person have
// one key.
func (a *App) redactionKey(ctx context.Context) (note.Signer, string, error) {
	backend, err := secret.ParseBackend(a.Getenv("JIT_SECRETS"))
	if err != nil {
		return nil, "", usagef("$JIT_SECRETS: %w", err)
	}
	opt := secret.Options{Backend: backend, File: filepath.Join(a.Paths.State, "secrets.age"), Logger: a.Logger}
	if a.interactive() {
		opt.Passphrase = a.askPassphrase
	}
	store, notice, err := secret.Open(ctx, opt)
	if err != nil {
		return nil, "", &Failure{What: "opening the place for the redaction key", Err: err}
	}
	if notice != "" {
		a.say("jit: %s", notice)
	}
	kept, err := store.Get(ctx, redactionKeyName)
	if errors.Is(err, secret.ErrNotFound) {
		var vkey string
		if kept, vkey, err = recording.NewKey("jit-redaction"); err == nil {
			kept = secret.New(kept.Reveal() + "\n" + vkey)
			err = store.Set(ctx, redactionKeyName, kept)
		}
	}
	if err != nil {
		return nil, "", &Failure{What: "reading the redaction key", Err: err}
	}
	skey, vkey, _ := strings.Cut(kept.Reveal(), "\n")
	signer, err := recording.NewSigner(secret.New(skey))
	if err != nil {
		return nil, "", &Failure{What: "reading the redaction key", Err: err}
	}
	return signer, vkey, nil
}

// processUser is who runs this process, on which machine.
func processUser() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return name + "@" + hostname()
}
