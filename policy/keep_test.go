package policy

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"

func TestKeeping(t *testing.T) {
	for text, want := range map[string]Keeping{
		"statement: {rows: 1}":                         {},
		"recording: {rows: none, terminal: none}":      {},
		"recording: {rows: sample:7}":                  {Rows: RowsSample, Sample: 7},
		"recording: {terminal: output}":                {Terminal: TerminalOutput},
		"recording: {recipients: [" + recipient + "]}": {Recipients: []string{recipient}},
	} {
		b := mustLoadOver(t, map[string]string{"limits.yaml": text})
		got := b.Keeping()
		if !got.equal(want) {
			t.Errorf("%s: %+v", text, got)
		}
		changed := slices.ContainsFunc(Diff(mustLoadOver(t, nil), b), func(c Change) bool { return c.What == "recording" })
		if changed == want.equal(Keeping{}) {
			t.Errorf("%s: diff says changed = %v", text, changed)
		}
	}
}

func TestKeepingRefusesTheRest(t *testing.T) {
	for text, want := range map[string]string{
		"recording: {rows: some}":                                  `limits.yaml:1: rows: "some" is not`,
		"recording: {rows: sample:0}":                              "a sample has 1 to 100 rows",
		"recording: {rows: sample:101}":                            "a sample has 1 to 100 rows",
		"recording: {rows: full}":                                  "rows: full needs recipients",
		"recording: {rows: full, recipients: []}":                  "rows: full needs recipients",
		"recording: {rows: full, recipients: [" + recipient + "]}": "not available in this version",
		"recording: {terminal: input}":                             `"input" is not none or output`,
		"recording: {rows: none, recipients: [age1qq]}":            "not an age recipient",
		"recording: {recipients: ['# a comment']}":                 "not one key",
		"recording: {recipients: [AGE-SECRET-KEY-1QQQQQQ]}":        "not an age recipient",
		"recording: {colums: all}":                                 "unknown key",
		"recording: all":                                           "recording must be a mapping",
	} {
		_, err := Load(fstest.MapFS{"good.cedar": {Data: []byte(permitAll)}, "limits.yaml": {Data: []byte(text)}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v\nwant %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: the error quotes a private key: %v", text, err)
		}
	}
}
