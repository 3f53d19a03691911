package approval

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3/database"
)

// On PostgreSQL any number of servers share one database and behave as one:
//
//   - Changes take turns by an advisory lock that ends with the transaction,
//     which is what SQLite's single writer does: every rule in this package that
//     holds on SQLite holds here for the same reason. A replica that dies lets
//     the lock go with its connection; one that hangs loses it after idleLimit.
//   - Pieces and checkpoints of recordings (actions named recording.…) do
//     without: the session's row lock orders them, and the bytes they wait for
//     must not hold up decisions.
//   - A commit with events notifies eventChannel; every replica listens and
//     wakes its watchers, which read the events table. A replica that could not
//     listen for a while looks by itself when it can again.

const (
	eventChannel  = "jit_events"
	idleLimit     = 30 * time.Second
	pgTimeout     = 10 * time.Second // of connecting, and of one sign of life
	relistenFirst = 100 * time.Millisecond
	relistenLast  = 2 * time.Second

	// Keys of advisory locks, "jit" and a number.
	lockSchema  = 0x6a697401
	lockChanges = 0x6a697402
)

// isPostgres reports whether a database is named by a URL of PostgreSQL.
func isPostgres(databaseURL string) bool {
	return strings.HasPrefix(databaseURL, "postgres://") || strings.HasPrefix(databaseURL, "postgresql://")
}

// DatabaseHasPassword reports whether a database URL carries a password, which
// flags and environments must not.
func DatabaseHasPassword(databaseURL string) bool {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return true // it cannot be told
	}
	_, has := u.User.Password()
	return has || u.Query().Has("password")
}

// openPostgres opens the database. Of several replicas that start at once, one
// prepares it while the others wait.
func openPostgres(ctx context.Context, databaseURL string, schema prepare) (databases, error) {
	cfg, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return databases{}, fmt.Errorf("opening the database: %w", err) // pgx leaves the password out
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = pgTimeout
	}
	for name, value := range map[string]string{
		"application_name":                    "jit",
		"idle_in_transaction_session_timeout": strconv.FormatInt(idleLimit.Milliseconds(), 10),
		"synchronous_commit":                  "on", // what is acknowledged survives a power cut
		"default_transaction_isolation":       "read committed",
	} {
		if _, set := cfg.RuntimeParams[name]; !set {
			cfg.RuntimeParams[name] = value
		}
	}
	db := databases{write: stdlib.OpenDB(*cfg), read: stdlib.OpenDB(*cfg), listen: cfg}
	// Two pools: those who wait for their turn to write never keep readers out.
	for _, pool := range []*sql.DB{db.write, db.read} {
		pool.SetMaxOpenConns(12)
		pool.SetMaxIdleConns(12)
		pool.SetConnMaxIdleTime(5 * time.Minute)
	}
	if err := prepareAlone(ctx, db.write, schema); err != nil {
		_ = db.Close()
		return databases{}, err
	}
	return db, nil
}

func prepareAlone(ctx context.Context, db *sql.DB, schema prepare) error {
	guard, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	defer func() { _ = guard.Close() }()
	if _, err := guard.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(lockSchema)); err != nil {
		return fmt.Errorf("waiting to bring the database schema up to date: %w", err)
	}
	err = schema(ctx, database.DialectPostgres, db)
	_, uerr := guard.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, int64(lockSchema))
	return errors.Join(err, uerr)
}

// begin starts the transaction of a change; on PostgreSQL it waits for its turn.
func (d databases) begin(ctx context.Context, action string) (*sql.Tx, error) {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil || !d.postgres() || strings.HasPrefix(action, "recording.") {
		return tx, err
	}
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(lockChanges)); err != nil {
		_ = tx.Rollback()
		return nil, fmt.Errorf("waiting for the turn to write: %w", err)
	}
	return tx, nil
}

// announce makes the commit of tx wake the watchers of every replica.
func (d databases) announce(ctx context.Context, tx *sql.Tx) error {
	if !d.postgres() {
		return nil
	}
	_, err := tx.ExecContext(ctx, `SELECT pg_notify('`+eventChannel+`', '')`)
	return err
}

func (d databases) postgres() bool { return d.listen != nil }

// listen wakes n for every commit with events on any replica, until ctx ends.
// Whenever it (re)connects it wakes n once, for what it missed.
func listen(ctx context.Context, cfg *pgx.ConnConfig, n *notifier, log *slog.Logger) {
	wait := relistenFirst
	for ctx.Err() == nil {
		err := listenOnce(ctx, cfg, func() {
			wait = relistenFirst
			n.poke()
		})
		if ctx.Err() != nil {
			return
		}
		log.WarnContext(ctx, "listening for events broke off", "error", err)
		n.poke() // watchers look for themselves meanwhile
		pause := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
		wait = min(2*wait, relistenLast)
	}
}

func listenOnce(ctx context.Context, cfg *pgx.ConnConfig, wake func()) error {
	conn, err := pgx.ConnectConfig(ctx, cfg.Copy())
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(end)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+eventChannel); err != nil {
		return err
	}
	for {
		wake()
		if err := nextNotice(ctx, conn); err != nil {
			return err
		}
	}
}

// nextNotice waits for a notification. In between it asks for signs of life: a
// connection may be dead without saying so.
func nextNotice(ctx context.Context, conn *pgx.Conn) error {
	for {
		window, cancel := context.WithTimeout(ctx, pgTimeout)
		_, err := conn.WaitForNotification(window)
		quiet := window.Err() != nil
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil || !quiet || conn.IsClosed():
			return err
		}
		ping, cancel := context.WithTimeout(ctx, pgTimeout)
		err = conn.Ping(ping)
		cancel()
		if err != nil {
			return err
		}
	}
}
