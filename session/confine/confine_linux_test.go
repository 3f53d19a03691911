package confine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Main(os.Args)
	if os.Getenv("CONFINE_TEST_TYPE") != "" {
		for _, call := range []uint{unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCGWINSZ} {
			_, err := unix.IoctlGetInt(0, call)
			fmt.Println(err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// home is a person with things to hide, and who they are.
func home(t *testing.T) (Plan, string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		".snowflake/connections.toml": "[x]\nprivate_key_file = \"" + dir + "/elsewhere/key.p8\"\n",
		"elsewhere/key.p8":            "planted key", "elsewhere/plain": "plain",
		".ssh/id_ed25519": "planted key", ".ssh/known_hosts": "a host",
		"state/jit/secrets.age": "planted secret", "state/jit/wiring/mine/lease": "own lease", "state/jit/wiring/other/lease": "another's lease",
		"work/file": "work",
	} {
		file = filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := Person{Home: dir, UID: os.Geteuid(), GID: os.Getegid(), Getenv: func(string) string { return "" }, Own: []string{filepath.Join(dir, "state/jit")}}
	return p.Plan(), dir
}

// run runs a shell script confined by plan.
func run(t *testing.T, plan Plan, dir, script string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path, args, prepare, err := Wrap(self, plan, "/bin/sh", []string{"sh", "-c", script})
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, args[1:]...) //nolint:gosec // this program
	var out bytes.Buffer
	c.Dir, c.Stdout, c.Stderr = dir, &out, &out
	prepare(c)
	if err := c.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	return out.String()
}

// offered asks others than jit whether this machine allows a means.
func offered(means Means) bool {
	if means == Landlock {
		return landlockABI() >= refers
	}
	return exec.Command("unshare", "--user", "--map-current-user", "--mount", "true").Run() == nil
}

// TestNothingHiddenIsRead holds for each means that this machine allows. Of one that
// it does not, Find must say so.
func TestNothingHiddenIsRead(t *testing.T) {
	for _, means := range []Means{Namespace, Landlock} {
		t.Run(string(means), func(t *testing.T) {
			plan, dir := home(t)
			plan.Means = means
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			if err := try(t.Context(), self, plan); err != nil {
				if got := Find(t.Context(), self, plan); got.Means == means || got.Full() || offered(means) {
					t.Fatalf("%v, and yet: %s", err, got)
				}
				t.Logf("this machine does not allow it: %v", err)
				return
			}
			mine := filepath.Join(dir, "state/jit/wiring/mine")
			plan.Keep = append(plan.Keep, mine)
			got := run(t, plan, filepath.Join(dir, "work"), `
				cd ..; for f in .snowflake/connections.toml elsewhere/key.p8 .ssh/id_ed25519 state/jit/secrets.age state/jit/wiring/other/lease; do
					read -r l <$f && echo "READ $f: $l"; done 2>/dev/null
				cat elsewhere/plain state/jit/wiring/mine/lease .ssh/known_hosts; cat work/file; echo new >work/new && cat work/new`)
			if strings.Contains(got, "READ") || strings.Contains(got, "planted") || strings.Contains(got, "another") {
				t.Errorf("hidden things were read:\n%s", got)
			}
			if want := "plainown leasea hostworknew\n"; !strings.HasSuffix(got, want) {
				t.Errorf("got\n%s\nwant at its end\n%s", got, want)
			}
		})
	}
}

// TestCoverIsNotTakenOff: neither capabilities nor a namespace of the agent's own
// uncover what is hidden.
func TestCoverIsNotTakenOff(t *testing.T) {
	plan, dir := home(t)
	plan.Means = Namespace
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := try(context.Background(), self, plan); err != nil {
		if Find(t.Context(), self, plan).Full() || offered(Namespace) {
			t.Fatal(err)
		}
		t.Logf("this machine does not allow it: %v", err)
		return
	}
	got := run(t, plan, dir, `
		grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs)' /proc/self/status
		umount .snowflake; umount -l state/jit; cat .snowflake/connections.toml
		unshare -Urm sh -c 'umount .snowflake; umount -l state/jit; mkdir -p work/m; mount --bind . work/m && cat work/m/.snowflake/connections.toml; cat .snowflake/connections.toml state/jit/secrets.age'
		true`)
	if strings.Contains(got, "private_key_file") || strings.Contains(got, "planted") {
		t.Errorf("uncovered:\n%s", got)
	}
	if strings.Count(got, "0000000000000000") != 5 || !strings.Contains(got, "NoNewPrivs:\t1") {
		t.Errorf("capabilities are left:\n%s", got)
	}
}

// TestSignalsStayIn: neither signals nor looks reach a process outside; it holds for both means from ABI 6.
func TestSignalsStayIn(t *testing.T) {
	if landlockABI() < scopes {
		if len(gaps(Plan{Means: Namespace, UID: 1}, landlockABI())) == 0 {
			t.Fatal("the gap is not named")
		}
		return
	}
	plan, dir := home(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if plan.Means = Find(t.Context(), self, plan).Means; plan.Means == "" {
		t.Fatal("Landlock is there, and nothing confines")
	}
	target := exec.Command("sleep", "60")
	if err := target.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = target.Process.Kill(); _ = target.Wait() }()
	pid := target.Process.Pid
	got := run(t, plan, dir, "kill -KILL "+strconv.Itoa(pid)+" || echo refused; cat /proc/"+strconv.Itoa(pid)+"/environ >/dev/null && echo READ; head -c1 /proc/"+strconv.Itoa(pid)+"/mem && echo READ; ls /proc/"+strconv.Itoa(pid)+"/root/ && echo READ; true")
	if !strings.Contains(got, "refused") || strings.Contains(got, "READ") {
		t.Errorf("%s", got)
	}
	if err := unix.Kill(pid, 0); err != nil {
		t.Errorf("the process outside is gone: %v", err)
	}
}

// TestNobodyTypesForThePerson: what a command put into its terminal's input would be
// run by the shell after it.
func TestNobodyTypesForThePerson(t *testing.T) {
	plan, dir := home(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if plan.Means = Find(t.Context(), self, plan).Means; plan.Means == "" {
		if offered(Namespace) || offered(Landlock) {
			t.Fatalf("nothing confines here: %s", Find(t.Context(), self, plan))
		}
		return // and TestNothingHiddenIsRead holds that Find says so
	}
	// Standard input is no terminal: whoever gets as far as that is not stopped.
	got := run(t, plan, dir, "CONFINE_TEST_TYPE=1 "+self+" </dev/null")
	if want := fmt.Sprintln(unix.EPERM) + fmt.Sprintln(unix.EPERM) + fmt.Sprintln(unix.ENOTTY); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestOrdinaryUser runs the others as somebody who is not root, from a process that
// is closed to its children as jit is: only such a person is confined without a gap.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		plan, _ := home(t)
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		got := Find(t.Context(), self, plan)
		if want := offered(Namespace) && landlockABI() >= scopes; got.Full() != want {
			t.Errorf("%s; namespaces offered: %t, Landlock ABI %d", got, offered(Namespace), landlockABI())
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "confine-") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // temporary
	const nobody = 65533
	tests := filepath.Join(dir, "tests")
	if err := errors.Join(os.WriteFile(tests, text, 0o755), os.Chmod(tests, 0o755), os.Chown(dir, nobody, nobody)); err != nil { //nolint:gosec // somebody else runs it
		t.Fatal(err)
	}
	c := exec.Command(tests, "-test.v") //nolint:gosec // this program
	c.Dir, c.Env = dir, append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := c.CombinedOutput()
	if err != nil || strings.Count(string(out), "\n--- PASS") < 5 {
		t.Errorf("%v\n%s", err, out)
	}
}
