package snowflake

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// arrowGuard passes an Arrow IPC stream on and checks what the reader behind it
// takes for granted: that the vectors in each message's metadata fit into the
// metadata, and buffers into the body without sharing it. The reader allocates by their lengths before it looks, so a forged
// one would end the process. Types outside the ones Snowflake and its drivers
// use are refused here.
//
// Framing: [0xFFFFFFFF] int32 metadata length, flatbuffer Message, body of
// Message.bodyLength bytes; a length of zero ends the stream
// (arrow.apache.org/docs/format/Columnar.html, "Encapsulated message format").
type arrowGuard struct {
	r       io.Reader
	limit   int64  // of a message's body
	pending []byte // checked and not yet passed on
	body    int64  // bytes of the body still to pass on
	ended   bool
}

func (g *arrowGuard) Read(p []byte) (int, error) {
	for {
		switch {
		case len(g.pending) > 0:
			n := copy(p, g.pending)
			g.pending = g.pending[n:]
			return n, nil
		case g.body > 0:
			n, err := g.r.Read(p[:min(int64(len(p)), g.body)])
			g.body -= int64(n)
			if errors.Is(err, io.EOF) && g.body > 0 {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		case g.ended:
			return 0, io.EOF
		}
		if err := g.next(); err != nil {
			return 0, err
		}
	}
}

// next reads and checks the metadata of the next message.
func (g *arrowGuard) next() error {
	m, err := readMessage(g.r, g.limit)
	if err != nil {
		return err
	}
	g.pending, g.body, g.ended = m.raw, m.body, m.kind == 0
	return nil
}

// arrowMessage is a message's checked metadata. Its body comes next.
type arrowMessage struct {
	raw  []byte // the metadata with what frames it, as it came
	kind byte   // member of union MessageHeader; 0 is the mark that ends a stream
	body int64  // bytes
	arrowBatch
}

// readMessage reads up to a message's body. io.EOF says that there is none: a
// stream may end without a mark.
func readMessage(r io.Reader, limit int64) (m arrowMessage, err error) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(r, head[:4]); err != nil {
		return m, err
	}
	prefix := 4
	if binary.LittleEndian.Uint32(head) == 0xFFFFFFFF {
		if _, err := io.ReadFull(r, head[4:]); err != nil {
			return m, cutShort(err)
		}
		prefix = 8
	}
	size := int64(int32(binary.LittleEndian.Uint32(head[prefix-4:])))
	if size == 0 {
		m.raw = head[:prefix]
		return m, nil
	}
	if size < 8 || size > min(maxArrowMeta, limit) {
		return m, fmt.Errorf("%w: the metadata has an impossible length", ErrArrow)
	}
	m.raw, err = readExactly(r, append(make([]byte, 0, int64(prefix)+min(size, firstArrowRead)), head[:prefix]...), size)
	if err != nil {
		return m, err
	}
	f := flat{b: m.raw[prefix:], left: int(size)}
	if err := f.message(&m); err != nil {
		return m, err
	}
	if m.body < 0 || m.body > limit {
		return m, fmt.Errorf("%w: the body has an impossible length", ErrArrow)
	}
	return m, m.spans(m.body)
}

// firstArrowRead is what is set aside for a length that nothing proves yet.
const firstArrowRead = 1 << 20

// readExactly appends n bytes to dst, which grows as they come: a length is a
// claim.
func readExactly(r io.Reader, dst []byte, n int64) ([]byte, error) {
	for n > 0 {
		step := min(n, int64(max(firstArrowRead, len(dst))))
		from := len(dst)
		dst = slices.Grow(dst, int(step))[:from+int(step)]
		if _, err := io.ReadFull(r, dst[from:]); err != nil {
			return dst, cutShort(err)
		}
		n -= step
	}
	return dst, nil
}

// arrowBatch is the metadata of a record batch, or of a dictionary's.
type arrowBatch struct {
	rows       int64
	nodes      []arrowNode
	buffers    []arrowSpan
	compressed bool
	variadic   bool
}

type arrowNode struct{ length, nulls int64 }

type arrowSpan struct{ offset, length int64 } // in the body

