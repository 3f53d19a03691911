package broker

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session/recording"
)

// rewrite turns an upstream success into what the driver may have.
func (b *Broker) rewrite(l *login, s *statement, child int, p plan, rep *reply) (released, error) {
	var r released
	if rep.data == nil {
		return r, withheld("Snowflake answered without data")
	}
	data := slices.Clone(rep.data)
	var err error
	r.queryID, _ = data.Text("queryId")
	if r.queryID != "" && !plainSegment(r.queryID) {
		return r, withheld("Snowflake answered with a query id that is none")
	}
	r.facts.QueryID = r.queryID
	if kind, ok := data.Int("statementTypeId"); ok && p.query && kind != 0 && kind&^0xfff != 0x1000 {
		return r, withheld("Snowflake ran something else than the query that was judged")
	}
	var columns []snowflake.Column
	if raw := data.Get("rowtype"); raw != nil {
		if columns, err = snowflake.ParseRowType(raw); err != nil {
			return r, withheld("the result's column list cannot be read")
		}
	}
	r.facts.Columns = len(columns)
	if err := verify(p, columns); err != nil {
		return r, err
	}
	if err := checkShape(data, columns); err != nil {
		return r, err
	}
	if p.undecided && carriesRows(data) {
		return r, withheld("Snowflake answered a description with rows")
	}
	masks, err := b.masksOf(p, data, columns)
	if err != nil {
		return r, err
	}
	hideNames(p, columns)
	rewrites, changed := b.rewrites(masks, columns, &r.facts)
	if changed {
		if err := maskData(&data, columns, rewrites); err != nil {
			return r, err
		}
	}
	if err := b.sampleRows(s, p, data, columns, masks, &r.facts); err != nil {
		return r, err
	}
	count(data, &r.facts)
	touched := changed
	if raw := data.Get("parameters"); raw != nil {
		if list, ok := overrideParameters(raw); ok {
			data.Set("parameters", list)
			touched = true
		}
	}
	if raw := data.Get("chunks"); raw != nil && string(raw) != "[]" {
		if err := b.publishChunks(l, s, child, &data, rewrites, &r.facts); err != nil {
			return r, err
		}
		touched = true
	}
	if data.Get("qrmk") != nil {
		data.Set("qrmk", json.RawMessage("null")) // the key of the chunks in cloud storage
		touched = true
	}
	if data.Get("stageInfo") != nil || data.Get("uploadInfo") != nil || data.Get("presignedUrls") != nil {
		return r, withheld("the answer holds storage credentials")
	}
	r.body = rep.raw
	if touched || !rep.top.Has("code") || !rep.top.Has("message") {
		top := append(snowflake.Object{}, rep.top...)
		for _, key := range [...]string{"code", "message"} { // drivers rely on both
			if !top.Has(key) {
				top.Set(key, json.RawMessage("null"))
			}
		}
		top.Set("data", data.Append(make([]byte, 0, len(rep.raw)+1024)))
		r.body = top.Append(make([]byte, 0, len(rep.raw)+2048))
	}
	r.facts.Bytes += int64(len(r.body))
	return r, nil
}

// verify compares the result's own account of its columns with what was
// computed from the text: a second opinion before masks are applied by
// position.
func verify(p plan, columns []snowflake.Column) error {
	if !p.known {
		return nil
	}
	if len(columns) != len(p.outputs) {
		return withheld("the result has %d columns and %d were expected", len(columns), len(p.outputs))
	}
	for i, c := range columns {
		o := p.outputs[i]
		if o.Name != "" && !strings.EqualFold(o.Name, c.Name) {
			return withheld("column %d of the result has another name than expected", i+1)
		}
		if c.Database != "" && c.Schema != "" && c.Table != "" && !o.Labels.Top && !reads(p.reads, c) {
			return withheld("column %d of the result comes from an object the statement does not name", i+1)
		}
	}
	return nil
}

func reads(objects []sql.Object, c snowflake.Column) bool {
	for _, o := range objects {
		if strings.EqualFold(o.Name.Name, c.Table) && strings.EqualFold(o.Name.Schema, c.Schema) && strings.EqualFold(o.Name.Database, c.Database) {
			return true
		}
	}
	return false
}

// detectSample is how many values of a column are looked at.
const detectSample = 64

// masksOf is the mask of every column: what the lineage demands, and where it
// demands none, what the values themselves show to be needed. The second is a
// net under the first, for columns that hold what nobody declared.
func (b *Broker) masksOf(p plan, data snowflake.Object, columns []snowflake.Column) ([]policy.ColumnMask, error) {
	masks := make([]policy.ColumnMask, len(columns))
	look := false
	wanted := make([]bool, len(columns))
	for i := range columns {
		masks[i] = p.rest
		if p.known {
			masks[i] = p.masks[i]
		}
		wanted[i] = p.query && !masks[i].Hides() && columns[i].IsText()
		look = look || wanted[i]
	}
	if !look {
		return masks, nil
	}
	samples, err := snowflake.Sample(data, wanted, detectSample)
	if err != nil {
		return nil, err
	}
	for i, sample := range samples {
		if len(sample) == 0 {
			continue
		}
		if mask, found := b.cfg.Policy.DetectColumn(sample, p.clear...); found && mask.Hides() {
			masks[i] = mask
		}
	}
	return masks, nil
}

