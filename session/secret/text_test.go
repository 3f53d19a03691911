package secret

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/pelletier/go-toml/v2"
)

const planted = "s3cr3t-planted-value"

// enclosing hides a Text where reflection cannot call its methods.
type enclosing struct {
	Public Text
	hidden Text
	ptr    *Text
	deep   struct{ inner []Text }
	byName map[string]Text
	asAny  any
}

func newEnclosing() enclosing {
	t := New(planted)
	e := enclosing{Public: t, hidden: t, ptr: &t, byName: map[string]Text{"k": t}, asAny: t}
	e.deep.inner = []Text{t}
	return e
}

func TestTextNeverPrints(t *testing.T) {
	text, e := New(planted), newEnclosing()
	values := map[string]any{
		"value": text, "pointer": &text, "slice": []Text{text}, "map": map[Text]Text{text: text},
		"struct": e, "struct pointer": &e, "error": fmt.Errorf("logging in with %v: %w", text, errors.New("refused")),
	}
	// Every letter, so that verbs fmt does not know are covered too.
	var verbs []string
	for c := 'a'; c <= 'z'; c++ {
		verbs = append(verbs, "%"+string(c), "%"+strings.ToUpper(string(c)))
	}
	verbs = append(verbs, "%+v", "%#v", "%+q", "%#q", "%#x", "% x", "%20s", "%-20.3s", "%[1]*[1]s", "%+s", "%#p")
	for name, v := range values {
		for _, verb := range verbs {
			if out := fmt.Sprintf(verb, v); leaks(out) {
				t.Errorf("%s of %s leaks: %s", verb, name, out)
			}
		}
		if out := fmt.Sprint(v); leaks(out) {
			t.Errorf("Sprint of %s leaks: %s", name, out)
		}
	}
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, text); got != redacted {
			t.Errorf("%s = %q, want %q", verb, got, redacted)
		}
	}
}

// leaks looks for the planted value as text, hex and bytes.
func leaks(out string) bool {
	low := strings.ToLower(out)
	return strings.Contains(out, planted) ||
		strings.Contains(low, fmt.Sprintf("%x", planted)) ||
		strings.Contains(low, strings.Trim(fmt.Sprint([]byte(planted)), "[]"))
}

func TestTextNeverMarshals(t *testing.T) {
	text, e := New(planted), newEnclosing()
	for _, v := range []any{text, &text, e, map[string]any{"t": text, "e": e}} {
		out, err := json.Marshal(v)
		if err != nil || leaks(string(out)) {
			t.Errorf("json of %T: %s, %v", v, out, err)
		}
	}
	type document struct{ T Text }
	if out, err := xml.Marshal(document{text}); err != nil || leaks(string(out)) || !bytes.Contains(out, []byte(redacted)) {
		t.Errorf("xml: %s, %v", out, err)
	}
	for name, marshal := range map[string]func(any) ([]byte, error){"yaml": yaml.Marshal, "toml": toml.Marshal} {
		if out, err := marshal(document{text}); err != nil || leaks(string(out)) || !bytes.Contains(out, []byte(redacted)) {
			t.Errorf("%s: %s, %v", name, out, err)
		}
	}
	var b bytes.Buffer
	_ = gob.NewEncoder(&b).Encode(struct {
		N int
		T Text
	}{1, text}) // gob refuses the type or skips it; either way nothing may come out
	if leaks(b.String()) {
		t.Errorf("gob leaks")
	}
}

func TestTextNeverLogs(t *testing.T) {
	text, e := New(planted), newEnclosing()
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		l := slog.New(handler(&b))
		l.With("held", text).Info("login", "token", text, "ptr", &text, "all", e, "list", []Text{text},
			slog.Group("g", "token", text))
		if leaks(b.String()) {
			t.Errorf("%s handler leaks: %s", name, b.String())
		}
		if !strings.Contains(b.String(), redacted) {
			t.Errorf("%s handler wrote no %q: %s", name, redacted, b.String())
		}
	}
}

func TestTextIsNotReadBack(t *testing.T) {
	var v struct{ T Text }
	if err := json.Unmarshal([]byte(`{"T":"[redacted]"}`), &v); err == nil {
		t.Error("a redacted form was read as a secret")
	}
}

func TestTextReveal(t *testing.T) {
	var zero Text
	if zero.Reveal() != "" || !zero.IsZero() || !New("").IsZero() || New("x").IsZero() {
		t.Error("zero value")
	}
	if New(planted).Reveal() != planted {
		t.Error("Reveal")
	}
	if !New("a").Equal(New("a")) || New("a").Equal(New("b")) || New("a").Equal(zero) || !zero.Equal(New("")) {
		t.Error("Equal")
	}
	if New("a").Digest() == New("b").Digest() || len(zero.Digest()) != 64 {
		t.Error("Digest")
	}
}
