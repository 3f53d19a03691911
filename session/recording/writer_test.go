package recording

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"
)

func TestCreateRefuses(t *testing.T) {
	s, v := newKey(t, "session-s1")
	_, other := newKey(t, "session-s1")
	good := Options{Session: SessionFacts{ID: "s1"}, Signer: s, VerifierKey: v}
	tests := []struct {
		name  string
		tweak func(*Options)
	}{
		{"no session id", func(o *Options) { o.Session.ID = "" }},
		{"a session id with a newline", func(o *Options) { o.Session.ID = "a\nb" }},
		{"no signer", func(o *Options) { o.Signer = nil }},
		{"another key's verifier", func(o *Options) { o.VerifierKey = other }},
		{"a witness key that is none", func(o *Options) { o.WitnessKey = "x" }},
	}
	for _, tt := range tests {
		opt := good
		tt.tweak(&opt)
		if _, err := Create(filepath.Join(t.TempDir(), "r"), opt); err == nil {
			t.Errorf("%s was accepted", tt.name)
		}
	}
	f := newFixture(t)
	if _, err := Create(f.dir, f.opt); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second recording in the same folder: %v", err)
	}
}

func TestAppendRefuses(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	for _, e := range []Event{
		{},
		{Kind: KindSessionOpened, Session: &SessionFacts{ID: "s2"}},
		{Kind: kindUnheard, Recovered: &RecoveredFacts{}},
		{Kind: KindStatement, SQL: &StatementFacts{Binds: []byte(`{`)}},
		{Kind: KindStatement, SQL: &StatementFacts{Text: strings.Repeat("x", MaxEvent)}},
	} {
		if _, err := f.Append(ctx, e); err == nil {
			t.Errorf("kind %q was recorded", e.Kind)
		}
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := f.Append(done, statement(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("with a done context: %v", err)
	}
	f.append(t, 1) // a refused event does not spoil the recording
	if _, err := f.Append(ctx, Event{Kind: KindSessionEnded}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Append(ctx, statement(1)); !errors.Is(err, ErrSealed) {
		t.Errorf("after session.ended: %v", err)
	}
	f.seal(t)
	if _, err := f.Append(ctx, statement(1)); !errors.Is(err, ErrSealed) {
		t.Errorf("after Seal: %v", err)
	}
	if err := f.Seal(ctx); err != nil {
		t.Errorf("the second Seal: %v", err)
	}
	if rep, err := Verify(f.dir, VerifyOptions{}); err != nil || rep.Events != 3 {
		t.Errorf("%+v, %v", rep, err)
	}
}

// kindUnheard is a kind that no reader knows.
const kindUnheard Kind = "x.unheard.of"

func TestUnknownKindsAndOddTextsSurvive(t *testing.T) {
	f := newFixture(t)
	texts := []string{"bad \xff utf-8", "\u2028", "<&>\"\\\b\f\n\r\t\x00\x7f", "�", `\ufffd`, "e\u0301 \u202e 🙂"}
	for _, s := range texts {
		if _, err := f.Append(context.Background(), Event{Kind: kindUnheard, Note: s}); err != nil {
			t.Fatal(err)
		}
	}
	f.seal(t)
	r, err := Open(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all, err := events(r)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range texts {
		want := string(bytes.ToValidUTF8([]byte(s), []byte("�")))
		if got := all[i+1].Note; got != want || all[i+1].Kind != kindUnheard {
			t.Errorf("%q came back as %q, kind %q", s, got, all[i+1].Kind)
		}
	}
}

// TestConcurrentAppends: every Append gets its own number, and every event is
// where that number says.
func TestConcurrentAppends(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Interval = time.Millisecond })
	const writers, each = 16, 20
	var mu sync.Mutex
	got := map[int64]string{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d/%d", w, i)
				seq, err := f.Append(context.Background(), Event{Kind: KindResult, Statement: id})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				got[seq] = id
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	f.seal(t)
	if len(got) != writers*each {
		t.Fatalf("%d sequence numbers for %d events", len(got), writers*each)
	}
	r, err := Open(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for seq, id := range got {
		if e, err := r.Event(seq); err != nil || e.Statement != id {
			t.Fatalf("event %d is %q, %v; want %q", seq, e.Statement, err, id)
		}
	}
}

// failingFile fails as a disk does.
type failingFile struct {
	eventFile
	mu      sync.Mutex
	room    int   // bytes that still fit
	syncErr error // what a sync returns
	err     error // what a write beyond room returns
}

func (f *failingFile) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(p) <= f.room {
		f.room -= len(p)
		return f.eventFile.WriteAt(p, off)
	}
	n, err := f.eventFile.WriteAt(p[:f.room], off)
	f.room = 0
	if err == nil {
		err = f.err
	}
	return n, err
}

func (f *failingFile) syncData() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.syncErr != nil {
		return f.syncErr
	}
	return f.eventFile.syncData()
}

// newFailing swaps the file under a Writer before its committer runs again.
func newFailing(f *fixture, ff *failingFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ff.eventFile = f.file
	f.file = ff
}

func TestDiskFailuresStopTheRecording(t *testing.T) {
	tests := []struct {
		name string
		ff   *failingFile
	}{
		{"the disk is full", &failingFile{room: 1000, err: syscall.ENOSPC}},
		{"the disk is read-only", &failingFile{room: 0, err: syscall.EROFS}},
		{"a sync fails", &failingFile{room: 1 << 20, syncErr: syscall.EIO}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.append(t, 2)
			f.notarise(t)
			newFailing(f, tt.ff)
			ctx := context.Background()
			acked := int64(2)
			var err error
			for err == nil {
				if _, err = f.Append(ctx, statement(0)); err == nil {
					acked++
				}
			}
			if !errors.Is(err, ErrFailed) {
				t.Fatalf("error = %v, want ErrFailed", err)
			}
			<-f.Failed()
			tt.ff.mu.Lock() // the disk is fine again
			tt.ff.room, tt.ff.syncErr = 1<<20, nil
			tt.ff.mu.Unlock()
			if _, err := f.Append(ctx, statement(0)); !errors.Is(err, ErrFailed) {
				t.Errorf("an Append after the failure: %v, want ErrFailed", err)
			}
			if err := f.Seal(ctx); !errors.Is(err, ErrFailed) {
				t.Errorf("Seal: %v, want ErrFailed", err)
			}
			rep, err := Verify(f.dir, VerifyOptions{})
			if err != nil {
				t.Fatalf("what was recorded before does not verify: %v", err)
			}
			if rep.Sealed || rep.Events+rep.Tail < acked+1 {
				t.Errorf("%d events acknowledged, report %+v", acked, rep)
			}
		})
	}
}

func TestCheckpointThatCannotBeWrittenStopsTheRecording(t *testing.T) {
	f := newFixture(t)
	if err := os.MkdirAll(filepath.Join(f.dir, "."+FileCheckpoint+".new"), 0o700); err != nil { // root ignores permissions; this it cannot
		t.Fatal(err)
	}
	f.append(t, 1)
	if err := f.signCheckpoint(); !errors.Is(err, ErrFailed) {
		t.Fatalf("error = %v, want ErrFailed", err)
	}
	if _, err := f.Append(context.Background(), statement(0)); !errors.Is(err, ErrFailed) {
		t.Errorf("Append: %v, want ErrFailed", err)
	}
}

// TestServerAway: while the server is down events are recorded as ever; what it
// missed it gets afterwards.
func TestServerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(o *Options) { o.Interval = time.Second })
		f.srv.setDown(true)
		f.append(t, 5)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		rep, err := Verify(f.dir, VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if rep.Events != 6 || rep.Unwitnessed != 6 {
			t.Errorf("while down: %+v", rep)
		}
		f.srv.setDown(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		rep, err = Verify(f.dir, VerifyOptions{WitnessKeys: []string{f.srv.witness.Key()}})
		if err != nil {
			t.Fatal(err)
		}
		if rep.Unwitnessed != 0 || rep.Sealed {
			t.Errorf("after it came back: %+v", rep)
		}
		f.seal(t)
	})
}

