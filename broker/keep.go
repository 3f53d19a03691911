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

// sampleRows notes the first rows of a result, as the driver gets them, if the
// policy wants that: those that come with the answer itself. A sample that cannot
// be taken withholds the result.
func (b *Broker) sampleRows(s *statement, p plan, data snowflake.Object, facts *recording.ResultFacts) error {
	k := b.cfg.Policy.Keeping()
	if k.Rows != policy.RowsSample || s.req.DescribeOnly || p.undecided {
		return nil
	}
	rows, err := snowflake.FirstRows(data, k.Sample)
	if err != nil {
		return withheld("the policy wants rows recorded, and those of this result cannot be read")
	}
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
