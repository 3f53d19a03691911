package snowflake

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Rewrite says what happens to the cells of one result column. The zero value
// keeps them.
type Rewrite struct {
	// Null replaces every cell by a typed NULL.
	Null bool
	// Text appends the replacement of a cell's decoded text. NULL stays NULL.
	Text func(dst, value []byte) []byte
	// Name is what a rewritten column is called where the rows name it, which
	// Arrow's do. Empty leaves its name.
	Name string
}

// Keeps reports whether the column is left as it is.
func (r Rewrite) Keeps() bool { return !r.Null && r.Text == nil }

// Keeps reports whether no column of the plan changes.
func Keeps(plan []Rewrite) bool {
	for _, r := range plan {
		if !r.Keeps() {
			return false
		}
	}
	return true
}

// RowMasker rewrites JSON rows, copying everything but the masked cells byte
// for byte. It keeps buffers between rows and is not safe for concurrent use.
type RowMasker struct {
	plan  []Rewrite
	last  int // index of the last masked column, -1 if none
	value []byte
	text  []byte
}

// NewRowMasker makes a masker for rows of len(plan) cells.
func NewRowMasker(plan []Rewrite) *RowMasker {
	m := &RowMasker{plan: plan, last: -1}
	for i, r := range plan {
		if !r.Keeps() {
			m.last = i
		}
	}
	return m
}

// errMore says that a row is not complete in the bytes at hand.
var errMore = errors.New("the row does not end")

// MaskArray rewrites a whole rowset: a JSON array of rows of exactly one cell
// per column, each a string or null. The bytes must be valid UTF-8. It returns
// the number of rows. On error what was appended must be thrown away.
func (m *RowMasker) MaskArray(dst, src []byte) (out []byte, rows int64, err error) {
	i := skipSpace(src, 0)
	if i >= len(src) || src[i] != '[' {
		return dst, 0, malformed(i, "a rowset is an array")
	}
	dst = append(dst, '[')
	i = skipSpace(src, i+1)
	if i < len(src) && src[i] == ']' {
		return append(dst, ']'), 0, atEnd(src, i+1)
	}
	for {
		if dst, i, err = m.row(dst, src, i); err != nil {
			return dst, rows, whole(err, i)
		}
		rows++
		i = skipSpace(src, i)
		if i >= len(src) {
			return dst, rows, malformed(i, "the rowset does not end")
		}
		switch src[i] {
		case ']':
			return append(dst, ']'), rows, atEnd(src, i+1)
		case ',':
			dst = append(dst, ',')
			i = skipSpace(src, i+1)
		default:
			return dst, rows, malformed(i, "a comma was expected between rows")
		}
	}
}

func atEnd(src []byte, i int) error {
	if i = skipSpace(src, i); i != len(src) {
		return malformed(i, "bytes after the rowset")
	}
	return nil
}

func whole(err error, i int) error {
	if errors.Is(err, errMore) {
		return malformed(i, "the rowset does not end")
	}
	return err
}

// row rewrites the row at src[i] and returns the index after it.
func (m *RowMasker) row(dst, src []byte, i int) ([]byte, int, error) {
	if i >= len(src) {
		return dst, i, errMore
	}
	if src[i] != '[' {
		return dst, i, malformed(i, "a row is an array")
	}
	from := i
	i = skipSpace(src, i+1)
	for n := range m.plan {
		if n > 0 {
			if i >= len(src) {
				return dst, i, errMore
			}
			if src[i] != ',' {
				return dst, i, malformed(i, "a row has fewer cells than columns")
			}
			i = skipSpace(src, i+1)
		}
		end, escaped, err := skipCell(src, i)
		if err != nil {
			return dst, i, err
		}
		if r := &m.plan[n]; n <= m.last && !r.Keeps() && src[i] != 'n' {
			dst = append(dst, src[from:i]...)
			dst = m.cell(dst, r, src[i:end], escaped)
			from = end
		}
		i = skipSpace(src, end)
	}
	if i >= len(src) {
		return dst, i, errMore
	}
	if src[i] != ']' {
		return dst, i, malformed(i, "a row has more cells than columns")
	}
	i++
	return append(dst, src[from:i]...), i, nil
}

func (m *RowMasker) cell(dst []byte, r *Rewrite, raw []byte, escaped bool) []byte {
	if r.Null {
		return append(dst, "null"...)
	}
	value := raw[1 : len(raw)-1]
	if escaped {
		m.value = appendUnescaped(m.value[:0], value)
		value = m.value
	}
	m.text = r.Text(m.text[:0], value)
	return AppendString(dst, m.text)
}

