package sandbox

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"net/http"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// renderArrow writes the rows as Arrow IPC streams: inline, and as chunks. No
// rows are an empty text, not an empty stream, which some drivers stumble over.
func (s *Server) renderArrow(r *http.Request, d *resultData, out *outcome, inline, rest [][]any) error {
	d.Format = "arrow"
	// The width of a number must suit every chunk of the result.
	fields := arrowFields(out)
	stream := func(rows [][]any) ([]byte, error) { return arrowStream(fields, rows, out.columns) }
	var first []byte
	if len(inline) > 0 {
		var err error
		if first, err = stream(inline); err != nil {
			return err
		}
	}
	text := base64.StdEncoding.EncodeToString(first)
	d.RowSetBase64 = &text
	return s.addChunks(r, d, rest, stream)
}

// arrowFields is the schema: physical type by logical type, and the metadata
// the drivers read.
func arrowFields(out *outcome) *arrow.Schema {
	fields := make([]arrow.Field, len(out.columns))
	for i, c := range out.columns {
		rt := c.rowType()
		num := func(p *int, def int) string {
			if p != nil {
				return strconv.Itoa(*p)
			}
			return strconv.Itoa(def)
		}
		logical := map[kind]string{kindFixed: "FIXED", kindReal: "REAL", kindBoolean: "BOOLEAN", kindDate: "DATE", kindTime: "TIME",
			kindNTZ: "TIMESTAMP_NTZ", kindLTZ: "TIMESTAMP_LTZ", kindTZ: "TIMESTAMP_TZ", kindVariant: "VARIANT", kindObject: "OBJECT",
			kindArray: "ARRAY", kindBinary: "BINARY"}[c.typ.kind]
		if logical == "" {
			logical = "TEXT"
		}
		byteLength := num(rt.ByteLength, 16)
		if c.typ.kind == kindTZ {
			byteLength = "16" // the form with three fields
		}
		fields[i] = arrow.Field{Name: c.name, Type: arrowType(c.typ, valuesOf(out.rows, i)), Nullable: true,
			Metadata: arrow.NewMetadata(
				[]string{"logicalType", "precision", "scale", "charLength", "byteLength", "finalType"},
				[]string{logical, num(rt.Precision, 38), num(rt.Scale, 0), num(rt.Length, 0), byteLength, "T"})}
	}
	return arrow.NewSchema(fields, nil)
}

func valuesOf(rows [][]any, i int) []any {
	out := make([]any, len(rows))
	for k, row := range rows {
		out[k] = row[i]
	}
	return out
}

func arrowType(t colType, values []any) arrow.DataType {
	epoch := arrow.Field{Name: "epoch", Type: arrow.PrimitiveTypes.Int64, Nullable: true}
	fraction := arrow.Field{Name: "fraction", Type: arrow.PrimitiveTypes.Int32, Nullable: true}
	switch t.kind {
	case kindFixed:
		return fixedType(t, values)
	case kindReal:
		return arrow.PrimitiveTypes.Float64
	case kindBoolean:
		return arrow.FixedWidthTypes.Boolean
	case kindDate:
		return arrow.FixedWidthTypes.Date32
	case kindTime:
		return arrow.PrimitiveTypes.Int64
	case kindNTZ, kindLTZ:
		if t.scale <= 6 {
			return arrow.PrimitiveTypes.Int64
		}
		return arrow.StructOf(epoch, fraction)
	case kindTZ:
		return arrow.StructOf(epoch, fraction, arrow.Field{Name: "timezone", Type: arrow.PrimitiveTypes.Int32, Nullable: true})
	case kindBinary:
		return arrow.BinaryTypes.Binary
	}
	return arrow.BinaryTypes.String
}

