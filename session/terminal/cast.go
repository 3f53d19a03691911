package terminal

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// maxCast bounds a recording; then it stops, and says so in a last marker.
const maxCast = 128 << 20

// Cast writes one asciicast. Its methods are safe for concurrent use. An error is
// kept: it ends the recording, never the command.
type Cast struct {
	now func() time.Time
	w   io.Writer
	sum hash.Hash

	mu    sync.Mutex // guards what follows
	last  time.Time  // of the event before
	raw   *redactor  // secrets byte by byte
	shown *redactor  // secrets with control sequences in between
	cut   []byte     // the beginning of a character
	size  int64
	over  bool // ended, or as long as it may be
	err   error
}

// castHeader is the first line.
type castHeader struct {
	Version   int      `json:"version"`
	Term      castTerm `json:"term"`
	Timestamp int64    `json:"timestamp"`
	Title     string   `json:"title,omitempty"`
}

type castTerm struct {
	Cols int    `json:"cols"`
	Rows int    `json:"rows"`
	Type string `json:"type,omitempty"`
}

// NewCast begins a recording on w. secrets shorter than eight bytes are left
// alone: they would star out ordinary text.
func NewCast(w io.Writer, size Size, term, title string, secrets []string, now func() time.Time) *Cast {
	c := &Cast{now: now, w: w, sum: sha256.New(), last: now(), raw: newRedactor(secrets, false), shown: newRedactor(secrets, true)}
	c.line(castHeader{Version: 3, Term: castTerm{size.Cols, size.Rows, term}, Timestamp: c.last.Unix(), Title: title})
	return c
}

// Output records what was shown.
func (c *Cast) Output(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.show(c.shown.add(c.raw.add(b)))
}

// Resize records a new size.
func (c *Cast) Resize(s Size) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.event("r", strconv.Itoa(s.Cols)+"x"+strconv.Itoa(s.Rows))
}

// Marker records that something happened, outside of the terminal.
func (c *Cast) Marker(label string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.event("m", label)
}

// Sum is what a finished recording holds.
type Sum struct {
	Bytes  int64
	SHA256 string // base64
}

// End records how the command ended, and returns the sum of all that was written.
// Nothing may be recorded afterwards.
func (c *Cast) End(exit int) (Sum, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.show(c.shown.add(c.raw.rest()))
	c.show(c.shown.rest())
	if len(c.cut) > 0 {
		c.event("o", string(c.cut))
		c.cut = nil
	}
	c.event("x", strconv.Itoa(exit))
	c.over = true
	return Sum{c.size, base64.StdEncoding.EncodeToString(c.sum.Sum(nil))}, c.err
}

// show records output in whole characters.
func (c *Cast) show(b []byte) {
	if len(b) == 0 {
		return
	}
	b = append(c.cut, b...)
	n := len(b)
	for back := 1; back <= min(utf8.UTFMax-1, len(b)); back++ {
		if utf8.RuneStart(b[len(b)-back]) {
			if !utf8.FullRune(b[len(b)-back:]) {
				n = len(b) - back
			}
			break
		}
	}
	c.cut = bytes.Clone(b[n:])
	if n > 0 {
		c.event("o", string(b[:n]))
	}
}

// event writes [seconds since the event before, code, data].
func (c *Cast) event(code, data string) {
	if c.over || c.err != nil {
		return
	}
	now := c.now()
	// Sums of rounded intervals must not drift: what was rounded off counts next time.
	interval := max(now.Sub(c.last), 0).Truncate(time.Microsecond)
	c.last = c.last.Add(interval)
	if c.size > maxCast {
		c.over = true
		code, data = "m", fmt.Sprintf("the recording stops here, at %d bytes", maxCast)
	}
	c.line([]any{json.Number(strconv.FormatFloat(interval.Seconds(), 'f', 6, 64)), code, data})
}

func (c *Cast) line(v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		c.err = fmt.Errorf("recording the terminal: %w", err)
		return
	}
	n, err := c.w.Write(b.Bytes())
	c.size += int64(n)
	_, _ = c.sum.Write(b.Bytes()[:n]) // a hash takes everything
	if err != nil {
		c.err = fmt.Errorf("recording the terminal: %w", err)
	}
}