// TestHangingServer: a server that does not answer holds up neither events nor
// signatures.
func TestHangingServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(o *Options) {
			o.Interval = time.Second
			o.Witness = func(ctx context.Context, _ []byte) ([]byte, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		})
		for range 5 {
			f.append(t, 1)
			time.Sleep(time.Second + time.Millisecond)
			synctest.Wait()
			if rep, err := Verify(f.dir, VerifyOptions{}); err != nil || rep.Tail != 0 {
				t.Fatalf("%+v, %v", rep, err)
			}
		}
		began := time.Now()
		if err := f.Seal(context.Background()); !errors.Is(err, ErrPending) {
			t.Errorf("Seal: %v, want ErrPending", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("Seal took %v", took)
		}
	})
}

func TestSealWithoutServerIsPendingAndRecoverDelivers(t *testing.T) {
	f := newFixture(t)
	f.append(t, 3)
	f.srv.setDown(true)
	if err := f.Seal(context.Background()); !errors.Is(err, ErrPending) {
		t.Fatalf("Seal: %v, want ErrPending", err)
	}
	if rep, err := Verify(f.dir, VerifyOptions{}); err != nil || !rep.Sealed || rep.Unwitnessed != 5 {
		t.Fatalf("%+v, %v", rep, err)
	}
	f.srv.setDown(false)
	s, v := newKey(t, "recovery")
	opt := f.opt
	opt.Signer, opt.VerifierKey = s, v
	rec, err := Recover(context.Background(), f.dir, opt)
	if err != nil || rec.Sealed || rec.Events != 5 {
		t.Fatalf("%+v, %v", rec, err)
	}
	rep, err := Verify(f.dir, VerifyOptions{WitnessKeys: []string{f.srv.witness.Key()}})
	if err != nil || rep.Unwitnessed != 0 || rep.Recovered {
		t.Errorf("%+v, %v", rep, err)
	}
}

