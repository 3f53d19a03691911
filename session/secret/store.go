package secret

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// The errors of a Store.
var (
	// ErrNotFound means the store holds nothing under that key.
	ErrNotFound = errors.New("no such secret")
	// ErrTimeout means the keyring gave no answer in time. A write that timed
	// out may still land later.
	ErrTimeout = errors.New("the keyring did not answer in time")
	// ErrPassphrase means the passphrase does not open the secrets file.
	ErrPassphrase = errors.New("the passphrase does not open the secrets file")
	// ErrTooBig means the keyring of this platform cannot hold so long a secret.
	ErrTooBig = errors.New("the secret is too long for this platform's keyring")
)

// Backend names where a Store keeps its secrets. The zero value chooses:
// the keyring, else an age-encrypted file, else memory.
type Backend string

// The backends.
const (
	BackendAuto    Backend = ""
	BackendKeyring Backend = "keyring" // the platform's keyring
	BackendFile    Backend = "file"    // an age file, opened by a passphrase
	BackendMemory  Backend = "memory"  // gone when the process ends
)

// ParseBackend reads the name of a backend; "auto" and "" choose.
func ParseBackend(s string) (Backend, error) {
	switch b := Backend(s); b {
	case BackendAuto, BackendKeyring, BackendFile, BackendMemory:
		return b, nil
	case "auto":
		return BackendAuto, nil
	}
	return BackendAuto, fmt.Errorf("secret store %q is not known: use auto, keyring, file or memory", s)
}

// Store keeps the few secrets that outlive a process. Implementations are safe
// for concurrent use within a process; callers that read, change and write
// back across processes need a lock of their own.
type Store interface {
	// Get returns ErrNotFound if nothing is stored under key.
	Get(ctx context.Context, key string) (Text, error)
	Set(ctx context.Context, key string, value Text) error
	// Delete of a key that is not there succeeds.
	Delete(ctx context.Context, key string) error
	// Backend says where the secrets are kept; never BackendAuto.
	Backend() Backend
}

// Keyring is the platform's keyring. Calls may block for ever.
// A missing entry is reported as ErrNotFound.
type Keyring interface {
	Get(service, key string) (string, error)
	Set(service, key, value string) error
	Delete(service, key string) error
}

// PromptFunc asks the person at the terminal for a passphrase. With confirm it
// asks twice and returns only if both agree.
type PromptFunc func(ctx context.Context, prompt string, confirm bool) (Text, error)

// DefaultTimeout is how long one keyring call may take: long enough for an
// unlocked keyring on a busy machine, short enough not to look hung.
const DefaultTimeout = 5 * time.Second

// Options says how to open a Store. The zero value tries the platform's
// keyring and falls back to memory.
type Options struct {
	Backend Backend // insist on one; Open fails rather than choose another
	Service string  // keyring service name; empty = "jit"
	Keyring Keyring // nil = the platform's
	Timeout time.Duration
	// File is the path of the age file. Empty: no file fallback.
	File string
	// Passphrase asks for the file's passphrase. Nil (no terminal): no file
	// fallback.
	Passphrase PromptFunc
	Logger     *slog.Logger
}

// Open returns the first store that works and, when that is not the keyring, a
// notice for people saying where secrets go and why. It reads, but never
// writes, to find out.
func Open(ctx context.Context, opt Options) (Store, string, error) {
	if opt.Service == "" {
		opt.Service = "jit"
	}
	if opt.Timeout == 0 {
		opt.Timeout = DefaultTimeout
	}
	if opt.Keyring == nil {
		opt.Keyring = platformKeyring{}
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	haveFile := opt.File != "" && opt.Passphrase != nil
	switch opt.Backend {
	case BackendMemory:
		return newMemory(), noticeMemory("as asked"), nil
	case BackendFile:
		if !haveFile {
			return nil, "", errors.New("opening the secrets file: it needs a terminal to ask for its passphrase; run jit in a terminal or use the keyring")
		}
		return newFile(opt.File, opt.Passphrase), noticeFile(opt.File, "as asked"), nil
	}

	ring := newRing(opt.Keyring, opt.Service, opt.Timeout)
	err := ring.probe(ctx)
	switch {
	case err == nil:
		return ring, "", nil
	case ctx.Err() != nil:
		return nil, "", fmt.Errorf("opening the keyring: %w", ctx.Err())
	case opt.Backend == BackendKeyring:
		return nil, "", fmt.Errorf("opening the keyring: %w", err)
	}
	opt.Logger.WarnContext(ctx, "keyring unusable", slog.Any("error", err))
	why := "no usable keyring here"
	if errors.Is(err, ErrTimeout) {
		why = fmt.Sprintf("the keyring gave no answer within %s", opt.Timeout)
	}
	if haveFile {
		return newFile(opt.File, opt.Passphrase), noticeFile(opt.File, why), nil
	}
	return newMemory(), noticeMemory(why), nil
}

func noticeFile(path, why string) string {
	return fmt.Sprintf("Sign-in is kept in %s, encrypted with a passphrase (%s).", path, why)
}

func noticeMemory(why string) string {
	return fmt.Sprintf("Sign-in is kept in memory only and ends with this command (%s).", why)
}
