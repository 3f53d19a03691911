package recording

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes written bytes, and the length they need, durable.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return err
		}
	}
}

// reserveSpace makes room for n bytes from offset on without changing the file's
// length; errors.ErrUnsupported where the file system cannot.
func reserveSpace(f *os.File, offset, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, offset, n)
		switch {
		case err == unix.EINTR:
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return errors.ErrUnsupported
		default:
			return err
		}
	}
}
