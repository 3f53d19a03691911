package recording

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"
)

// pythonReport is what verify.py prints.
type pythonReport struct {
	Events, Signed, Cosigned, Tail, Torn int64
	Redacted, Left                       int64
	Root                                 string
	Sealed, Recovered                    bool
}

// python runs the second implementation of the verifier on a recording.
func python(t *testing.T, args ...string) (pythonReport, error) {
	t.Helper()
	cmd := exec.Command("python3", append([]string{"verify.py"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if stderr.Len() > 0 {
		t.Fatalf("verify.py: %s", stderr.String())
	}
	if err != nil {
		return pythonReport{}, errors.New(string(out))
	}
	var rep pythonReport
	if err := json.Unmarshal(out, &rep); err != nil {
		t.Fatalf("verify.py printed %s", out)
	}
	return rep, nil
}

func needPython(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		if os.Getenv("JIT_TEST_PARTS") == "required" {
			t.Fatal("python3 is not on PATH, and JIT_TEST_PARTS=required")
		}
		t.Skip("python3 is not on PATH; the second verifier was not run")
	}
}

// TestSecondImplementationAgrees: a verifier written from FORMAT.md says of
// whole recordings what this package says.
func TestSecondImplementationAgrees(t *testing.T) {
	needPython(t)
	sealed := newFixture(t)
	sealed.append(t, 20)
	sealed.notarise(t)
	sealed.append(t, 21)
	sealed.seal(t)

	early := newFixture(t)
	early.append(t, 5)
	early.notarise(t)
	early.append(t, 4)
	early.srv.setDown(true)
	if err := early.Seal(context.Background()); !errors.Is(err, ErrPending) {
		t.Fatal(err)
	}

	crashed := newFixture(t)
	crashed.append(t, 6)
	crashed.notarise(t)
	crashed.append(t, 2)
	crashed.crash(t)
	tear(t, crashed.dir, `{"seq`)

	recovered := newFixture(t)
	recovered.append(t, 6)
	recovered.notarise(t)
	recovered.append(t, 2)
	recovered.crash(t)
	recovered.srv.recovery = true
	if _, err := Recover(context.Background(), recovered.dir, recovered.recoverOptions(t)); err != nil {
		t.Fatal(err)
	}

	fromServer := newFixture(t)
	fromServer.append(t, 9)
	fromServer.seal(t)
	if err := os.Remove(filepath.Join(fromServer.dir, FileCheckpoint)); err != nil {
		t.Fatal(err)
	}

	for name, f := range map[string]*fixture{"sealed": sealed, "from the server": fromServer, "cosigned early": early, "crashed": crashed, "recovered": recovered} {
		key := f.srv.witness.Key()
		ours, err := Verify(f.dir, VerifyOptions{WitnessKeys: []string{key}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		theirs, err := python(t, f.dir, key)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := pythonReport{Events: ours.Events, Signed: ours.Signed, Cosigned: ours.Cosigned[0].Size, Tail: ours.Tail,
			Torn: ours.Torn, Root: ours.Root.String(), Sealed: ours.Sealed, Recovered: ours.Recovered}
		if theirs != want {
			t.Errorf("%s: verify.py says %+v, this package %+v", name, theirs, want)
		}
	}
}

// TestSecondImplementationRefuses: and it finds what this package finds.
func TestSecondImplementationRefuses(t *testing.T) {
	needPython(t)
	f := newFixture(t)
	f.append(t, 6)
	f.seal(t)
	whole := copyOf(t, f.dir)
	moves := map[string]func(m fstest.MapFS){
		"a letter": func(m fstest.MapFS) {
			m[FileEvents].Data = bytes.Replace(m[FileEvents].Data, []byte("stmt-3"), []byte("stmt-4"), 1)
		},
		"a repaired chain": func(m fstest.MapFS) {
			rechain(t, m, func(es []Event) []Event { es[3].SQL.Text = "SELECT 1"; return es })
		},
		"a dropped tail": func(m fstest.MapFS) { m[FileEvents].Data = join(lines(m)[:5]) },
		"a torn end":     func(m fstest.MapFS) { m[FileEvents].Data = append(m[FileEvents].Data, '{') },
		"the session":    func(m fstest.MapFS) { m[FileSession].Data = append(m[FileSession].Data, ' ') },
		"a forgery":      func(m fstest.MapFS) { forge(t, m) },
		"the checkpoint": func(m fstest.MapFS) { m[FileCheckpoint].Data[20] ^= 1 },
		"the cosig":      func(m fstest.MapFS) { delete(m, FileCosig) },
	}
	for name, move := range moves {
		m := clone(whole)
		move(m)
		dir := t.TempDir()
		for file, f := range m {
			if err := os.WriteFile(filepath.Join(dir, file), f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if rep, err := python(t, dir, f.srv.witness.Key()); err == nil {
			t.Errorf("%s: verify.py accepted it: %+v", name, rep)
		}
	}
}
