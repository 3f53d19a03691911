package recording

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"
)

// start is when every recording of the tests begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// server is the approval server's side of a recording: it stores uploads as
// the real one does and has a Witness cosign.
type server struct {
	witness *Witness
	key     string // the session's

	mu       sync.Mutex
	down     bool
	recovery bool
	files    map[string][]byte
	state    []byte
	cosigned []byte
}

func newServer(t testing.TB, sessionKey string) *server {
	t.Helper()
	skey, _, err := NewWitnessKey("witness.example")
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWitness(skey)
	if err != nil {
		t.Fatal(err)
	}
	return &server{witness: w, key: sessionKey, files: map[string][]byte{}}
}

var errDown = errors.New("the server is down")

func (s *server) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *server) upload(_ context.Context, file string, offset int64, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.files[file]
	switch {
	case s.down:
		return errDown
	case offset > int64(len(have)):
		return errors.New("a gap")
	}
	known := min(int64(len(have))-offset, int64(len(data)))
	if !bytes.Equal(have[offset:offset+known], data[:known]) {
		return errors.New("a conflict")
	}
	s.files[file] = append(have, data[known:]...)
	return nil
}

func (s *server) cosign(_ context.Context, checkpoint []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errDown
	}
	offset, err := WitnessOffset(s.state)
	if err != nil {
		return nil, err
	}
	state, cosigned, err := s.witness.Observe(Observation{
		State: s.state, SessionID: "s1", SessionKey: s.key, Checkpoint: checkpoint,
		Events: bytes.NewReader(s.files[FileEvents][offset:]), Now: start.Add(time.Minute), Recovery: s.recovery,
	})
	if err != nil {
		return nil, err
	}
	s.state, s.cosigned = state, cosigned
	return cosigned, nil
}

// fixture is a recording under way, with its server.
type fixture struct {
	*Writer
	dir  string
	opt  Options
	srv  *server
	skey string
}

type tweak func(*Options)

func newFixture(t testing.TB, tweaks ...tweak) *fixture {
	t.Helper()
	skey, vkey, err := NewKey("session-s1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(t, vkey)
	opt := Options{
		Session:     SessionFacts{ID: "s1", Principal: "https://id.example|ana", Email: "ana@example.com", Connection: "prod"},
		Signer:      signer,
		VerifierKey: vkey,
		WitnessKey:  srv.witness.Key(),
		Witness:     srv.cosign,
		Upload:      srv.upload,
		Interval:    time.Hour, // the tests that want more set it
		SealWait:    time.Millisecond,
		Now:         func() time.Time { return start },
	}
	for _, tw := range tweaks {
		tw(&opt)
	}
	dir := filepath.Join(t.TempDir(), "s1")
	w, err := Create(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Seal(context.Background()) }) //nolint:errcheck // stops the goroutines if a test failed early
	return &fixture{Writer: w, dir: dir, opt: opt, srv: srv, skey: skey.Reveal()}
}

func (f *fixture) append(t *testing.T, n int) {
	t.Helper()
	for range n {
		if _, err := f.Append(context.Background(), statement(f.Size())); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *fixture) seal(t *testing.T) {
	t.Helper()
	if err := f.Seal(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// notarise does now what the notary would do at its next tick.
func (f *fixture) notarise(t *testing.T) {
	t.Helper()
	if err := f.signCheckpoint(); err != nil {
		t.Fatal(err)
	}
	if err := f.deliver(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func statement(n int64) Event {
	return Event{
		Kind: KindStatement, Statement: fmt.Sprintf("stmt-%d", n),
		SQL: &StatementFacts{
			Text: fmt.Sprintf("SELECT * FROM t WHERE a < %d AND b > 'x&y'", n), Digest: "d", Kinds: []string{"SELECT"},
			Binds: []byte(`{"1":{"type":"TEXT","value":"<a>"}}`), Verdict: "allow", Rule: "default",
		},
	}
}

// events reads all a reader yields.
func events(r *Reader) (all []Event, err error) {
	for e, err := range r.Events() {
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
	return all, nil
}

func TestRecordingHoldsWhatWasAppended(t *testing.T) {
	f := newFixture(t)
	f.append(t, 10)
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
	if len(all) != 12 || all[0].Kind != KindSessionOpened || all[11].Kind != KindSessionEnded {
		t.Fatalf("%d events, first %q, last %q", len(all), all[0].Kind, all[len(all)-1].Kind)
	}
	for i, e := range all {
		if e.Seq != int64(i) {
			t.Errorf("event %d has seq %d", i, e.Seq)
		}
	}
	if got, want := all[4].SQL.Text, statement(4).SQL.Text; got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
	if got := string(all[4].SQL.Binds); got != `{"1":{"type":"TEXT","value":"<a>"}}` {
		t.Errorf("binds = %s", got)
	}

	rep, err := Verify(f.dir, VerifyOptions{WitnessKeys: []string{f.srv.witness.Key()}})
	if err != nil {
		t.Fatal(err)
	}
	if !rep.Sealed || !rep.Trusted || rep.Recovered || rep.Events != 12 || rep.Signed != 12 || rep.Unwitnessed != 0 || rep.Tail != 0 {
		t.Errorf("report = %+v", rep)
	}
	if len(rep.Cosigned) != 1 || rep.Cosigned[0].Size != 12 || !rep.Cosigned[0].At.Equal(start.Add(time.Minute)) {
		t.Errorf("cosigned = %+v", rep.Cosigned)
	}
	if rep.Session.Email != "ana@example.com" {
		t.Errorf("session = %+v", rep.Session)
	}
}

func TestServersCopyIsARecording(t *testing.T) {
	f := newFixture(t)
	f.append(t, 3)
	f.seal(t)
	there := fstest.MapFS{FileCosig: &fstest.MapFile{Data: f.srv.cosigned}}
	for name, data := range f.srv.files {
		there[name] = &fstest.MapFile{Data: data}
	}
	r, err := OpenFS(there, VerifyOptions{WitnessKeys: []string{f.srv.witness.Key()}})
	if err != nil {
		t.Fatal(err)
	}
	local, err := Verify(f.dir, VerifyOptions{WitnessKeys: []string{f.srv.witness.Key()}})
	if err != nil {
		t.Fatal(err)
	}
	if rep := r.Report(); !rep.Sealed || rep.Root != local.Root || rep.Unwitnessed != 0 {
		t.Errorf("the server has %+v, this machine %+v", rep, local)
	}
	if size, ended, err := WitnessSize(f.srv.state); err != nil || size != 5 || !ended {
		t.Errorf("witness saw %d events, ended=%v, %v", size, ended, err)
	}
}

func TestWitnessSeesGrowth(t *testing.T) {
	f := newFixture(t)
	for range 5 {
		f.append(t, 7)
		f.notarise(t)
	}
	f.seal(t)
	rep, err := Verify(f.dir, VerifyOptions{WitnessKeys: []string{f.srv.witness.Key()}})
	if err != nil {
		t.Fatal(err)
	}
	if rep.Events != 37 || rep.Unwitnessed != 0 {
		t.Errorf("report = %+v", rep)
	}
}