// spans checks that the buffers lie in the body, aligned, in order and apart. A
// buffer two columns share could carry a masked one's bytes into a kept one.
func (a *arrowBatch) spans(body int64) error {
	end := int64(0)
	for _, s := range a.buffers {
		if s.offset < 0 || s.length < 0 || s.offset > body || s.length > body-s.offset {
			return fmt.Errorf("%w: a buffer lies outside its message", ErrArrow)
		}
		if s.length == 0 {
			continue
		}
		if s.offset < end || s.offset%8 != 0 {
			return fmt.Errorf("%w: buffers overlap, or are out of order or place", ErrArrow)
		}
		end = s.offset + s.length
	}
	return nil
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// flat walks a flatbuffer. A bad offset makes it panic with ErrArrow inside,
// which message turns into an error.
type flat struct {
	b    []byte
	left int // tables that may still be visited
}

// The fields of the tables in Message.fbs and Schema.fbs that are walked.
const (
	messageVersion, messageHeaderType, messageHeader = 0, 1, 2
	messageBody, messageMeta                         = 3, 4
	schemaFields, schemaMeta, schemaFeatures         = 1, 2, 3
	fieldTypeType, fieldChildren, fieldMeta          = 2, 5, 6
	batchLength, batchNodes, batchBuffers            = 0, 1, 2
	batchCompression, batchVariadic                  = 3, 4
	dictionaryData                                   = 1
)

// The members of union MessageHeader.
const (
	headerSchema, headerDictionary, headerBatch = 1, 2, 3
)

// arrowTypes are the members of union Type that are read: null, integers,
// floats, binary, text, booleans, decimals, dates, times, timestamps,
// intervals, lists, structs, fixed-size lists, maps, durations.
var arrowTypes = [...]bool{1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 8: true, 9: true, 10: true, 11: true,
	12: true, 13: true, 16: true, 17: true, 18: true}

type badFlat struct{}

func (f *flat) message(m *arrowMessage) (err error) {
	defer func() {
		switch p := recover(); p.(type) {
		case nil:
		case badFlat:
			err = fmt.Errorf("%w: the metadata points outside itself", ErrArrow)
		default:
			panic(p)
		}
	}()
	root := f.indirect(0)
	f.vector(root, messageMeta, 4)
	m.body = f.int64(root, messageBody)
	header := f.field(root, messageHeader)
	kind := f.field(root, messageHeaderType)
	if header == 0 || kind == 0 {
		return fmt.Errorf("%w: a message without a header", ErrArrow)
	}
	table := f.indirect(header)
	m.kind = f.bytes(kind, 1)[0]
	switch m.kind {
	case headerSchema:
		f.vector(table, schemaFeatures, 8)
		f.tables(table, schemaMeta, 0, nil)
		f.tables(table, schemaFields, 0, f.arrowField)
	case headerDictionary:
		if data := f.field(table, dictionaryData); data != 0 {
			m.arrowBatch = f.batch(f.indirect(data))
		}
	case headerBatch:
		m.arrowBatch = f.batch(table)
	default:
		return fmt.Errorf("%w: a message of an unknown kind", ErrArrow)
	}
	return nil
}

func (f *flat) batch(table int) arrowBatch {
	a := arrowBatch{rows: f.int64(table, batchLength), compressed: f.field(table, batchCompression) != 0}
	at, n := f.vector(table, batchNodes, 16)
	a.nodes = make([]arrowNode, n)
	for i := range a.nodes {
		a.nodes[i] = arrowNode{f.int64At(at + 16*i), f.int64At(at + 16*i + 8)}
	}
	at, n = f.vector(table, batchBuffers, 16)
	a.buffers = make([]arrowSpan, n)
	for i := range a.buffers {
		a.buffers[i] = arrowSpan{f.int64At(at + 16*i), f.int64At(at + 16*i + 8)}
	}
	_, n = f.vector(table, batchVariadic, 8)
	a.variadic = n > 0
	return a
}

// int64 is a table's field, 0 if it is absent.
func (f *flat) int64(table, field int) int64 {
	at := f.field(table, field)
	if at == 0 {
		return 0
	}
	return f.int64At(at)
}

func (f *flat) int64At(at int) int64 { return int64(binary.LittleEndian.Uint64(f.bytes(at, 8))) }

func (f *flat) arrowField(table, depth int) {
	at := f.field(table, fieldTypeType)
	if at == 0 {
		panic(badFlat{})
	}
	if t := int(f.bytes(at, 1)[0]); t >= len(arrowTypes) || !arrowTypes[t] {
		panic(badFlat{})
	}
	f.tables(table, fieldMeta, depth+1, nil)
	f.tables(table, fieldChildren, depth+1, f.arrowField)
}

// tables visits a vector of tables.
func (f *flat) tables(table, field, depth int, visit func(table, depth int)) {
	if depth > 16 {
		panic(badFlat{})
	}
	start, n := f.vector(table, field, 4)
	for i := range n {
		if f.left--; f.left < 0 {
			panic(badFlat{})
		}
		at := f.indirect(start + 4*i)
		if visit != nil {
			visit(at, depth)
		}
	}
}

// vector returns where a vector field's elements start and how many there are,
// all of them inside the buffer.
func (f *flat) vector(table, field, element int) (start, n int) {
	at := f.field(table, field)
	if at == 0 {
		return 0, 0
	}
	start = f.indirect(at)
	count := int64(binary.LittleEndian.Uint32(f.bytes(start, 4)))
	start += 4
	if count*int64(element) > int64(len(f.b)-start) {
		panic(badFlat{})
	}
	return start, int(count)
}

// field returns where a table's field lies, 0 if it is absent.
func (f *flat) field(table, field int) int {
	vtable := table - int(int32(binary.LittleEndian.Uint32(f.bytes(table, 4))))
	size := int(binary.LittleEndian.Uint16(f.bytes(vtable, 2)))
	if 4+2*field >= size { // as the reader decides it, also for an odd size
		return 0
	}
	offset := int(binary.LittleEndian.Uint16(f.bytes(vtable+4+2*field, 2)))
	if offset == 0 {
		return 0
	}
	return table + offset
}

func (f *flat) indirect(at int) int {
	to := at + int(binary.LittleEndian.Uint32(f.bytes(at, 4)))
	f.bytes(to, 4)
	return to
}

func (f *flat) bytes(at, n int) []byte {
	if at < 0 || n < 0 || at > len(f.b)-n {
		panic(badFlat{})
	}
	return f.b[at : at+n]
}
