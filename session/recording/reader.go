package recording

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"

	"golang.org/x/mod/sumdb/tlog"
)

// Reader reads a recording that has been verified, and verifies each event
// again as it is read. Its methods are safe for concurrent use.
type Reader struct {
	head     header
	report   Report
	redacted redactions

	file    io.ReaderAt
	closer  io.Closer
	leaves  []tlog.Hash // by event; all lines of the file, signed or not
	offsets []int64     // of each line, and of the end of the last one
}

// Open verifies the recording in dir with the keys it names itself. That proves
// that it is whole, not that it is genuine: for that, give Verify the witness's
// key. A recording that is not what was recorded is a *TamperError.
func Open(dir string) (*Reader, error) {
	return OpenFS(os.DirFS(dir), VerifyOptions{})
}

// OpenFS is Open for the files in fsys, with keys that the caller trusts.
func OpenFS(fsys fs.FS, opt VerifyOptions) (*Reader, error) {
	l, err := load(fsys, opt)
	if err != nil {
		return nil, fmt.Errorf("opening recording: %w", err)
	}
	return l.Reader, nil
}

// Close releases the file.
func (r *Reader) Close() error { return r.closer.Close() }

// Session is what session.json says of the session.
func (r *Reader) Session() SessionFacts { return r.head.Session }

// Report is what was verified.
func (r *Reader) Report() Report { return r.report }

// Extends checks that r is a later state of the recording that old read: the
// same events as far as old's checkpoint covers. The first of them holds the hash
// of session.json, so that session and key are the same too.
func (r *Reader) Extends(old *Reader) error {
	n := old.report.Events
	if r.report.Events < n {
		return tampered(FileEvents, r.report.Events, "it is missing: %d events were signed before", n)
	}
	for i, leaf := range old.leaves[:n] {
		if r.leaves[i] != leaf {
			return tampered(FileEvents, int64(i), "it changed while the recording was being read")
		}
	}
	return nil
}

// Len is the number of events that the checkpoint covers.
func (r *Reader) Len() int64 { return r.report.Events }

// Events yields the events that the checkpoint covers, in order. After an
// error it yields nothing more.
func (r *Reader) Events() iter.Seq2[Event, error] { return r.span(0, r.report.Events) }

// EventsFrom is Events from a sequence number on.
func (r *Reader) EventsFrom(seq int64) iter.Seq2[Event, error] {
	return r.span(max(seq, 0), r.report.Events)
}

// Tail yields the events after the checkpoint: those of the last seconds of a
// session that is still running or died. They follow one another, but no
// signature covers them.
func (r *Reader) Tail() iter.Seq2[Event, error] {
	return r.span(r.report.Events, int64(len(r.leaves)))
}

func (r *Reader) span(from, to int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		var buf []byte
		for seq := from; seq < to; seq++ {
			e, err := r.event(seq, &buf)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Event reads one event that the checkpoint covers.
func (r *Reader) Event(seq int64) (Event, error) {
	if seq < 0 || seq >= r.report.Events {
		return Event{}, fmt.Errorf("reading event %d: the recording has %d", seq, r.report.Events)
	}
	var buf []byte
	return r.event(seq, &buf)
}

// Skim is Event for those who read many: that the line is in canonical form is
// taken from whoever hashed it into the log, that its texts are the recorded ones
// is not.
func (r *Reader) Skim(seq int64) (Event, error) {
	if seq < 0 || seq >= r.report.Events {
		return Event{}, fmt.Errorf("reading event %d: the recording has %d", seq, r.report.Events)
	}
	var buf []byte
	e, _, err := r.read(seq, &buf, decodeEvent)
	return e, err
}

// read says too how many texts are still on the line although they were redacted.
func (r *Reader) read(seq int64, buf *[]byte, decode func([]byte) (Event, error)) (e Event, left int, err error) {
	line, err := r.line(seq, buf)
	if err != nil {
		return Event{}, 0, err
	}
	if e, err = decode(line); err != nil {
		return Event{}, 0, tampered(FileEvents, seq, "%v", err)
	}
	if left, err = r.redacted.check(FileEvents, seq, &e); err != nil {
		return Event{}, 0, err
	}
	return e, left, nil
}

// line is the bytes of one event, without the newline.
func (r *Reader) line(seq int64, buf *[]byte) ([]byte, error) {
	size := r.offsets[seq+1] - r.offsets[seq] - 1
	if int64(cap(*buf)) < size {
		*buf = make([]byte, size)
	}
	line := (*buf)[:size]
	if n, err := r.file.ReadAt(line, r.offsets[seq]); int64(n) < size {
		return nil, fmt.Errorf("reading event %d: %w", seq, err)
	}
	// What is decoded must be what was hashed: the file may have changed since.
	if leafHash(line) != r.leaves[seq] {
		return nil, tampered(FileEvents, seq, "it changed while the recording was being read")
	}
	return line, nil
}

func (r *Reader) event(seq int64, buf *[]byte) (Event, error) {
	e, _, err := r.read(seq, buf, ParseEvent)
	return e, err
}

// openEvents opens events.jsonl for reading at any offset.
func openEvents(fsys fs.FS) (io.ReaderAt, io.Closer, error) {
	f, err := fsys.Open(FileEvents)
	if err != nil {
		return nil, nil, err
	}
	if at, ok := f.(io.ReaderAt); ok {
		return at, f, nil
	}
	data, err := io.ReadAll(f) // a compressed member of a bundle
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, nil, err
	}
	return bytes.NewReader(data), io.NopCloser(nil), nil
}

// readNote reads a small file; nil if there is none.
func readNote(fsys fs.FS, name string) ([]byte, error) {
	data, err := fs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}
