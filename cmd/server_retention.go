package cmd

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/session/approval"
)

func newServerPruneCommand(a *App) *cobra.Command {
	var (
		p      placeOptions
		dryRun bool
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "prune",
		Short: "Delete recordings whose time is over",
		Long: `Delete the recordings of sessions that ended longer ago than
--recordings-retention says, unless they are held (jit audit hold). A server with
that setting does the same every hour.

With a recording go its statements in the search index. What stays is a tombstone:
the hashes of all pieces and the cosigned checkpoint, with which a copy can still
be checked. Each deletion is in the audit. What the bucket still locks is erased
later, by the next run after it let go.

Exit codes: 0 done, 1 failed, 2 wrong settings.`,
		Example: "  jit server prune --recordings-retention 400d --dry-run\n  jit server prune --config /etc/jit/server.yaml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(p, c, func(ctx context.Context, store *approval.Store, o serverOptions) error {
				retention, _, err := o.spans()
				if err != nil {
					return err
				}
				if retention == 0 {
					return usagef("--recordings-retention is needed: it says how long recordings are kept")
				}
				done, err := store.Prune(ctx, a.Now().Add(-retention), dryRun)
				if err != nil {
					return &Failure{What: "deleting recordings", Err: err, Fix: "What was deleted before stays deleted; run it again."}
				}
				if asJSON {
					return a.printJSON(done)
				}
				word := "deleted"
				if dryRun {
					word = "would be deleted"
				}
				a.say("%d recordings %s; %d are held. %d objects were erased, %d are still locked or could not be erased.", len(done.Deleted), word, len(done.Held), done.Erased, done.Kept)
				return nil
			})
		},
	}
	p.register(c)
	p.registerSealing(c)
	f := c.Flags()
	f.StringVar(&p.flags.RecordingsRetention, "recordings-retention", "", "how long recordings are kept after their session's end, such as 400d")
	f.BoolVar(&dryRun, "dry-run", false, "only say which")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newServerReindexCommand(a *App) *cobra.Command {
	var (
		p      placeOptions
		all    bool
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "reindex",
		Short: "Make the search index from the recordings",
		Long: `Make the index of statements, which jit audit search asks, from the recordings:
for sessions that have none in it, such as those recorded before there was an
index, or for --all. Each recording is verified against what was cosigned first;
one that is damaged is named, and keeps what the index has of it.

The server may go on meanwhile. Exit codes: 0 done, 1 failed or something is
damaged, 2 wrong settings.`,
		Example: "  jit server reindex\n  jit server reindex --all --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(p, c, func(ctx context.Context, store *approval.Store, _ serverOptions) error {
				done, err := store.Reindex(ctx, all)
				if err != nil {
					return &Failure{What: "making the index", Err: err, Fix: "What was indexed stays; run it again."}
				}
				if asJSON {
					err = a.printJSON(done)
				} else {
					a.say("%d statements of %d recordings were indexed.", done.Statements, done.Sessions)
				}
				for id, why := range done.Damaged {
					a.say("%s is not indexed: %s", id, why)
				}
				if err == nil && len(done.Damaged) > 0 {
					return &Failure{What: "making the index", Err: errDamagedRecordings, Fix: "Restore them from a backup; until then the audit lacks them."}
				}
				return err
			})
		},
	}
	p.register(c)
	p.registerSealing(c)
	f := c.Flags()
	f.BoolVar(&all, "all", false, "also those that are in the index")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// withStore opens a server's data beside the server that may run on it.
func (a *App) withStore(p placeOptions, c *cobra.Command, do func(context.Context, *approval.Store, serverOptions) error) error {
	o, err := a.mergeServerSettings(p.file, p.flags, c.Flags().Changed)
	if err == nil {
		err = o.checkDatabase()
	}
	if err == nil {
		err = checkKeeperURL("--secrets-url", o.SecretsURL)
	}
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewJSONHandler(a.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if _, err := os.Stat(o.Data); err != nil {
		return &Failure{What: "opening " + o.Data, Err: err, Fix: "--data names the server's data folder, which has its sealing key."}
	}
	store, err := approval.NewStore(approval.StoreConfig{Dir: o.Data, Database: o.Database, RecordingsURL: o.Recordings, SecretsURL: o.SecretsURL, Existing: true, Logger: logger})
	if err != nil {
		return &Failure{What: "opening " + o.Data, Err: err}
	}
	defer store.Close() //nolint:errcheck // what was done is committed
	return do(c.Context(), store, o)
}

var errDamagedRecordings = errors.New("some recordings are not what was cosigned")
