package snowflake

import (
	"bytes"
	"encoding/json"
	"testing"
)

// A body that is accepted means the same to another reader of JSON, and to this
// one once it has been written anew: what is judged is what goes upstream.

func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{
		`{"sqlText":"select 1","asyncExec":false,"sequenceId":1,"isInternal":false,"queryContextDTO":{}}`,
		`{"sqlText":"select ?","bindings":{"2":{"type":"FIXED","value":["1",null]},"1":{"type":"TEXT","value":"\u00e9\ud83d\ude00"}},"describeOnly":true}`,
		`{"sqlText":"select 1","parameters":{"QUERY_TAG":"x","MULTI_STATEMENT_COUNT":2},"querySubmissionTime":1700000000000,"dataframeAst":"AAAA"}`,
		`{"sqlText":"a","sqlText":"b"}`, `{"sqlText":"a","SQLTEXT":"b"}`, `{"sql\u0054ext":"a"}`, `{"sqlText":null}`, `{"disableOfflineChunks":false}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := ParseQuery(body)
		if err != nil {
			return
		}
		var other map[string]json.RawMessage
		if err := json.Unmarshal(body, &other); err != nil {
			t.Fatalf("accepted what is no JSON: %v", err)
		}
		var text string
		if raw, ok := other["sqlText"]; ok && string(raw) != "null" {
			if err := json.Unmarshal(raw, &text); err != nil || !q.HasSQL {
				t.Fatalf("sqlText is %s", raw)
			}
		}
		if text != q.SQL {
			t.Fatalf("read %q, another reader %q", q.SQL, text)
		}
		out := q.Append(nil)
		again, err := ParseQuery(out)
		if err != nil {
			t.Fatalf("wrote what is not read: %v: %s", err, out)
		}
		if again.SQL != q.SQL || again.Binds != q.Binds || again.Async != q.Async || again.DescribeOnly != q.DescribeOnly ||
			!bytes.Equal(again.Append(nil), out) {
			t.Fatalf("%s came back as %s", out, again.Append(nil))
		}
	})
}

func FuzzParseSubmission(f *testing.F) {
	for _, s := range []string{
		`{"statement":"select 1","timeout":60,"database":"D","schema":"S","warehouse":"W","role":"R"}`,
		`{"statement":"select ?","bindings":{"1":{"type":"FIXED","value":"1"}},"parameters":{"multi_statement_count":"2","timezone":"UTC"}}`,
		`{"statement":"a","statement":"b"}`, `{"statement":"a","Statement":"b"}`, `{"statement":"a","parameters":{"x":1,"X":2}}`, `{"statement":"\ud800"}`,
		`{"statement":"a","timeout":-1}`, `{"statement":""}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := ParseSubmission(body)
		if err != nil {
			return
		}
		var other struct {
			Statement, Database, Schema, Warehouse, Role string
		}
		if err := json.Unmarshal(body, &other); err != nil {
			t.Fatalf("accepted what another reader does not: %v", err)
		}
		if other.Statement != s.Statement || other.Database != s.Database || other.Schema != s.Schema || other.Warehouse != s.Warehouse || other.Role != s.Role ||
			s.Statement == "" || s.Timeout < 0 {
			t.Fatalf("read %+v, another reader %+v", s, other)
		}
		if again, err := CanonicalBinds([]byte(s.Binds)); err != nil || again != s.Binds {
			t.Fatalf("binds %s are written as %s: %v", s.Binds, again, err)
		}
		if _, err := ParseObject(s.Parameters.Append(nil)); err != nil {
			t.Fatalf("parameters: %v", err)
		}
	})
}

// FuzzSQLAPICells: cells are turned into the SQL API's without losing digits.
func FuzzSQLAPICells(f *testing.F) {
	for _, s := range []string{"1700000000.123", "-1.5 1440", "1", "", "x", "1.1234567890", " ", "1.2.3", "-", "9e5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		out := string(nineDecimals(nil, []byte(value)))
		if again := string(nineDecimals(nil, []byte(out))); again != out {
			t.Fatalf("%q is %q, and %q the second time", value, out, again)
		}
		if len(out) < len(value) {
			t.Fatalf("%q lost something: %q", value, out)
		}
	})
}
