package policy

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

func TestDetectors(t *testing.T) {
	jwt := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + ".e30.c2ln"
	for _, tt := range []struct {
		word     string
		yes, not []string
	}{
		{"email", []string{"ana@example.com", "a.b+c@x-y.co.uk"},
			[]string{"ana", "@example.com", "ana@", "ana@example", "ana@example.c", "a..b@example.com", ".a@example.com", "ana@-x.com", "ana@1.2.3.4", "a b@example.com", "npm@1.2.3"}},
		{"card", []string{"4111111111111111", "4111-1111-1111-1111", "378282246310005", "5555555555554444", "6011111111111117", "3530111333300000"},
			[]string{"4111111111111112", "1234567890123456", "9111111111111111", "411111111111", "4111--1111-1111-1111", "41111111111111110000"}},
		{"iban", []string{"DE89370400440532013000", "GB82 WEST 1234 5698 7654 32", "NO9386011117947"},
			[]string{"DE89370400440532013001", "de89370400440532013000", "123456789012345678", "DE89", "2989370400440532013000"}},
		{"ssn", []string{"123-45-6789", "001-01-0001"},
			[]string{"123456789", "000-45-6789", "666-45-6789", "900-45-6789", "123-00-6789", "123-45-0000", "123-45-678a", "2024-01-02"}},
		{"jwt", []string{jwt}, []string{"a.b.c", "1.2.3", strings.Replace(jwt, ".", "..", 1), "e30.e30.c2ln", "www.example.com"}},
		{"secret-key", []string{"AKIAIOSFODNN7EXAMPLE", "ghp_" + strings.Repeat("a", 36), "-----BEGIN RSA PRIVATE KEY-----\nMIIE"},
			[]string{"AKIA", "AKIAS ARE SHORT FOR SOMETHING", "ghp_short", "-----BEGIN CERTIFICATE-----"}},
		{"phone", []string{"+14155550123", "+1 (415) 555-0123", "+49 30 901820"},
			[]string{"14155550123", "+0200", "+0123456789", "415-555-0123", "+1.2.3", "+1234567890123456"}},
	} {
		for _, v := range tt.yes {
			if !detectorOf(tt.word)(v) {
				t.Errorf("%s: %q is not found", tt.word, v)
			}
		}
		for _, v := range tt.not {
			if detectorOf(tt.word)(v) {
				t.Errorf("%s: %q is found", tt.word, v)
			}
		}
	}
}

func TestDetectColumn(t *testing.T) {
	fill := func(n int, v string, rest ...string) []string {
		out := append([]string{}, rest...)
		for range n {
			out = append(out, v)
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		sample []string
		clear  []string
		want   ColumnMask
	}{
		{"nothing", nil, nil, ColumnMask{}},
		{"empty values", []string{"", ""}, nil, ColumnMask{}},
		{"plain text", fill(20, "hello"), nil, ColumnMask{}},
		{"one e-mail alone", []string{"ana@example.com"}, nil, ColumnMask{"pii.email", MaskKeepDomain}},
		{"a tenth", fill(9, "hello", "ana@example.com"), nil, ColumnMask{"pii.email", MaskKeepDomain}},
		{"less than a tenth", fill(10, "hello", "ana@example.com"), nil, ColumnMask{}},
		{"empty values do not count", append(fill(9, "hello", "ana@example.com"), fill(50, "")...), nil, ColumnMask{"pii.email", MaskKeepDomain}},
		{"at the end of a long text", []string{strings.Repeat("a b ", 20) + "ana@example.com."}, nil, ColumnMask{"pii.email", MaskKeepDomain}},
		{"inside a text", []string{"write to <ana@example.com>, please."}, nil, ColumnMask{"pii.email", MaskKeepDomain}},
		{"two classes: the strictest", []string{"ana@example.com", "123-45-6789"}, nil, ColumnMask{"pii.ssn", MaskRedact}},
		{"read in clear", []string{"ana@example.com"}, []string{"pii.email"}, ColumnMask{}},
		{"order numbers", []string{"1234567890123456", "2234567890123456"}, nil, ColumnMask{}},
	} {
		got, found := Default().DetectColumn(tt.sample, tt.clear...)
		if got != tt.want || found != tt.want.Hides() {
			t.Errorf("%s: got %v, %v", tt.name, got, found)
		}
	}
}

func FuzzDetect(f *testing.F) {
	f.Add("ana@example.com")
	f.Add("DE89 3704 0044 0532 0130 00")
	f.Add("@")
	f.Add("éé")
	f.Fuzz(func(t *testing.T, v string) {
		for word := range strings.SplitSeq(detectorWords, ", ") {
			is := detectorOf(word)
			if is(v) && !slices.ContainsFunc(wordsOf(nil, v), is) && strings.TrimSpace(v) == v && len(v) <= detectBytes {
				t.Errorf("%s: found whole but not within %q", word, v)
			}
		}
		Default().DetectColumn([]string{v})
	})
}