// skipCell skips a string or null. Only those are cells: a bare number would
// be read differently by different drivers.
func skipCell(b []byte, i int) (end int, escaped bool, err error) {
	if i >= len(b) {
		return i, false, errMore
	}
	if b[i] == 'n' {
		if i+4 > len(b) {
			return i, false, errMore
		}
		end, err = skipWord(b, i, "null")
		return end, false, err
	}
	if b[i] != '"' {
		return i, false, malformed(i, "a cell is a string or null")
	}
	// bytes.IndexByte is far faster than a byte loop on the usual cell.
	k := bytes.IndexByte(b[i+1:], '"')
	if k < 0 {
		return i, false, errMore
	}
	if plainCell(b[i+1 : i+1+k]) {
		return i + k + 2, false, nil
	}
	end, escaped, err = skipString(b, i)
	if err != nil && end >= len(b)-12 {
		// The end of the bytes at hand may cut a string or an escape: the
		// caller knows whether more can come.
		return i, false, errMore
	}
	return end, escaped, err
}

// plainCell reports whether s has no quote, no escape and no control character,
// eight bytes at a time.
func plainCell(s []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(s) >= 8 {
		w := binary.LittleEndian.Uint64(s)
		quote, escape := w^ones*'"', w^ones*'\\'
		// A byte below n borrows from its highest bit when n is taken from it.
		if (w-ones*0x20)&^w&highs|(quote-ones)&^quote&highs|(escape-ones)&^escape&highs != 0 {
			return false
		}
		s = s[8:]
	}
	for _, c := range s {
		if stringStops[c] {
			return false
		}
	}
	return true
}

// The buffer of a streamed chunk: what it starts with, and the longest row.
const (
	chunkBuffer = 256 << 10
	maxRowBytes = 192 << 20 // a row of the longest cells Snowflake makes
)

// MaskStream rewrites the rows of a JSON result chunk: rows separated by
// commas, without the outer brackets. Memory is bounded by the longest row.
// On error dst has received a prefix: the caller must abort the transfer, so
// that it cannot pass for a whole one.
func (m *RowMasker) MaskStream(dst io.Writer, src io.Reader) (rows int64, err error) {
	buf := make([]byte, 0, chunkBuffer)
	out := make([]byte, 0, chunkBuffer)
	eof, comma := false, false // comma: one was read, a row must follow
	for {
		i := 0
		for {
			i = skipSpace(buf, i)
			start := i
			if rows > 0 && !comma {
				if i >= len(buf) {
					break
				}
				if buf[i] != ',' {
					return rows, malformed(i, "a comma was expected between rows")
				}
				comma = true
				out = append(out, ',')
				i++
				continue
			}
			mark := len(out)
			var end int
			out, end, err = m.row(out, buf, i)
			if errors.Is(err, errMore) {
				out, i = out[:mark], start
				break
			}
			if err != nil {
				return rows, err
			}
			if !utf8.Valid(buf[start:end]) {
				return rows, malformed(start, "not UTF-8")
			}
			rows++
			comma = false
			i = end
			if len(out) >= chunkBuffer/2 {
				if _, err := dst.Write(out); err != nil {
					return rows, err
				}
				out = out[:0]
			}
		}
		if eof {
			if i != len(buf) || comma {
				return rows, malformed(i, "the chunk ends inside a row")
			}
			_, err := dst.Write(out)
			return rows, err
		}
		buf = append(buf[:0], buf[i:]...)
		if buf, eof, err = fill(buf, src); err != nil {
			return rows, err
		}
	}
}

// fill reads more into buf, growing it when a row does not fit. It reports the
// clean end of src; any other end is an error.
func fill(buf []byte, src io.Reader) (_ []byte, eof bool, err error) {
	if len(buf) > cap(buf)/2 {
		if cap(buf) >= maxRowBytes {
			return buf, false, fmt.Errorf("%w: a row of more than %d bytes", ErrTooLarge, maxRowBytes)
		}
		buf = append(make([]byte, 0, 2*cap(buf)), buf...)
	}
	// One read is enough for usual rows and keeps a slow source flowing; long
	// rows wait for more, so that they are not scanned anew for every packet.
	for enough := len(buf) + max(1, len(buf)/2); len(buf) < enough; {
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, true, nil
		}
		if err != nil {
			return buf, false, fmt.Errorf("reading the chunk: %w", err)
		}
	}
	return buf, false, nil
}
