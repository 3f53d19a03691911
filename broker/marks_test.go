package broker

import (
	"testing"

	"github.com/jit-access/jit/broker/snowflake"
)

// TestDriverMarks: what a driver sends along of its own accord is dropped, and
// refuses no statement.
func TestDriverMarks(t *testing.T) {
	in, err := snowflake.ParseObject([]byte(`{"NEW_SQL_FORMAT":true,"_PLAN_UUID":"1","JDBC_X":"1","TIMEZONE":"UTC"}`))
	if err != nil {
		t.Fatal(err)
	}
	out, _, ref := statementParameters(in, nil)
	if ref != nil || len(out) != 1 || out[0].Key != "TIMEZONE" {
		t.Errorf("%s is forwarded, refused with %v", out.Append(nil), ref)
	}
}
