package recording

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// syncDir does nothing: Windows has no directory handles to sync; renames are
// journaled.
func syncDir(string) error { return nil }

// lockFile marks f as being written until it is closed or the process dies.
// It locks a byte far beyond the content, so that readers are not hindered.
// It reports false if another process holds it.
func lockFile(f *os.File) (bool, error) {
	at := &windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}
