package approval

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	_ "modernc.org/sqlite" // registers the driver
)

//go:embed schema/*.sql
var schema embed.FS

// databases are the two handles of one database: SQLite has a single writer,
// so writes queue on one connection while readers go on beside it.
type databases struct {
	write  *sql.DB
	read   *sql.DB
	listen *pgx.ConnConfig // of PostgreSQL; nil for SQLite
}

// prepare makes the schema of an opened database what this jit needs, or says
// that it is not.
type prepare func(ctx context.Context, dialect database.Dialect, db *sql.DB) error

// openSQLite opens, or creates with mode 0600, the database file. synchronous=FULL: what was acknowledged survives a power
// cut.
func openSQLite(ctx context.Context, path string, schema prepare) (databases, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return databases{}, fmt.Errorf("opening the database: %w", err)
	}
	if err := f.Close(); err != nil {
		return databases{}, fmt.Errorf("opening the database: %w", err)
	}
	write, err := sql.Open("sqlite", sqliteDSN(path, "immediate"))
	if err != nil {
		return databases{}, fmt.Errorf("opening the database: %w", err)
	}
	write.SetMaxOpenConns(1)
	if err := schema(ctx, database.DialectSQLite3, write); err != nil {
		_ = write.Close()
		return databases{}, err
	}
	read, err := sql.Open("sqlite", sqliteDSN(path, "deferred"))
	if err != nil {
		_ = write.Close()
		return databases{}, fmt.Errorf("opening the database: %w", err)
	}
	read.SetMaxOpenConns(8)
	return databases{write: write, read: read}, nil
}

func sqliteDSN(path, txlock string) string {
	q := url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "trusted_schema(0)"},
		"_txlock": {txlock},
	}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath(), RawQuery: q.Encode()}
	return u.String()
}

// migrate is the prepare that brings the schema up to date.
func migrate(ctx context.Context, dialect database.Dialect, db *sql.DB) error {
	p, err := migrations(dialect, db)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bringing the database schema up to date: %w", err)
	}
	return nil
}

// current is the prepare that changes nothing and refuses another schema.
func current(ctx context.Context, dialect database.Dialect, db *sql.DB) error {
	p, err := migrations(dialect, db)
	if err != nil {
		return err
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading the version of the database schema: %w", err)
	}
	if have != want {
		return fmt.Errorf("the database has schema %d and this jit needs %d: use the jit that runs the server", have, want)
	}
	return nil
}

func migrations(dialect database.Dialect, db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	p, err := goose.NewProvider(dialect, db, files, goose.WithDisableGlobalRegistry(true),
		goose.WithGoMigrations(termsMigration(dialect == database.DialectSQLite3)))
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	return p, nil
}

func (d databases) Close() error {
	err := d.read.Close()
	if werr := d.write.Close(); werr != nil {
		err = werr
	}
	return err
}
