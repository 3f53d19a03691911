//go:build e2e

package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/jit-access/jit/broker/snowflake/sandbox"
)

// typed is one column of a scripted result: what the wire says of it, its cells
// as JSON results have them, and how Arrow results store them.
type typed struct {
	name  string
	facts facts
	cells []string // NULL is null
	store arrow.DataType
}

// facts describe a column on the wire: its type, and what applies of the rest.
type facts struct {
	Name             string
	Type, Ext        string
	Precision, Scale int
	Length           int
	Dimension        int
	Fields           []facts
}

const null = "\x00"

// idColumn gives every row of a scripted result its number.
func idColumn(n int) typed {
	c := fixedColumn("ID", 38, 0, arrow.PrimitiveTypes.Int8)
	for i := range n {
		c.cells = append(c.cells, fmt.Sprint(i+1))
	}
	return c
}

func column(name, kind string, store arrow.DataType, cells ...string) typed {
	return typed{name: name, facts: facts{Type: kind}, cells: cells, store: store}
}

func fixedColumn(name string, precision, scale int, store arrow.DataType, cells ...string) typed {
	c := column(name, "fixed", store, cells...)
	c.facts.Precision, c.facts.Scale = precision, scale
	return c
}

func textColumn(name string, cells ...string) typed {
	c := column(name, "text", arrow.BinaryTypes.String, cells...)
	c.facts.Length = 16777216
	return c
}

func clockColumn(name, kind string, scale int, store arrow.DataType, cells ...string) typed {
	c := column(name, kind, store, cells...)
	c.facts.Scale = scale
	return c
}

// The structs that hold moments.
var (
	epochField    = arrow.Field{Name: "epoch", Type: arrow.PrimitiveTypes.Int64, Nullable: true}
	fractionField = arrow.Field{Name: "fraction", Type: arrow.PrimitiveTypes.Int32, Nullable: true}
	zoneField     = arrow.Field{Name: "timezone", Type: arrow.PrimitiveTypes.Int32, Nullable: true}

	momentStruct    = arrow.StructOf(epochField, fractionField)
	shortZoneStruct = arrow.StructOf(epochField, zoneField)
	longZoneStruct  = arrow.StructOf(epochField, fractionField, zoneField)
)

// coreTypes are the types every driver reads, with what is awkward about each:
// 38 digits, not a number, moments before 1970, empty and non-ASCII texts, NULL.
func coreTypes() []typed {
	nines := strings.Repeat("9", 38)
	geography := column("GEO", "object", arrow.BinaryTypes.String,
		`{"coordinates":[-122.35,37.55],"type":"Point"}`, `{"coordinates":[0,0],"type":"Point"}`, null, null)
	geography.facts.Ext = "GEOGRAPHY"
	binary := column("BIN", "binary", arrow.BinaryTypes.Binary, "00FF10", "", "C0FFEE00", null)
	binary.facts.Length = 8388608
	return []typed{
		idColumn(4),
		fixedColumn("N3", 3, 0, arrow.PrimitiveTypes.Int8, "127", "-128", "0", null),
		fixedColumn("N5", 5, 0, arrow.PrimitiveTypes.Int16, "32767", "-32768", "0", null),
		fixedColumn("N5_2", 5, 2, arrow.PrimitiveTypes.Int32, "999.99", "-999.99", "0.00", null),
		fixedColumn("N18_4", 18, 4, arrow.PrimitiveTypes.Int64, "12345678901234.5678", "-0.0001", "1.5000", null),
		fixedColumn("N19", 19, 0, arrow.PrimitiveTypes.Int64, "9223372036854775807", "-9223372036854775808", "9007199254740993", null),
		fixedColumn("N38", 38, 0, &arrow.Decimal128Type{Precision: 38}, nines, "-"+nines, "0", null),
		fixedColumn("N38_10", 38, 10, &arrow.Decimal128Type{Precision: 38, Scale: 10}, nines[:28]+"."+nines[:10], "-0.0000000001", "1.0000000000", null),
		fixedColumn("N38_37", 38, 37, &arrow.Decimal128Type{Precision: 38, Scale: 37}, "9."+nines[:37], "-1."+strings.Repeat("0", 36)+"1", "0."+strings.Repeat("0", 37), null),
		column("F", "real", arrow.PrimitiveTypes.Float64, "3.141592653589793", "-0.1", "1e+100", null),
		column("F_ODD", "real", arrow.PrimitiveTypes.Float64, "NaN", "inf", "-inf", null),
		column("F_EDGE", "real", arrow.PrimitiveTypes.Float64, "1.7976931348623157e+308", "5e-324", "0", null),
		textColumn("T", "plain", "", "Grüße, 漢字, 🎉\ttab \"quoted\" \\ </x>\nline", null),
		binary,
		column("YES", "boolean", arrow.FixedWidthTypes.Boolean, "1", "0", "1", null),
		column("D", "date", arrow.FixedWidthTypes.Date32, "0", "-1", "20000", null),
		clockColumn("T0", "time", 0, arrow.PrimitiveTypes.Int32, "43200", "0", "86399", null),
		clockColumn("T9", "time", 9, arrow.PrimitiveTypes.Int64, "43200.123456789", "0.000000000", "86399.999999999", null),
		clockColumn("NTZ0", "timestamp_ntz", 0, arrow.PrimitiveTypes.Int64, "1700000000", "-1", "0", null),
		clockColumn("NTZ3", "timestamp_ntz", 3, arrow.PrimitiveTypes.Int64, "1700000000.123", "-1.500", "0.001", null),
		clockColumn("NTZ9", "timestamp_ntz", 9, momentStruct, "1700000000.123456789", "-86400.000000000", "0.000000001", null),
		clockColumn("LTZ3", "timestamp_ltz", 3, arrow.PrimitiveTypes.Int64, "1700000000.123", "-86400.000", "0.001", null),
		clockColumn("LTZ9", "timestamp_ltz", 9, momentStruct, "1700000000.123456789", "-86400.000000000", "0.000000001", null),
		clockColumn("TZ3", "timestamp_tz", 3, shortZoneStruct, "1700000000.123 1560", "-86400.000 1440", "0.001 960", null),
		clockColumn("TZ9", "timestamp_tz", 9, longZoneStruct, "1700000000.123456789 1770", "-86400.000000000 1440", "0.000000001 600", null),
		column("VAR", "variant", arrow.BinaryTypes.String, "{\n  \"a\": 1,\n  \"b\": [\n    null,\n    true\n  ]\n}", `"text"`, "12.5", null),
		column("OBJ", "object", arrow.BinaryTypes.String, `{"größe":"漢"}`, "{}", `{"a":{"b":9007199254740993}}`, null),
		column("ARR", "array", arrow.BinaryTypes.String, "[\n  1,\n  \"zwei\",\n  null\n]", "[]", "[[1],[2]]", null),
		geography,
	}
}

