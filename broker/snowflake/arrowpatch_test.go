package snowflake

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	flatbuffers "github.com/google/flatbuffers/go"
	"pgregory.net/rapid"
)

// snowflakeTypes are the physical types of Snowflake's results.
var snowflakeTypes = []arrow.DataType{
	arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64,
	&arrow.Decimal128Type{Precision: 38, Scale: 2}, arrow.PrimitiveTypes.Float64, arrow.FixedWidthTypes.Boolean,
	arrow.FixedWidthTypes.Date32, arrow.BinaryTypes.String, arrow.BinaryTypes.Binary, timestampType,
	arrow.StructOf(arrow.Field{Name: "epoch", Type: arrow.PrimitiveTypes.Int64}, arrow.Field{Name: "fraction", Type: arrow.PrimitiveTypes.Int32},
		arrow.Field{Name: "timezone", Type: arrow.PrimitiveTypes.Int32}),
	arrow.StructOf(arrow.Field{Name: "exponent", Type: arrow.PrimitiveTypes.Int16}, arrow.Field{Name: "significand", Type: arrow.BinaryTypes.Binary}),
	arrow.ListOf(arrow.BinaryTypes.String), arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64),
	arrow.FixedSizeListOf(3, arrow.PrimitiveTypes.Float32), arrow.ListOf(timestampType),
}

// drawValue appends one value, or a NULL.
func drawValue(t *rapid.T, b array.Builder, nullable bool) {
	if nullable && rapid.IntRange(0, 3).Draw(t, "null") == 0 {
		b.AppendNull()
		return
	}
	number := rapid.Int64().Draw(t, "number")
	switch b := b.(type) {
	case *array.Int8Builder:
		b.Append(int8(number))
	case *array.Int16Builder:
		b.Append(int16(number))
	case *array.Int32Builder:
		b.Append(int32(number))
	case *array.Int64Builder:
		b.Append(number)
	case *array.Decimal128Builder:
		b.Append(decimal128.FromI64(number))
	case *array.Float64Builder:
		b.Append(float64(number))
	case *array.Float32Builder:
		b.Append(float32(number))
	case *array.BooleanBuilder:
		b.Append(number&1 == 0)
	case *array.Date32Builder:
		b.Append(arrow.Date32(number))
	case *array.StringBuilder:
		b.Append(rapid.String().Draw(t, "text"))
	case *array.BinaryBuilder:
		b.Append(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes"))
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			drawValue(t, b.FieldBuilder(i), true)
		}
	case *array.MapBuilder:
		b.Append(true)
		for range rapid.IntRange(0, 3).Draw(t, "entries") {
			drawValue(t, b.KeyBuilder(), false)
			drawValue(t, b.ItemBuilder(), true)
		}
	case *array.ListBuilder:
		b.Append(true)
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			drawValue(t, b.ValueBuilder(), true)
		}
	case *array.FixedSizeListBuilder:
		b.Append(true)
		for range 3 {
			drawValue(t, b.ValueBuilder(), true)
		}
	default:
		t.Fatalf("no values for %T", b)
	}
}

// drawStream is a stream of any columns Snowflake sends, batches that are slices
// included, and a plan for it.
func drawStream(t *rapid.T) ([]byte, []Rewrite) {
	var fields []arrow.Field
	var plan []Rewrite
	for i := range rapid.IntRange(1, 6).Draw(t, "columns") {
		typ := rapid.SampledFrom(snowflakeTypes).Draw(t, "type")
		fields = append(fields, arrow.Field{Name: fmt.Sprint("C", i), Type: typ, Nullable: rapid.Bool().Draw(t, "nullable"), Metadata: meta("X")})
		r := Rewrite{}
		switch rapid.IntRange(0, 2).Draw(t, "plan") {
		case 1:
			r.Null = true
		case 2:
			if typ.ID() == arrow.STRING {
				r.Text = reversed
			}
		}
		plan = append(plan, r)
	}
	schema := arrow.NewSchema(fields, nil)
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(schema))
	for range rapid.IntRange(0, 3).Draw(t, "batches") {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		rows := rapid.IntRange(0, 20).Draw(t, "rows")
		for range rows {
			for i, f := range fields {
				drawValue(t, b.Field(i), f.Nullable)
			}
		}
		rec := b.NewRecordBatch()
		from := rapid.IntRange(0, rows).Draw(t, "from")
		if err := w.Write(rec.NewSlice(int64(from), int64(rows))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), plan
}

