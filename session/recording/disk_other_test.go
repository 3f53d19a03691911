//go:build !linux

package recording

import "errors"

// fillDisk needs a mount namespace.
func fillDisk(string, bool) error { return errors.ErrUnsupported }