// farTypes are the first and the last day of Snowflake's calendar.
func farTypes() []typed {
	return []typed{
		idColumn(3),
		column("D", "date", arrow.FixedWidthTypes.Date32, "-719162", "2932896", null),
		clockColumn("NTZ9", "timestamp_ntz", 9, momentStruct, "-62135596800.000000000", "253402300799.999999999", null),
		clockColumn("LTZ9", "timestamp_ltz", 9, momentStruct, "-62135596800.000000000", "253402300799.999999999", null),
		clockColumn("TZ9", "timestamp_tz", 9, longZoneStruct, "-62135596800.000000000 1440", "253402300799.999999999 1440", null),
	}
}

func vectorTypes() []typed {
	floats := column("VEC", "vector", arrow.FixedSizeListOf(3, arrow.PrimitiveTypes.Float32), "[1.5,-2,0.25]", "[0,0,0]", null)
	floats.facts.Dimension, floats.facts.Fields = 3, []facts{{Type: "real"}}
	ints := column("IVEC", "vector", arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int32), "[1,-2147483648]", "[0,0]", null)
	ints.facts.Dimension, ints.facts.Fields = 2, []facts{{Type: "fixed", Precision: 10}}
	return []typed{idColumn(3), floats, ints}
}

// structuredTypes are OBJECT, ARRAY and MAP with declared fields.
func structuredTypes() []typed {
	number, word := facts{Type: "fixed", Precision: 18}, facts{Type: "text", Length: 16777216}
	object := column("SOBJ", "object", arrow.StructOf(
		arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true, Metadata: metadata(number)},
		arrow.Field{Name: "b", Type: arrow.BinaryTypes.String, Nullable: true, Metadata: metadata(word)}), `{"a":1,"b":"größer"}`, `{"a":null,"b":""}`, null)
	object.facts.Fields = []facts{{Name: "a", Type: number.Type, Precision: 18}, {Name: "b", Type: word.Type, Length: word.Length}}
	list := column("SARR", "array", arrow.ListOfField(arrow.Field{Name: "element", Type: arrow.PrimitiveTypes.Int64, Nullable: true, Metadata: metadata(number)}),
		"[1,2,3]", "[]", null)
	list.facts.Fields = []facts{number}
	pairs := column("SMAP", "map", arrow.MapOfFields(
		arrow.Field{Name: "key", Type: arrow.BinaryTypes.String, Metadata: metadata(word)},
		arrow.Field{Name: "value", Type: arrow.PrimitiveTypes.Int64, Nullable: true, Metadata: metadata(number)}), `{"k":1,"ö":2}`, `{}`, null)
	pairs.facts.Fields = []facts{word, number}
	return []typed{idColumn(3), object, list, pairs}
}