// reversed is a mask whose output depends on its input, and is invalid UTF-8 for
// some.
func reversed(dst, value []byte) []byte {
	for i := len(value) - 1; i >= 0; i-- {
		dst = append(dst, value[i])
	}
	return dst
}

func readArrow(t interface{ Fatal(...any) }, in []byte) []arrow.RecordBatch {
	r, err := ipc.NewReader(bytes.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	var batches []arrow.RecordBatch
	for r.Next() {
		rec := r.RecordBatch()
		rec.Retain()
		batches = append(batches, rec)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return batches
}

// The patch and arrow-go's rebuild give the same cells, and the patch leaves the
// kept columns' buffers as they were, byte for byte.
func TestArrowPatchEqualsRebuild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, plan := drawStream(t)
		begun, err := beginArrow(bytes.NewReader(in), plan, maxArrowBody)
		if err != nil || !begun.patchable() {
			t.Fatal("not patched", err)
		}
		var patched, rebuilt bytes.Buffer
		rows, err := MaskArrow(&patched, bytes.NewReader(in), plan)
		if err != nil {
			t.Fatal(err)
		}
		want, err := rebuildArrow(&rebuilt, bytes.NewReader(in), plan, maxArrowBody)
		if err != nil || rows != want {
			t.Fatal(rows, want, err)
		}
		a, b := readArrow(t, patched.Bytes()), readArrow(t, rebuilt.Bytes())
		if len(a) != len(b) {
			t.Fatal(len(a), len(b))
		}
		for i := range a {
			if !a[i].Schema().Equal(b[i].Schema()) || !array.RecordEqual(a[i], b[i]) {
				t.Fatalf("batch %d: %v, want %v", i, a[i], b[i])
			}
		}
		sameKept(t, in, patched.Bytes(), plan)
	})
}

