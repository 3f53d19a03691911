package sql

import (
	"fmt"
	"strings"
	"testing"
)

func TestLiterals(t *testing.T) {
	text := `SELECT 'it''s', $$a'b$$, 4111, "not 'this'", x FROM t WHERE y = 'a\xb' -- done by ana`
	list, err := Literals(text)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range list {
		got = append(got, fmt.Sprintf("%s=%s", text[l.Pos:l.End], l.Value))
	}
	want := `'it''s'=it's|$$a'b$$=a'b|4111=4111|'a\xb'=a\xb|-- done by ana=-- done by ana`
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("literals: %s\nwant      %s", s, want)
	}
	if _, err := Literals("SELECT 'open"); err == nil {
		t.Error("a text that cannot be read has literals")
	}
}
