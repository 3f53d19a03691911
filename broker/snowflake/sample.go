package snowflake

import (
	"bytes"
	"encoding/base64"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Sample reads up to n non-NULL text values of each wanted column from the
// inline rows of a result, JSON or Arrow. Columns that are not wanted, or not
// stored as text, have no values.
func Sample(data Object, wanted []bool, n int) ([][]string, error) {
	samples := make([][]string, len(wanted))
	if encoded, ok := data.Text("rowsetBase64"); ok && encoded != "" {
		return samples, sampleArrow(samples, encoded, wanted, n)
	}
	if raw := data.Get("rowset"); raw != nil {
		return samples, sampleJSON(samples, raw, wanted, n)
	}
	return samples, nil
}

func sampleJSON(samples [][]string, raw []byte, wanted []bool, n int) error {
	i := skipSpace(raw, 0)
	if i >= len(raw) || raw[i] != '[' {
		return malformed(i, "a rowset is an array")
	}
	i++
	for range n {
		i = skipSpace(raw, i)
		if i >= len(raw) || raw[i] != '[' {
			return nil // the end, or what MaskArray and drivers will refuse
		}
		i = skipSpace(raw, i+1)
		for c := range wanted {
			end, escaped, err := skipCell(raw, i)
			if err != nil {
				return whole(err, i)
			}
			if wanted[c] && raw[i] == '"' {
				value := raw[i+1 : end-1]
				if escaped {
					value = appendUnescaped(nil, value)
				}
				samples[c] = append(samples[c], string(value))
			}
			i = skipSpace(raw, end)
			last := c == len(wanted)-1
			if i >= len(raw) || !last && raw[i] != ',' || last && raw[i] != ']' {
				return malformed(i, "a row has another number of cells than columns")
			}
			i = skipSpace(raw, i+1)
		}
		if i < len(raw) && raw[i] == ',' {
			i++
		}
	}
	return nil
}

func sampleArrow(samples [][]string, encoded string, wanted []bool, n int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the reader gave up", ErrArrow)
		}
	}()
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return fmt.Errorf("%w: not base64", ErrArrow)
	}
	in, err := openArrow(bytes.NewReader(raw), bounded{memory.NewGoAllocator(), maxArrowBody})
	if err != nil {
		return fmt.Errorf("%w: opening the stream: %w", ErrArrow, err)
	}
	defer in.Release()
	for seen := 0; seen < n && in.Next(); {
		rec := in.RecordBatch()
		if int(rec.NumCols()) != len(wanted) {
			return fmt.Errorf("%w: %d fields for %d columns", ErrArrow, rec.NumCols(), len(wanted))
		}
		rows := min(int(rec.NumRows()), n-seen)
		for c, w := range wanted {
			text, ok := rec.Column(c).(*array.String)
			for i := 0; w && ok && i < rows; i++ {
				if !text.IsNull(i) {
					samples[c] = append(samples[c], string(append([]byte(nil), text.Value(i)...)))
				}
			}
		}
		seen += rows
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("%w: reading a batch: %w", ErrArrow, err)
	}
	return nil
}
