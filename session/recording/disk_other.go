//go:build !linux

package recording

import "os"

// syncData makes written bytes, and the length they need, durable. On macOS
// os.File.Sync asks the drive itself (F_FULLFSYNC).
func syncData(f *os.File) error { return f.Sync() }
