package snowflake

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/endian"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	flatbuffers "github.com/google/flatbuffers/go"
)

// begunArrow is a stream whose schema and first batch have been looked at.
type begunArrow struct {
	schema *arrow.Schema // as it was sent
	first  arrowMessage  // the schema's message
	next   arrowMessage  // the one after it
	rest   io.Reader
}

// beginArrow reads a stream up to the body of its first batch.
func beginArrow(r io.Reader, plan []Rewrite, limit int64) (*begunArrow, error) {
	b := &begunArrow{rest: r}
	var err error
	if b.first, err = readMessage(r, limit); err != nil {
		return nil, fmt.Errorf("%w: opening the stream: %w", ErrArrow, err)
	}
	if b.first.kind != headerSchema || b.first.body != 0 {
		return nil, fmt.Errorf("%w: the stream does not begin with a schema", ErrArrow)
	}
	in, err := openArrow(bytes.NewReader(b.first.raw), bounded{memory.NewGoAllocator(), limit})
	if err != nil {
		return nil, fmt.Errorf("%w: opening the stream: %w", ErrArrow, err)
	}
	b.schema = in.Schema()
	in.Release()
	if _, err := maskSchema(b.schema, plan); err != nil {
		return nil, err
	}
	if b.next, err = readMessage(r, limit); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: reading a batch: %w", ErrArrow, err)
	}
	return b, nil
}

// again is the stream from its first byte.
func (b *begunArrow) again() io.Reader {
	return io.MultiReader(bytes.NewReader(b.first.raw), bytes.NewReader(b.next.raw), b.rest)
}

// patchable reports whether the stream is of the kind Snowflake sends:
// uncompressed batches of types whose buffers arrowPatch knows, and nothing else.
func (b *begunArrow) patchable() bool {
	for _, f := range b.schema.Fields() {
		if !maskable(f.Type) {
			return false
		}
	}
	return b.schema.Endianness() == endian.LittleEndian && b.schema.IsNativeEndian() &&
		(b.next.kind == 0 || b.next.kind == headerBatch && b.next.plain())
}

func (a *arrowBatch) plain() bool { return !a.compressed && !a.variadic }

// arrowPatch rewrites a stream without decoding it. Every batch that leaves has
// new metadata and a new body. The body is put together from the kept columns'
// buffers, each exactly as long as its metadata says, and from buffers made here
// for the masked ones; nothing else of the old body goes over: no padding, no
// buffer that no column names, nothing behind the last one.
type arrowPatch struct {
	w      *bufio.Writer
	r      io.Reader
	plan   []Rewrite
	schema *arrow.Schema
	limit  int64

	body  []byte // of the batch at hand
	zeros []byte // never written to
	meta  *flatbuffers.Builder
	made  [][]byte // space for the buffers of masked texts, kept between batches
	used  int      // of made, in this batch

	in      arrowBatch // what is left to walk
	nodes   []arrowNode
	buffers [][]byte
	spans   []arrowSpan
}

// run patches batch after batch. m is the first message after the schema.
func (p *arrowPatch) run(m arrowMessage) (rows int64, err error) {
	schema, err := maskSchema(p.schema, p.plan)
	if err != nil {
		return 0, err
	}
	if err := p.writeSchema(schema); err != nil {
		return 0, err
	}
	p.meta = flatbuffers.NewBuilder(1024)
	for m.kind != 0 {
		if m.kind != headerBatch || !m.plain() {
			return rows, fmt.Errorf("%w: the stream changes its kind", ErrArrow)
		}
		if p.body, err = readExactly(p.r, p.body[:0], m.body); err != nil {
			return rows, fmt.Errorf("%w: reading a batch: %w", ErrArrow, err)
		}
		if err := p.batch(m.arrowBatch); err != nil {
			return rows, err
		}
		rows += m.rows
		if m, err = readMessage(p.r, p.limit); err != nil && !errors.Is(err, io.EOF) {
			return rows, fmt.Errorf("%w: reading a batch: %w", ErrArrow, err)
		}
	}
	_, _ = p.w.Write(endOfArrow) // Flush tells of its errors
	if err := p.w.Flush(); err != nil {
		return rows, fmt.Errorf("ending the stream: %w", err)
	}
	return rows, nil
}

// endOfArrow is the mark that ends a stream.
var endOfArrow = []byte{0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0}

