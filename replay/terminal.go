package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hinshun/vt10x"
)

// Terminal is the recorded terminal, as it looked at any moment. What the agent
// wrote goes through an emulator; only the characters in its cells come out, so
// that no sequence of the agent reaches the terminal of who looks. It is safe
// for concurrent use.
type Terminal struct {
	data   []byte
	marker map[string]time.Time // when statements began, by the log's clock

	mu    sync.Mutex // guards what follows: where in data the emulator stands
	cols  int
	rows  int
	vt    vt10x.Terminal
	next  int       // offset of the next line
	begun time.Time // of the cast
	now   time.Time // of the last event
	lost  int       // pieces of output that the emulator cannot take
	err   error     // sticks, until it is read from the beginning
}

// The largest terminal that is emulated; a recording may claim any.
const (
	maxCastCols = 500
	maxCastRows = 200
)

// castHead is the first line of an asciicast.
type castHead struct {
	Version int `json:"version"`
	Term    struct {
		Cols int `json:"cols"`
		Rows int `json:"rows"`
	} `json:"term"`
	Timestamp int64 `json:"timestamp"`
}

// Terminal opens the recorded terminal; entries are those of the index.
// ErrNoTerminal means that none was recorded,
// or that its end is not recorded yet: before that, nothing proves it.
func (r *Recording) Terminal(entries []Entry) (*Terminal, error) {
	data, err := r.readTerminal()
	if err != nil {
		return nil, err
	}
	t := &Terminal{data: data, marker: map[string]time.Time{}}
	for _, e := range entries {
		if e.Statement() {
			t.marker[e.ID] = e.At
		}
	}
	return t, t.rewind()
}

// Screen is what a terminal showed: lines of printable characters, without the
// blanks at their ends.
type Screen struct {
	At         time.Time // of the last thing shown
	Cols, Rows int
	Lines      []string
	Lost       int // pieces of output until then that cannot be drawn; after each the screen began empty
}

// At is the terminal as it was at a moment. Going on is quick; going back reads
// the recording from its beginning.
func (t *Terminal) At(at time.Time) (Screen, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now.After(at) {
		if err := t.rewind(); err != nil {
			return Screen{}, err
		}
	}
	for t.err == nil && t.next < len(t.data) {
		line, code, data, when, err := t.event()
		if err != nil {
			t.err = err
			break
		}
		if when.After(at) {
			break
		}
		t.next += line
		t.now = when
		t.err = t.apply(code, data)
	}
	if t.err != nil {
		return Screen{}, t.err
	}
	return t.screen(), nil
}

// rewind goes back to the beginning.
func (t *Terminal) rewind() error {
	first, _, ok := bytes.Cut(t.data, []byte("\n"))
	var h castHead
	if err := json.Unmarshal(first, &h); err != nil || !ok || h.Version != 3 {
		return errors.New("reading the terminal: it is no asciicast of version 3")
	}
	t.begun = time.Unix(h.Timestamp, 0)
	t.now, t.next, t.lost, t.err = t.begun, len(first)+1, 0, nil
	t.vt = vt10x.New() // without a writer: it answers nothing
	return t.resize(h.Term.Cols, h.Term.Rows)
}

// event reads the line at next, and says how long it is. A marker with the id of
// a statement is when the log says that the statement began: the two clocks then
// agree again.
func (t *Terminal) event() (length int, code, data string, when time.Time, err error) {
	line := t.data[t.next:]
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i+1]
	}
	var (
		parts   []json.RawMessage
		seconds float64
	)
	err = json.Unmarshal(line, &parts)
	if err == nil && len(parts) != 3 {
		err = fmt.Errorf("an event with %d parts", len(parts))
	}
	if err == nil {
		err = errors.Join(json.Unmarshal(parts[0], &seconds), json.Unmarshal(parts[1], &code), json.Unmarshal(parts[2], &data))
	}
	if err != nil || !(seconds >= 0 && seconds < 1e9) {
		return 0, "", "", time.Time{}, fmt.Errorf("reading the terminal, at byte %d: it is no event", t.next)
	}
	when = t.now.Add(time.Duration(seconds * float64(time.Second)))
	if at, ok := t.marker[data]; ok && code == "m" && at.After(t.now) {
		when = at
	}
	return len(line), code, data, when, nil
}

func (t *Terminal) apply(code, data string) (err error) {
	switch code {
	case "o":
		defer func() { // the agent writes what the emulator reads, and must not hide what comes later
			if p := recover(); p != nil {
				t.lost++
				t.vt = vt10x.New()
				err = t.resize(t.cols, t.rows)
			}
		}()
		_, err = t.vt.Write([]byte(data))
	case "r":
		c, r, _ := strings.Cut(data, "x")
		cols, cerr := strconv.Atoi(c)
		rows, rerr := strconv.Atoi(r)
		if cerr != nil || rerr != nil {
			return fmt.Errorf("reading the terminal, at byte %d: %q is no size", t.next, Visible(data))
		}
		return t.resize(cols, rows)
	}
	return err
}

func (t *Terminal) resize(cols, rows int) error {
	if cols < 1 || rows < 1 {
		return fmt.Errorf("reading the terminal: a size of %d×%d", cols, rows)
	}
	t.cols, t.rows = min(cols, maxCastCols), min(rows, maxCastRows)
	t.vt.Resize(t.cols, t.rows)
	return nil
}

func (t *Terminal) screen() Screen {
	t.vt.Lock()
	defer t.vt.Unlock()
	s := Screen{At: t.now, Cols: t.cols, Rows: t.rows, Lost: t.lost, Lines: make([]string, t.rows)}
	line := make([]rune, t.cols)
	for y := range t.rows {
		for x := range t.cols {
			c := t.vt.Cell(x, y).Char
			if c == 0 {
				c = ' '
			}
			line[x] = c
		}
		s.Lines[y] = Visible(strings.TrimRight(string(line), " "))
	}
	for len(s.Lines) > 0 && s.Lines[len(s.Lines)-1] == "" {
		s.Lines = s.Lines[:len(s.Lines)-1]
	}
	return s
}
