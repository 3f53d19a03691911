package recording

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// crash leaves a fixture's recording as a killed process would: goroutines
// stopped, lock released, nothing sealed.
func (f *fixture) crash(t *testing.T) {
	t.Helper()
	f.sealOnce.Do(func() {
		f.stop()
		if err := f.file.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// recoverOptions are those of the next run of jit: a new key, the same server.
func (f *fixture) recoverOptions(t *testing.T) Options {
	t.Helper()
	opt := f.opt
	opt.Session = SessionFacts{}
	opt.Signer, opt.VerifierKey = newKey(t, "recovery")
	return opt
}

func TestRecover(t *testing.T) {
	f := newFixture(t)
	f.append(t, 4)
	f.notarise(t)
	f.append(t, 3) // acknowledged, not signed
	f.crash(t)
	tear(t, f.dir, `{"seq":8,"prev":"unfini`)

	before, err := Open(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if rep := before.Report(); rep.Sealed || rep.Events != 5 || rep.Tail != 3 || rep.Torn != 23 {
		t.Errorf("before: %+v", rep)
	}
	tail := 0
	for e, err := range before.Tail() {
		if err != nil || e.Seq != int64(5+tail) {
			t.Errorf("tail: %+v, %v", e, err)
		}
		tail++
	}
	if tail != 3 {
		t.Errorf("the tail has %d events, want 3", tail)
	}

	f.srv.recovery = true
	rec, err := Recover(context.Background(), f.dir, f.recoverOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Recovery{Sealed: true, Events: 9, Unsaid: 3, Torn: 23}); rec != want {
		t.Errorf("recovery = %+v, want %+v", rec, want)
	}
	rep, err := Verify(f.dir, VerifyOptions{WitnessKeys: []string{f.srv.witness.Key()}})
	if err != nil {
		t.Fatal(err)
	}
	if !rep.Sealed || !rep.Recovered || rep.Events != 9 || rep.Signed != 5 || rep.Unwitnessed != 0 {
		t.Errorf("after: %+v", rep)
	}
	// Once more: nothing is left to do, and nothing changes.
	if rec, err := Recover(context.Background(), f.dir, f.recoverOptions(t)); err != nil || rec.Sealed || rec.Events != 9 {
		t.Errorf("again: %+v, %v", rec, err)
	}
}

func tear(t *testing.T, dir, part string) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(dir, FileEvents), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(part); err != nil {
		t.Fatal(err)
	}
}

func TestRecoverLeavesALiveRecordingAlone(t *testing.T) {
	f := newFixture(t)
	f.append(t, 2)
	if _, err := Recover(context.Background(), f.dir, f.recoverOptions(t)); !errors.Is(err, ErrBusy) {
		t.Errorf("error = %v, want ErrBusy", err)
	}
	f.append(t, 2)
	f.seal(t)
}

func TestRecoverLeavesEvidenceAlone(t *testing.T) {
	f := newFixture(t)
	f.append(t, 4)
	f.crash(t)
	path := filepath.Join(f.dir, FileEvents)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(data, []byte("stmt-2"), []byte("stmt-9"), 1)
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Recover(context.Background(), f.dir, f.recoverOptions(t))
	var te *TamperError
	if !errors.As(err, &te) || te.Event != 2 {
		t.Errorf("error = %v, want a TamperError at event 2", err)
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, changed) {
		t.Error("the changed recording was written to")
	}
}

// TestRecoveryInterrupted: the run that recovers dies after each of its steps.
func TestRecoveryInterrupted(t *testing.T) {
	f := newFixture(t)
	f.append(t, 4)
	f.crash(t)
	old, err := os.ReadFile(filepath.Join(f.dir, FileCheckpoint))
	if err != nil {
		t.Fatal(err)
	}
	f.srv.setDown(true)
	if _, err := Recover(context.Background(), f.dir, f.recoverOptions(t)); !errors.Is(err, ErrPending) {
		t.Fatal(err)
	}
	// As if it had died between its event and its checkpoint.
	if err := os.WriteFile(filepath.Join(f.dir, FileCheckpoint), old, 0o600); err != nil {
		t.Fatal(err)
	}
	if rep, err := Verify(f.dir, VerifyOptions{}); err != nil || rep.Sealed || rep.Tail != 5 {
		t.Fatalf("%+v, %v", rep, err)
	}
	f.srv.setDown(false)
	f.srv.recovery = true
	if _, err := Recover(context.Background(), f.dir, f.recoverOptions(t)); err != nil {
		t.Fatal(err)
	}
	rep, err := Verify(f.dir, VerifyOptions{WitnessKeys: []string{f.srv.witness.Key()}})
	if err != nil || !rep.Sealed || rep.Events != 7 || rep.Unwitnessed != 0 {
		t.Errorf("%+v, %v", rep, err)
	}
}

// TestWitnessKnowsRecoveries: a witness cosigns another key's seal only when
// its server says that a recovery is at hand, and never after a true seal.
func TestWitnessKnowsRecoveries(t *testing.T) {
	f := newFixture(t)
	f.append(t, 4)
	f.notarise(t)
	f.crash(t)
	if _, err := Recover(context.Background(), f.dir, f.recoverOptions(t)); !errors.Is(err, ErrPending) {
		t.Errorf("without leave: %v, want ErrPending", err)
	}
	f.srv.recovery = true
	if _, err := Recover(context.Background(), f.dir, f.recoverOptions(t)); err != nil {
		t.Errorf("with leave: %v", err)
	}
	rep, err := Verify(f.dir, VerifyOptions{WitnessKeys: []string{f.srv.witness.Key()}})
	if err != nil || rep.Unwitnessed != 0 {
		t.Errorf("%+v, %v", rep, err)
	}
}

// TestMain runs the victim of TestKill when it is re-executed as one.
func TestMain(m *testing.M) {
	if dir := os.Getenv("RECORDING_TEST_VICTIM"); dir != "" {
		if err := victim(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if mode, dir, ok := strings.Cut(os.Getenv("RECORDING_TEST_DISK"), ":"); ok {
		if err := fillDisk(dir, mode == "read-only"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// victim records until it is killed, and says what was acknowledged.
func victim(dir string) error {
	skey, vkey, err := NewKey("session-s1")
	if err != nil {
		return err
	}
	signer, err := NewSigner(skey)
	if err != nil {
		return err
	}
	w, err := Create(dir, Options{Session: SessionFacts{ID: "s1"}, Signer: signer, VerifierKey: vkey, Interval: 2 * time.Millisecond})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var mu sync.Mutex // one line at a time
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d/%d", g, i)
				if _, err := w.Append(context.Background(), Event{Kind: KindStatement, Statement: id, Note: strings.Repeat("x", i%2000)}); err != nil {
					return
				}
				mu.Lock()
				fmt.Println(id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.New("the victim outlived its killer")
}

// TestKill kills a recording process with SIGKILL at random points: nothing it
// acknowledged is lost, and the log verifies and can be sealed.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	const rounds = 30
	for round := range rounds {
		dir := filepath.Join(t.TempDir(), "r")
		acked := killVictim(t, dir, 1+rand.IntN(150))
		r, err := Open(dir)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		_, err = events(r)
		if cerr := r.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		s, v := newKey(t, "recovery")
		if _, err := Recover(context.Background(), dir, Options{Signer: s, VerifierKey: v}); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if rep, err := Verify(dir, VerifyOptions{}); err != nil || !rep.Sealed || rep.Tail != 0 || rep.Torn != 0 {
			t.Fatalf("round %d: %+v, %v", round, rep, err)
		}
		if r, err = Open(dir); err != nil {
			t.Fatal(err)
		}
		all, err := events(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		have := map[string]bool{}
		for _, e := range all {
			have[e.Statement] = true
		}
		for _, id := range acked {
			if !have[id] {
				t.Errorf("round %d: acknowledged event %s is lost", round, id)
			}
		}
	}
}

// TestKillEarly kills a process while it makes its recording: what is left is
// whole, or is known never to have begun. It is never called changed.
func TestKillEarly(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for round := range 15 {
		dir := filepath.Join(t.TempDir(), "r")
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "RECORDING_TEST_VICTIM="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		seen := rand.IntN(4) // how far it is let: its folder, the log, session.json, the checkpoint
		mark := filepath.Join(dir, []string{"", FileEvents, FileSession, FileCheckpoint}[seen])
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			if _, err := os.Stat(mark); err == nil {
				break
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the victim ended by itself")
		}
		_, err := Verify(dir, VerifyOptions{})
		if err != nil && !errors.Is(err, ErrEmpty) && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("round %d, killed at %s: %v", round, filepath.Base(mark), err)
		}
	}
}

// killVictim starts a victim, kills it after n acknowledgements, and returns
// all that it made.
func killVictim(t *testing.T, dir string, n int) (acked []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RECORDING_TEST_VICTIM="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the victim said %q", lines.Text())
	}
	for lines.Scan() {
		acked = append(acked, lines.Text())
		if len(acked) == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || len(acked) < n {
		t.Fatalf("the victim ended by itself after %d events: %v", len(acked), err)
	}
	return acked
}

// BenchmarkDurableEvents compares, in one run, 64 writers sharing syncs with a
// sync for each event, and reports how many times more events the group gets
// to disk.
func BenchmarkDurableEvents(b *testing.B) {
	const writers = 64
	for b.Loop() {
		group := rate(b, writers, func(w *Writer, e Event) error {
			_, err := w.Append(context.Background(), e)
			return err
		})
		var mu sync.Mutex
		single := rate(b, writers, func(w *Writer, e Event) error {
			mu.Lock() // one event, one write, one sync
			defer mu.Unlock()
			_, err := w.Append(context.Background(), e)
			return err
		})
		b.ReportMetric(group, "group-events/s")
		b.ReportMetric(single, "single-events/s")
		b.ReportMetric(group/single, "ratio")
	}
}

func rate(b *testing.B, writers int, appendOne func(*Writer, Event) error) float64 {
	f := newFixture(b, func(o *Options) { o.Upload, o.Witness, o.WitnessKey = nil, nil, "" })
	deadline := time.Now().Add(time.Second)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := int64(0); time.Now().Before(deadline); i++ {
				if err := appendOne(f.Writer, statement(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	n := float64(f.Size())
	if err := f.Seal(context.Background()); err != nil {
		b.Fatal(err)
	}
	return n
}