// writeSchema has arrow-go write the schema. What only lay beside the old one is
// left behind.
func (p *arrowPatch) writeSchema(schema *arrow.Schema) error {
	var buf bytes.Buffer
	if err := ipc.NewWriter(&buf, ipc.WithSchema(schema)).Close(); err != nil {
		return fmt.Errorf("writing the schema: %w", err)
	}
	raw, ok := bytes.CutSuffix(buf.Bytes(), endOfArrow)
	if !ok {
		return fmt.Errorf("%w: the schema was not written as expected", ErrArrow)
	}
	_, err := p.w.Write(raw)
	return err
}

// batch writes the batch in p.body with its masked columns made anew.
func (p *arrowPatch) batch(in arrowBatch) error {
	if in.rows < 0 || in.rows > math.MaxInt32 {
		return errShape
	}
	p.in, p.nodes, p.buffers, p.used = in, p.nodes[:0], p.buffers[:0], 0
	for i, r := range p.plan {
		t := p.schema.Field(i).Type
		var err error
		switch {
		case r.Keeps():
			err = p.walk(t, in.rows, true)
		case r.Null:
			if err = p.walk(t, in.rows, false); err == nil {
				err = p.null(t, in.rows)
			}
		default:
			err = p.text(r, in.rows)
		}
		if err != nil {
			return err
		}
	}
	if len(p.in.nodes)+len(p.in.buffers) != 0 {
		return errShape
	}
	if in.rows == 0 {
		return nil
	}
	return p.write(in.rows)
}

var errShape = fmt.Errorf("%w: a batch does not have the shape of its schema", ErrArrow)

// node takes the next field's node. A negative length stands for any.
func (p *arrowPatch) node(length int64) (arrowNode, error) {
	if len(p.in.nodes) == 0 {
		return arrowNode{}, errShape
	}
	n := p.in.nodes[0]
	p.in.nodes = p.in.nodes[1:]
	if n.length < 0 || length >= 0 && n.length != length || n.nulls < 0 || n.nulls > n.length {
		return n, errShape
	}
	return n, nil
}

// buffer takes the next buffer, which must hold n elements of a size in bits.
func (p *arrowPatch) buffer(n, size int64) ([]byte, error) {
	if len(p.in.buffers) == 0 || n > math.MaxInt64/256 {
		return nil, errShape
	}
	s := p.in.buffers[0]
	p.in.buffers = p.in.buffers[1:]
	if s.length < (n*size+7)/8 {
		return nil, errShape
	}
	return p.body[s.offset : s.offset+s.length : s.offset+s.length], nil
}

// validity takes the next bitmap, which may be left out if nothing is NULL.
func (p *arrowPatch) validity(n arrowNode) ([]byte, error) {
	if n.nulls == 0 && len(p.in.buffers) > 0 && p.in.buffers[0].length == 0 {
		return p.buffer(0, 1)
	}
	return p.buffer(n.length, 1)
}

// width is the size in bits of the values of a type without children, 0 if they
// are not all of one size.
func width(t arrow.DataType) int64 {
	if f, ok := t.(arrow.FixedWidthDataType); ok {
		return int64(f.BitWidth())
	}
	return 0
}

// walk takes a column's nodes and buffers, checks that they fit together, and
// keeps them or not.
func (p *arrowPatch) walk(t arrow.DataType, rows int64, keep bool) error {
	n, err := p.node(rows)
	if err != nil {
		return err
	}
	valid, err := p.validity(n)
	if err != nil {
		return err
	}
	if keep {
		p.nodes, p.buffers = append(p.nodes, n), append(p.buffers, valid)
	}
	rows = n.length
	take := func(count, size int64) ([]byte, error) {
		b, err := p.buffer(count, size)
		if err == nil && keep {
			p.buffers = append(p.buffers, b)
		}
		return b, err
	}
	switch t := t.(type) {
	case *arrow.StringType, *arrow.BinaryType:
		last, err := p.lastOffset(take, rows)
		if err != nil {
			return err
		}
		_, err = take(last, 8)
		return err
	case *arrow.StructType:
		for _, f := range t.Fields() {
			if err := p.walk(f.Type, rows, keep); err != nil {
				return err
			}
		}
		return nil
	case *arrow.ListType:
		return p.walkList(t.Elem(), take, rows, keep)
	case *arrow.MapType:
		return p.walkList(t.Elem(), take, rows, keep)
	case *arrow.FixedSizeListType:
		each := int64(t.Len())
		if each < 0 || each > 0 && rows > math.MaxInt64/each {
			return errShape
		}
		return p.walk(t.Elem(), rows*each, keep)
	}
	size := width(t)
	if size <= 0 {
		return errShape
	}
	_, err = take(rows, size)
	return err
}

