package secret

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"filippo.io/age"
)

// maxFile bounds the plaintext of a secrets file; it holds a few tokens.
const maxFile = 1 << 20

// file is a Store in one age file (scrypt passphrase), mode 0600, holding a
// JSON object of key → secret. It is read anew on every call, so that what
// another process wrote is seen, and replaced as a whole, so that a crash
// leaves the old or the new file and never a torn one.
type file struct {
	path   string
	ask    PromptFunc
	factor int // scrypt work factor (log2) of new files; 0 = age's default

	mu         sync.Mutex // guards passphrase, and serialises read-change-write
	passphrase Text       // asked once per process
}

func newFile(path string, ask PromptFunc) *file { return &file{path: path, ask: ask} }

func (*file) Backend() Backend { return BackendFile }

func (f *file) Get(ctx context.Context, key string) (Text, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, err := f.read(ctx)
	if err != nil {
		return Text{}, err
	}
	v, ok := all[key]
	if !ok {
		return Text{}, ErrNotFound
	}
	return New(v), nil
}

func (f *file) Set(ctx context.Context, key string, value Text) error {
	return f.change(ctx, func(all map[string]string) bool {
		all[key] = value.Reveal()
		return true
	})
}

func (f *file) Delete(ctx context.Context, key string) error {
	return f.change(ctx, func(all map[string]string) bool {
		_, had := all[key]
		delete(all, key)
		return had
	})
}

func (f *file) change(ctx context.Context, edit func(map[string]string) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, err := f.read(ctx)
	if err != nil {
		return err
	}
	if !edit(all) {
		return nil
	}
	return f.write(ctx, all)
}

// read returns an empty map if there is no file, without asking for anything.
func (f *file) read(ctx context.Context) (map[string]string, error) {
	sealed, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the secrets file: %w", err)
	}
	if f.passphrase.IsZero() {
		if f.passphrase, err = f.ask(ctx, "Passphrase of "+f.path, false); err != nil {
			return nil, fmt.Errorf("asking for the passphrase: %w", err)
		}
	}
	all, err := unseal(sealed, f.passphrase)
	if err != nil {
		f.passphrase = Text{} // ask again next time
		return nil, fmt.Errorf("opening %s: %w", f.path, err)
	}
	return all, nil
}

func unseal(sealed []byte, passphrase Text) (map[string]string, error) {
	id, err := age.NewScryptIdentity(passphrase.Reveal())
	if err != nil {
		return nil, ErrPassphrase // only an empty passphrase
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), id)
	if err != nil {
		var noMatch *age.NoIdentityMatchError
		if errors.As(err, &noMatch) {
			return nil, ErrPassphrase
		}
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(plain) > maxFile {
		return nil, errors.New("the secrets file is larger than any that jit writes")
	}
	all := map[string]string{}
	if err := json.Unmarshal(plain, &all); err != nil {
		return nil, errors.New("the secrets file does not hold what jit writes") // err could quote a secret
	}
	return all, nil
}

func (f *file) write(ctx context.Context, all map[string]string) error {
	if f.passphrase.IsZero() {
		p, err := f.ask(ctx, "New passphrase for "+f.path, true)
		if err != nil {
			return fmt.Errorf("asking for the passphrase: %w", err)
		}
		f.passphrase = p
	}
	recipient, err := age.NewScryptRecipient(f.passphrase.Reveal())
	if err != nil {
		return ErrPassphrase // only an empty passphrase
	}
	if f.factor != 0 {
		recipient.SetWorkFactor(f.factor)
	}
	plain, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("encoding the secrets file: %w", err)
	}
	if len(plain) > maxFile {
		return fmt.Errorf("writing %s: %w", f.path, ErrTooBig)
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, recipient)
	if err != nil {
		return fmt.Errorf("encrypting the secrets file: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return fmt.Errorf("encrypting the secrets file: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("encrypting the secrets file: %w", err)
	}
	return replace(f.path, sealed.Bytes())
}

// replace writes data beside path and renames it into place. os.CreateTemp
// makes the file 0600.
func replace(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("writing the secrets file: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".secrets-*")
	if err != nil {
		return fmt.Errorf("writing the secrets file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = tmp.Close()
			_ = os.Remove(tmp.Name())
			err = fmt.Errorf("writing the secrets file: %w", err)
		}
	}()
	if _, err := tmp.Write(data); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
