package broker

import (
	"errors"
	"strings"
	"testing"

	"github.com/jit-access/jit/policy"
)

// samples is the rows that were recorded of each result, in order.
func (r *rig) samples() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, e := range r.events {
		if e.Result != nil {
			out = append(out, e.Result.Sample)
		}
	}
	return out
}

// TestSampledRowsAreMasked: a recording holds the first rows as the agent got
// them, and without a policy that asks for it none.
func TestSampledRowsAreMasked(t *testing.T) {
	const text = "select ID, EMAIL, SSN from customers"
	i, j := strings.Index(customers, `"rowset":`), strings.Index(customers, `"total":3`)
	arrow := strings.Replace(customers[:i]+`"rowsetBase64":"`+arrowResult(t, 100)+`",`+customers[j:], `"queryResultFormat":"json"`, `"queryResultFormat":"arrow"`, 1)
	for name, c := range map[string]struct {
		keeping policy.Keeping
		body    string
		rows    int
	}{
		"none":           {policy.Keeping{}, customers, 0},
		"two":            {policy.Keeping{Rows: policy.RowsSample, Sample: 2}, customers, 2},
		"more than are":  {policy.Keeping{Rows: policy.RowsSample, Sample: 100}, customers, 3},
		"two of Arrow":   {policy.Keeping{Rows: policy.RowsSample, Sample: 2}, arrow, 2},
		"none of no row": {policy.Keeping{Rows: policy.RowsSample, Sample: 2}, strings.Replace(plainRow, `[["1"]]`, `[]`, 1), 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c2 *Config) { c2.Policy = firstWord{keeping: c.keeping} })
			r.up.setAnswer(func(seenQuery) (int, string) { return 200, c.body })
			q := text
			if c.body != customers && c.body != arrow {
				q = "select 1"
			}
			a := r.query(r.login(), "", q)
			if !a.Success {
				t.Fatalf("got %s", a.Raw)
			}
			got := r.samples()
			if len(got) != 1 || (got[0] == "") != (c.rows == 0) || strings.Count(got[0], "[") != max(0, c.rows+min(c.rows, 1)) {
				t.Fatalf("recorded %q, want %d rows", got, c.rows)
			}
			if strings.Contains(got[0], "planted") || strings.Contains(got[0], "987654321") || c.rows > 0 && !strings.Contains(got[0], "‹masked") {
				t.Errorf("recorded unmasked: %s", got[0])
			}
		})
	}
}

func TestSampleStaysSmall(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Policy = firstWord{keeping: policy.Keeping{Rows: policy.RowsSample, Sample: 100}}
	})
	wide := `"` + strings.Repeat("x", 100_000) + `"`
	r.up.setAnswer(func(seenQuery) (int, string) {
		return 200, strings.Replace(plainRow, `[["1"]]`, "["+strings.Repeat("["+wide+"],", 50)+"["+wide+"]]", 1)
	})
	if a := r.query(r.login(), "", "select 1"); !a.Success {
		t.Fatalf("got %.300s", a.Raw)
	}
	if got := r.samples()[0]; len(got) > maxSampleBytes || strings.Count(got, "…") != 51 {
		t.Errorf("recorded %d bytes, %d cut values", len(got), strings.Count(got, "…"))
	}
}

// TestAllRowsAreRefused: what the policy wants kept and is not must not run.
func TestAllRowsAreRefused(t *testing.T) {
	r := newRig(t)
	cfg := r.b.cfg
	cfg.Policy = firstWord{keeping: policy.Keeping{Rows: policy.RowsFull}}
	if _, err := New(cfg); !errors.Is(err, errConfig) {
		t.Errorf("got %v", err)
	}
}