func decfloatTypes() []typed {
	c := column("DF", "decfloat", arrow.StructOf(
		arrow.Field{Name: "exponent", Type: arrow.PrimitiveTypes.Int16, Nullable: true},
		arrow.Field{Name: "significand", Type: arrow.BinaryTypes.Binary, Nullable: true}), "123e10", "-5e-20", "0e0", null)
	c.facts.Precision = 38
	return []typed{idColumn(4), c}
}

// classedTypes are the core types, each beside a copy in a classified column.
func classedTypes() []typed {
	core := coreTypes()
	all := slices.Clone(core)
	for _, c := range core[1:] {
		c.name += "_SSN"
		all = append(all, c)
	}
	return append(all,
		textColumn("EMAIL", "ann.archer@example.com", "", "ben.boehm@example.org", null),
		textColumn("HOME_PHONE", "+1 202 555 0101", "", "+44 20 7946 0103", null))
}

// rowType is the column list as the wire has it.
func rowType(table string, columns []typed) json.RawMessage {
	list := make([]map[string]any, len(columns))
	for i, c := range columns {
		c.facts.Name = c.name
		list[i] = c.facts.wire()
		list[i]["database"], list[i]["schema"], list[i]["table"] = "APP", "PUBLIC", table
	}
	return encode(list)
}

func (f facts) wire() map[string]any {
	number := func(n int, on bool) any {
		if on {
			return n
		}
		return nil
	}
	clock := f.Type == "time" || strings.HasPrefix(f.Type, "timestamp")
	sized := f.Type == "text" || f.Type == "binary"
	bytes := f.Length
	if f.Type == "text" {
		bytes = min(4*f.Length, 16777216)
	}
	out := map[string]any{
		"name": f.Name, "type": f.Type, "nullable": true, "collation": nil,
		"precision": number(f.Precision, f.Type == "fixed" || f.Type == "decfloat" || clock),
		"scale":     number(f.Scale, f.Type == "fixed" || clock),
		"length":    number(f.Length, sized), "byteLength": number(bytes, sized),
	}
	if f.Ext != "" {
		out["extTypeName"] = f.Ext
	}
	if f.Dimension > 0 {
		out["vectorDimension"] = f.Dimension
	}
	if f.Fields != nil {
		fields := make([]map[string]any, len(f.Fields))
		for i, g := range f.Fields {
			fields[i] = g.wire()
		}
		out["fields"] = fields
	}
	return out
}

func encode(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("encoding what the suite made: %v", err))
	}
	return bytes.TrimSpace(b.Bytes())
}

// metadata is what Arrow results say of a field.
func metadata(f facts) arrow.Metadata {
	logical, bytes := strings.ToUpper(f.Type), 16
	switch {
	case f.Type == "timestamp_tz" && f.Scale <= 3:
		bytes = 8 // the struct of two fields
	case f.Type == "text":
		bytes = min(4*f.Length, 16777216)
	}
	return arrow.NewMetadata([]string{"logicalType", "precision", "scale", "charLength", "byteLength", "finalType"},
		[]string{logical, fmt.Sprint(f.Precision), fmt.Sprint(f.Scale), fmt.Sprint(f.Length), fmt.Sprint(bytes), "T"})
}

// inJSON is a scripted result in JSON.
func inJSON(table string, columns []typed) *sandbox.Answer {
	rows := make([][]*string, len(columns[0].cells))
	for i := range rows {
		for _, c := range columns {
			if c.cells[i] == null {
				rows[i] = append(rows[i], nil)
			} else {
				rows[i] = append(rows[i], &c.cells[i])
			}
		}
	}
	return &sandbox.Answer{RowType: rowType(table, columns), Rows: len(rows), RowSet: encode(rows)}
}

// inArrow is the same result in Arrow.
func inArrow(table string, columns []typed) *sandbox.Answer {
	n := len(columns[0].cells)
	return &sandbox.Answer{RowType: rowType(table, columns), Rows: n, IsArrow: true, Arrow: arrowStream(columns, 0, n)}
}

// arrowStream writes rows from..to as one IPC stream of one batch.
func arrowStream(columns []typed, from, to int) []byte {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: c.name, Type: c.store, Nullable: true, Metadata: metadata(c.facts)}
	}
	schema := arrow.NewSchema(fields, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for i, c := range columns {
		for _, cell := range c.cells[from:to] {
			store(b.Field(i), c.facts, cell)
		}
	}
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(schema))
	if err := w.Write(b.NewRecordBatch()); err != nil {
		panic(fmt.Sprintf("writing an Arrow batch: %v", err))
	}
	if err := w.Close(); err != nil {
		panic(fmt.Sprintf("ending an Arrow stream: %v", err))
	}
	return out.Bytes()
}
