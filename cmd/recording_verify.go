package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/replay"
	"github.com/jit-access/jit/session/recording"
)

// verifyOptions is what the flags of `jit recording verify` say.
type verifyOptions struct {
	Recording  string
	KeyFiles   []string
	SessionKey string
	OwnKeys    bool
	AskServer  bool
	JSON       bool
}

func newRecordingVerifyCommand(a *App) *cobra.Command {
	o := verifyOptions{}
	c := &cobra.Command{
		Use:   "verify [ID|FOLDER]",
		Short: "Check that a recording is what was recorded",
		Long: `Check that a recording is what was recorded: every event, the signed root, and
that the approval server cosigned it as a witness. It works offline; --ask-server
also finds that an older state of the whole folder was put back. A change is
named by file and event, and the exit code is 1.

The server's key comes from --witness-key, a file with one verifier key per line;
by default from the servers that jit has used on this machine. After a key may
stand when it was in use, from=TIME and until=TIME: what it signed at another
time does not count. Without any key, the check shows that the recording is
whole, not that it is genuine.`,
		Example: `  jit recording verify
  jit recording verify SESSION --json
  jit recording verify ./evidence --witness-key server.pub`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.Recording = first(args)
			return a.verifyRecording(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&o.KeyFiles, "witness-key", nil, "file with the witness's verifier keys, each with from=TIME and until=TIME if need be; may be repeated")
	f.StringVar(&o.SessionKey, "session-key", "", "the session's verifier key, if you have it from elsewhere")
	f.BoolVar(&o.OwnKeys, "own-keys", false, "trust the keys the recording names itself")
	f.BoolVar(&o.AskServer, "ask-server", false, "compare with what the approval server witnessed: finds an older state put back")
	f.BoolVar(&o.JSON, "json", false, "print JSON")
	c.MarkFlagsMutuallyExclusive("witness-key", "own-keys")
	return c
}

// verifyDoc is what `jit recording verify --json` prints.
type verifyDoc struct {
	OK          bool           `json:"ok"`
	Recording   string         `json:"recording"`
	Session     string         `json:"session,omitempty"`
	Events      int64          `json:"events"`
	Bytes       int64          `json:"bytes"`
	Root        string         `json:"root,omitempty"`
	Key         string         `json:"key,omitempty"`
	Signed      int64          `json:"signed"`
	Cosigned    []cosignDoc    `json:"cosigned"`
	Unwitnessed int64          `json:"unwitnessed"`
	Unsigned    int64          `json:"unsigned"`
	Torn        int64          `json:"torn"`
	Sealed      bool           `json:"sealed"`
	Recovered   bool           `json:"recovered"`
	Trusted     bool           `json:"trusted"`
	Redactions  []redactionDoc `json:"redactions"`
	Left        int64          `json:"left"`              // redacted, and still in the files
	Segment     string         `json:"segment,omitempty"` // what was changed
	Event       *int64         `json:"event,omitempty"`
	Until       int64          `json:"until,omitempty"` // somewhere from event to it
	Why         string         `json:"why,omitempty"`
}

type cosignDoc struct {
	Name   string    `json:"name"`
	Key    string    `json:"key"`
	Events int64     `json:"events"`
	At     time.Time `json:"at,omitzero"`
}

type redactionDoc struct {
	At    time.Time `json:"at"`
	By    string    `json:"by"`
	Why   string    `json:"why"`
	Texts int       `json:"texts"`
	Files []string  `json:"files,omitempty"`
	Key   string    `json:"key"`
}

func (a *App) verifyRecording(ctx context.Context, o verifyOptions) error {
	dir, err := a.findRecording(o.Recording)
	if err != nil {
		return err
	}
	opt := recording.VerifyOptions{SessionKey: o.SessionKey}
	if opt.WitnessKeys, err = a.trustedWitnesses(o); err != nil {
		return err
	}
	if o.AskServer {
		client, _, err := a.client(ctx)
		if err != nil {
			return err
		}
		if opt.Cosig, err = askWitness(ctx, client, dir); err != nil {
			return &Failure{What: "asking the approval server what it witnessed", Err: err}
		}
	}
	rep, verr := recording.Verify(dir, opt)
	if o.JSON {
		if err := a.printJSON(verifyDocOf(dir, rep, verr)); err != nil {
			return err
		}
	}
	if verr != nil {
		return recordingFailure("verifying "+dir, verr)
	}
	if o.JSON {
		return nil
	}
	facts := append([]replay.Fact{{Label: "folder", Text: replay.VisibleLine(dir)}}, replay.ProofFacts(rep)...)
	facts = append(facts, replay.Fact{Label: "size", Text: replay.Bytes(rep.Size)})
	return a.printFacts(facts)
}

// askWitness gets the server's cosigned note of the session recorded in dir.
func askWitness(ctx context.Context, src recordingSource, dir string) (note []byte, err error) {
	id, err := recording.SessionID(dir)
	if err != nil {
		return nil, err
	}
	body, err := src.Recording(ctx, id, recording.FileCosig)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	return io.ReadAll(io.LimitReader(body, 1<<20))
}

// trustedWitnesses are the keys the user gave, or those known on this machine.
func (a *App) trustedWitnesses(o verifyOptions) ([]string, error) {
	if o.OwnKeys {
		return nil, nil
	}
	if len(o.KeyFiles) == 0 {
		return a.witnessKeys()
	}
	var keys []string
	for _, name := range o.KeyFiles {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, &Failure{Code: ExitUsage, What: "reading --witness-key", Err: err}
		}
		more, err := recording.ParseWitnessKeys(data)
		if err != nil {
			return nil, &Failure{Code: ExitUsage, What: "reading --witness-key " + name, Err: err, Fix: "The file holds lines like witness+1a2b3c4d+BJ… from=2026-01-01T00:00:00Z; ask the server's administrator for it."}
		}
		keys = append(keys, more...)
	}
	if len(keys) == 0 {
		return nil, &Failure{Code: ExitUsage, What: "there is no key in " + strings.Join(o.KeyFiles, ", ")}
	}
	return keys, nil
}

func verifyDocOf(dir string, rep recording.Report, err error) verifyDoc {
	doc := verifyDoc{Recording: dir, Cosigned: []cosignDoc{}, Redactions: []redactionDoc{}}
	if err != nil {
		doc.Why = err.Error()
		var tamper *recording.TamperError
		if errors.As(err, &tamper) {
			doc.Segment, doc.Until, doc.Why = tamper.Segment, tamper.Until, tamper.Why
			if tamper.Event >= 0 {
				doc.Event = &tamper.Event
			}
		}
		return doc
	}
	doc.OK, doc.Session, doc.Events, doc.Bytes, doc.Root, doc.Key = true, rep.Session.ID, rep.Events, rep.Size, fmt.Sprint(rep.Root), rep.Key
	doc.Signed, doc.Unwitnessed, doc.Unsigned, doc.Torn = rep.Signed, rep.Unwitnessed, rep.Tail, rep.Torn
	doc.Sealed, doc.Recovered, doc.Trusted = rep.Sealed, rep.Recovered, rep.Trusted
	for _, c := range rep.Cosigned {
		doc.Cosigned = append(doc.Cosigned, cosignDoc{c.Name, c.Key, c.Size, c.At})
	}
	doc.Left = rep.Left
	for _, r := range rep.Redactions {
		doc.Redactions = append(doc.Redactions, redactionDoc{r.At, r.By, r.Why, len(r.Texts), r.Files, r.Key})
	}
	return doc
}
