package snowflake

import (
	"bytes"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// rebuildArrow is the slow way, for streams that arrowPatch does not take:
// arrow-go decodes every batch, masked columns are built anew, and the batch is
// encoded again. It may panic, as arrow-go does on some malformed input.
func rebuildArrow(w io.Writer, r io.Reader, plan []Rewrite, limit int64) (rows int64, err error) {
	mem := bounded{memory.NewGoAllocator(), limit}
	in, err := openArrow(r, mem)
	if err != nil {
		return 0, fmt.Errorf("%w: opening the stream: %w", ErrArrow, err)
	}
	defer in.Release()
	schema, err := maskSchema(in.Schema(), plan)
	if err != nil {
		return 0, err
	}
	out := ipc.NewWriter(w, ipc.WithAllocator(mem), ipc.WithSchema(schema))
	for in.Next() {
		rec := in.RecordBatch()
		if rec.NumRows() == 0 {
			continue
		}
		masked, err := maskRecord(mem, schema, rec, plan)
		if err != nil {
			return rows, err
		}
		err = out.Write(masked)
		masked.Release()
		if err != nil {
			return rows, fmt.Errorf("writing a batch: %w", err)
		}
		rows += rec.NumRows()
	}
	if err := in.Err(); err != nil {
		return rows, fmt.Errorf("%w: reading a batch: %w", ErrArrow, err)
	}
	if err := out.Close(); err != nil {
		return rows, fmt.Errorf("ending the stream: %w", err)
	}
	return rows, nil
}

func maskRecord(mem memory.Allocator, schema *arrow.Schema, rec arrow.RecordBatch, plan []Rewrite) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, len(plan))
	var made []arrow.Array
	defer func() {
		for _, a := range made {
			a.Release()
		}
	}()
	for i, r := range plan {
		column := rec.Column(i)
		switch {
		case r.Keeps():
			columns[i] = column
			continue
		case r.Null:
			columns[i] = array.MakeArrayOfNull(mem, column.DataType(), int(rec.NumRows()))
		default:
			text, ok := column.(*array.String)
			if !ok {
				return nil, fmt.Errorf("%w: a text column is stored otherwise", ErrArrow)
			}
			columns[i] = maskText(mem, text, r)
		}
		made = append(made, columns[i])
	}
	return array.NewRecordBatch(schema, columns, rec.NumRows()), nil
}

func maskText(mem memory.Allocator, in *array.String, r Rewrite) arrow.Array {
	b := array.NewStringBuilder(mem)
	defer b.Release()
	b.Reserve(in.Len())
	var value, text []byte
	for i := range in.Len() {
		if in.IsNull(i) {
			b.AppendNull()
			continue
		}
		value = append(value[:0], in.Value(i)...)
		text = r.Text(text[:0], value)
		b.Append(string(bytes.ToValidUTF8(text, []byte("\uFFFD"))))
	}
	return b.NewArray()
}
