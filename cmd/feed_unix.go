//go:build unix

package cmd

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ownDescriptor checks that n is open for writing, and keeps it from the child.
func ownDescriptor(n int) error {
	flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFL, 0)
	if err != nil {
		return errors.New("it is not open")
	}
	if flags&unix.O_ACCMODE == unix.O_RDONLY {
		return errors.New("it is open for reading only")
	}
	unix.CloseOnExec(n)
	return nil
}
