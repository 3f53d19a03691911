package approval

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gocloud.dev/secrets/localsecrets"
)

// InstallKey puts a copy of a sealing key where a server with data folder dir
// looks for it. It never replaces another key: that one may be all that opens
// what is there.
func InstallKey(dir, from string) error {
	b, err := os.ReadFile(from) //nolint:gosec // the operator's own file
	if err != nil {
		return fmt.Errorf("reading the sealing key: %w", err)
	}
	key, err := localsecrets.Base64KeyStd(strings.TrimSpace(string(b)))
	if err != nil {
		return fmt.Errorf("reading the sealing key %s: it is not 32 bytes of base64", from)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	path := filepath.Join(dir, keyFile)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // as above
	if errors.Is(err, fs.ErrExist) {
		have, err := readKey(path)
		if err == nil && have != key {
			err = fmt.Errorf("%s is another key already: move it away if it opens nothing that is needed", path)
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("installing the sealing key: %w", err)
	}
	_, err = f.WriteString(strings.TrimSpace(string(b)) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("installing the sealing key: %w", err), os.Remove(path))
	}
	return nil
}
