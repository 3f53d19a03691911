package secret

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeRing is a keyring in memory; block, if set, makes every call hang.
type fakeRing struct {
	values map[string]string
	block  chan struct{}
	err    error
	calls  atomic.Int32
}

func (f *fakeRing) enter() error {
	f.calls.Add(1)
	if f.block != nil {
		<-f.block
	}
	return f.err
}

func (f *fakeRing) Get(service, key string) (string, error) {
	if err := f.enter(); err != nil {
		return "", err
	}
	v, ok := f.values[service+"/"+key]
	if !ok {
		return "", ErrNotFound
	}
	return v, nil
}

func (f *fakeRing) Set(service, key, value string) error {
	if err := f.enter(); err != nil {
		return err
	}
	f.values[service+"/"+key] = value
	return nil
}

func (f *fakeRing) Delete(service, key string) error {
	if err := f.enter(); err != nil {
		return err
	}
	if _, ok := f.values[service+"/"+key]; !ok {
		return ErrNotFound
	}
	delete(f.values, service+"/"+key)
	return nil
}

func prompt(answers ...string) PromptFunc {
	return func(context.Context, string, bool) (Text, error) {
		if len(answers) == 0 {
			return Text{}, errors.New("asked once too often")
		}
		a := answers[0]
		answers = answers[1:]
		return New(a), nil
	}
}

// contract is what every Store must do.
func contract(t *testing.T, s Store) {
	t.Helper()
	ctx := t.Context()
	if _, err := s.Get(ctx, "k"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("Get of nothing: %v, want ErrNotFound", err)
	}
	if err := s.Delete(ctx, "k"); err != nil {
		t.Fatalf("Delete of nothing: %v", err)
	}
	for _, value := range []string{"one", "two", "with \x00 \n \"bytes\" ü", strings.Repeat("long", 500)} {
		if err := s.Set(ctx, "k", New(value)); err != nil {
			t.Fatalf("Set: %v", err)
		}
		if got, err := s.Get(ctx, "k"); err != nil || got.Reveal() != value {
			t.Fatalf("Get = %q, %v, want %q", got.Reveal(), err, value)
		}
	}
	if err := s.Set(ctx, "other", New("stays")); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, "k"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("Get after Delete: %v, want ErrNotFound", err)
	}
	if got, err := s.Get(ctx, "other"); err != nil || got.Reveal() != "stays" {
		t.Fatalf("another key: %q, %v", got.Reveal(), err)
	}
}

func TestStores(t *testing.T) {
	t.Run("keyring", func(t *testing.T) {
		s, notice, err := Open(t.Context(), Options{Keyring: &fakeRing{values: map[string]string{}}})
		if err != nil || notice != "" || s.Backend() != BackendKeyring {
			t.Fatalf("Open: %v, %q, %v", s, notice, err)
		}
		contract(t, s)
	})
	t.Run("memory", func(t *testing.T) {
		s, notice, err := Open(t.Context(), Options{Keyring: &fakeRing{err: errors.New("no bus")}})
		if err != nil || s.Backend() != BackendMemory {
			t.Fatalf("Open: %v, %v", s, err)
		}
		if !strings.Contains(notice, "memory only") {
			t.Errorf("notice %q does not say that it is memory only", notice)
		}
		contract(t, s)
	})
	t.Run("file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "state", "secrets.age")
		s := newFile(path, prompt("correct horse"))
		s.factor = 10
		contract(t, s)
	})
}

func TestKeyringHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := &fakeRing{block: make(chan struct{})}
		start := time.Now()
		s, notice, err := Open(t.Context(), Options{Keyring: ring})
		if err != nil || s.Backend() != BackendMemory {
			t.Fatalf("Open: %v, %v", s, err)
		}
		if d := time.Since(start); d != DefaultTimeout {
			t.Errorf("gave up after %v, want %v", d, DefaultTimeout)
		}
		if !strings.Contains(notice, "no answer within 5s") {
			t.Errorf("notice %q does not say why", notice)
		}
		close(ring.block) // let the abandoned call end
	})
}

func TestKeyringHangsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := &fakeRing{values: map[string]string{}}
		s, _, err := Open(t.Context(), Options{Keyring: ring})
		if err != nil {
			t.Fatal(err)
		}
		ring.block = make(chan struct{})
		if err := s.Set(t.Context(), "k", New("v")); !errors.Is(err, ErrTimeout) {
			t.Fatalf("Set: %v, want ErrTimeout", err)
		}
		calls, start := ring.calls.Load(), time.Now()
		if _, err := s.Get(t.Context(), "k"); !errors.Is(err, ErrTimeout) {
			t.Errorf("Get: %v, want ErrTimeout", err)
		}
		if ring.calls.Load() != calls || time.Since(start) != 0 {
			t.Error("a keyring that hung was asked again")
		}
		close(ring.block)
	})
}

func TestKeyringHangsAndCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := &fakeRing{block: make(chan struct{})}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := Open(ctx, Options{Keyring: ring}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Open: %v, want the context's error rather than a fallback", err)
		}
		close(ring.block)
	})
}

func TestInsistingOnABackend(t *testing.T) {
	broken := &fakeRing{err: errors.New("no bus")}
	if _, _, err := Open(t.Context(), Options{Backend: BackendKeyring, Keyring: broken}); err == nil {
		t.Error("keyring insisted on, but another store was given")
	}
	if _, _, err := Open(t.Context(), Options{Backend: BackendFile, File: "x"}); err == nil {
		t.Error("file without a terminal was opened")
	}
	s, notice, err := Open(t.Context(), Options{Keyring: broken, File: filepath.Join(t.TempDir(), "s.age"), Passphrase: prompt()})
	if err != nil || s.Backend() != BackendFile || !strings.Contains(notice, "s.age") {
		t.Errorf("fallback to the file: %v, %q, %v", s, notice, err)
	}
}

func TestFileIsSealed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.age")
	s := newFile(path, prompt("pass"))
	s.factor = 10
	if err := s.Set(t.Context(), "refresh", New(planted)); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), planted) || strings.Contains(string(raw), "refresh") || !strings.HasPrefix(string(raw), "age-encryption.org/v1\n-> scrypt ") {
		t.Errorf("the file is not sealed: %q", raw)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode().Perm())
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestFileWrongPassphrase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.age")
	s := newFile(path, prompt("right"))
	s.factor = 10
	if err := s.Set(t.Context(), "k", New("v")); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)

	other := newFile(path, prompt("wrong", "", "right"))
	other.factor = 10
	for range 2 {
		if err := other.Set(t.Context(), "k", New("w")); !errors.Is(err, ErrPassphrase) {
			t.Fatalf("Set with a wrong passphrase: %v, want ErrPassphrase", err)
		}
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Fatal("a wrong passphrase changed the file")
	}
	if got, err := other.Get(t.Context(), "k"); err != nil || got.Reveal() != "v" {
		t.Errorf("after the right passphrase: %q, %v", got.Reveal(), err)
	}
}

func TestFileTampered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.age")
	s := newFile(path, prompt("p"))
	s.factor = 10
	if err := s.Set(t.Context(), "k", New(planted)); err != nil {
		t.Fatal(err)
	}
	raw, _ := os.ReadFile(path)
	for name, bad := range map[string][]byte{
		"cut":     raw[:len(raw)-1],
		"flipped": append(append([]byte{}, raw[:len(raw)-3]...), raw[len(raw)-3]^1, raw[len(raw)-2], raw[len(raw)-1]),
		"empty":   {},
		"garbage": []byte("not an age file"),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		fresh := newFile(path, prompt("p"))
		if _, err := fresh.Get(t.Context(), "k"); err == nil || errors.Is(err, ErrNotFound) || leaks(err.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFileSeesAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.age")
	a, b := newFile(path, prompt("p")), newFile(path, prompt("p"))
	a.factor, b.factor = 10, 10
	if err := a.Set(t.Context(), "k", New("1")); err != nil {
		t.Fatal(err)
	}
	if err := b.Set(t.Context(), "k", New("2")); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Get(t.Context(), "k"); err != nil || got.Reveal() != "2" {
		t.Errorf("Get = %q, %v, want what the other wrote", got.Reveal(), err)
	}
}

func TestParseBackend(t *testing.T) {
	for in, want := range map[string]Backend{"": BackendAuto, "auto": BackendAuto, "keyring": BackendKeyring, "file": BackendFile, "memory": BackendMemory} {
		if got, err := ParseBackend(in); err != nil || got != want {
			t.Errorf("ParseBackend(%q) = %q, %v", in, got, err)
		}
	}
	if _, err := ParseBackend("plain"); err == nil {
		t.Error("an unknown store was accepted")
	}
}

// TestPlatformKeyring writes to the real keyring, so it runs only when asked:
// on Linux under a throw-away Secret Service.
func TestPlatformKeyring(t *testing.T) {
	if os.Getenv("JIT_TEST_KEYRING") != "1" {
		t.Skip("set JIT_TEST_KEYRING=1 to use this machine's keyring")
	}
	s, notice, err := Open(t.Context(), Options{Service: "jit-test", Backend: BackendKeyring})
	if err != nil || notice != "" {
		t.Fatalf("Open: %q, %v", notice, err)
	}
	t.Cleanup(func() { _ = s.Delete(context.Background(), "other") })
	contract(t, s)
}
