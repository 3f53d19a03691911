package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jit-access/jit/session/approval"
)

func TestServerBackupAndRestore(t *testing.T) {
	a := serverApp(t, nil)
	dir := t.TempDir()
	data, backup, again := filepath.Join(dir, "data"), filepath.Join(dir, "backup"), filepath.Join(dir, "again")
	store, err := approval.NewStore(approval.StoreConfig{Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	run := func(want ExitCode, args ...string) {
		t.Helper()
		if code := runCommand(t, a, newServerCommand(a), args...); code != want {
			t.Fatalf("jit server %s: exit %d, want %d\n%s", strings.Join(args, " "), code, want, a.Err)
		}
	}
	run(ExitOK, "backup", "--data", data, backup)
	run(ExitError, "backup", "--data", data, backup)
	run(ExitError, "backup", "--data", filepath.Join(dir, "nothing"), filepath.Join(dir, "b2"))
	run(ExitUsage, "backup", "--database", "postgres://jit:hunter2@localhost/jit", filepath.Join(dir, "b3"))
	run(ExitOK, "restore", "--data", again, backup)
	run(ExitError, "restore", "--data", again, backup)
	key, err := os.ReadFile(filepath.Join(data, "sealing.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(again, "sealing.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	if store, err = approval.NewStore(approval.StoreConfig{Dir: again}); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}
