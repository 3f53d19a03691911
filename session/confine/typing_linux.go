package confine

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system call ioctl on 64-bit and 32-bit x86 and ARM, and on x32.
const (
	ioctlAMD64, ioctlARM64, ioctl32, ioctlX32 = 16, 29, 54, 0x40000000 + 514
)

// forbidTyping keeps the command from putting keys into the terminal it shares with
// the person's shell, which would run them after it: TIOCSTI, and TIOCLINUX of the
// console (ioctl_tty(2)). New kernels can do without; not all do. The numbers are
// taken together whatever the architecture: what else has one of them gets EPERM
// only for a second argument of the same value.
func forbidTyping() error {
	const (
		number, argument = 0, 24 // in struct seccomp_data, of 64 bits the low half
		load             = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal            = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer           = unix.BPF_RET | unix.BPF_K
	)
	filter := []unix.SockFilter{
		{Code: load, K: argument},
		{Code: equal, K: unix.TIOCSTI, Jt: 1},
		{Code: equal, K: unix.TIOCLINUX, Jf: 5}, // to allow
		{Code: load, K: number},
		{Code: equal, K: ioctlAMD64, Jt: 4}, // to refuse
		{Code: equal, K: ioctlARM64, Jt: 3},
		{Code: equal, K: ioctl32, Jt: 2},
		{Code: equal, K: ioctlX32, Jt: 1},
		{Code: answer, K: unix.SECCOMP_RET_ALLOW},
		{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}                                   //nolint:gosec // ten
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0) //nolint:gosec // prctl(2) takes the address
	if err != nil {
		return fmt.Errorf("filtering system calls: %w", err)
	}
	return nil
}
