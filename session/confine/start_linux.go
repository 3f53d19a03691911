package confine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// The first Landlock ABIs that let files move between folders (without it, nothing
// could be restricted), that keep signals and abstract sockets in, and that also
// govern sockets in the file system.
const (
	refers   = 2
	scopes   = 6
	resolves = 9
)

func landlockABI() int {
	v, err := llsys.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return v
}

// Find tries what this machine offers, best first, and reports the first that
// works with plan. self is this program.
func Find(ctx context.Context, self string, plan Plan) Report {
	var why []string
	abi := landlockABI()
	for _, means := range []Means{Namespace, Landlock} {
		if means == Landlock && abi < refers {
			why = append(why, fmt.Sprintf("this kernel has no Landlock, or too old a one (ABI %d)", abi))
			continue
		}
		plan.Means = means
		if err := try(ctx, self, plan); err != nil {
			why = append(why, fmt.Sprintf("%s does not work here: %v", means, err))
			continue
		}
		return Report{Means: means, Gaps: gaps(plan, abi), Why: why}
	}
	return Report{Why: why}
}

func gaps(plan Plan, abi int) []string {
	var list []string
	if plan.UID == 0 && rootIsRoot() {
		list = append(list, "root's devices and kernel settings (run jit as an ordinary user)")
	}
	if plan.Means == Landlock && abi < resolves {
		list = append(list, "sockets in the file system, as the keyring's")
	}
	if abi < scopes {
		list = append(list, "abstract sockets and signals to your other programs (needs Linux 6.12 with Landlock)")
	}
	return list
}

// rootIsRoot reports whether user 0 here is the machine's: what it owns (devices,
// /proc/sys) needs no capability.
func rootIsRoot() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	fields := strings.Fields(string(data))
	return err != nil || len(fields) < 2 || fields[0] == "0" && fields[1] == "0"
}

// try confines a process that looks around and ends.
func try(ctx context.Context, self string, plan Plan) error {
	argv, err := plan.argv(self, "", nil)
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // this program
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	prepare(c, plan)
	if err := c.Run(); err != nil {
		if text := strings.TrimSpace(out.String()); text != "" {
			return errors.New(strings.TrimPrefix(text, "jit: "))
		}
		return err
	}
	return nil
}

// Wrap returns the program and the command line that start path, confined, and
// what must be done to the exec.Cmd before it starts.
func Wrap(self string, plan Plan, path string, args []string) (string, []string, func(*exec.Cmd), error) {
	argv, err := plan.argv(self, path, args)
	return self, argv, func(c *exec.Cmd) { prepare(c, plan) }, err
}

// prepare has the process begin in namespaces of its own. It maps its user itself:
// this process may be closed to its children (PR_SET_DUMPABLE), and could then not
// do it for them.
func prepare(c *exec.Cmd, plan Plan) {
	if plan.Means != Namespace {
		return
	}
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER | unix.CLONE_NEWNS
	c.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP}
}

// Exit codes of a process that never became the agent; those of jit.
const (
	exitNotStarted  = 125
	exitNotRunnable = 126
	exitNotFound    = 127
)

// Main is the whole life of a process started by Wrap or Find: it becomes the
// command, or exits. In any other process it does nothing.
func Main(argv []string) {
	if len(argv) < 4 || argv[1] != helper {
		return
	}
	runtime.LockOSThread() // capabilities belong to the thread that executes
	code, err := become(argv[2], argv[3], argv[4:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "jit:", err)
	}
	os.Exit(code) //nolint:forbidigo // this is the main of that process
}

