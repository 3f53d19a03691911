package snowflake

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// maxSampleCell bounds one value of FirstRows; a longer one ends with …
const maxSampleCell = 256

// FirstRows is up to n of the inline rows of a result as texts, nil for NULL: of
// JSON the cells as they stand, of Arrow the values of the columns' physical types,
// so that a number may lack its scale. What is read is what data holds now, masked
// or not.
func FirstRows(data Object, n int) ([][]*string, error) {
	if encoded, ok := data.Text("rowsetBase64"); ok && encoded != "" {
		return firstArrow(encoded, n)
	}
	if raw := data.Get("rowset"); raw != nil {
		return firstJSON(raw, n)
	}
	return nil, nil
}

func firstJSON(raw []byte, n int) ([][]*string, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, err := d.Token(); err != nil || open != json.Delim('[') {
		return nil, malformed(0, "a rowset is an array")
	}
	var rows [][]*string
	for len(rows) < n && d.More() {
		var cells []json.RawMessage
		if err := d.Decode(&cells); err != nil {
			return nil, malformed(int(d.InputOffset()), "a row is not an array")
		}
		row := make([]*string, len(cells))
		for i, c := range cells {
			if string(c) == "null" {
				continue
			}
			text := string(c)
			if s, ok := Text(c); ok {
				text = s
			}
			row[i] = clipCell(text)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func firstArrow(encoded string, n int) (rows [][]*string, err error) {
	defer func() {
		if p := recover(); p != nil {
			rows, err = nil, fmt.Errorf("%w: the reader gave up", ErrArrow)
		}
	}()
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: not base64", ErrArrow)
	}
	in, err := openArrow(bytes.NewReader(raw), bounded{memory.NewGoAllocator(), maxArrowBody})
	if err != nil {
		return nil, fmt.Errorf("%w: opening the stream: %w", ErrArrow, err)
	}
	defer in.Release()
	for len(rows) < n && in.Next() {
		rec := in.RecordBatch()
		for i := 0; len(rows) < n && i < int(rec.NumRows()); i++ {
			row := make([]*string, rec.NumCols())
			for c := range row {
				if col := rec.Column(c); !col.IsNull(i) {
					row[c] = clipCell(col.ValueStr(i))
				}
			}
			rows = append(rows, row)
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("%w: reading a batch: %w", ErrArrow, err)
	}
	return rows, nil
}

// clipCell is a copy of its own of a value's beginning.
func clipCell(s string) *string {
	if len(s) > maxSampleCell {
		end := maxSampleCell
		for !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end] + "…"
	}
	s = string([]byte(s))
	return &s
}
