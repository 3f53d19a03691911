package approval

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"gocloud.dev/secrets"
	"gocloud.dev/secrets/localsecrets"
)

// sealedColumns is where sealed values are. A test compares it with the schema.
var sealedColumns = []struct {
	table, key, column string
	purpose            func(key string) string
}{
	{"sealed_keys", "name", "sealed", func(name string) string { return name }},
	{"connections", "name", "credential", credentialPurpose},
	{"upstreams", "id", "tokens", tokensPurpose},
	{"webhooks", "name", "sealed", hookPurpose},
}

// NewKey is what Rewrap seals with: one of the two.
type NewKey struct {
	URL  string // of a keeper
	File string // with a local key; made, with mode 0600, if there is none
}

func (k NewKey) open(ctx context.Context) (*secrets.Keeper, error) {
	if k.URL != "" {
		return openKeyService(ctx, k.URL)
	}
	if _, err := readKey(k.File); errors.Is(err, fs.ErrNotExist) {
		if err := writeKey(k.File); err != nil {
			return nil, err
		}
		if err := syncDir(filepath.Dir(k.File)); err != nil {
			return nil, fmt.Errorf("making the sealing key: %w", err)
		}
	}
	key, err := readKey(k.File)
	if err != nil {
		return nil, err
	}
	return localsecrets.NewKeeper(key), nil
}

// label names the key in the audit, without what may be secret in a URL.
func (k NewKey) label() string {
	if k.URL == "" {
		return "key file"
	}
	u, err := url.Parse(k.URL)
	if err != nil || u.Scheme == localsecrets.Scheme {
		return localsecrets.Scheme
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// Rewrapped says what Rewrap did.
type Rewrapped struct {
	Values map[string]int `json:"values"` // sealed anew, by table
	// Cleared says that the database's files hold nothing any more that the old
	// key opens. Backups, and logs that PostgreSQL archived, are not among them.
	Cleared bool `json:"cleared"`
}

// Rewrap seals every sealed value with another key, or anew with the same one.
// All of it is one transaction: a crash before its commit leaves the old key in
// use, and after it the new one. Every value is opened with the new key once
// before that. Servers that still have the old key can neither open nor seal
// anything afterwards, and neither can this Store.
//
// With an error, Values says whether the new key is in use: then it is not nil,
// and what failed is clearing old copies out of the database's files. Run again
// with the new key, Rewrap does that.
func (s *Store) Rewrap(ctx context.Context, to NewKey) (Rewrapped, error) {
	k, err := to.open(ctx)
	if err != nil {
		return Rewrapped{}, err
	}
	next := &sealer{keeper: k, generation: newID("key")}
	defer next.Close() //nolint:errcheck // nothing is written by it
	return s.rewrap(ctx, next, to.label())
}

func (s *Store) rewrap(ctx context.Context, next *sealer, label string) (Rewrapped, error) {
	values := map[string]int{}
	err := s.checkAndRecord(ctx, systemCaller, "key.rewrap", label, func(ctx context.Context, c *change) error {
		generation, err := keeperGeneration(ctx, c)
		if err != nil {
			return err
		}
		if generation != s.keeper.generation {
			return errKeeperChanged
		}
		for _, col := range sealedColumns {
			n, err := s.rewrapColumn(ctx, c, next, `SELECT `+col.key+`, `+col.column+` FROM `+col.table, `UPDATE `+col.table+` SET `+col.column+` = $1 WHERE `+col.key+` = $2`, col.purpose)
			if err != nil {
				return fmt.Errorf("table %s: %w", col.table, err)
			}
			values[col.table] = n
			c.note(col.table, strconv.Itoa(n))
		}
		return c.set(ctx, settingKeeper, next.generation)
	})
	if err != nil {
		return Rewrapped{}, err
	}
	if err := s.db.clear(ctx); err != nil {
		return Rewrapped{Values: values}, fmt.Errorf("clearing what the old key opens out of the database's files: %w", err)
	}
	return Rewrapped{Values: values, Cleared: true}, nil
}

func (s *Store) rewrapColumn(ctx context.Context, c *change, next *sealer, read, update string, purpose func(string) string) (int, error) {
	type row struct {
		key    string
		sealed []byte
	}
	rows, err := c.QueryContext(ctx, read)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	var all []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.key, &r.sealed); err != nil {
			return 0, err
		}
		if len(r.sealed) > 0 { // an upstream session that is closed has no tokens
			all = append(all, r)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return 0, err
	}
	for _, r := range all {
		fresh, err := s.reseal(ctx, next, purpose(r.key), r.sealed)
		if err != nil {
			return 0, err
		}
		if err := c.exactlyOne(ctx, update, fresh, r.key); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

// reseal opens what it sealed again: a key that may encrypt only would take
// everything with it.
func (s *Store) reseal(ctx context.Context, next *sealer, purpose string, sealed []byte) ([]byte, error) {
	plain, err := s.keeper.openBytes(ctx, purpose, sealed)
	if err != nil {
		return nil, err
	}
	fresh, err := next.sealBytes(ctx, purpose, plain)
	if err != nil {
		return nil, fmt.Errorf("with the new key: %w", err)
	}
	again, err := next.openBytes(ctx, purpose, fresh)
	if err == nil && !bytes.Equal(plain, again) {
		err = errNotOpened
	}
	if err != nil {
		return nil, fmt.Errorf("with the new key: %w", err)
	}
	return fresh, nil
}

// clear rewrites the files of tables with sealed values, so that nothing of
// their old rows stays in them.
func (d databases) clear(ctx context.Context) error {
	if d.postgres() {
		var names []string
		for _, col := range sealedColumns {
			names = append(names, col.table)
		}
		_, err := d.write.ExecContext(ctx, `VACUUM (FULL) `+strings.Join(names, ", "))
		return err
	}
	if _, err := d.write.ExecContext(ctx, `VACUUM`); err != nil {
		return err
	}
	var busy, log, checkpointed int
	if err := d.write.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &log, &checkpointed); err != nil {
		return err
	}
	if busy != 0 {
		return errors.New("another program has the database open: stop the server first")
	}
	return nil
}
