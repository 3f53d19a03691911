package broker

import (
	"bytes"
	"encoding/json"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session/recording"
)

// maxSampleBytes bounds a sample: it stands in one event.
const maxSampleBytes = 256 << 10

// planSample fixes how recorded rows are hidden: what the subject may read in
// clear is nobody else's to read in the recording.
func (b *Broker) planSample(plans *planSet, j *judgement) {
	if b.cfg.Policy.Keeping().Rows != policy.RowsSample {
		return
	}
	in := j.input
	in.MaskAll = true
	hidden := b.cfg.Policy.Statement(in)
	for i := range plans.statements {
		p := &plans.statements[i]
		p.sampledRest = policy.ColumnMask{Class: policy.UnknownClass, Mask: policy.MaskRedact}
		if i >= len(hidden.Rest) || i >= len(hidden.Masks) {
			continue
		}
		switch {
		case !p.known:
			p.sampledRest = hidden.Rest[i]
		case len(hidden.Masks[i]) == len(p.outputs):
			p.sampled = hidden.Masks[i]
		}
	}
	if len(plans.statements) == 1 {
		plans.own = plans.statements[0]
	}
}

// hideSampled hides the columns of recorded rows that the agent got in clear.
func (b *Broker) hideSampled(rows [][]*string, p plan, columns []snowflake.Column, masked []policy.ColumnMask) {
	for c := range columns {
		if masked[c].Hides() {
			continue
		}
		mask := p.sampledRest
		if c < len(p.sampled) {
			mask = p.sampled[c]
		}
		if !mask.Hides() && columns[c].IsText() && p.query {
			var values []string
			for _, row := range rows {
				if c < len(row) && row[c] != nil {
					values = append(values, *row[c])
				}
			}
			if len(values) > 0 {
				mask, _ = b.cfg.Policy.DetectColumn(values)
			}
		}
		if !mask.Hides() {
			continue
		}
		for _, row := range rows {
			switch {
			case c >= len(row) || row[c] == nil:
			case mask.Nulls() || !columns[c].IsText():
				row[c] = nil
			default:
				text := string(b.masker.AppendText(nil, mask, []byte(*row[c])))
				row[c] = &text
			}
		}
	}
}

// sampleRows notes the first rows of a result, with every class hidden, if the
// policy wants that: those that come with the answer itself. A sample that cannot
// be taken withholds the result.
func (b *Broker) sampleRows(s *statement, p plan, data snowflake.Object, columns []snowflake.Column, masked []policy.ColumnMask, facts *recording.ResultFacts) error {
	k := b.cfg.Policy.Keeping()
	if k.Rows != policy.RowsSample || s.req.DescribeOnly || p.undecided {
		return nil
	}
	rows, err := snowflake.FirstRows(data, k.Sample)
	if err != nil {
		return withheld("the policy wants rows recorded, and those of this result cannot be read")
	}
	b.hideSampled(rows, p, columns, masked)
	out := []byte{'['}
	for i, row := range rows {
		line, err := rowJSON(row)
		if err != nil {
			return err
		}
		if i > 0 {
			if len(out)+len(line) > maxSampleBytes {
				break
			}
			out = append(out, ',')
		}
		out = append(out, line...)
	}
	if len(rows) > 0 {
		facts.Sample = string(append(out, ']'))
	}
	return nil
}

// rowJSON is a row as an array of texts and null.
func rowJSON(row []*string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(row); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}
