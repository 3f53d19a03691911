package recording

import (
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
