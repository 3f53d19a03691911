package identity

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// lockRetry is how often a busy lock is tried again. Holders keep it for one
// exchange with the issuer.
const lockRetry = 50 * time.Millisecond

// lock takes the lock that all processes sharing the store take around the
// refresh token. The system frees it when a process dies.
func (s *Source) lock(ctx context.Context) (unlock func(), err error) {
	if s.cfg.LockDir == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(s.cfg.LockDir, 0o700); err != nil {
		return nil, fmt.Errorf("locking the sign-in: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(s.cfg.LockDir, "identity.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the sign-in: %w", err)
	}
	retry := time.NewTicker(lockRetry)
	defer retry.Stop()
	for {
		ok, err := tryLock(f)
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("locking the sign-in: %w", err)
		}
		if ok {
			return func() { _ = f.Close() }, nil // closing frees the lock
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-retry.C:
		}
	}
}
