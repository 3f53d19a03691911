package snowflake

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

const plantedText = "PLANTED-VALUE"

// plantedNumber is the planted text's first eight bytes, as Arrow stores them.
const plantedNumber = int64(0x2d4445544e414c50) // "PLANTED-" little-endian

func meta(logical string) arrow.Metadata {
	return arrow.NewMetadata([]string{"logicalType", "scale", "precision", "finalType"}, []string{logical, "0", "38", "T"})
}

var timestampType = arrow.StructOf(arrow.Field{Name: "epoch", Type: arrow.PrimitiveTypes.Int64}, arrow.Field{Name: "fraction", Type: arrow.PrimitiveTypes.Int32})

func plantedSchema() *arrow.Schema {
	m := arrow.NewMetadata([]string{"schema"}, []string{"kept"})
	return arrow.NewSchema([]arrow.Field{
		{Name: "ID", Type: arrow.PrimitiveTypes.Int8, Metadata: meta("FIXED")},
		{Name: "TEXT", Type: arrow.BinaryTypes.String, Nullable: true, Metadata: meta("TEXT")},
		{Name: "NUMBER", Type: arrow.PrimitiveTypes.Int64, Metadata: meta("FIXED")},
		{Name: "DECIMAL", Type: &arrow.Decimal128Type{Precision: 38, Scale: 2}, Metadata: meta("FIXED")},
		{Name: "STAMP", Type: timestampType, Metadata: meta("TIMESTAMP_NTZ")},
		{Name: "BINARY", Type: arrow.BinaryTypes.Binary, Metadata: meta("BINARY")},
		{Name: "KEPT", Type: arrow.BinaryTypes.String, Nullable: true, Metadata: meta("TEXT")},
	}, &m)
}

func plantedStream(t testing.TB, batches, rows int, opts ...ipc.Option) []byte {
	t.Helper()
	schema := plantedSchema()
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, append(opts, ipc.WithSchema(schema))...)
	for range batches {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for i := range rows {
			b.Field(0).(*array.Int8Builder).Append(int8(i))
			if i%5 == 4 {
				b.Field(1).AppendNull()
			} else {
				b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("%s-%d", plantedText, i))
			}
			b.Field(2).(*array.Int64Builder).Append(plantedNumber)
			b.Field(3).(*array.Decimal128Builder).Append(decimal128.New(plantedNumber, uint64(plantedNumber)))
			st := b.Field(4).(*array.StructBuilder)
			st.Append(true)
			st.FieldBuilder(0).(*array.Int64Builder).Append(plantedNumber)
			st.FieldBuilder(1).(*array.Int32Builder).Append(7)
			b.Field(5).(*array.BinaryBuilder).Append([]byte(plantedText))
			b.Field(6).(*array.StringBuilder).Append(fmt.Sprintf("kept %d", i))
		}
		rec := b.NewRecordBatch()
		if err := w.Write(rec); err != nil {
			t.Fatal(err)
		}
		rec.Release()
		b.Release()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

var plantedPlan = []Rewrite{{}, {Text: stars}, {Null: true}, {Null: true}, {Null: true}, {Null: true}, {}}

func TestMaskArrow(t *testing.T) {
	for name, opts := range map[string][]ipc.Option{"plain": nil, "lz4": {ipc.WithLZ4()}, "zstd": {ipc.WithZstd()}} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			rows, err := MaskArrow(&out, bytes.NewReader(plantedStream(t, 3, 20, opts...)), plantedPlan)
			if err != nil || rows != 60 {
				t.Fatal(rows, err)
			}
			if bytes.Contains(out.Bytes(), []byte("PLANTED")) {
				t.Fatal("original bytes are left")
			}
			in, err := ipc.NewReader(&out)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Release()
			want, got := plantedSchema(), in.Schema()
			if !got.Metadata().Equal(want.Metadata()) {
				t.Error("the schema's metadata changed")
			}
			for i, f := range got.Fields() {
				if w := want.Field(i); f.Name != w.Name || !arrow.TypeEqual(f.Type, w.Type) || !f.Metadata.Equal(w.Metadata) || !plantedPlan[i].Keeps() && !f.Nullable {
					t.Errorf("field %v, was %v", f, w)
				}
			}
			for in.Next() {
				rec := in.RecordBatch()
				for i := range int(rec.NumRows()) {
					if text := rec.Column(1).(*array.String); i%5 == 4 != text.IsNull(i) || text.IsValid(i) && text.Value(i) != "***" {
						t.Errorf("row %d: text %v", i, text.ValueStr(i))
					}
					for c := 2; c < 6; c++ {
						if rec.Column(c).IsValid(i) {
							t.Errorf("row %d column %d is not NULL", i, c)
						}
					}
					if rec.Column(0).(*array.Int8).Value(i) != int8(i) || rec.Column(6).(*array.String).Value(i) != fmt.Sprintf("kept %d", i) {
						t.Errorf("row %d: kept cells changed", i)
					}
				}
			}
			if in.Err() != nil {
				t.Error(in.Err())
			}
		})
	}
}

