package snowflake

import (
	"bytes"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// TestAttackValuesAsArrowNames: a column that was named after a value must not
// keep that name in the schema of its Arrow stream, by either way of masking.
func TestAttackValuesAsArrowNames(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "'" + plantedText + "'", Type: arrow.PrimitiveTypes.Int64, Nullable: true, Metadata: meta("FIXED")},
		{Name: "KEPT", Type: arrow.PrimitiveTypes.Int64, Metadata: meta("FIXED")}}, nil)
	for name, opts := range map[string][]ipc.Option{"patched": nil, "rebuilt": {ipc.WithZstd()}} {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for i := range 2 {
			b.Field(i).(*array.Int64Builder).Append(plantedNumber * int64(1-i))
		}
		rec := b.NewRecordBatch()
		var in, out bytes.Buffer
		w := ipc.NewWriter(&in, append(opts, ipc.WithSchema(schema))...)
		if err := w.Write(rec); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		rec.Release()
		b.Release()
		rows, err := MaskArrow(&out, &in, []Rewrite{{Null: true, Name: "COLUMN1"}, {}})
		if err != nil || rows != 1 {
			t.Fatalf("%s: %d rows, %v", name, rows, err)
		}
		if bytes.Contains(out.Bytes(), []byte("PLANTED")) {
			t.Errorf("%s: the value is left", name)
		}
		got, err := ipc.NewReader(&out)
		if err != nil {
			t.Fatal(err)
		}
		if s := got.Schema(); s.Field(0).Name != "COLUMN1" || s.Field(1).Name != "KEPT" {
			t.Errorf("%s: the columns are called %s", name, s)
		}
		got.Release()
	}
}