// hideNames renames the columns that a dynamic pivot named after values, which
// shows in the names being no plain ones. Their values are hidden already, so the
// column list is written anew.
func hideNames(p plan, columns []snowflake.Column) {
	if p.known || !p.query || !p.rest.Hides() {
		return
	}
	for i := range columns {
		if name := sql.FormatIdentifier(strings.ToUpper(columns[i].Name)); name[0] == '"' {
			columns[i].Rename("COLUMN" + strconv.Itoa(i+1))
		}
	}
}

// maskGrowth is how much longer than the original a masked text may get, apart
// from the name of its class.
const maskGrowth = 128

// rewrites turns the plan's masks into operations on cells and declares them in
// the columns, the same way for a description and for a result.
func (b *Broker) rewrites(masks []policy.ColumnMask, columns []snowflake.Column, facts *recording.ResultFacts) ([]snowflake.Rewrite, bool) {
	rewrites := make([]snowflake.Rewrite, len(columns))
	changed := false
	for i, mask := range masks {
		if !mask.Hides() {
			continue
		}
		changed = true
		facts.Masked = append(facts.Masked, clip(columns[i].Name, 256))
		columns[i].Nullable()
		rewrites[i].Name = columns[i].Name // it may have been one of the values
		if !columns[i].IsText() || mask.Nulls() {
			rewrites[i].Null = true
			continue
		}
		columns[i].Grow(maskGrowth + int64(len(mask.Class)))
		rewrites[i].Text = func(dst, value []byte) []byte { return b.masker.AppendText(dst, mask, value) }
	}
	return rewrites, changed
}

// checkShape refuses results no driver reads one way: rows without columns,
// rows in both forms, rows in a form nobody knows.
func checkShape(data snowflake.Object, columns []snowflake.Column) error {
	rowset, encoded := data.Get("rowset"), data.Get("rowsetBase64")
	switch format, _ := data.Text("queryResultFormat"); strings.ToLower(format) {
	case "", "json", "arrow":
	default:
		return withheld("the result's format is not known")
	}
	if rowset != nil && rowset[0] != '[' || encoded != nil && encoded[0] != '"' {
		return withheld("the result's rows are not in a form drivers read")
	}
	if rowset != nil && string(rowset) != "[]" && encoded != nil && string(encoded) != `""` {
		return withheld("the result carries its rows twice")
	}
	if len(columns) == 0 && carriesRows(data) {
		return withheld("the result has rows and no columns")
	}
	return nil
}

// carriesRows reports whether data holds rows, or says where they are.
func carriesRows(data snowflake.Object) bool {
	rowset, encoded, chunks := data.Get("rowset"), data.Get("rowsetBase64"), data.Get("chunks")
	return rowset != nil && string(rowset) != "[]" || encoded != nil && string(encoded) != `""` ||
		chunks != nil && string(chunks) != "[]"
}

// maskData rewrites the rows and the column list.
func maskData(data *snowflake.Object, columns []snowflake.Column, rewrites []snowflake.Rewrite) error {
	data.Set("rowtype", snowflake.AppendRowType(nil, columns))
	if raw := data.Get("rowset"); raw != nil {
		rows, _, err := snowflake.NewRowMasker(rewrites).MaskArray(make([]byte, 0, len(raw)+len(raw)/4), raw)
		if err != nil {
			return err
		}
		data.Set("rowset", rows)
	}
	if raw := data.Get("rowsetBase64"); raw != nil {
		encoded, ok := snowflake.Text(raw)
		if !ok {
			return withheld("the result's rows are not in a form drivers read")
		}
		masked, _, err := snowflake.MaskArrowBase64(encoded, rewrites)
		if err != nil {
			return err
		}
		data.Set("rowsetBase64", snowflake.Quote(masked))
	}
	return nil
}

// count reads the row count from the metadata, and the size of an Arrow body.
func count(data snowflake.Object, facts *recording.ResultFacts) {
	if n, ok := data.Int("total"); ok {
		facts.Rows = n
	} else if n, ok := data.Int("returned"); ok {
		facts.Rows = n
	}
	if raw := data.Get("rowsetBase64"); raw != nil {
		facts.Bytes -= int64(len(raw)) - int64(base64.StdEncoding.DecodedLen(len(raw)))
	}
}

// overrideParameters replaces the parameters drivers are told otherwise.
func overrideParameters(raw json.RawMessage) (json.RawMessage, bool) {
	if !slices.ContainsFunc(clientOverrides, func(p snowflake.Parameter) bool { return bytes.Contains(raw, []byte(p.Name)) }) &&
		bytes.IndexByte(raw, '\\') < 0 { // no name can hide behind an escape
		return nil, false
	}
	list, err := snowflake.ParseArray(raw)
	if err != nil {
		return json.RawMessage("[]"), true
	}
	changed := false
	out := []byte{'['}
	for i, e := range list {
		o, err := snowflake.ParseObject(e)
		if err != nil {
			return json.RawMessage("[]"), true
		}
		name, _ := o.Text("name")
		for _, p := range clientOverrides {
			if p.Name == name {
				o.Set("value", p.Value)
				e, changed = o.Append(nil), true
			}
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, e...)
	}
	return append(out, ']'), changed
}
