package sandbox_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/jit-access/jit/broker/snowflake/sandbox"
)

// TestScript: a script answers what it knows, the engine the rest; a
// description shows columns only, an error is Snowflake's, and a slow answer
// can be canceled.
func TestScript(t *testing.T) {
	started := make(chan struct{}, 1)
	w := start(t, func(o *sandbox.Options) {
		o.Parameters = map[string]string{"CLIENT_STAGE_ARRAY_BINDING_THRESHOLD": "65280"}
		o.Script = func(ctx context.Context, sql string, _ bool) (*sandbox.Answer, error) {
			switch {
			case strings.HasSuffix(sql, "from known"):
				return &sandbox.Answer{RowType: json.RawMessage(`[{"name":"V","type":"vector","nullable":true,"vectorDimension":2}]`),
					Rows: 1, RowSet: json.RawMessage(`[["[1,2]"]]`)}, nil
			case strings.HasSuffix(sql, "from broken"):
				return nil, &sandbox.Failure{Code: "100051", SQLState: "22012", Message: "Division by zero"}
			case strings.HasSuffix(sql, "from slow"):
				started <- struct{}{}
				<-ctx.Done()
			}
			return nil, nil
		}
	})
	token, _ := w.login(t)
	query := func(id, sql, more string) answer {
		return w.send(t, "POST", "/queries/v1/query-request?requestId="+id, token, `{"sqlText":"`+sql+`"`+more+`}`)
	}
	if a := query("s1", "select v from known", ""); !a.Success || len(a.Data["rowset"].([]any)) != 1 || a.Data["total"].(json.Number) != "1" {
		t.Errorf("a scripted statement: %+v", a)
	}
	if a := query("s2", "select v from known", `,"describeOnly":true`); !a.Success ||
		len(a.Data["rowset"].([]any)) != 0 || len(a.Data["rowtype"].([]any)) != 1 {
		t.Errorf("a scripted description: %+v", a)
	}
	if a := query("s3", "select v from broken", ""); a.code() != "100051" || a.Data["sqlState"] != "22012" {
		t.Errorf("a scripted failure: %+v", a)
	}
	if a := query("s4", "select 1", ""); !a.Success {
		t.Errorf("the engine does not answer: %+v", a)
	}
	ended := make(chan answer, 1)
	go func() { // a poll outlasts AnswerWithin
		a := query("s5", "select v from slow", "")
		for a.code() == "333333" {
			a = w.send(t, "GET", a.Data["getResultUrl"].(string), token, "")
		}
		ended <- a
	}()
	<-started
	if a := w.send(t, "POST", "/queries/v1/abort-request?requestId=s6", token, `{"requestId":"s5"}`); !a.Success {
		t.Errorf("aborting: %+v", a)
	}
	if a := <-ended; a.code() != "000604" {
		t.Errorf("a canceled statement: %+v", a)
	}
}
