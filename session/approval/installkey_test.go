package approval

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInstallKey(t *testing.T) {
	from := filepath.Join(t.TempDir(), "mounted")
	if err := writeKey(from); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(from, 0o440); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	for range 2 { // once more is fine
		if err := InstallKey(dir, from); err != nil {
			t.Fatal(err)
		}
	}
	if fi, err := os.Stat(filepath.Join(dir, keyFile)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi, err)
	}
	store, err := NewStore(StoreConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	_ = store.Close()
	other := filepath.Join(t.TempDir(), "other")
	if err := writeKey(other); err != nil {
		t.Fatal(err)
	}
	if err := InstallKey(dir, other); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("another key: %v", err)
	}
	if err := os.WriteFile(other, []byte("c2hvcnQ="), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := InstallKey(t.TempDir(), other); err == nil || strings.Contains(err.Error(), "c2hvcnQ") {
		t.Errorf("no key: %v", err)
	}
}
