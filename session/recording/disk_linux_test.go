package recording

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// fillDisk is what this binary does in a mount namespace of its own: it records
// on a disk of 2.5 MiB until that is full or, if it is told so, read-only.
func fillDisk(dir string, readOnly bool) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2560k"); err != nil {
		return fmt.Errorf("mounting: %w", err)
	}
	skey, vkey, err := NewKey("session-s1")
	if err != nil {
		return err
	}
	signer, err := NewSigner(skey)
	if err != nil {
		return err
	}
	dir = filepath.Join(dir, "r")
	w, err := Create(dir, Options{Session: SessionFacts{ID: "s1"}, Signer: signer, VerifierKey: vkey})
	if err != nil {
		return err
	}
	acked := int64(1)
	for ; err == nil; acked++ {
		if readOnly && acked == 10 {
			if err := errors.Join(w.file.Close(), unix.Mount("", filepath.Dir(dir), "", unix.MS_REMOUNT|unix.MS_RDONLY, "")); err != nil {
				return fmt.Errorf("mounting read-only: %w", err)
			}
			w.file = lateFile{w.file, filepath.Join(dir, FileEvents)}
		}
		_, err = w.Append(context.Background(), Event{Kind: KindStatement, Note: strings.Repeat("x", 500)})
	}
	acked--
	<-w.Failed()
	fmt.Println("append:", err)
	fmt.Println("seal:", w.Seal(context.Background()))
	rep, err := Verify(dir, VerifyOptions{})
	if err != nil {
		return err
	}
	if rep.Sealed || rep.Events+rep.Tail < acked || rep.Torn > 0 {
		return fmt.Errorf("%d events acknowledged, report %+v", acked, rep)
	}
	fmt.Println("kept:", acked > 5)
	return nil
}

// lateFile opens its file anew for each write, so that it meets a disk that has
// become read-only. (A disk with a file open for writing does not become that.)
type lateFile struct {
	eventFile
	path string
}

func (l lateFile) reserve(int64, int64) error { return errors.ErrUnsupported }
func (l lateFile) Truncate(int64) error       { return nil }
func (l lateFile) Close() error               { return nil }
func (l lateFile) WriteAt([]byte, int64) (int, error) {
	_, err := os.OpenFile(l.path, os.O_WRONLY, 0)
	return 0, err
}

// TestRealDisk: a full disk and a read-only one stop the recording, with a text
// that says why; what was acknowledged is there, and the log ends with a whole
// line.
func TestRealDisk(t *testing.T) {
	for mode, want := range map[string]string{"full": "making room on the disk: no space left on device", "read-only": "read-only file system"} {
		t.Run(mode, func(t *testing.T) {
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), "RECORDING_TEST_DISK="+mode+":"+t.TempDir())
			c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
			out, err := c.CombinedOutput()
			if errors.Is(err, syscall.EPERM) || strings.Contains(string(out), "mounting:") {
				if os.Getenv("JIT_TEST_PARTS") == "required" {
					t.Fatalf("no disk of its own can be mounted here, and JIT_TEST_PARTS=required: %v: %s", err, out)
				}
				t.Skipf("no disk of its own can be mounted here: %v: %s", err, out)
			}
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for _, line := range []string{"append: recording event: the recording has failed: ", "seal: sealing recording: the recording has failed: ", want, "kept: true"} {
				if !strings.Contains(string(out), line) {
					t.Errorf("%q is missing in:\n%s", line, out)
				}
			}
		})
	}
}

// TestReservedSpaceIsGivenBack: while it records, the disk keeps room for what
// comes; a sealed recording takes no more than it has.
func TestReservedSpaceIsGivenBack(t *testing.T) {
	f := newFixture(t)
	if f.append(t, 1); f.reserved > 1<<40 {
		t.Skip("the file system of the temporary folder cannot reserve space")
	}
	blocks := func() int64 {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(f.dir, FileEvents), &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks * 512
	}
	if got := blocks(); got < reserveStep {
		t.Errorf("%d bytes are reserved while it records, want %d", got, reserveStep)
	}
	f.crash(t)
	if got := blocks(); got < reserveStep {
		t.Errorf("%d bytes are reserved after a crash, want %d", got, reserveStep)
	}
	f.srv.recovery = true
	if _, err := Recover(t.Context(), f.dir, f.recoverOptions(t)); err != nil {
		t.Fatal(err)
	}
	if got := blocks(); got > 64<<10 {
		t.Errorf("%d bytes are taken when it is sealed", got)
	}
}
