//go:build unix

package approval

import (
	"fmt"
	"io/fs"
)

// checkPrivate refuses a file that others than its owner can read.
func checkPrivate(path string, fi fs.FileInfo) error {
	if fi.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is readable by others (mode %04o): run chmod 600 on it, and rotate what it protects", path, fi.Mode().Perm())
	}
	return nil
}
