package approval

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// Place is where the data of a server is, with the meaning of the fields of
// StoreConfig. The sealing key is not part of it: a copy without the key opens
// no credential.
type Place struct{ Dir, Database, RecordingsURL string }

// Copied says what Copy did.
type Copied struct {
	Rows   int64 // of all tables
	Pieces int   // of recordings
}

// tables is every table, in an order in which references find what they refer
// to. A test compares it with the schema.
var tables = []string{
	"counters", "settings", "sealed_keys", "principals", "policies", "connections", "requests", "request_digests", "decisions", "grants",
	"sessions", "upstreams", "witnesses", "recording_segments", "events", "audit", "statements", "statement_terms", "webhooks", "deliveries",
	"holds", "tombstones", "erasures",
	"comments", "emergencies", "mails", "mail_paces",
}

// copyBatch bounds the values of one insert (SQLite takes 32766).
const copyBatch = 6000

// Copy copies everything from one place to an empty other, as it was at one
// moment, whatever the two databases are: it is backup, restore and move. The
// source may be in use; nobody may use the target yet. A copy that fails leaves
// no row behind.
func Copy(ctx context.Context, from, to Place) (Copied, error) {
	var done Copied
	if from.Database == "" {
		if _, err := os.Stat(filepath.Join(from.Dir, databaseFile)); errors.Is(err, fs.ErrNotExist) {
			return done, fmt.Errorf("there is no database in %s", from.Dir)
		}
	}
	if err := os.MkdirAll(to.Dir, 0o700); err != nil {
		return done, fmt.Errorf("making the data folder: %w", err)
	}
	src, err := openDatabase(ctx, from.Dir, from.Database, current)
	if err != nil {
		return done, fmt.Errorf("opening what to copy: %w", err)
	}
	defer func() { _ = src.Close() }()
	dst, err := openDatabase(ctx, to.Dir, to.Database, migrate)
	if err != nil {
		return done, fmt.Errorf("opening where to copy to: %w", err)
	}
	defer func() { _ = dst.Close() }()

	opts := &sql.TxOptions{ReadOnly: true} // SQLite reads one state per transaction anyway
	if src.postgres() {
		opts.Isolation = sql.LevelRepeatableRead
	}
	snapshot, err := src.read.BeginTx(ctx, opts)
	if err != nil {
		return done, err
	}
	defer func() { _ = snapshot.Rollback() }()
	// Commit point: before it the target is empty, after it the rows are there
	// and, as they were stored first, so are the pieces they name.
	tx, err := dst.begin(ctx, "copy")
	if err != nil {
		return done, err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	if err := empty(ctx, tx); err != nil {
		return done, err
	}
	for _, table := range tables {
		n, err := copyTable(ctx, snapshot, tx, table)
		if err != nil {
			return done, fmt.Errorf("copying table %s: %w", table, err)
		}
		done.Rows += n
	}
	if from.RecordingsURL == "" || from.RecordingsURL != to.RecordingsURL {
		if done.Pieces, err = copyPieces(ctx, snapshot, from, to); err != nil {
			return done, err
		}
	}
	return done, tx.Commit()
}

// empty refuses a target that was ever used, and clears what a new one has.
func empty(ctx context.Context, tx *sql.Tx) error {
	var used int64
	if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(value), 0) FROM counters`).Scan(&used); err != nil {
		return err
	}
	if used > 0 {
		return errors.New("there is data already where to copy to: choose an empty database and folder")
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM counters`)
	return err
}

func copyTable(ctx context.Context, from, to *sql.Tx, table string) (int64, error) {
	rows, err := from.QueryContext(ctx, `SELECT * FROM `+table) //nolint:gosec // a name of the list above
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	var (
		n     int64
		batch []any
	)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		_, err := to.ExecContext(ctx, insertOf(table, columns, len(batch)/len(columns)), batch...)
		batch = batch[:0]
		return err
	}
	for rows.Next() {
		values := make([]any, len(columns))
		refs := make([]any, len(columns))
		for i := range values {
			refs[i] = &values[i]
		}
		if err := rows.Scan(refs...); err != nil {
			return n, err
		}
		for i, v := range values {
			if b, ok := v.([]byte); v == nil || ok && b == nil {
				values[i] = []byte{} // no column takes NULL: a driver's word for no bytes
			}
		}
		batch = append(batch, values...)
		n++
		if len(batch)+len(columns) > copyBatch {
			if err := flush(); err != nil {
				return n, err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return n, err
	}
	return n, flush()
}

func insertOf(table string, columns []string, rows int) string {
	var b strings.Builder
	b.WriteString(`INSERT INTO ` + table + ` (` + strings.Join(columns, ", ") + `) VALUES `)
	arg := 0
	for r := range rows {
		if r > 0 {
			b.WriteByte(',')
		}
		for i := range columns {
			arg++
			b.WriteByte("(,"[min(i, 1)])
			b.WriteString("$" + strconv.Itoa(arg))
		}
		b.WriteByte(')')
	}
	return b.String()
}

// copyPieces copies the pieces of recordings that are not there yet. One that
// is not what its key says is not copied: nothing is.
func copyPieces(ctx context.Context, from *sql.Tx, src, dst Place) (n int, err error) {
	all, err := allSegments(ctx, from)
	if err != nil {
		return 0, err
	}
	in, err := openBucket(ctx, src.Dir, src.RecordingsURL)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := openBucket(ctx, dst.Dir, dst.RecordingsURL)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for _, g := range all {
		if err := copyPiece(ctx, in, out, g); err != nil {
			return n, fmt.Errorf("copying a piece of a recording: %w", err)
		}
		n++
	}
	return n, nil
}

func allSegments(ctx context.Context, q querier) ([]segment, error) {
	rows, err := q.QueryContext(ctx, `SELECT session_id, file, start, length, blob_key FROM recording_segments ORDER BY blob_key`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []segment
	for rows.Next() {
		var (
			g               segment
			sessionID, file string
		)
		if err := rows.Scan(&sessionID, &file, &g.start, &g.length, &g.key); err != nil {
			return nil, err
		}
		if g.sum, err = parsePieceKey(g.key, sessionID, file, g.start); err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, rows.Err()
}

func copyPiece(ctx context.Context, in, out *blob.Bucket, g segment) error {
	data, err := readPiece(ctx, in, g)
	if err != nil {
		return err
	}
	err = out.WriteAll(ctx, g.key, data, &blob.WriterOptions{ContentType: "application/octet-stream", IfNotExist: true})
	if gcerrors.Code(err) == gcerrors.FailedPrecondition {
		_, err = readPiece(ctx, out, g) // it is there: the same, or the copy is worth nothing
	}
	return err
}
