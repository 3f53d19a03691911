package cmd

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/jit-access/jit/session/approval"
)

// placeOptions are where a server's data is, as `jit server` itself takes them.
type placeOptions struct {
	file  string
	flags serverOptions
}

func (p *placeOptions) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&p.file, "config", "", "config file of the server (default $JIT_SERVER_CONFIG)")
	f.StringVar(&p.flags.Data, "data", "", "data folder of the server (default $XDG_STATE_HOME/jit/server)")
	f.StringVar(&p.flags.Database, "database", "", "PostgreSQL URL of the server, without a password")
	f.StringVar(&p.flags.Recordings, "recordings", "", "bucket URL of the server's recordings")
}

// registerSealing adds what opens the database's sealed keys.
func (p *placeOptions) registerSealing(c *cobra.Command) {
	c.Flags().StringVar(&p.flags.SecretsURL, "secrets-url", "", "keeper that seals the server's keys (default the key file in the data folder)")
}

func (a *App) serverPlace(p placeOptions, changed func(string) bool) (approval.Place, error) {
	o, err := a.mergeServerSettings(p.file, p.flags, func(flag string) bool {
		return (flag == "data" || flag == "database" || flag == "recordings") && changed(flag)
	})
	if err == nil {
		err = o.checkDatabase()
	}
	return approval.Place{Dir: o.Data, Database: o.Database, RecordingsURL: o.Recordings}, err
}

func newServerBackupCommand(a *App) *cobra.Command {
	var p placeOptions
	c := &cobra.Command{
		Use:   "backup FOLDER",
		Short: "Copy a server's data into a folder",
		Long: `Copy a server's data, as of one moment, into a new folder: a SQLite database and
the recordings, whatever the server uses. The server may go on meanwhile.

The sealing key is not copied: with it, a backup would open every credential.
Keep a copy of sealing.key (or access to --secrets-url) somewhere else.`,
		Example: "  jit server backup /backup/jit-2026-01-31\n  jit server backup --database postgres://jit@db/jit?passfile=/etc/jit/pgpass /backup/today",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			from, err := a.serverPlace(p, c.Flags().Changed)
			if err != nil {
				return err
			}
			if err := newFolder(args[0]); err != nil {
				return &Failure{What: "backing up", Err: err, Fix: "Name a folder that is new, or empty."}
			}
			return a.copyServer(c.Context(), "backing up", from, approval.Place{Dir: args[0]})
		},
	}
	p.register(c)
	return c
}

func newServerRestoreCommand(a *App) *cobra.Command {
	var p placeOptions
	c := &cobra.Command{
		Use:   "restore FOLDER",
		Short: "Copy a backup to where a new server finds it",
		Long: `Copy a backup to where a new server finds it: an empty data folder, or an empty
PostgreSQL database. This is also the way from SQLite to PostgreSQL, and back:
stop the server, back up, restore with other settings, start with those.

Put sealing.key into the data folder before the server starts.`,
		Example: "  jit server restore --data /var/lib/jit /backup/jit-2026-01-31\n  jit server restore --database postgres://jit@db/jit /backup/jit-2026-01-31",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			to, err := a.serverPlace(p, c.Flags().Changed)
			if err != nil {
				return err
			}
			return a.copyServer(c.Context(), "restoring", approval.Place{Dir: args[0]}, to)
		},
	}
	p.register(c)
	return c
}

func newServerInstallKeyCommand(a *App) *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:   "install-key FILE",
		Short: "Put a sealing key where the server finds it",
		Long: `Copy a sealing key into the data folder, for the server's user alone: before the
first start of a server that shares its key with others, or after a restore. The
file may be readable by a group, as mounted secrets are. A key that is there
already is never replaced by another.`,
		Example: "  jit server install-key --data /var/lib/jit /etc/jit/sealing/sealing.key",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := a.mergeServerSettings("", serverOptions{Data: data}, func(flag string) bool { return flag == "data" && c.Flags().Changed(flag) })
			if err != nil {
				return err
			}
			if err := approval.InstallKey(o.Data, args[0]); err != nil {
				return &Failure{What: "installing the sealing key", Err: err}
			}
			a.say("The sealing key is in %s.", o.Data)
			return nil
		},
	}
	c.Flags().StringVar(&data, "data", "", "data folder of the server (default $XDG_STATE_HOME/jit/server)")
	return c
}

func newFolder(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && len(entries) > 0 {
		err = errors.New(path + " is not empty")
	}
	return err
}

func (a *App) copyServer(ctx context.Context, what string, from, to approval.Place) error {
	done, err := approval.Copy(ctx, from, to)
	if err != nil {
		return &Failure{What: what, Err: err}
	}
	a.say("Copied %d rows and %d pieces of recordings to %s.", done.Rows, done.Pieces, filepath.Clean(to.Dir))
	a.say("The sealing key is not among them: keep it apart, and have it ready before a server starts with this data.")
	return nil
}
