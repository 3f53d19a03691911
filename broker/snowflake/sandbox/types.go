package sandbox

import (
	"strconv"
)

// kind is a column's logical type. The zero value is kindUnknown.
type kind uint8

const (
	kindUnknown kind = iota
	kindFixed
	kindReal
	kindText
	kindBoolean
	kindDate
	kindTime
	kindNTZ
	kindLTZ
	kindTZ
	kindVariant
	kindObject
	kindArray
	kindBinary
)

const maxText = 16777216

// colType is a column's type: precision and scale for numbers, scale for
// times, length for text and binary.
type colType struct {
	kind                     kind
	precision, scale, length int
}

func fixed(p, s int) colType { return colType{kind: kindFixed, precision: p, scale: s} }

func textType() colType { return colType{kind: kindText, length: maxText} }

// wire is the type's name in a rowtype.
func (t colType) wire() string {
	switch t.kind {
	case kindFixed:
		return "fixed"
	case kindReal:
		return "real"
	case kindBoolean:
		return "boolean"
	case kindDate:
		return "date"
	case kindTime:
		return "time"
	case kindNTZ:
		return "timestamp_ntz"
	case kindLTZ:
		return "timestamp_ltz"
	case kindTZ:
		return "timestamp_tz"
	case kindVariant:
		return "variant"
	case kindObject:
		return "object"
	case kindArray:
		return "array"
	case kindBinary:
		return "binary"
	default:
		return "text"
	}
}

// ddl is the type's name in DESCRIBE TABLE.
func (t colType) ddl() string {
	switch t.kind {
	case kindFixed:
		return "NUMBER(" + strconv.Itoa(t.precision) + "," + strconv.Itoa(t.scale) + ")"
	case kindReal:
		return "FLOAT"
	case kindBoolean:
		return "BOOLEAN"
	case kindDate:
		return "DATE"
	case kindTime:
		return "TIME(" + strconv.Itoa(t.scale) + ")"
	case kindNTZ:
		return "TIMESTAMP_NTZ(" + strconv.Itoa(t.scale) + ")"
	case kindLTZ:
		return "TIMESTAMP_LTZ(" + strconv.Itoa(t.scale) + ")"
	case kindTZ:
		return "TIMESTAMP_TZ(" + strconv.Itoa(t.scale) + ")"
	case kindVariant:
		return "VARIANT"
	case kindObject:
		return "OBJECT"
	case kindArray:
		return "ARRAY"
	case kindBinary:
		return "BINARY(" + strconv.Itoa(t.length) + ")"
	default:
		return "VARCHAR(" + strconv.Itoa(t.length) + ")"
	}
}

// storage is the declared type in SQLite, which sets the column's affinity.
func (t colType) storage() string {
	switch t.kind {
	case kindFixed:
		if t.scale == 0 {
			return "INTEGER"
		}
		return "NUMERIC"
	case kindBoolean:
		return "INTEGER"
	case kindReal:
		return "REAL"
	case kindBinary:
		return "BLOB"
	default:
		return "TEXT"
	}
}

// parseType reads a type at toks[i]; n is how many tokens it takes, 0 if there
// is no type, or one with impossible digits.
func parseType(toks []token, i int) (colType, int) {
	t, n := readType(toks, i)
	switch t.kind {
	case kindFixed:
		if t.precision < 1 || t.precision > 38 || t.scale < 0 || t.scale > min(37, t.precision) {
			return colType{}, 0
		}
	case kindTime, kindNTZ, kindLTZ, kindTZ:
		if t.scale < 0 || t.scale > 9 {
			return colType{}, 0
		}
	case kindText, kindBinary:
		if t.length < 1 || t.length > maxText {
			return colType{}, 0
		}
	}
	return t, n
}

func readType(toks []token, i int) (t colType, n int) {
	if toks[i].sort != sortWord {
		return colType{}, 0
	}
	n = 1
	word := toks[i].val
	if word == "DOUBLE" && toks[i+1].is("PRECISION") {
		n++
	}
	var args []int
	if toks[i+n].op("(") {
		j := i + n + 1
		for toks[j].sort == sortNumber || toks[j].op(",") {
			if toks[j].sort == sortNumber {
				v, err := strconv.Atoi(toks[j].val)
				if err != nil {
					return colType{}, 0
				}
				args = append(args, v)
			}
			j++
		}
		if !toks[j].op(")") {
			return colType{}, 0
		}
		n = j + 1 - i
	}
	arg := func(k, def int) int {
		if k < len(args) {
			return args[k]
		}
		return def
	}
	switch word {
	case "NUMBER", "DECIMAL", "DEC", "NUMERIC":
		return fixed(arg(0, 38), arg(1, 0)), n
	case "INT", "INTEGER", "BIGINT", "SMALLINT", "TINYINT", "BYTEINT":
		return fixed(38, 0), n
	case "FLOAT", "FLOAT4", "FLOAT8", "DOUBLE", "REAL":
		return colType{kind: kindReal}, n
	case "VARCHAR", "STRING", "TEXT", "NVARCHAR":
		return colType{kind: kindText, length: arg(0, maxText)}, n
	case "CHAR", "CHARACTER", "NCHAR":
		return colType{kind: kindText, length: arg(0, 1)}, n
	case "BOOLEAN":
		return colType{kind: kindBoolean}, n
	case "DATE":
		return colType{kind: kindDate}, n
	case "TIME":
		return colType{kind: kindTime, scale: arg(0, 9)}, n
	case "TIMESTAMP", "DATETIME", "TIMESTAMP_NTZ", "TIMESTAMPNTZ":
		return colType{kind: kindNTZ, scale: arg(0, 9)}, n
	case "TIMESTAMP_LTZ", "TIMESTAMPLTZ":
		return colType{kind: kindLTZ, scale: arg(0, 9)}, n
	case "TIMESTAMP_TZ", "TIMESTAMPTZ":
		return colType{kind: kindTZ, scale: arg(0, 9)}, n
	case "VARIANT":
		return colType{kind: kindVariant}, n
	case "OBJECT":
		return colType{kind: kindObject}, n
	case "ARRAY":
		return colType{kind: kindArray}, n
	case "BINARY", "VARBINARY":
		return colType{kind: kindBinary, length: arg(0, 8388608)}, n
	}
	return colType{}, 0
}
