package snowflake

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func TestParseObjectIsStrict(t *testing.T) {
	for _, ok := range []string{`{}`, ` {"a":1} `, `{"a":{"b":[1,-0.5e+3,"x",null,true,false]}}`, `{"\ud83d\ude00":"é\u00e9"}`, `{"a":18446744073709551616}`} {
		o, err := ParseObject([]byte(ok))
		if err != nil {
			t.Errorf("%s: %v", ok, err)
			continue
		}
		again, err := ParseObject(o.Append(nil))
		if err != nil || len(again) != len(o) {
			t.Errorf("%s does not survive: %s", ok, o.Append(nil))
		}
	}
	for _, bad := range []string{``, `[]`, `null`, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{"a":1}x`, `{"a":1}{}`, `{a:1}`,
		`{'a':1}`, `{"a":01}`, `{"a":.5}`, `{"a":1.}`, `{"a":+1}`, `{"a":NaN}`, `{"a":1e}`, `{"a":"`, `{"a":"\x"}`, `{"a":"\u12"}`, "{\"a\":\"\n\"}",
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"o":{"a":1,"a":2}}`, `{"o":[{"a":1,"a":2}]}`, `{"a":"\ud800"}`, `{"a":"\udc00\ud800"}`, `{"a":"\ud800\u0061"}`,
		"\xef\xbb\xbf{}", "{\"a\":\"\xff\"}", "{\"a\":\"\xed\xa0\x80\"}", `{"a":tru}`, `{"a":nul}`, "\x00{}", "{}\x00",
		`{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`} {
		if _, err := ParseObject([]byte(bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q was read: %v", bad, err)
		}
	}
}

func TestManyKeys(t *testing.T) {
	var b strings.Builder
	for i := range 100 {
		b.WriteString(`,"k` + strings.Repeat("x", i) + `":1`)
	}
	if _, err := ParseObject([]byte("{" + b.String()[1:] + "}")); err != nil {
		t.Error(err)
	}
	if _, err := ParseObject([]byte("{" + b.String()[1:] + `,"kxxx":2}`)); err == nil {
		t.Error("a duplicate among many keys was not seen")
	}
}

// FuzzParseObject compares with encoding/json: what is read here is valid
// there, and says the same.
func FuzzParseObject(f *testing.F) {
	for _, s := range []string{`{"a":[1,"x",{"b":null}]}`, `{"a":"\u00e9\ud83d\ude00\n"}`, `{"a":1,"a":2}`, `{"a":-0.0E-2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		o, err := ParseObject(in)
		if err != nil {
			return
		}
		var want, got map[string]any
		if err := json.Unmarshal(in, &want); err != nil {
			t.Fatalf("%q is not JSON: %v", in, err)
		}
		if err := json.Unmarshal(o.Append(nil), &got); err != nil {
			t.Fatalf("%q was written as %q: %v", in, o.Append(nil), err)
		}
		a, _ := json.Marshal(want)
		b, _ := json.Marshal(got)
		if !bytes.Equal(a, b) || len(want) != len(o) {
			t.Fatalf("%q means %s, was read as %s", in, a, b)
		}
		for _, m := range o {
			if s, ok := Text(m.Raw); ok && s != want[m.Key] {
				t.Fatalf("text %q, want %q", s, want[m.Key])
			}
		}
	})
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\n\t\x00é\u2028<>&\xff")
	f.Fuzz(func(t *testing.T, in string) {
		out := AppendString(nil, []byte(in))
		var back string
		if err := json.Unmarshal(out, &back); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if back != strings.ToValidUTF8(in, "\uFFFD") && utf8.ValidString(in) {
			t.Fatalf("%q came back as %q", in, back)
		}
		if bytes.Contains(out, []byte(`\u2`)) || bytes.Contains(out, []byte(`\b`)) && !strings.Contains(in, `\b`) {
			t.Fatalf("an escape some driver cannot read: %q", out)
		}
	})
}

func TestReadBody(t *testing.T) {
	zip := func(b []byte) []byte {
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		_, _ = z.Write(b)
		_ = z.Close()
		return buf.Bytes()
	}
	for _, c := range []struct {
		name, encoding string
		body           []byte
		want           string
		err            error
	}{
		{"plain", "", []byte("{}"), "{}", nil},
		{"gzip by magic", "", zip([]byte("{}")), "{}", nil},
		{"gzip announced", "gzip", zip([]byte("{}")), "{}", nil},
		{"announced but plain", "gzip", []byte("{}"), "{}", nil},
		{"twice", "gzip", zip(zip([]byte("{}"))), "", ErrEncoding},
		{"deflate", "deflate", []byte("{}"), "", ErrEncoding},
		{"zstd", "zstd", []byte("{}"), "", ErrEncoding},
		{"too large", "", make([]byte, 1001), "", ErrTooLarge},
		{"bomb", "", zip(make([]byte, 1001)), "", ErrTooLarge},
	} {
		got, err := ReadBody(bytes.NewReader(c.body), c.encoding, 1000)
		if !errors.Is(err, c.err) || c.err == nil && (err != nil || string(got) != c.want) {
			t.Errorf("%s: %q %v", c.name, got, err)
		}
	}
	z := zip([]byte("{}"))
	z[len(z)-6] ^= 1
	if _, err := ReadBody(bytes.NewReader(z), "", 1000); err == nil {
		t.Error("a wrong checksum was not seen")
	}
	if _, err := ReadBody(iotest.ErrReader(errors.New("cut")), "", 1000); err == nil {
		t.Error("a read error was not seen")
	}
}

func TestCanonicalBinds(t *testing.T) {
	for in, want := range map[string]string{
		``: ``, `null`: ``, `{}`: ``,
		`{"2":{"value":"b","type":"TEXT"},"10":{"type":"FIXED","value":"1"},"1":{"type":"TEXT","value":null}}`: `{"1":{"type":"TEXT","value":null},"2":{"type":"TEXT","value":"b"},"10":{"type":"FIXED","value":"1"}}`,
		`{"1":{"type":"TEXT","value":["a",null,"\u0062"]}}`:                                                    `{"1":{"type":"TEXT","value":["a",null,"b"]}}`,
		`{"1":{"type":"TEXT","fmt":"json","value":"x"}}`:                                                       `{"1":{"type":"TEXT","value":"x","fmt":"json"}}`,
	} {
		if got, err := CanonicalBinds(json.RawMessage(in)); err != nil || got != want {
			t.Errorf("%s: %s %v", in, got, err)
		}
	}
	for _, bad := range []string{`[]`, `{"1":"x"}`, `{"1":{"type":"TEXT","value":1}}`, `{"1":{"type":["TEXT"],"value":"x"}}`, `{"1":{"type":"TEXT","value":["a",["b"]]}}`,
		`{"1":{"type":"TEXT","value":"x","Value":"y"}}`, `{"1":{"type":"TEXT","value":{"a":1}}}`} {
		if got, err := CanonicalBinds(json.RawMessage(bad)); err == nil {
			t.Errorf("%s was read as %s", bad, got)
		}
	}
}

func TestParseQuery(t *testing.T) {
	q, err := ParseQuery([]byte(`{"sqlText":"select 1","asyncExec":false,"sequenceId":3,"parameters":{"QUERY_TAG":"x"},"dataframeAst":"AA","isInternal":true,"queryContextDTO":{"entries":[{"id":0,"timestamp":18446744073709551615}]}}`))
	if err != nil || q.SQL != "select 1" || !q.HasSQL || q.Sequence != 3 {
		t.Fatalf("%+v %v", q, err)
	}
	want := `{"sqlText":"select 1","asyncExec":false,"sequenceId":3,"isInternal":false,"parameters":{"QUERY_TAG":"x"},"queryContextDTO":{"entries":[{"id":0,"timestamp":18446744073709551615}]}}`
	if got := string(q.Append(nil)); got != want {
		t.Errorf("written %s", got)
	}
	if again, err := ParseQuery(q.Append(nil)); err != nil || string(again.Append(nil)) != want {
		t.Errorf("again %s %v", again.Append(nil), err)
	}
	for _, bad := range []string{`{"SQLText":"x"}`, `{"sqlText":null,"sqltext":"x"}`, `{"sqlText":["x"]}`, `{"asyncExec":1}`, `{"parameters":[]}`, `{"queryContextDTO":1}`, `{"describeOnly":"true"}`} {
		if _, err := ParseQuery([]byte(bad)); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}
