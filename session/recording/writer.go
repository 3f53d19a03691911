package recording

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The errors of a Writer.
var (
	// ErrFailed means an earlier write failed; nothing can be recorded any more.
	ErrFailed = errors.New("the recording has failed")
	// ErrSealed means the recording has ended.
	ErrSealed = errors.New("the recording is sealed")
	// ErrPending means a recording is sealed and safe on this machine, but the
	// server does not have all of it yet. Recover sends it again.
	ErrPending = errors.New("sealed here, not yet complete at the server")
	// ErrBusy means another process is writing the recording.
	ErrBusy = errors.New("the recording is being written")
)

// Options say what is recorded, who signs it and where copies go.
type Options struct {
	Session     SessionFacts // ID is required
	Signer      note.Signer  // the session key, see NewSigner
	VerifierKey string       // its verifier key
	// WitnessKey is the verifier key the server named when the session was
	// opened. Answers of Witness that it did not sign are thrown away.
	WitnessKey string
	// Witness submits a checkpoint and returns the cosigned note. nil: none.
	Witness func(ctx context.Context, checkpoint []byte) ([]byte, error)
	// Upload stores bytes of a file at an offset; sending them twice must be
	// harmless. nil: the recording stays on this machine.
	Upload func(ctx context.Context, file string, offset int64, data []byte) error
	// Interval is the time between checkpoints; 0 = 2 s.
	Interval time.Duration
	// SealWait is how long Seal tries to reach the server; 0 = 15 s.
	SealWait time.Duration
	Logger   *slog.Logger     // nil: none
	Now      func() time.Time // nil: time.Now
}

// Writer records one session. Its methods are safe for concurrent use.
type Writer struct {
	opt  Options
	dir  string
	log  *slog.Logger
	file eventFile

	wake chan struct{} // tells the committer that queue grew; capacity 1
	quit chan struct{} // closed by Seal: commit what is queued and stop
	done chan struct{} // closed when the committer has stopped

	send      chan struct{} // tells the delivery that a checkpoint was signed; capacity 1
	stopLoops context.CancelFunc
	loops     sync.WaitGroup // notary and delivery
	failed    chan struct{}  // closed with the first failed write

	mu     sync.Mutex
	queue  []*entry
	closed bool  // no Append from here on
	ended  bool  // session.ended is queued or written
	err    error // sticky: the first failed write

	// The committer alone changes these, under mu; others read them under mu.
	tree tree
	last tlog.Hash
	size int64 // durable bytes of events.jsonl

	reserved int64 // bytes of events.jsonl that the disk has room for; the committer's alone

	signed signedNote // the last checkpoint; changed by signCheckpoint alone

	delivery delivery // not guarded by mu, see there

	sealOnce sync.Once
	sealErr  error
}

// eventFile is the file events go to; a test puts one that fails in its place.
type eventFile interface {
	WriteAt(p []byte, off int64) (int, error)
	ReadAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
	syncData() error
	reserve(offset, n int64) error // errors.ErrUnsupported where that cannot be
	Close() error
}

type osFile struct{ *os.File }

func (f osFile) reserve(offset, n int64) error { return reserveSpace(f.File, offset, n) }

// lock takes a recording for this process, or is ErrBusy.
func lock(f *os.File) error {
	ok, err := lockFile(f)
	switch {
	case err != nil:
		return fmt.Errorf("locking %s: %w", FileEvents, err)
	case !ok:
		return ErrBusy
	}
	return nil
}

func (f osFile) syncData() error { return syncData(f.File) }

// entry is one event on its way to the disk.
type entry struct {
	draft draft
	seq   int64
	err   error
	done  chan struct{}
}

// Create makes the recording of a session in dir, which must not hold one. It
// writes event 0, session.opened with opt.Session.
// When it returns, session.json, event 0 and a first checkpoint are on disk.
func Create(dir string, opt Options) (*Writer, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("creating recording: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating recording: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, FileEvents), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating recording: %w", err)
	}
	w, err := create(dir, opt, f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("creating recording: %w", err), f.Close())
	}
	return w, nil
}

