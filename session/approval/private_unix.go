//go:build unix

package approval

import (
	"fmt"
	"io/fs"
	"os"
)

// checkPrivate refuses a file that others than its owner can read.
func checkPrivate(path string, fi fs.FileInfo) error {
	if fi.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is readable by others (mode %04o): run chmod 600 on it, and rotate what it protects", path, fi.Mode().Perm())
	}
	return nil
}

// openFolder says what is wrong with a data folder that others than its owner
// can enter; "" if nothing is. What matters inside has a mode of its own, so
// this is advice.
func openFolder(path string, fi fs.FileInfo) string {
	if fi.Mode().Perm()&0o077 == 0 {
		return ""
	}
	return fmt.Sprintf("the data folder %s can be entered by others (mode %04o): run chmod 700 on it", path, fi.Mode().Perm())
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // a folder of this server's own
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
