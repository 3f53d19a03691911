package secret

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/zalando/go-keyring"
)

// platformKeyring is the keyring of the platform: Secret Service on Linux,
// Keychain on macOS, Credential Manager on Windows.
type platformKeyring struct{}

func (platformKeyring) Get(service, key string) (string, error) {
	v, err := keyring.Get(service, key)
	return v, mapKeyringError(err)
}

func (platformKeyring) Set(service, key, value string) error {
	return mapKeyringError(keyring.Set(service, key, value))
}

func (platformKeyring) Delete(service, key string) error {
	return mapKeyringError(keyring.Delete(service, key))
}

func mapKeyringError(err error) error {
	switch {
	case errors.Is(err, keyring.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, keyring.ErrSetDataTooBig):
		return ErrTooBig
	}
	return err
}

// ring is a Store on a keyring that may hang. Each call runs in a goroutine of
// its own and is abandoned at the limit; after one such call the ring is given
// up, so that at most one goroutine is ever left behind per caller.
type ring struct {
	kr      Keyring
	service string
	limit   time.Duration
	hung    atomic.Bool
}

func newRing(kr Keyring, service string, limit time.Duration) *ring {
	return &ring{kr: kr, service: service, limit: limit}
}

// probe reads a key that is never written: a keyring that answers "not found"
// works.
func (r *ring) probe(ctx context.Context) error {
	_, err := r.Get(ctx, "probe")
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

func (r *ring) Get(ctx context.Context, key string) (Text, error) {
	v, err := r.call(ctx, func() (string, error) { return r.kr.Get(r.service, key) })
	if err != nil {
		return Text{}, fmt.Errorf("reading from the keyring: %w", err)
	}
	return New(v), nil
}

func (r *ring) Set(ctx context.Context, key string, value Text) error {
	_, err := r.call(ctx, func() (string, error) { return "", r.kr.Set(r.service, key, value.Reveal()) })
	if err != nil {
		return fmt.Errorf("writing to the keyring: %w", err)
	}
	return nil
}

func (r *ring) Delete(ctx context.Context, key string) error {
	_, err := r.call(ctx, func() (string, error) { return "", r.kr.Delete(r.service, key) })
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("deleting from the keyring: %w", err)
	}
	return nil
}

func (*ring) Backend() Backend { return BackendKeyring }

func (r *ring) call(ctx context.Context, f func() (string, error)) (string, error) {
	if r.hung.Load() {
		return "", ErrTimeout
	}
	type answer struct {
		value string
		err   error
	}
	done := make(chan answer, 1) // buffered: an abandoned call can still end
	go func() {
		v, err := f()
		done <- answer{v, err}
	}()
	limit := time.NewTimer(r.limit)
	defer limit.Stop()
	select {
	case a := <-done:
		return a.value, a.err
	case <-limit.C:
		r.hung.Store(true)
		return "", ErrTimeout
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