// walkList walks a list's offsets and elements, which may be more than the
// offsets reach.
func (p *arrowPatch) walkList(elem arrow.DataType, take func(int64, int64) ([]byte, error), rows int64, keep bool) error {
	last, err := p.lastOffset(take, rows)
	if err != nil {
		return err
	}
	if len(p.in.nodes) == 0 || p.in.nodes[0].length < last {
		return errShape
	}
	return p.walk(elem, p.in.nodes[0].length, keep)
}

// lastOffset takes the offsets of a column of variable width and returns the
// last of them. A column without rows may have none.
func (p *arrowPatch) lastOffset(take func(int64, int64) ([]byte, error), rows int64) (int64, error) {
	if rows == 0 {
		_, err := take(0, 32)
		return 0, err
	}
	offsets, err := take(rows+1, 32)
	if err != nil {
		return 0, err
	}
	last := int32(binary.LittleEndian.Uint32(offsets[4*rows:]))
	if last < 0 {
		return 0, errShape
	}
	return int64(last), nil
}

// null emits a column of NULLs over zeros.
func (p *arrowPatch) null(t arrow.DataType, rows int64) error {
	p.nodes = append(p.nodes, arrowNode{rows, rows})
	if err := p.putZero(rows, 1); err != nil {
		return err
	}
	switch t := t.(type) {
	case *arrow.StringType, *arrow.BinaryType:
		err := p.putZero(rows+1, 32)
		p.buffers = append(p.buffers, nil)
		return err
	case *arrow.StructType:
		for _, f := range t.Fields() {
			if err := p.null(f.Type, rows); err != nil {
				return err
			}
		}
		return nil
	case *arrow.ListType:
		return p.nullList(t.Elem(), rows)
	case *arrow.MapType:
		return p.nullList(t.Elem(), rows)
	case *arrow.FixedSizeListType:
		return p.null(t.Elem(), rows*int64(t.Len()))
	}
	return p.putZero(rows, width(t))
}

func (p *arrowPatch) nullList(elem arrow.DataType, rows int64) error {
	if err := p.putZero(rows+1, 32); err != nil {
		return err
	}
	return p.null(elem, 0)
}

// putZero emits a buffer of n zeros of a size in bits. They had as many bytes in
// the old body, so that a forged length sets nothing aside.
func (p *arrowPatch) putZero(n, size int64) error {
	n = (n*size + 7) / 8
	if n < 0 || n > int64(len(p.body))+8 {
		return errShape
	}
	if n > int64(len(p.zeros)) {
		p.zeros = make([]byte, n)
	}
	p.buffers = append(p.buffers, p.zeros[:n:n])
	return nil
}

// text emits a text column with every value that is not NULL replaced.
func (p *arrowPatch) text(r Rewrite, rows int64) error {
	n, err := p.node(rows)
	if err != nil {
		return err
	}
	old, err := p.texts(n)
	if err != nil {
		return err
	}
	valid, nulls := p.bitmap(n, old.valid)
	offsets := p.space(4 * (rows + 1))
	binary.LittleEndian.PutUint32(offsets, 0)
	data := p.space(int64(len(old.data)))[:0]
	for i := range int(rows) {
		from, to := old.span(i)
		if from > to || int64(to) > int64(len(old.data)) {
			return fmt.Errorf("%w: a text lies outside its column", ErrArrow)
		}
		if nulls == 0 || valid[i/8]>>(i%8)&1 != 0 {
			mark := len(data)
			data = r.Text(data, old.data[from:to:to])
			if !utf8.Valid(data[mark:]) {
				data = append(data[:mark], bytes.ToValidUTF8(data[mark:], []byte("\uFFFD"))...)
			}
			if int64(len(data)) > min(math.MaxInt32, p.limit) {
				return fmt.Errorf("%w: %w", ErrArrow, ErrTooLarge)
			}
		}
		binary.LittleEndian.PutUint32(offsets[4*i+4:], uint32(len(data)))
	}
	p.made[p.used-1] = data // with the room it has grown to
	p.nodes = append(p.nodes, arrowNode{rows, nulls})
	p.buffers = append(p.buffers, valid, offsets, data)
	return nil
}

// arrowTexts are the buffers of a text column.
type arrowTexts struct{ valid, offsets, data []byte }

func (a *arrowTexts) span(i int) (from, to uint32) {
	return binary.LittleEndian.Uint32(a.offsets[4*i:]), binary.LittleEndian.Uint32(a.offsets[4*i+4:])
}

