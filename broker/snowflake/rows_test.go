package snowflake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func stars(dst, _ []byte) []byte { return append(dst, "***"...) }

func TestMaskArray(t *testing.T) {
	plan := []Rewrite{{}, {Text: stars}, {Null: true}}
	for in, want := range map[string]string{
		`[]`:                `[]`,
		` [ ] `:             `[]`,
		`[["1","x","y"]]`:   `[["1","***",null]]`,
		`[["1",null,null]]`: `[["1",null,null]]`,
		`[ [ "a\"b" , "x\"]" , "y" ] ,[null,"",""]]`: `[[ "a\"b" , "***" , null ],[null,"***",null]]`,
	} {
		got, _, err := NewRowMasker(plan).MaskArray(nil, []byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s %v", in, got, err)
		}
	}
	for _, bad := range []string{``, `{}`, `[`, `[[`, `[["1"]]`, `[["1","2"]]`, `[["1","2","3","4"]]`, `[["1","2","3"]`, `[["1","2","3"],]`, `[["1","2","3"]]x`,
		`[["1","2",3]]`, `[["1","2",["3"]]]`, `[["1","2",{"a":1}]]`, `[["1","2",true]]`, `[["1" "2","3"]]`, `[["1","2","\x"]]`, "[[\"1\",\"2\",\"\n\"]]", `[[]]`, `["1","2","3"]`, `[["1","2","3"]["1","2","3"]]`} {
		if got, _, err := NewRowMasker(plan).MaskArray(nil, []byte(bad)); err == nil {
			t.Errorf("%s was read as %s", bad, got)
		}
	}
}

func TestMaskedTextSeesDecodedValues(t *testing.T) {
	upper := func(dst, v []byte) []byte { return append(dst, bytes.ToUpper(v)...) }
	got, rows, err := NewRowMasker([]Rewrite{{Text: upper}}).MaskArray(nil, []byte(`[["a\u00e9\n\"\ud83d\ude00"],["b"]]`))
	if want := `[["AÉ\n\"😀"],["B"]]`; err != nil || rows != 2 || string(got) != want {
		t.Errorf("%s %d %v", got, rows, err)
	}
}

// bodies of a chunk: n rows, some cells long, some escaped.
func chunk(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", \n"[:1+i%3])
		}
		fmt.Fprintf(&b, `["%d","planted\"%s",null]`, i, strings.Repeat("é\\u0041", i%50))
	}
	return b.String()
}

func TestMaskStream(t *testing.T) {
	plan := []Rewrite{{}, {Text: stars}, {}}
	for _, n := range []int{1, 2, 10000} {
		in := chunk(n)
		want, rows, err := NewRowMasker(plan).MaskArray(nil, []byte("["+in+"]"))
		if err != nil || rows != int64(n) {
			t.Fatal(rows, err)
		}
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "byte by byte": iotest.OneByteReader(strings.NewReader(in)), "halves": iotest.HalfReader(strings.NewReader(in)), "with EOF": iotest.DataErrReader(strings.NewReader(in))} {
			if name == "byte by byte" && n > 100 {
				continue
			}
			var out bytes.Buffer
			rows, err := NewRowMasker(plan).MaskStream(&out, r)
			if err != nil || rows != int64(n) {
				t.Fatalf("%s: %d rows, %v", name, rows, err)
			}
			if "["+out.String()+"]" != string(want) {
				t.Errorf("%s differs", name)
			}
		}
	}
	for _, bad := range []string{`["1","2",null],`, `["1","2",nu`, `["1","2",null]["1","2",null]`, `,["1","2",null]`, `[["1","2",null]]`, `["1","2"]`, `["1","2",null],,["1","2",null]`, "[\"1\",\"\xff\",null]"} {
		if _, err := NewRowMasker(plan).MaskStream(io.Discard, strings.NewReader(bad)); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
	if _, err := NewRowMasker(plan).MaskStream(io.Discard, io.MultiReader(strings.NewReader(chunk(3)), iotest.ErrReader(io.ErrUnexpectedEOF))); err == nil {
		t.Error("a cut source passed for a whole one")
	}
}

func TestLongRows(t *testing.T) {
	in := `["1","` + strings.Repeat("x", 3<<20) + `",null],["2","y",null]`
	var out bytes.Buffer
	rows, err := NewRowMasker([]Rewrite{{}, {Text: stars}, {}}).MaskStream(&out, iotest.HalfReader(strings.NewReader(in)))
	if err != nil || rows != 2 || out.String() != `["1","***",null],["2","***",null]` {
		t.Errorf("%d rows, %d bytes, %v", rows, out.Len(), err)
	}
}

