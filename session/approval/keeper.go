package approval

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gocloud.dev/secrets"
	"gocloud.dev/secrets/localsecrets"
)

// keyFile is the local sealing key, beside the database and not in it: a copy
// of the database alone opens nothing.
const keyFile = "sealing.key"

// openKeeper opens what seals the keys of credentials and tokens. An empty URL
// means the local key file of dir, made on first use with mode 0600. It is not
// asked for anything yet.
func openKeeper(ctx context.Context, dir, keeperURL string) (*secrets.Keeper, error) {
	if keeperURL != "" {
		return openKeyService(ctx, keeperURL)
	}
	path := filepath.Join(dir, keyFile)
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := writeKey(path); err != nil {
			return nil, err
		}
		key, err = readKey(path)
	}
	if err != nil {
		return nil, err
	}
	return localsecrets.NewKeeper(key), nil
}

// openKeyService opens a keeper by its URL. Which schemes there are is up to the
// program: it links them.
func openKeyService(ctx context.Context, keeperURL string) (*secrets.Keeper, error) {
	u, err := url.Parse(keeperURL)
	if err != nil || u.Scheme == "" {
		return nil, fmt.Errorf("opening the secrets keeper: its URL must be SCHEME://KEY, with one of the schemes %s", strings.Join(KeeperSchemes(), ", "))
	}
	switch {
	case u.Scheme == localsecrets.Scheme:
		// The URL holds the key: nothing of it is repeated.
		k, err := secrets.OpenKeeper(ctx, keeperURL)
		if err != nil || u.Host == "" { // without a key, the driver makes one that is lost with the process
			return nil, fmt.Errorf("opening the secrets keeper %s: the URL must hold 32 bytes of base64", u.Scheme)
		}
		return k, nil
	case !secrets.DefaultURLMux().ValidKeeperScheme(u.Scheme):
		return nil, fmt.Errorf("opening the secrets keeper: there is no %q here; the schemes are %s", u.Scheme, strings.Join(KeeperSchemes(), ", "))
	case u.User != nil:
		return nil, fmt.Errorf("opening the secrets keeper %s: its URL must not hold a user or a password; the key service's own environment names its credentials", u.Scheme)
	case u.Host == "" && strings.Trim(u.Path, "/") == "":
		return nil, fmt.Errorf("opening the secrets keeper %s: the URL names no key", u.Scheme)
	case u.Scheme == "hashivault" && !u.Query().Has("engine"):
		// The driver remembers the engine of the URL that it opened before.
		q := u.Query()
		q.Set("engine", "transit")
		u.RawQuery = q.Encode()
	}
	k, err := secrets.OpenKeeper(ctx, u.String())
	if err != nil {
		return nil, fmt.Errorf("opening the secrets keeper %s: %w", u.Scheme, err)
	}
	return k, nil
}

// KeeperSchemes are the schemes of keeper URLs that this program has linked, but
// for the one whose URL is the key itself.
func KeeperSchemes() []string {
	return slices.DeleteFunc(secrets.DefaultURLMux().KeeperSchemes(), func(s string) bool { return s == localsecrets.Scheme })
}

func readKey(path string) ([32]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return [32]byte{}, fmt.Errorf("reading the sealing key: %w", err)
	}
	if err := checkPrivate(path, fi); err != nil {
		return [32]byte{}, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return [32]byte{}, fmt.Errorf("reading the sealing key: %w", err)
	}
	key, err := localsecrets.Base64KeyStd(strings.TrimSpace(string(b)))
	if err != nil {
		return [32]byte{}, fmt.Errorf("reading the sealing key %s: it is not 32 bytes of base64; restore it from your backup", path)
	}
	return key, nil
}

// writeKey makes the key in a temporary file and links it into place, so that
// two servers that start at once end up with the same key.
func writeKey(path string) error {
	key, err := localsecrets.NewRandomKey()
	if err != nil {
		return fmt.Errorf("making the sealing key: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), keyFile+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("making the sealing key: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.WriteString(base64.StdEncoding.EncodeToString(key[:]) + "\n")
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Link(tmp.Name(), path)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making the sealing key: %w", err)
	}
	return nil
}