func (p *arrowPatch) texts(n arrowNode) (a arrowTexts, err error) {
	if a.valid, err = p.validity(n); err != nil {
		return a, err
	}
	count := n.length + 1
	if n.length == 0 {
		count = 0 // a column without rows may have no offsets
	}
	if a.offsets, err = p.buffer(count, 32); err != nil {
		return a, err
	}
	a.data, err = p.buffer(0, 8)
	return a, err
}

// bitmap copies a column's validity, without the bits after the last row, and
// counts the NULLs. Without any there is no bitmap.
func (p *arrowPatch) bitmap(n arrowNode, old []byte) (valid []byte, nulls int64) {
	if n.nulls == 0 {
		return nil, 0
	}
	valid = p.space((n.length + 7) / 8)
	copy(valid, old)
	if over := n.length % 8; over != 0 {
		valid[len(valid)-1] &= 1<<over - 1
	}
	nulls = n.length
	for _, b := range valid {
		nulls -= int64(bits.OnesCount8(b))
	}
	if nulls == 0 {
		return nil, 0
	}
	return valid, nulls
}

// space is n bytes to be written over, which stay until the batch is written.
func (p *arrowPatch) space(n int64) []byte {
	if p.used == len(p.made) {
		p.made = append(p.made, nil)
	}
	p.used++
	b := &p.made[p.used-1]
	if int64(cap(*b)) < n {
		*b = make([]byte, n)
	}
	return (*b)[:n]
}

// arrowAlign is what buffers are aligned to; readers that use wide instructions
// like it best.
const arrowAlign = 64

var arrowPadding [arrowAlign]byte

func padded(n int64) int64 { return (n + arrowAlign - 1) &^ (arrowAlign - 1) }

// write sends the batch that p.nodes and p.buffers make up.
func (p *arrowPatch) write(rows int64) error {
	out := arrowBatch{rows: rows, nodes: p.nodes, buffers: p.spans[:0]}
	body := int64(0)
	for _, b := range p.buffers {
		out.buffers = append(out.buffers, arrowSpan{body, int64(len(b))})
		body += padded(int64(len(b)))
	}
	p.spans = out.buffers
	meta := batchMetadata(p.meta, out, body)
	head := binary.LittleEndian.AppendUint32([]byte{0xFF, 0xFF, 0xFF, 0xFF}, uint32(len(meta)))
	_, _ = p.w.Write(head) // an error stays with the writer
	_, _ = p.w.Write(meta)
	for _, b := range p.buffers {
		_, _ = p.w.Write(b)
		if _, err := p.w.Write(arrowPadding[:padded(int64(len(b)))-int64(len(b))]); err != nil {
			return fmt.Errorf("writing a batch: %w", err)
		}
	}
	return nil
}

// metadataV5 is Message.version of every writer since 2020.
const metadataV5 = 4

// batchMetadata writes the metadata of a record batch whose body has a length
// (Message.fbs), a multiple of eight bytes. It is good until the next use of b.
func batchMetadata(b *flatbuffers.Builder, a arrowBatch, body int64) []byte {
	pairs := func(n int, pair func(i int) (int64, int64)) flatbuffers.UOffsetT {
		b.StartVector(16, n, 8)
		for i := n - 1; i >= 0; i-- { // flatbuffers are written from their end
			first, second := pair(i)
			b.Prep(8, 16)
			b.PrependInt64(second)
			b.PrependInt64(first)
		}
		return b.EndVector(n)
	}
	b.Reset()
	buffers := pairs(len(a.buffers), func(i int) (int64, int64) { return a.buffers[i].offset, a.buffers[i].length })
	nodes := pairs(len(a.nodes), func(i int) (int64, int64) { return a.nodes[i].length, a.nodes[i].nulls })
	b.StartObject(batchVariadic + 1)
	b.PrependInt64Slot(batchLength, a.rows, 0)
	b.PrependUOffsetTSlot(batchNodes, nodes, 0)
	b.PrependUOffsetTSlot(batchBuffers, buffers, 0)
	batch := b.EndObject()
	b.StartObject(messageMeta + 1)
	b.PrependInt16Slot(messageVersion, metadataV5, 0)
	b.PrependByteSlot(messageHeaderType, headerBatch, 0)
	b.PrependUOffsetTSlot(messageHeader, batch, 0)
	b.PrependInt64Slot(messageBody, body, 0)
	b.Finish(b.EndObject())
	return b.FinishedBytes()
}