// FuzzMaskRows plants a value in the masked column of whatever the fuzzer
// makes of a rowset: it must never come out, streamed or whole, and what comes
// out must be rows.
func FuzzMaskRows(f *testing.F) {
	f.Add([]byte(`["1","PLANTED","x"],["2",null,null]`))
	f.Add([]byte(`["\u0041","PL\u0041NTED","x"] , ["2","a\"PLANTED",null]`))
	f.Add([]byte(`["1","PLANTED\\","PLANTED"]`))
	plan := []Rewrite{{}, {Text: stars}, {Null: true}}
	f.Fuzz(func(t *testing.T, in []byte) {
		var streamed bytes.Buffer
		n, err := NewRowMasker(plan).MaskStream(&streamed, iotest.HalfReader(bytes.NewReader(in)))
		whole, m, werr := NewRowMasker(plan).MaskArray(nil, append(append([]byte{'['}, in...), ']'))
		if err != nil {
			return
		}
		if werr != nil || n != m || n > 0 && "["+streamed.String()+"]" != string(whole) {
			t.Fatalf("streamed %q (%d), whole %q (%d, %v)", streamed.Bytes(), n, whole, m, werr)
		}
		var before, after [][]*string
		if err := json.Unmarshal(append(append([]byte{'['}, in...), ']'), &before); err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		if err := json.Unmarshal(whole, &after); err != nil || len(after) != len(before) {
			t.Fatalf("%q: %v", whole, err)
		}
		for i, row := range after {
			if len(row) != 3 || row[2] != nil || row[1] != nil && *row[1] != "***" || (row[1] == nil) != (before[i][1] == nil) ||
				(row[0] == nil) != (before[i][0] == nil) || row[0] != nil && *row[0] != *before[i][0] {
				t.Fatalf("row %d of %q", i, whole)
			}
		}
	})
}

// Eight bytes at a time see what one at a time sees.
func TestPlainCell(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			for _, other := range []byte{0x20, 0x21, 0x7f, 0x80, 0xff, '#', '['} {
				s := bytes.Repeat([]byte{other}, 20)
				s[at] = byte(c)
				if got := plainCell(s); got == stringStops[c] {
					t.Fatalf("%q: %v", s, got)
				}
			}
		}
	}
}

// Masking a chunk allocates its two buffers, and nothing per row.
func TestMaskStreamAllocates(t *testing.T) {
	plan, in := benchmarkRows()
	masker := NewRowMasker(plan)
	got := testing.AllocsPerRun(3, func() {
		if rows, err := masker.MaskStream(io.Discard, bytes.NewReader(in)); err != nil || rows != 20000 {
			t.Fatal(rows, err)
		}
	})
	if got > 10 {
		t.Errorf("%v allocations for 20000 rows", got)
	}
}

func benchmarkRows() (plan []Rewrite, in []byte) {
	plan = make([]Rewrite, 10)
	for _, c := range []int{1, 3, 5, 7} {
		plan[c] = Rewrite{Text: stars}
	}
	var b strings.Builder
	for i := range 20000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `["%d","user%d@example.com","Springfield","555-01%02d","12.50","123-45-%04d","2021-01-04","note number %d","1","x"]`, i, i, i%100, i%10000, i)
	}
	return plan, []byte(b.String())
}

// BenchmarkMaskStream masks rows, and has encoding/json decode them, replaces the
// same cells and encodes them, in turn: what else the machine does meets both.
// "x-json" is how many times faster the first is.
func BenchmarkMaskStream(b *testing.B) {
	plan, in := benchmarkRows()
	b.SetBytes(int64(len(in)))
	var ours, theirs time.Duration
	for b.Loop() {
		began := time.Now()
		if _, err := NewRowMasker(plan).MaskStream(io.Discard, bytes.NewReader(in)); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(began)
		b.StopTimer()
		began = time.Now()
		if err := decodeMaskEncode(plan, in); err != nil {
			b.Fatal(err)
		}
		theirs += time.Since(began)
		b.StartTimer()
	}
	b.ReportMetric(float64(theirs)/float64(ours), "x-json")
}

func decodeMaskEncode(plan []Rewrite, in []byte) error {
	var rows [][]*string
	if err := json.Unmarshal(append(append([]byte{'['}, in...), ']'), &rows); err != nil {
		return err
	}
	for _, row := range rows {
		for c := range row {
			if row[c] != nil && plan[c].Text != nil {
				s := string(plan[c].Text(nil, []byte(*row[c])))
				row[c] = &s
			}
		}
	}
	return json.NewEncoder(io.Discard).Encode(rows)
}