// TestLyingWitness: an answer that is not the submitted note, cosigned by the
// known key, is thrown away.
func TestLyingWitness(t *testing.T) {
	f := newFixture(t)
	honest := f.Writer.opt.Witness
	skey, _, err := NewWitnessKey("witness.example")
	if err != nil {
		t.Fatal(err)
	}
	impostor, err := NewWitness(skey)
	if err != nil {
		t.Fatal(err)
	}
	var first []byte
	lies := map[string]func(cp []byte) ([]byte, error){
		"the note back as it was": func(cp []byte) ([]byte, error) { return cp, nil },
		"nonsense":                func([]byte) ([]byte, error) { return []byte("ok"), nil },
		"another witness": func(cp []byte) ([]byte, error) {
			_, n, err := openCheckpoint(cp, "s1", f.opt.VerifierKey)
			if err != nil {
				return nil, err
			}
			return note.Sign(n, impostor.key.signer(start))
		},
		"an older cosigned note": func([]byte) ([]byte, error) { return first, nil },
	}
	f.notarise(t)
	if first, err = os.ReadFile(filepath.Join(f.dir, FileCosig)); err != nil {
		t.Fatal(err)
	}
	for name, lie := range lies {
		f.append(t, 1)
		f.Writer.opt.Witness = func(_ context.Context, cp []byte) ([]byte, error) { return lie(cp) }
		if err := f.signCheckpoint(); err != nil {
			t.Fatal(err)
		}
		if err := f.deliver(context.Background()); err == nil {
			t.Errorf("%s was accepted", name)
		}
		if now, _ := os.ReadFile(filepath.Join(f.dir, FileCosig)); !bytes.Equal(now, first) {
			t.Errorf("%s replaced the cosignature", name)
		}
	}
	f.Writer.opt.Witness = honest
	f.notarise(t)
	f.seal(t)
}
