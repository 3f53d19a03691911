package recording

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// MaxEvent is the size limit of one encoded event. A statement's text is far
// below it; a line above it is refused by the Writer and by every reader.
const MaxEvent = 16 << 20

// TamperError says that a recording is not what was recorded, and where.
type TamperError struct {
	Segment string // the file: session.json, events.jsonl, checkpoint, cosig
	// Event is the first event that is not what it was, or -1 if none can be
	// named.
	Event int64
	// Until is set, and greater than Event, if the change cannot be placed
	// better than somewhere from Event to it: every line's prev is right, and
	// no earlier signature tells more.
	Until int64
	Why   string
}

func (e *TamperError) Error() string {
	switch {
	case e.Event < 0:
		return fmt.Sprintf("%s has been changed: %s", e.Segment, e.Why)
	case e.Until > e.Event:
		return fmt.Sprintf("%s has been changed somewhere in events %d to %d: %s", e.Segment, e.Event, e.Until, e.Why)
	}
	return fmt.Sprintf("%s has been changed at event %d: %s", e.Segment, e.Event, e.Why)
}

func tampered(segment string, event int64, format string, args ...any) *TamperError {
	return &TamperError{Segment: segment, Event: event, Why: fmt.Sprintf(format, args...)}
}

// errTorn ends a scan at a last line without a newline.
var errTorn = errors.New("the last line is unfinished")

// scanner reads event lines, checks that they follow one another, and grows
// the tree. It is the only way events enter a tree: writers that recover,
// readers and witnesses share it.
type scanner struct {
	r      *bufio.Reader
	buf    []byte
	offset int64 // of the byte after the last whole line
	torn   int64 // bytes after it, once errTorn was returned
	tree   *tree
	last   tlog.Hash // leaf hash of the last event, or of session.json before event 0
	rebase bool      // take event 0's prev as it is
	hash   hash.Hash
	head   []byte
}

func newScanner(r io.Reader, offset int64, t *tree, last tlog.Hash) *scanner {
	return &scanner{r: bufio.NewReaderSize(r, 256<<10), offset: offset, tree: t, last: last, hash: sha256.New()}
}

// next returns the next line without its newline, and what follows its prev,
// both valid until the next call. The error is io.EOF after the last line,
// errTorn, a *TamperError, or what the reader returned.
func (s *scanner) next() (line, rest []byte, err error) {
	if line, err = s.read(); err != nil {
		return nil, nil, err
	}
	// The header can only be one: comparing it is cheaper than parsing it.
	s.head = appendHeader(s.head[:0], s.tree.size, s.last)
	if bytes.HasPrefix(line, s.head) {
		rest = line[len(s.head):]
	} else if rest, err = s.explain(line); err != nil {
		return nil, nil, err
	}
	s.hash.Reset()
	s.hash.Write([]byte{0}) // hash.Hash never returns an error
	if committed, _, ok := splitTexts(line); ok {
		s.hash.Write(committed)
		s.hash.Write([]byte{'}'})
	} else {
		s.hash.Write(line)
	}
	s.hash.Sum(s.last[:0])
	s.tree.add(s.last)
	s.offset += int64(len(line)) + 1
	return line, rest, nil
}

// explain says what is wrong with a line that does not begin as expected.
func (s *scanner) explain(line []byte) ([]byte, error) {
	seq, _, rest, ok := splitHeader(line)
	switch {
	case !ok:
		return nil, tampered(FileEvents, s.tree.size, "the line does not begin as an event does")
	case seq != s.tree.size:
		return nil, tampered(FileEvents, s.tree.size, "event %d stands in its place", seq)
	case seq == 0 && s.rebase:
		return rest, nil
	case seq == 0:
		return nil, tampered(FileSession, 0, "it is not the file that event 0 was written for")
	}
	return nil, tampered(FileEvents, seq-1, "event %d was written after a different line", seq)
}

func (s *scanner) read() ([]byte, error) {
	s.buf = s.buf[:0]
	for {
		part, err := s.r.ReadSlice('\n')
		if err == nil && len(s.buf) == 0 {
			return part[:len(part)-1], nil
		}
		s.buf = append(s.buf, part...)
		switch {
		case err == nil:
			return s.buf[:len(s.buf)-1], nil
		case len(s.buf) > MaxEvent:
			return nil, tampered(FileEvents, s.tree.size, "the line is longer than %d bytes", MaxEvent)
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(s.buf) > 0:
			s.torn = int64(len(s.buf))
			return nil, errTorn
		default:
			return nil, err
		}
	}
}

// Every line begins {"seq":N,"prev":"44 characters", and goes on with the rest
// of the event.
const (
	headSeq  = `{"seq":`
	headPrev = `,"prev":"`
	headEnd  = `",`
	hashText = 44 // base64 of 32 bytes
)

// appendHeader writes what splitHeader reads.
func appendHeader(dst []byte, seq int64, prev tlog.Hash) []byte {
	dst = append(dst, headSeq...)
	dst = strconv.AppendInt(dst, seq, 10)
	dst = append(dst, headPrev...)
	dst = base64.StdEncoding.AppendEncode(dst, prev[:])
	return append(dst, headEnd...)
}

// splitHeader reads a line's sequence number and prev; rest is what follows.
// It accepts only what appendHeader writes.
func splitHeader(line []byte) (seq int64, prev tlog.Hash, rest []byte, ok bool) {
	b, ok := bytes.CutPrefix(line, []byte(headSeq))
	if !ok {
		return 0, prev, nil, false
	}
	digits := bytes.IndexByte(b, ',')
	if digits < 1 || digits > 19 || digits > 1 && b[0] == '0' {
		return 0, prev, nil, false
	}
	for _, c := range b[:digits] {
		if c < '0' || c > '9' {
			return 0, prev, nil, false
		}
		seq = seq*10 + int64(c-'0')
	}
	b, ok = bytes.CutPrefix(b[digits:], []byte(headPrev))
	if !ok || seq < 0 || len(b) < hashText+len(headEnd) || string(b[hashText:hashText+len(headEnd)]) != headEnd {
		return 0, prev, nil, false
	}
	prev, err := tlog.ParseHash(string(b[:hashText]))
	if err != nil || prev.String() != string(b[:hashText]) {
		return 0, prev, nil, false
	}
	return seq, prev, b[hashText+len(headEnd):], true
}

// kindOf reads the kind from what follows a line's prev, without decoding the
// event; empty if that is not one.
func kindOf(rest []byte) Kind {
	rest, ok := bytes.CutPrefix(rest, []byte(`"at":"`))
	if !ok {
		return ""
	}
	_, rest, ok = bytes.Cut(rest, []byte(`","kind":"`))
	if !ok {
		return ""
	}
	kind, _, _ := bytes.Cut(rest, []byte{'"'})
	return Kind(kind)
}