// arrowBuffers are the bytes of every buffer of a stream, batch by batch, empty
// batches left out.
func arrowBuffers(t interface{ Fatal(...any) }, in []byte) (batches [][][]byte) {
	r := bytes.NewReader(in)
	for {
		m, err := readMessage(r, maxArrowBody)
		if errors.Is(err, io.EOF) || err == nil && m.kind == 0 {
			return batches
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := readExactly(r, nil, m.body)
		if err != nil {
			t.Fatal(err)
		}
		if m.kind != headerBatch || m.rows == 0 {
			continue
		}
		var buffers [][]byte
		for _, s := range m.buffers {
			buffers = append(buffers, body[s.offset:s.offset+s.length])
		}
		batches = append(batches, buffers)
	}
}

// bufferCount is how many buffers a column has.
func bufferCount(t arrow.DataType) int {
	n := len(t.Layout().Buffers)
	if nested, ok := t.(arrow.NestedType); ok {
		for _, f := range nested.Fields() {
			n += bufferCount(f.Type)
		}
	}
	return n
}

func sameKept(t *rapid.T, in, out []byte, plan []Rewrite) {
	begun, err := beginArrow(bytes.NewReader(in), plan, maxArrowBody)
	if err != nil {
		t.Fatal(err)
	}
	before, after := arrowBuffers(t, in), arrowBuffers(t, out)
	for i := range before {
		at := 0
		for c, r := range plan {
			n := bufferCount(begun.schema.Field(c).Type)
			for k := at; r.Keeps() && k < at+n; k++ {
				if !bytes.Equal(before[i][k], after[i][k]) {
					t.Fatalf("batch %d column %d: a kept buffer changed", i, c)
				}
			}
			at += n
		}
	}
}

// textStream is a stream of one masked and one kept text column whose batch is
// made by hand: what change does to it is what no honest writer would.
func textStream(t testing.TB, change func(m *handMade)) []byte {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "MASKED", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "KEPT", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
	var buf bytes.Buffer
	if err := ipc.NewWriter(&buf, ipc.WithSchema(schema)).Close(); err != nil {
		t.Fatal(err)
	}
	m := &handMade{rows: 2, nodes: []arrowNode{{2, 1}, {2, 0}}, body: make([]byte, 128)}
	m.buffers = []arrowSpan{{0, 8}, {8, 12}, {24, 24}, {48, 0}, {48, 12}, {64, 8}}
	for i := range m.body { // whatever is not said otherwise is the planted value
		m.body[i] = plantedText[i%len(plantedText)]
	}
	m.body[0] = 1          // the second value is NULL, with a value under it
	m.offsets(8, 0, 8, 16) // and slack after the last offset
	copy(m.body[24:], plantedText+plantedText+plantedText)
	m.offsets(48, 0, 4, 8)
	copy(m.body[64:], "kept cut")
	if change != nil {
		change(m)
	}
	return append(append(bytes.TrimSuffix(buf.Bytes(), endOfArrow), m.message()...), endOfArrow...)
}

// handMade is a record batch message.
type handMade struct {
	rows    int64
	nodes   []arrowNode
	buffers []arrowSpan
	body    []byte
	claimed int64 // length of the body, if not its own
	cut     int   // bytes of the body that are missing
}

func (m *handMade) offsets(at int, offsets ...int32) {
	for i, o := range offsets {
		binary.LittleEndian.PutUint32(m.body[at+4*i:], uint32(o))
	}
}

func (m *handMade) message() []byte {
	claimed := m.claimed
	if claimed == 0 {
		claimed = int64(len(m.body))
	}
	meta := batchMetadata(flatbuffers.NewBuilder(0), arrowBatch{rows: m.rows, nodes: m.nodes, buffers: m.buffers}, claimed)
	out := binary.LittleEndian.AppendUint32([]byte{0xFF, 0xFF, 0xFF, 0xFF}, uint32(len(meta)))
	return append(append(out, meta...), m.body[:len(m.body)-m.cut]...)
}

var textPlan = []Rewrite{{Text: stars}, {}}

// Nothing of what surrounds or underlies masked values goes over: not the value
// under a NULL, not the slack behind the last offset, not the padding, not bytes
// no buffer names.
func TestArrowPatchLeavesNothing(t *testing.T) {
	for name, plan := range map[string][]Rewrite{"text": textPlan, "null": {{Null: true}, {}}, "both": {{Text: stars}, {Null: true}}} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			rows, err := MaskArrow(&out, bytes.NewReader(textStream(t, nil)), plan)
			if err != nil || rows != 2 {
				t.Fatal(rows, err)
			}
			for n := 4; n <= len(plantedText); n++ { // any four bytes in a row would be too many
				for i := 0; i+4 <= n; i++ {
					if bytes.Contains(out.Bytes(), []byte(plantedText[i:i+4])) {
						t.Fatalf("%q is left in %q", plantedText[i:i+4], out.Bytes())
					}
				}
			}
			rec := readArrow(t, out.Bytes())[0]
			if kept := rec.Column(1).(*array.String); !plan[1].Null && (kept.Value(0) != "kept" || kept.Value(1) != " cut") {
				t.Errorf("kept %v", kept)
			}
			if masked := rec.Column(0).(*array.String); !plan[0].Null && (masked.Value(0) != "***" || masked.IsValid(1)) {
				t.Errorf("masked %v", masked)
			}
		})
	}
}

