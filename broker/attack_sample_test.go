package broker

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jit-access/jit/policy"
)

// sampling is a bundle that has two rows of every result recorded.
type sampling struct{ *policy.Bundle }

func (sampling) Keeping() policy.Keeping {
	return policy.Keeping{Rows: policy.RowsSample, Sample: 2}
}

// TestAttackReadInTheRecordingWhatAnotherMayReadInClear: the agent of one who may
// read a class in clear gets it so; whoever may read the recording does not.
func TestAttackReadInTheRecordingWhatAnotherMayReadInClear(t *testing.T) {
	rules, err := policy.Overlay(os.DirFS("../policy/bundles/default"), fstest.MapFS{"more.cedar": &fstest.MapFile{Data: []byte(`
@id("clear") @reason("They answer mail.") permit (principal, action == Action::"readClear", resource == Class::"pii.email");`)}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *Config) {
		c.Policy, c.Subject = sampling{rules}, policy.Subject{User: "idp|dev", Groups: []string{"analysts"}}
	})
	i, j := strings.Index(customers, `"rowset":`), strings.Index(customers, `"total":3`)
	arrow := strings.Replace(customers[:i]+`"rowsetBase64":"`+arrowResult(t, 100)+`",`+customers[j:], `"queryResultFormat":"json"`, `"queryResultFormat":"arrow"`, 1)
	tk := r.login()
	for _, body := range []string{customers, arrow} {
		r.up.setAnswer(func(seenQuery) (int, string) { return 200, body })
		a := r.query(tk, "", "select ID, EMAIL, SSN from customers")
		if !a.Success || body == customers && !strings.Contains(a.Raw, "planted-ada") {
			t.Fatalf("the agent does not get the class in clear: %s", a.Raw)
		}
	}
	got := r.samples()
	if len(got) != 2 {
		t.Fatalf("recorded %q", got)
	}
	for _, s := range got {
		if s == "" || strings.Contains(s, "planted") || strings.Contains(s, "987654321") {
			t.Errorf("recorded in clear: %q", s)
		}
	}
}
