package snowflake

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// ErrArrow reports an Arrow stream that cannot be read, or not be masked
// without a doubt. The result it belongs to must be withheld.
var ErrArrow = errors.New("unreadable Arrow result")

// Limits of one Arrow message; Snowflake's chunks stay far below.
const (
	maxArrowMeta = 16 << 20
	maxArrowBody = 512 << 20
)

// MaskArrow rewrites an Arrow IPC stream batch by batch. Masked columns are
// made anew, so that no byte of an original value is left, also not under a
// NULL or in padding; kept columns keep their bytes. Field and schema metadata
// stay. Batches come out uncompressed and never empty: the drivers' readers
// stumble over both. On error w has received a prefix.
func MaskArrow(w io.Writer, r io.Reader, plan []Rewrite) (rows int64, err error) {
	return maskArrow(w, r, plan, maxArrowBody)
}

func maskArrow(w io.Writer, r io.Reader, plan []Rewrite, limit int64) (rows int64, err error) {
	defer func() {
		// arrow-go panics on some malformed input: outside bytes, not a bug here.
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the reader gave up", ErrArrow)
		}
	}()
	begun, err := beginArrow(r, plan, limit)
	if err != nil {
		return 0, err
	}
	if !begun.patchable() {
		return rebuildArrow(w, begun.again(), plan, limit)
	}
	p := arrowPatch{w: bufio.NewWriterSize(w, 64<<10), r: r, plan: plan, schema: begun.schema, limit: limit}
	return p.run(begun.next)
}

// bounded refuses allocations beyond a limit: lengths in a stream are claims.
type bounded struct {
	memory.Allocator
	limit int64
}

func (b bounded) Allocate(size int) []byte {
	b.check(size)
	return b.Allocator.Allocate(size)
}

func (b bounded) Reallocate(size int, p []byte) []byte {
	b.check(size)
	return b.Allocator.Reallocate(size, p)
}

// check panics: an Allocator cannot fail. The readers here recover.
func (b bounded) check(size int) {
	if size < 0 || int64(size) > b.limit {
		panic(ErrTooLarge)
	}
}

func openArrow(r io.Reader, mem bounded) (*ipc.Reader, error) {
	r = &arrowGuard{r: r, limit: mem.limit}
	return ipc.NewReader(r, ipc.WithAllocator(mem), ipc.WithMetadataSizeLimit(min(maxArrowMeta, mem.limit)), ipc.WithBodySizeLimit(mem.limit))
}

// maskSchema is the schema with masked fields nullable, and named by the plan. A text mask needs a
// plain utf8 field; a dictionary would carry the originals beside the batch.
func maskSchema(s *arrow.Schema, plan []Rewrite) (*arrow.Schema, error) {
	if s.NumFields() != len(plan) {
		return nil, fmt.Errorf("%w: %d fields for %d columns", ErrArrow, s.NumFields(), len(plan))
	}
	fields := s.Fields()
	for i, r := range plan {
		if r.Keeps() {
			continue
		}
		id := fields[i].Type.ID()
		if r.Text != nil && !r.Null && id != arrow.STRING {
			return nil, fmt.Errorf("%w: a text column is stored as %v", ErrArrow, id)
		}
		if !maskable(fields[i].Type) {
			return nil, fmt.Errorf("%w: a masked column is stored as %v", ErrArrow, id)
		}
		fields[i].Nullable = true
		if r.Name != "" {
			fields[i].Name = r.Name
		}
	}
	meta := s.Metadata()
	return arrow.NewSchema(fields, &meta), nil
}

// maskable lists the physical types Snowflake uses. Any other is refused.
func maskable(t arrow.DataType) bool {
	switch t := t.(type) {
	case *arrow.StringType, *arrow.BinaryType, *arrow.BooleanType, *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type,
		*arrow.Int64Type, *arrow.Float64Type, *arrow.Float32Type, *arrow.Decimal128Type, *arrow.Date32Type, *arrow.Date64Type,
		*arrow.Time32Type, *arrow.Time64Type, *arrow.TimestampType:
		return true
	case *arrow.StructType:
		for _, f := range t.Fields() {
			if !maskable(f.Type) {
				return false
			}
		}
		return true
	case *arrow.ListType:
		return maskable(t.Elem())
	case *arrow.FixedSizeListType:
		return maskable(t.Elem())
	case *arrow.MapType:
		return maskable(t.KeyType()) && maskable(t.ItemType())
	}
	return false
}

// MaskArrowBase64 rewrites an inline Arrow result. The empty string, which is
// how a result without rows is sent, stays empty.
func MaskArrowBase64(encoded string, plan []Rewrite) (string, int64, error) {
	if encoded == "" {
		return "", 0, nil
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", 0, fmt.Errorf("%w: not base64", ErrArrow)
	}
	var out bytes.Buffer
	out.Grow(len(raw))
	rows, err := MaskArrow(&out, bytes.NewReader(raw), plan)
	if err != nil {
		return "", 0, err
	}
	if rows == 0 {
		return "", 0, nil
	}
	return base64.StdEncoding.EncodeToString(out.Bytes()), rows, nil
}

// ArrowTexts reads a small inline Arrow result of text columns: the answers of
// the broker's own metadata statements. A column of another type reads as nil.
func ArrowTexts(encoded string) (rows [][]*string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the reader gave up", ErrArrow)
		}
	}()
	if encoded == "" {
		return nil, nil
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: not base64", ErrArrow)
	}
	in, err := openArrow(bytes.NewReader(raw), bounded{memory.NewGoAllocator(), maxArrowBody})
	if err != nil {
		return nil, fmt.Errorf("%w: opening the stream: %w", ErrArrow, err)
	}
	defer in.Release()
	for in.Next() {
		rec := in.RecordBatch()
		for i := range int(rec.NumRows()) {
			row := make([]*string, rec.NumCols())
			for c := range row {
				if text, ok := rec.Column(c).(*array.String); ok && !text.IsNull(i) {
					v := string(append([]byte(nil), text.Value(i)...))
					row[c] = &v
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

// JSONTexts reads a small rowset.
func JSONTexts(rowset []byte) ([][]*string, error) {
	raws, err := ParseArray(rowset)
	if err != nil {
		return nil, err
	}
	rows := make([][]*string, len(raws))
	for i, raw := range raws {
		cells, err := ParseArray(raw)
		if err != nil {
			return nil, err
		}
		rows[i] = make([]*string, len(cells))
		for c, cell := range cells {
			if v, ok := Text(cell); ok {
				rows[i][c] = &v
			}
		}
	}
	return rows, nil
}
