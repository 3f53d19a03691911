package approval

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gocloud.dev/secrets"
)

// A sealed value is an envelope: a key of its own, which only the keeper opens,
// and the value under that key. So the keeper seals 32 bytes, whatever is kept:
// key services take 4096 bytes (AWS), or as few as 190 (an RSA key at Azure).
//
//	"jit1" | length of wrapped, 2 bytes, big endian | wrapped | nonce, 12 bytes | AES-256-GCM
//
// The purpose is the additional data, which binds a value to its row: swapping
// two rows of the database does not swap two credentials.
const sealedMagic = "jit1"

// keeperPatience bounds one answer of a key service. Values are sealed within
// transactions, which others wait for.
const keeperPatience = 10 * time.Second

// settingKeeper changes with every Rewrap: what servers that still have the old
// key know theirs by.
const settingKeeper = "keeper"

var (
	errNotOpened     = errors.New("it is damaged, of another row, or sealed with another key")
	errKeeperChanged = errors.New("the values were sealed with another key meanwhile (jit server rewrap): start this server again with that one")
)

// sealer seals and opens values. It is safe for concurrent use.
type sealer struct {
	keeper     *secrets.Keeper
	generation string // settingKeeper when the keeper was opened
}

// openSealer opens the keeper and has it seal and open something, so that a
// server that could not keep a credential does not start.
func openSealer(ctx context.Context, dir, keeperURL string) (*sealer, error) {
	k, err := openKeeper(ctx, dir, keeperURL)
	if err != nil {
		return nil, err
	}
	e := &sealer{keeper: k}
	sealed, err := e.seal(ctx, "a test", "x")
	if err == nil {
		var got string
		err = e.open(ctx, "a test", sealed, &got)
	}
	if err != nil {
		scheme, _, _ := strings.Cut(keeperURL, ":")
		return nil, errors.Join(fmt.Errorf("trying the secrets keeper %s: %w: check its URL, its credentials, and that they may encrypt and decrypt", scheme, err), k.Close())
	}
	return e, nil
}

func (e *sealer) Close() error { return e.keeper.Close() }

func (e *sealer) seal(ctx context.Context, purpose string, v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("sealing %s: %w", purpose, err)
	}
	return e.sealBytes(ctx, purpose, plain)
}

func (e *sealer) sealBytes(ctx context.Context, purpose string, plain []byte) ([]byte, error) {
	var key [32]byte
	_, _ = rand.Read(key[:]) // crypto/rand.Read never fails
	wrapped, err := ask(ctx, e.keeper.Encrypt, key[:])
	if err == nil && (len(wrapped) == 0 || len(wrapped) > 1<<16-1) {
		err = errors.New("the key service answered something unexpected")
	}
	if err != nil {
		return nil, fmt.Errorf("sealing %s: %w", purpose, err)
	}
	aead, err := envelope(key[:])
	if err != nil {
		return nil, fmt.Errorf("sealing %s: %w", purpose, err)
	}
	sealed := binary.BigEndian.AppendUint16([]byte(sealedMagic), uint16(len(wrapped))) //nolint:gosec // bounded above
	return aead.Seal(append(sealed, wrapped...), nil, plain, []byte(purpose)), nil     //nolint:gosec // envelope's nonces are random, and its own
}

func (e *sealer) open(ctx context.Context, purpose string, sealed []byte, v any) error {
	plain, err := e.openBytes(ctx, purpose, sealed)
	if err == nil && json.Unmarshal(plain, v) != nil {
		err = fmt.Errorf("unsealing %s: the content is damaged", purpose)
	}
	return err
}

func (e *sealer) openBytes(ctx context.Context, purpose string, sealed []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(sealed, []byte(sealedMagic))
	if !ok || len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
		return nil, fmt.Errorf("unsealing %s: %w", purpose, errNotOpened)
	}
	n := int(binary.BigEndian.Uint16(rest))
	key, err := ask(ctx, e.keeper.Decrypt, rest[2:2+n])
	if err != nil {
		return nil, fmt.Errorf("unsealing %s: %w", purpose, err)
	}
	aead, err := envelope(key)
	if err != nil {
		return nil, fmt.Errorf("unsealing %s: %w", purpose, errNotOpened)
	}
	plain, err := aead.Open(nil, nil, rest[2+n:], []byte(purpose))
	if err != nil {
		return nil, fmt.Errorf("unsealing %s: %w", purpose, errNotOpened)
	}
	return plain, nil
}

func envelope(key []byte) (cipher.AEAD, error) {
	if len(key) != 32 {
		return nil, errNotOpened
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// ask has a key service encrypt or decrypt, for keeperPatience at most. Vault's
// driver looks at no context and panics at an answer it does not know: neither
// may stop the server. The goroutine ends when the driver returns.
func ask(ctx context.Context, do func(context.Context, []byte) ([]byte, error), in []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, keeperPatience)
	defer cancel()
	type answer struct {
		out []byte
		err error
	}
	got := make(chan answer, 1)
	go func() {
		a := answer{err: errors.New("the key service answered something unexpected")}
		defer func() {
			_ = recover() //nolint:errcheck // a says so
			got <- a
		}()
		out, err := do(ctx, in)
		a = answer{out, err}
	}()
	select {
	case a := <-got:
		return a.out, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("asking the key service: %w", ctx.Err())
	}
}

// seal seals v for a row that c writes, if the database is still sealed with the
// key that this server has.
func (s *Store) seal(ctx context.Context, c *change, purpose string, v any) ([]byte, error) {
	generation, err := keeperGeneration(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("sealing %s: %w", purpose, err)
	}
	if generation != s.keeper.generation {
		return nil, fmt.Errorf("sealing %s: %w", purpose, errKeeperChanged)
	}
	return s.keeper.seal(ctx, purpose, v)
}

func (s *Store) unseal(ctx context.Context, purpose string, sealed []byte, v any) error {
	return s.keeper.open(ctx, purpose, sealed, v)
}

// keeperGeneration is "" until the first Rewrap.
func keeperGeneration(ctx context.Context, q querier) (string, error) {
	var generation string
	err := q.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, settingKeeper).Scan(&generation)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("reading which key is in use: %w", err)
	}
	return generation, nil
}