func create(dir string, opt Options, f *os.File) (*Writer, error) {
	if err := lock(f); err != nil {
		return nil, err
	}
	head, err := formatHeader(header{Format: formatV2, Session: opt.Session, Key: opt.VerifierKey, Witness: opt.WitnessKey})
	if err != nil {
		return nil, err
	}
	if err := replaceFile(dir, FileSession, head); err != nil {
		return nil, err
	}
	w := newWriter(dir, opt, osFile{f})
	w.last = leafHash(head)
	facts := opt.Session
	if err := w.commitAlone(Event{Kind: KindSessionOpened, Session: &facts}); err != nil {
		return nil, err
	}
	if err := w.signCheckpoint(); err != nil { // syncs the folder too
		return nil, err
	}
	w.start()
	return w, nil
}

func newWriter(dir string, opt Options, f eventFile) *Writer {
	return &Writer{
		opt: opt, dir: dir, log: opt.Logger, file: f,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		send: make(chan struct{}, 1), failed: make(chan struct{}),
	}
}

// start runs committer, notary and delivery; Seal stops them.
func (w *Writer) start() {
	ctx, stop := context.WithCancel(context.Background())
	w.stopLoops = stop
	go w.commitLoop()
	w.loops.Add(2)
	go w.notaryLoop(ctx)
	go w.deliveryLoop(ctx)
}

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Session.ID == "" || strings.ContainsFunc(o.Session.ID, unicode.IsControl):
		return o, fmt.Errorf("session id %q is not a word", o.Session.ID)
	case o.Signer == nil:
		return o, errors.New("there is no signer")
	}
	v, err := newVerifier(o.VerifierKey)
	if err != nil {
		return o, err
	}
	if v.Name() != o.Signer.Name() || v.KeyHash() != o.Signer.KeyHash() {
		return o, errors.New("the verifier key is not that of the signer")
	}
	if o.WitnessKey != "" {
		if _, err := newVerifier(o.WitnessKey); err != nil {
			return o, fmt.Errorf("witness key: %w", err)
		}
	}
	if o.Interval <= 0 {
		o.Interval = 2 * time.Second
	}
	if o.SealWait <= 0 {
		o.SealWait = 15 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

// Append records e and returns its sequence number once it is on disk. The
// Writer sets Seq, Prev and, if zero, At. A bare session.opened is event 0, which
// Create wrote. A done ctx ends the wait: the event
// may then be in the recording although Append failed, never the other way
// round. After a failed write every Append is ErrFailed.
func (w *Writer) Append(ctx context.Context, e Event) (int64, error) {
	if err := ctx.Err(); err != nil {
		return -1, fmt.Errorf("recording event: %w", err)
	}
	switch {
	case e.Kind == "":
		return -1, errors.New("recording event: it has no kind")
	case e.Kind == KindSessionOpened && e.Session == nil:
		return 0, nil // on disk since Create, which had the facts
	case e.Kind == KindSessionOpened:
		return -1, errors.New("recording event: Create wrote session.opened, with the facts of its Options")
	case e.Recovered != nil:
		return -1, errors.New("recording event: only Recover writes recovered")
	}
	en, err := w.enqueue(e)
	if err != nil {
		return -1, err
	}
	select {
	case <-en.done:
		if en.err != nil {
			return -1, fmt.Errorf("recording event: %w", en.err)
		}
		return en.seq, nil
	case <-ctx.Done():
		return -1, fmt.Errorf("recording event: not known to be on disk: %w", ctx.Err())
	}
}

func (w *Writer) enqueue(e Event) (*entry, error) {
	d, err := newDraft(e, w.opt.Now())
	if err != nil {
		return nil, fmt.Errorf("recording event: %w", err)
	}
	en := &entry{draft: d, done: make(chan struct{})}

	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return nil, fmt.Errorf("recording event: %w", w.err)
	case w.closed || w.ended:
		return nil, fmt.Errorf("recording event: %w", ErrSealed)
	}
	w.ended = e.Kind == KindSessionEnded
	w.queue = append(w.queue, en)
	select {
	case w.wake <- struct{}{}:
	default: // the committer has been told already
	}
	return en, nil
}

// Failed is closed when the recording has failed: the session cannot go on.
// Append and Seal say why.
func (w *Writer) Failed() <-chan struct{} { return w.failed }

// Size is the number of events on disk.
func (w *Writer) Size() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tree.size
}

// Dir is the folder of the recording.
func (w *Writer) Dir() string { return w.dir }