func TestMaskArrowRefuses(t *testing.T) {
	dictionary := func() []byte {
		typ := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
		schema := arrow.NewSchema([]arrow.Field{{Name: "TEXT", Type: typ}}, nil)
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		defer b.Release()
		_ = b.Field(0).(*array.BinaryDictionaryBuilder).AppendString(plantedText)
		rec := b.NewRecordBatch()
		defer rec.Release()
		var buf bytes.Buffer
		w := ipc.NewWriter(&buf, ipc.WithSchema(schema))
		_ = w.Write(rec)
		_ = w.Close()
		return buf.Bytes()
	}()
	good := plantedStream(t, 2, 10)
	for name, c := range map[string]struct {
		in   []byte
		plan []Rewrite
	}{
		"dictionary, text":  {dictionary, []Rewrite{{Text: stars}}},
		"dictionary, null":  {dictionary, []Rewrite{{Null: true}}},
		"a column too few":  {good, plantedPlan[:6]},
		"a column too many": {good, append(append([]Rewrite{}, plantedPlan...), Rewrite{})},
		"text of a number":  {good, []Rewrite{{}, {}, {Text: stars}, {}, {}, {}, {}}},
		"cut in the schema": {good[:40], plantedPlan},
		"cut in a batch":    {good[:len(good)*2/3], plantedPlan},
		"nothing":           {nil, plantedPlan},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if _, err := MaskArrow(&out, bytes.NewReader(c.in), c.plan); err == nil {
				t.Error("no error")
			}
			if bytes.Contains(out.Bytes(), []byte("PLANTED")) {
				t.Error("leaks")
			}
		})
	}
}

func TestMaskArrowEmpty(t *testing.T) {
	for name, encoded := range map[string]string{"empty": "", "a schema alone": base64.StdEncoding.EncodeToString(plantedStream(t, 0, 0)), "a batch without rows": base64.StdEncoding.EncodeToString(plantedStream(t, 1, 0))} {
		got, rows, err := MaskArrowBase64(encoded, plantedPlan)
		if err != nil || rows != 0 || got != "" {
			t.Errorf("%s: %q %d %v", name, got, rows, err)
		}
	}
}

// FuzzMaskArrow flips bytes of a stream whose masked columns hold a planted
// value: whatever becomes of it, the value does not come out.
func FuzzMaskArrow(f *testing.F) {
	f.Add(plantedStream(f, 1, 3))
	f.Add(plantedStream(f, 2, 2, ipc.WithLZ4()))
	f.Add(plantedStream(f, 0, 0))
	plan := []Rewrite{{Null: true}, {Text: stars}, {Null: true}, {Null: true}, {Null: true}, {Null: true}, {Null: true}}
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		_, _ = maskArrow(&out, bytes.NewReader(in), plan, 1<<20) // what matters is what was written
		if bytes.Contains(out.Bytes(), []byte("PLANTED-")) && !bytes.Contains(in[:min(len(in), 2000)], []byte("PLANTED-")) {
			t.Fatal("the planted value came out")
		}
	})
}

// BenchmarkMaskArrow masks a stream, has arrow-go rebuild the same columns, and
// has it read and write the stream as it is, in turns. "x-rebuild" and "x-copy"
// are how many times faster the first is than each.
func BenchmarkMaskArrow(b *testing.B) {
	in := plantedStream(b, 4, 4000)
	b.SetBytes(int64(len(in)))
	var ours, rebuild, copied time.Duration
	timed := func(d *time.Duration, work func() error) {
		began := time.Now()
		if err := work(); err != nil {
			b.Fatal(err)
		}
		*d += time.Since(began)
	}
	for b.Loop() {
		timed(&ours, func() error { _, err := MaskArrow(io.Discard, bytes.NewReader(in), plantedPlan); return err })
		b.StopTimer()
		timed(&rebuild, func() error {
			_, err := rebuildArrow(io.Discard, bytes.NewReader(in), plantedPlan, maxArrowBody)
			return err
		})
		timed(&copied, func() error { return copyArrow(in) })
		b.StartTimer()
	}
	b.ReportMetric(float64(rebuild)/float64(ours), "x-rebuild")
	b.ReportMetric(float64(copied)/float64(ours), "x-copy")
}

func copyArrow(in []byte) error {
	r, err := ipc.NewReader(bytes.NewReader(in))
	if err != nil {
		return err
	}
	defer r.Release()
	w := ipc.NewWriter(io.Discard, ipc.WithSchema(r.Schema()))
	for r.Next() {
		if err := w.Write(r.RecordBatch()); err != nil {
			return err
		}
	}
	if err := r.Err(); err != nil {
		return err
	}
	return w.Close()
}

// TestMaskArrowMutated is FuzzMaskArrow's property on a fixed set of mutations,
// so that every run of the tests holds it.
func TestMaskArrowMutated(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	seeds := [][]byte{plantedStream(t, 1, 3), plantedStream(t, 2, 2), plantedStream(t, 1, 3, ipc.WithLZ4())}
	plan := []Rewrite{{Null: true}, {Text: stars}, {Null: true}, {Null: true}, {Null: true}, {Null: true}, {Null: true}}
	for i := range 3000 {
		in := bytes.Clone(seeds[i%len(seeds)])
		for range 1 + random.IntN(4) {
			in[random.IntN(len(in))] = byte(random.IntN(256))
		}
		var out bytes.Buffer
		_, _ = maskArrow(&out, bytes.NewReader(in), plan, 1<<20) // what matters is what was written
		if bytes.Contains(out.Bytes(), []byte("PLANTED-")) {
			t.Fatalf("mutation %d: the planted value came out", i)
		}
	}
}
