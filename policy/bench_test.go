package policy

import (
	"testing"

	"github.com/jit-access/jit/policy/sql"
)

// BenchmarkStatement measures a verdict on facts, without parsing.
func BenchmarkStatement(b *testing.B) {
	join := query(direct("ID"), direct("EMAIL"), direct("SSN"), sql.Output{Name: "N", Labels: labels("ID", "PHONE")})
	join.Reads = append(join.Reads, table("ORDERS"), table("LINES"), table("ITEMS"))
	join.Predicates = labels("ID")
	join.Functions = []sql.Function{{Name: "COUNT", Risk: sql.FunctionPure}, {Name: "UPPER", Risk: sql.FunctionPure}}
	for _, bb := range []struct {
		name string
		s    sql.Statement
	}{
		{"select-1", sql.Statement{Kind: "SELECT", Category: sql.CategoryQuery, OutputsKnown: true, Outputs: []sql.Output{{}}}},
		{"one-table", query(direct("ID"), direct("EMAIL"))},
		{"four-tables", join},
		{"drop-database", statement("DROP_DATABASE", sql.CategoryDefine, sql.Object{Kind: sql.ObjectDatabase, Name: sql.ObjectName{Database: "APP"}})},
	} {
		b.Run(bb.name, func(b *testing.B) {
			in := Input{Subject: ana(), Setting: prod(), Statements: []sql.Statement{bb.s}}
			bundle := Default()
			b.ReportAllocs()
			for b.Loop() {
				bundle.Statement(in)
			}
		})
	}
}

func BenchmarkMasks(b *testing.B) {
	value := []byte("ana.maria@example.com")
	for _, m := range []Mask{MaskRedact, MaskKeepLast4, MaskKeepDomain, MaskHash} {
		b.Run(m.String(), func(b *testing.B) {
			masker := NewMasker([]byte("key"))
			cm := ColumnMask{"pii.email", m}
			buf := make([]byte, 0, 128)
			b.ReportAllocs()
			for b.Loop() {
				buf = masker.AppendText(buf[:0], cm, value)
			}
		})
	}
}

func BenchmarkDetectColumn(b *testing.B) {
	sample := make([]string, 200)
	for i := range sample {
		sample[i] = "a plain text of some words"
	}
	for b.Loop() {
		Default().DetectColumn(sample)
	}
}
