package approval

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gocloud.dev/secrets"
	"gocloud.dev/secrets/localsecrets"
)

// keyFile is the local sealing key, beside the database and not in it: a copy
// of the database alone opens nothing.
const keyFile = "sealing.key"

// openKeeper opens the keeper that seals credentials and tokens. An empty URL
// means the local key file of dir, made on first use with mode 0600.
func openKeeper(ctx context.Context, dir, keeperURL string) (*secrets.Keeper, error) {
	if keeperURL != "" {
		k, err := secrets.OpenKeeper(ctx, keeperURL)
		if err != nil {
			// The URL of a local key holds the key: only its scheme is named.
			scheme, _, _ := strings.Cut(keeperURL, ":")
			return nil, fmt.Errorf("opening the secrets keeper %s: check the URL and its permissions", scheme)
		}
		return k, nil
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

// box is what is sealed: the purpose inside binds a ciphertext to its row, so
// that swapping two rows of the database does not swap two credentials.
type box struct {
	Purpose string          `json:"purpose"`
	Value   json.RawMessage `json:"value"`
}

func (s *Store) seal(ctx context.Context, purpose string, v any) ([]byte, error) {
	value, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("sealing %s: %w", purpose, err)
	}
	plain, err := json.Marshal(box{Purpose: purpose, Value: value})
	if err != nil {
		return nil, fmt.Errorf("sealing %s: %w", purpose, err)
	}
	sealed, err := s.keeper.Encrypt(ctx, plain)
	if err != nil {
		return nil, fmt.Errorf("sealing %s: %w", purpose, err)
	}
	return sealed, nil
}

func (s *Store) unseal(ctx context.Context, purpose string, sealed []byte, v any) error {
	plain, err := s.keeper.Decrypt(ctx, sealed)
	if err != nil {
		return fmt.Errorf("unsealing %s: %w", purpose, err)
	}
	var b box
	if err := json.Unmarshal(plain, &b); err != nil {
		return fmt.Errorf("unsealing %s: the content is damaged", purpose)
	}
	if b.Purpose != purpose {
		return fmt.Errorf("unsealing %s: it was sealed for another row", purpose)
	}
	if err := json.Unmarshal(b.Value, v); err != nil {
		return fmt.Errorf("unsealing %s: the content is damaged", purpose)
	}
	return nil
}