// An upstream that sends what no writer writes is refused, and nothing of the
// masked column gets out.
func TestArrowPatchRefuses(t *testing.T) {
	for name, change := range map[string]func(m *handMade){
		"two columns share a buffer":       func(m *handMade) { m.buffers[5] = m.buffers[2] },
		"a kept buffer reaches into ours":  func(m *handMade) { m.buffers[5] = arrowSpan{40, 32} },
		"a kept buffer begins before ours": func(m *handMade) { m.buffers[3], m.buffers[0] = m.buffers[0], m.buffers[3] },
		"a buffer lies after the body":     func(m *handMade) { m.buffers[5].offset = 128 },
		"a buffer ends after the body":     func(m *handMade) { m.buffers[5].length = 1 << 40 },
		"a length overflows":               func(m *handMade) { m.buffers[5].length = math.MaxInt64 },
		"a negative length":                func(m *handMade) { m.buffers[5].length = -8 },
		"a negative offset":                func(m *handMade) { m.buffers[0].offset = -8 },
		"misaligned":                       func(m *handMade) { m.buffers[5].offset = 65 },
		"a buffer too few":                 func(m *handMade) { m.buffers = m.buffers[:5] },
		"a buffer too many":                func(m *handMade) { m.buffers = append(m.buffers, arrowSpan{72, 8}) },
		"a node too few":                   func(m *handMade) { m.nodes = m.nodes[:1] },
		"a node too many":                  func(m *handMade) { m.nodes = append(m.nodes, arrowNode{2, 0}) },
		"columns of different lengths":     func(m *handMade) { m.nodes[1].length = 1 },
		"more NULLs than rows":             func(m *handMade) { m.nodes[0].nulls = 3 },
		"fewer than no NULLs":              func(m *handMade) { m.nodes[0].nulls = -1 },
		"fewer than no rows":               func(m *handMade) { m.rows, m.nodes[0].length, m.nodes[1].length = -1, -1, -1 },
		"more rows than offsets":           func(m *handMade) { m.rows, m.nodes[0].length, m.nodes[1].length = 3, 3, 3 },
		"rows beyond counting":             func(m *handMade) { m.rows, m.nodes[0].length, m.nodes[1].length = 1<<62, 1<<62, 1<<62 },
		"no bitmap for a NULL":             func(m *handMade) { m.buffers[0].length = 0 },
		"offsets that go back":             func(m *handMade) { m.offsets(8, 8, 0, 16) },
		"an offset below zero":             func(m *handMade) { m.offsets(8, -8, 8, 16) },
		"an offset behind the values":      func(m *handMade) { m.offsets(8, 0, 8, 25) },
		"a kept offset behind the values":  func(m *handMade) { m.offsets(48, 0, 4, 9) },
		"a kept offset below zero":         func(m *handMade) { m.offsets(48, 0, 4, -1) },
		"cut in the body":                  func(m *handMade) { m.cut = 60 },
		"a body larger than sent":          func(m *handMade) { m.claimed = 400 << 20 },
		"a body beyond the limit":          func(m *handMade) { m.claimed = maxArrowBody + 1 },
		"a body of negative length":        func(m *handMade) { m.claimed = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			for _, plan := range [][]Rewrite{textPlan, {{Null: true}, {}}} {
				if plan[0].Null && strings.Contains(name, "ffset") && !strings.Contains(name, "kept") {
					continue // the texts of a column that becomes NULL are not looked at
				}
				var out bytes.Buffer
				_, err := MaskArrow(&out, bytes.NewReader(textStream(t, change)), plan)
				if !errors.Is(err, ErrArrow) {
					t.Errorf("got %v", err)
				}
				if bytes.Contains(out.Bytes(), []byte("PLAN")) || bytes.HasSuffix(out.Bytes(), endOfArrow) {
					t.Errorf("%q left", out.Bytes())
				}
			}
		})
	}
}

// A forged length sets no memory aside.
func TestArrowLengthsAreClaims(t *testing.T) {
	in := textStream(t, func(m *handMade) { m.claimed = 400 << 20 })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := MaskArrow(io.Discard, bytes.NewReader(in), textPlan)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; err == nil || n > 16<<20 {
		t.Errorf("%d bytes for a stream of %d, %v", n, len(in), err)
	}
}

// A stream that turns into another kind after its first batch is not followed.
func TestArrowPatchKeepsToItsKind(t *testing.T) {
	plain, packed := plantedStream(t, 1, 3), plantedStream(t, 2, 3, ipc.WithLZ4())
	begun, err := beginArrow(bytes.NewReader(packed), plantedPlan, maxArrowBody)
	if err != nil {
		t.Fatal(err)
	}
	in := append(bytes.TrimSuffix(bytes.Clone(plain), endOfArrow), packed[len(begun.first.raw):]...)
	var out bytes.Buffer
	if _, err := MaskArrow(&out, bytes.NewReader(in), plantedPlan); !errors.Is(err, ErrArrow) || bytes.Contains(out.Bytes(), []byte("PLANTED")) {
		t.Errorf("got %v", err)
	}
}
