//go:build e2e

package main_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// store appends one cell, given as JSON results have it, in the form Arrow
// results have it. The cells are the suite's own: one it cannot store is a
// mistake in them.
func store(b array.Builder, f facts, cell string) {
	if cell == null {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.StringBuilder:
		b.Append(cell)
	case *array.BinaryBuilder:
		b.Append(must(hex.DecodeString(cell)))
	case *array.BooleanBuilder:
		b.Append(cell == "1")
	case *array.Date32Builder:
		b.Append(arrow.Date32(must(strconv.ParseInt(cell, 10, 32))))
	case *array.Float64Builder:
		b.Append(must(strconv.ParseFloat(cell, 64)))
	case *array.Int8Builder:
		b.Append(int8(unscaled(cell, f.Scale).Int64()))
	case *array.Int16Builder:
		b.Append(int16(unscaled(cell, f.Scale).Int64()))
	case *array.Int32Builder:
		b.Append(int32(unscaled(cell, f.Scale).Int64()))
	case *array.Int64Builder:
		b.Append(unscaled(cell, f.Scale).Int64())
	case *array.Decimal128Builder:
		b.Append(decimal128.FromBigInt(unscaled(cell, f.Scale)))
	case *array.StructBuilder:
		storeStruct(b, f, cell)
	case *array.FixedSizeListBuilder:
		storeVector(b, cell)
	case *array.MapBuilder:
		storeMap(b, cell)
	case *array.ListBuilder:
		b.Append(true)
		for _, n := range parse[[]int64](cell) {
			b.ValueBuilder().(*array.Int64Builder).Append(n)
		}
	default:
		panic(fmt.Sprintf("no way to store %s in %T", f.Type, b))
	}
}

func storeStruct(b *array.StructBuilder, f facts, cell string) {
	b.Append(true)
	switch f.Type {
	case "object":
		v := parse[struct {
			A *int64 `json:"a"`
			B string `json:"b"`
		}](cell)
		if v.A == nil {
			b.FieldBuilder(0).AppendNull()
		} else {
			b.FieldBuilder(0).(*array.Int64Builder).Append(*v.A)
		}
		b.FieldBuilder(1).(*array.StringBuilder).Append(v.B)
	case "decfloat":
		digits, exponent, _ := strings.Cut(cell, "e")
		b.FieldBuilder(0).(*array.Int16Builder).Append(int16(must(strconv.Atoi(exponent))))
		b.FieldBuilder(1).(*array.BinaryBuilder).Append(twosComplement(unscaled(digits, 0)))
	default:
		storeMoment(b, f, cell)
	}
}

// storeMoment fills {epoch, fraction}, {epoch, timezone} or all three; without a
// fraction the epoch counts the type's own units.
func storeMoment(b *array.StructBuilder, f facts, cell string) {
	moment, zone, _ := strings.Cut(cell, " ")
	units := unscaled(moment, f.Scale)
	if b.NumField() == 2 && zone != "" {
		b.FieldBuilder(0).(*array.Int64Builder).Append(units.Int64())
	} else {
		perSecond := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(f.Scale)), nil)
		seconds, rest := new(big.Int).DivMod(units, perSecond, new(big.Int))
		nanos := rest.Int64()
		for range 9 - f.Scale {
			nanos *= 10
		}
		b.FieldBuilder(0).(*array.Int64Builder).Append(seconds.Int64())
		b.FieldBuilder(1).(*array.Int32Builder).Append(int32(nanos))
	}
	if zone != "" {
		b.FieldBuilder(b.NumField() - 1).(*array.Int32Builder).Append(int32(must(strconv.Atoi(zone))))
	}
}

func storeVector(b *array.FixedSizeListBuilder, cell string) {
	b.Append(true)
	for _, v := range parse[[]float64](cell) {
		switch values := b.ValueBuilder().(type) {
		case *array.Float32Builder:
			values.Append(float32(v))
		case *array.Int32Builder:
			values.Append(int32(v))
		}
	}
}

func storeMap(b *array.MapBuilder, cell string) {
	b.Append(true)
	pairs := parse[map[string]int64](cell)
	keys := make([]string, 0, len(pairs))
	for k := range pairs {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		b.KeyBuilder().(*array.StringBuilder).Append(k)
		b.ItemBuilder().(*array.Int64Builder).Append(pairs[k])
	}
}

// unscaled is a decimal text × 10^scale.
func unscaled(text string, scale int) *big.Int {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		panic("not a number: " + text)
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
	if !r.IsInt() {
		panic(text + " has more digits than its scale")
	}
	return r.Num()
}

// twosComplement is a number in the fewest bytes, highest first.
func twosComplement(n *big.Int) []byte {
	if n.Sign() >= 0 {
		return append([]byte{0}, n.Bytes()...)
	}
	size := uint(len(n.Bytes()) + 1)
	b := new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), 8*size)).Bytes()
	return append(bytes.Repeat([]byte{0xff}, int(size)-len(b)), b...)
}

func parse[T any](text string) T {
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(fmt.Sprintf("%s: %v", text, err))
	}
	return v
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
