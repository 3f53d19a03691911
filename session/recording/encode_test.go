package recording

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

func TestParseEventRefuses(t *testing.T) {
	e := statement(3)
	e.Seq, e.Prev, e.At = 3, tlog.RecordHash(nil).String(), start
	good, err := FormatEvent(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseEvent(good); err != nil {
		t.Fatal(err)
	}
	replace := func(from, to string) string { return string(bytes.Replace(good, []byte(from), []byte(to), 1)) }
	for name, line := range map[string]string{
		"empty":               "",
		"white space":         replace(`,"at"`, `, "at"`),
		"trailing newline":    string(good) + "\n",
		"a second value":      string(good) + "{}",
		"an unknown member":   replace(`,"at"`, `,"x":1,"at"`),
		"a member twice":      replace(`"verdict":"allow"`, `"verdict":"deny","verdict":"allow"`),
		"another order":       replace(`"verdict":"allow","rule":"default"`, `"rule":"default","verdict":"allow"`),
		"another case":        replace(`"verdict"`, `"Verdict"`),
		"an escaped letter":   replace(`"allow"`, `"\u0061llow"`),
		"escaped HTML":        replace(`a < 3`, `a \u003c 3`),
		"a long number":       replace(`"seq":3`, `"seq":3.0`),
		"a zero in front":     replace(`"seq":3`, `"seq":03`),
		"another time zone":   replace(`12:00:00Z`, `12:00:00+00:00`),
		"an empty member":     replace(`,"at"`, `,"note":"","at"`),
		"not UTF-8":           replace(`SELECT *`, "SELECT \xff"),
		"a prev that is none": replace(e.Prev, "x"),
	} {
		if got, err := ParseEvent([]byte(line)); err == nil {
			t.Errorf("%s was accepted: %+v", name, got)
		}
	}
}

// FuzzParseEvent: what is accepted has one encoding, and the header that is
// compared while scanning is the one that is decoded.
func FuzzParseEvent(f *testing.F) {
	e := statement(3)
	e.Seq, e.Prev, e.At = 3, tlog.RecordHash(nil).String(), start
	good, err := FormatEvent(e)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"seq":0,"prev":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","at":"2026-01-01T00:00:00Z","kind":"x"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := ParseEvent(line)
		if err != nil {
			return
		}
		again, err := FormatEvent(e)
		if err != nil || !bytes.Equal(again, line) {
			t.Errorf("%q is accepted and written as %q, %v", line, again, err)
		}
		seq, prev, rest, ok := splitHeader(line)
		if e.Seq < 0 {
			return // no line of a log: the scanner refuses it
		}
		kind := kindOf(rest)
		if strings.ContainsAny(string(e.Kind), "\"\\") || strings.Contains(string(kind), `\`) {
			kind = e.Kind // escaped: kindOf reads plain kinds only, and all that mean something are
		}
		if !ok || seq != e.Seq || prev.String() != e.Prev || kind != e.Kind {
			t.Errorf("%q: header says %d %s %q, ok %v", line, seq, prev, kindOf(rest), ok)
		}
	})
}

// FuzzParseCheckpoint: what is accepted has one encoding.
func FuzzParseCheckpoint(f *testing.F) {
	f.Add(FormatCheckpoint(Checkpoint{Origin("s1"), 5, tlog.RecordHash(nil)}))
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := ParseCheckpoint(text); err == nil && (FormatCheckpoint(c) != text || c.Size < 1) {
			t.Errorf("%q is accepted as %+v", text, c)
		}
	})
}