func become(text, path string, args []string) (int, error) {
	var plan Plan
	if err := json.Unmarshal([]byte(text), &plan); err != nil {
		return exitNotStarted, fmt.Errorf("confining: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return exitNotStarted, fmt.Errorf("confining: finding the working folder: %w", err)
	}
	before := identify(plan.hidden())
	if err := confineSelf(plan); err != nil {
		return exitNotStarted, fmt.Errorf("confining the command: %w", err)
	}
	// The folder itself may have been covered; what was opened before stays open.
	if err := os.Chdir(dir); err != nil {
		return exitNotStarted, fmt.Errorf("the working folder is hidden from a confined command: %w", err)
	}
	if err := plan.check(before); err != nil {
		return exitNotStarted, fmt.Errorf("confining the command: %w", err)
	}
	if path == "" {
		return 0, nil
	}
	err = syscall.Exec(path, args, os.Environ()) //nolint:gosec // the person's command
	code := exitNotRunnable
	if errors.Is(err, fs.ErrNotExist) {
		code = exitNotFound
	}
	return code, fmt.Errorf("starting %s: %w", args[0], err)
}

func confineSelf(plan Plan) error {
	if plan.Means != Namespace && plan.Means != Landlock {
		return errNoMeans
	}
	if plan.Means == Namespace {
		if err := plan.cover(); err != nil {
			return err
		}
	}
	if err := dropCapabilities(plan.Means); err != nil {
		return err
	}
	if err := forbidTyping(); err != nil {
		return err
	}
	if plan.Means == Namespace {
		// File rules would keep the agent's own sandboxes from mounting.
		if err := landlock.V6.BestEffort().RestrictScoped(); err != nil {
			return fmt.Errorf("entering a Landlock domain: %w", err)
		}
		return nil
	}
	rules, err := plan.rules()
	if err != nil {
		return err
	}
	// Not Restrict: that would deny the network, too.
	if err := errors.Join(landlock.V9.BestEffort().RestrictPaths(rules...), landlock.V6.BestEffort().RestrictScoped()); err != nil {
		return fmt.Errorf("entering a Landlock domain: %w", err)
	}
	return nil
}

// mapSelf makes the person known, as themselves, in the new user namespace.
func (p Plan) mapSelf() error {
	for _, m := range [][2]string{
		{"setgroups", "deny"},
		{"uid_map", fmt.Sprintf("%d %d 1", p.UID, p.UID)},
		{"gid_map", fmt.Sprintf("%d %d 1", p.GID, p.GID)},
	} {
		if err := os.WriteFile("/proc/self/"+m[0], []byte(m[1]), 0); err != nil {
			return fmt.Errorf("mapping the user: %w", err)
		}
	}
	return nil
}

// cover hides what is to be hidden, and shows again what is kept.
func (p Plan) cover() error {
	if err := p.mapSelf(); err != nil {
		return err
	}
	// Nothing that is mounted outside later may lie over, or uncover, what is hidden.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	kept := map[string]*os.File{}
	for _, path := range slices.Concat(p.Keep, p.KeepReadOnly) {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != nil {
			continue // it ended just now: then it is hidden
		}
		kept[path] = os.NewFile(uintptr(fd), path)
	}
	hidden := p.hidden()
	for _, path := range hidden {
		if err := hide(path); err != nil {
			return fmt.Errorf("hiding %s: %w", path, err)
		}
	}
	for _, path := range slices.Concat(p.Keep, p.KeepReadOnly) { // folders before files in them
		f := kept[path]
		if f == nil {
			continue
		}
		if slices.ContainsFunc(hidden, func(h string) bool { return within(path, h) }) {
			if err := show(f, path, slices.Contains(p.KeepReadOnly, path)); err != nil {
				return fmt.Errorf("keeping %s: %w", path, err)
			}
		}
		_ = f.Close()
	}
	return nil
}

func hide(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return unix.Mount("jit-hidden", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700,size=16m")
	default:
		return unix.Mount("/dev/null", path, "", unix.MS_BIND, "")
	}
}

// show mounts an open file or folder where it was.
func show(f *os.File, path string, readOnly bool) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		dir := path
		if !info.IsDir() {
			dir = filepath.Dir(path)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if !info.IsDir() {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
		}
	}
	if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), path, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if readOnly {
		return unix.MountSetattr(unix.AT_FDCWD, path, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	}
	return nil
}

// dropCapabilities leaves no way to gain any, and in a namespace none at all. With
// Landlock alone root keeps its own: they do not lift Landlock.
func dropCapabilities(means Means) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("renouncing new privileges: %w", err)
	}
	if means != Namespace {
		return nil
	}
	for c := uintptr(0); ; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); errors.Is(err, unix.EINVAL) && c > 0 {
			break // one more than the kernel knows
		} else if err != nil {
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("dropping capabilities: %w", err)
	}
	var none [2]unix.CapUserData
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		return fmt.Errorf("dropping capabilities: %w", err)
	}
	return nil
}

// inode tells files apart.
type inode struct{ dev, ino uint64 }

func identify(paths []string) map[string]inode {
	found := map[string]inode{}
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			found[path] = inode{uint64(st.Dev), st.Ino} //nolint:unconvert // Dev is narrower on other architectures
		}
	}
	return found
}

// check looks from inside whether everything is hidden.
func (p Plan) check(before map[string]inode) error {
	for path, was := range before {
		if p.Means == Namespace {
			if now, ok := identify([]string{path})[path]; ok && now == was {
				return fmt.Errorf("%s can still be seen", path)
			}
			continue
		}
		if !slices.Contains(p.Hide, path) {
			continue // a socket
		}
		if err := p.readable(path); err == nil {
			return fmt.Errorf("%s can still be read", path)
		}
	}
	return nil
}

// readable tries to open what path is, or a file in it that is not kept. An empty
// folder shows nothing to judge by.
func (p Plan) readable(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() {
		f, err := os.Open(path)
		if err == nil {
			_ = f.Close()
		}
		return err
	}
	found := errors.New("nothing can be read")
	_ = filepath.WalkDir(path, func(at string, e fs.DirEntry, err error) error {
		kept := func(k string) bool { return within(at, k) }
		if err != nil || !e.Type().IsRegular() || slices.ContainsFunc(p.Keep, kept) || slices.ContainsFunc(p.KeepReadOnly, kept) {
			return nil //nolint:nilerr // what cannot be listed cannot be read
		}
		if found = p.readable(at); found == nil {
			return fs.SkipAll
		}
		return nil
	})
	return found
}
