package approval

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/identity/bridge"
)

const (
	// keySigning names the keys of ID tokens in sealed_keys.
	keySigning = "sign-in"
	// signingLife is how long a key signs; then a new one does.
	signingLife = 30 * 24 * time.Hour
	// signingStays is how long a key is published after that: far longer than its
	// tokens live, and than clients keep keys.
	signingStays = 24 * time.Hour
	// signingCache is how long a server goes without looking for keys that
	// another one made.
	signingCache = 10 * time.Second
)

// sealedKey is one of them.
type sealedKey struct {
	ID   string    `json:"id"`
	Made time.Time `json:"made"`
	DER  []byte    `json:"pkcs8"`
}

// SigningKeys keeps the keys of a bridge, sealed as credentials are, and
// replaces them in time.
type SigningKeys struct {
	store *Store

	mu   sync.Mutex // guards below
	keys []bridge.Key
	at   time.Time
}

// NewSigningKeys makes the Keys of a bridge.
func NewSigningKeys(s *Store) *SigningKeys { return &SigningKeys{store: s} }

// Keys implements bridge.Keys.
func (k *SigningKeys) Keys(ctx context.Context) ([]bridge.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.store.now()
	if k.keys != nil && now.Sub(k.at) < signingCache {
		return slices.Clone(k.keys), nil
	}
	list, err := k.store.signingKeys(ctx)
	if err != nil {
		return nil, err
	}
	var keys []bridge.Key
	for _, s := range list {
		parsed, err := x509.ParsePKCS8PrivateKey(s.DER)
		signer, ok := parsed.(*ecdsa.PrivateKey)
		if err != nil || !ok {
			return nil, fmt.Errorf("reading the signing keys: %w", errDamaged)
		}
		keys = append(keys, bridge.Key{ID: s.ID, Signer: signer})
	}
	k.keys, k.at = keys, now
	return slices.Clone(keys), nil
}

// signingKeys reads the keys, newest first, and makes one if the newest is old.
func (s *Store) signingKeys(ctx context.Context) ([]sealedKey, error) {
	list, err := s.readSigningKeys(ctx, s.db.read)
	if err != nil || len(list) > 0 && s.now().Sub(list[0].Made) < signingLife {
		return list, err
	}
	err = s.checkAndRecord(ctx, systemCaller, "signing.rotate", keySigning, func(ctx context.Context, c *change) error {
		if list, err = s.readSigningKeys(ctx, c); err != nil {
			return err
		}
		if len(list) > 0 && c.now.Sub(list[0].Made) < signingLife { // another server was faster
			c.quiet = true
			return nil
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return fmt.Errorf("making a signing key: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return fmt.Errorf("making a signing key: %w", err)
		}
		fresh := sealedKey{ID: newID("key"), Made: c.now, DER: der}
		c.note("key", fresh.ID)
		list = append([]sealedKey{fresh}, slices.DeleteFunc(list, func(k sealedKey) bool { return c.now.Sub(k.Made) >= signingLife+signingLife+signingStays })...)
		sealed, err := s.seal(ctx, c, keySigning, list)
		if err != nil {
			return err
		}
		_, err = c.ExecContext(ctx, `INSERT INTO sealed_keys (name, sealed, public) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, public = excluded.public`, keySigning, sealed, fresh.ID)
		return err
	})
	return s.published(list), err
}

func (s *Store) readSigningKeys(ctx context.Context, q querier) ([]sealedKey, error) {
	var (
		sealed []byte
		list   []sealedKey
	)
	err := orNotFound(q.QueryRowContext(ctx, `SELECT sealed FROM sealed_keys WHERE name = $1`, keySigning).Scan(&sealed))
	if errors.Is(err, session.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the signing keys: %w", err)
	}
	err = s.unseal(ctx, keySigning, sealed, &list)
	return s.published(list), err
}

// published drops the keys whose time is over: the second and later ones signed
// until the one before them was made.
func (s *Store) published(list []sealedKey) []sealedKey {
	for i := 1; i < len(list); i++ {
		if s.now().Sub(list[i-1].Made) >= signingStays {
			return list[:i]
		}
	}
	return list
}