// fixedType is the narrowest integer that holds every unscaled value, as
// Snowflake sends it; decimal128 when 64 bits are not enough.
func fixedType(t colType, values []any) arrow.DataType {
	lowest, highest := int64(0), int64(0)
	for _, v := range values {
		if v == nil {
			continue
		}
		n, ok := unscaled(v, t)
		if !ok || !n.IsInt64() {
			return &arrow.Decimal128Type{Precision: 38, Scale: int32(t.scale)}
		}
		lowest, highest = min(lowest, n.Int64()), max(highest, n.Int64())
	}
	switch {
	case lowest >= math.MinInt8 && highest <= math.MaxInt8:
		return arrow.PrimitiveTypes.Int8
	case lowest >= math.MinInt16 && highest <= math.MaxInt16:
		return arrow.PrimitiveTypes.Int16
	case lowest >= math.MinInt32 && highest <= math.MaxInt32:
		return arrow.PrimitiveTypes.Int32
	}
	return arrow.PrimitiveTypes.Int64
}

// unscaled is value × 10^scale.
func unscaled(v any, t colType) (*big.Int, bool) {
	c, err := cell(v, t)
	if err != nil || c == nil {
		return nil, false
	}
	r, ok := new(big.Rat).SetString(*c)
	if !ok {
		return nil, false
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.scale)), nil)))
	return r.Num(), r.IsInt()
}

// arrowStream writes rows as one IPC stream of one record batch.
func arrowStream(schema *arrow.Schema, rows [][]any, columns []outCol) ([]byte, error) {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for _, row := range rows {
		for i, v := range row {
			if v == nil {
				b.Field(i).AppendNull() // a struct's children with it
				continue
			}
			if err := appendValue(b.Field(i), v, columns[i].typ); err != nil {
				return nil, err
			}
		}
	}
	record := b.NewRecordBatch()
	defer record.Release()
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(schema))
	if err := w.Write(record); err != nil {
		return nil, fmt.Errorf("writing an Arrow batch: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("ending an Arrow stream: %w", err)
	}
	return buf.Bytes(), nil
}

func appendValue(f array.Builder, v any, t colType) error {
	v, err := convert(v, t)
	if err != nil {
		return err
	}
	switch t.kind {
	case kindFixed:
		return appendFixed(f, v, t)
	case kindReal:
		f.(*array.Float64Builder).Append(v.(float64))
	case kindBoolean:
		f.(*array.BooleanBuilder).Append(v.(int64) != 0)
	case kindDate:
		m, _ := moment(v.(string))
		f.(*array.Date32Builder).Append(arrow.Date32(floorDiv(m.Unix(), 86400)))
	case kindTime:
		m, _ := clock(v.(string))
		midnight := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
		f.(*array.Int64Builder).Append(int64(m.Sub(midnight)) / pow10(9-t.scale))
	case kindNTZ, kindLTZ, kindTZ:
		m, _ := moment(v.(string))
		appendMoment(f, m, t)
	case kindBinary:
		f.(*array.BinaryBuilder).Append(v.([]byte))
	default:
		f.(*array.StringBuilder).Append(show(v))
	}
	return nil
}

func appendFixed(f array.Builder, v any, t colType) error {
	n, ok := unscaled(v, t)
	if !ok {
		return errValue("100038", "Numeric value", show(v))
	}
	switch f := f.(type) {
	case *array.Int8Builder:
		f.Append(int8(n.Int64()))
	case *array.Int16Builder:
		f.Append(int16(n.Int64()))
	case *array.Int32Builder:
		f.Append(int32(n.Int64()))
	case *array.Int64Builder:
		f.Append(n.Int64())
	case *array.Decimal128Builder:
		f.Append(decimal128.FromBigInt(n))
	}
	return nil
}

func appendMoment(f array.Builder, m time.Time, t colType) {
	switch f := f.(type) {
	case *array.Int64Builder:
		f.Append(m.Unix()*pow10(t.scale) + int64(m.Nanosecond())/pow10(9-t.scale))
	case *array.StructBuilder:
		f.Append(true)
		f.FieldBuilder(0).(*array.Int64Builder).Append(m.Unix())
		f.FieldBuilder(1).(*array.Int32Builder).Append(int32(m.Nanosecond()))
		if t.kind == kindTZ {
			_, offset := m.Zone()
			f.FieldBuilder(2).(*array.Int32Builder).Append(int32(offset/60 + 1440))
		}
	}
}

func pow10(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}
