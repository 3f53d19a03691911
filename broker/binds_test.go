package broker

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func bulkBinds(t *testing.T, n int, last string) string {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	ids[n-1] = last
	raw, err := json.Marshal(map[string]any{"1": map[string]any{"type": "TEXT", "value": ids}})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestShownBinds: what is short is told whole; what is long is told in little,
// as JSON, and differs whenever any value differs.
func TestShownBinds(t *testing.T) {
	if small := bulkBinds(t, 10, "z"); shownBinds(small) != small || shownBinds("") != "" {
		t.Error("short binds are not told whole")
	}
	one, other := shownBinds(bulkBinds(t, 100_000, "a")), shownBinds(bulkBinds(t, 100_000, "b"))
	if one == other {
		t.Error("two lists that differ in their last value are told alike")
	}
	var shown struct {
		Positions int
		First     map[string]struct {
			Type  string
			Rows  int
			Value []string
		}
	}
	if err := json.Unmarshal([]byte(one), &shown); err != nil {
		t.Fatalf("%v: %s", err, one)
	}
	if first := shown.First["1"]; shown.Positions != 1 || first.Type != "TEXT" || first.Rows != 100_000 || fmt.Sprint(first.Value) != "[0 1 2 3 4]" {
		t.Errorf("told as %s", one)
	}
	for _, long := range []string{
		`{"1":{"type":"TEXT","value":"` + strings.Repeat("ü", wholeBinds) + `"}}`,
		`{"1":{"value":["` + strings.Repeat("x", wholeBinds) + `",null]}}`,
		`{"1":{"type":"TEXT","value":null},"2":{"type":"TEXT","value":"` + strings.Repeat("x", wholeBinds) + `"}}`,
		strings.Repeat("[", wholeBinds+1),
	} {
		if got := shownBinds(long); len(got) > 4096 || !json.Valid([]byte(got)) {
			t.Errorf("%.40s… is told as %d bytes: %.200s", long, len(got), got)
		}
	}
}
