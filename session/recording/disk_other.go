//go:build !linux

package recording

import (
	"errors"
	"os"
)

// syncData makes written bytes, and the length they need, durable. On macOS
// os.File.Sync asks the drive itself (F_FULLFSYNC).
func syncData(f *os.File) error { return f.Sync() }

// reserveSpace is for Linux only.
func reserveSpace(*os.File, int64, int64) error { return errors.ErrUnsupported }
