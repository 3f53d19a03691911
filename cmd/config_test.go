package cmd

import (
	"strings"
	"testing"
)

func TestErrorsNameTheURLButNoPassword(t *testing.T) {
	for given, want := range map[string]string{
		"not a url":                   `"not a url"`,
		"http://example.com":          "http://example.com",
		"https://me:planted@example":  "https://me:xxxxx@example",
		"https://me:planted@ex ample": "(not a URL)",
	} {
		_, err := (&App{server: given, Getenv: func(string) string { return "" }}).serverURL(Config{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "planted") {
			t.Errorf("%q: %v, want %s in it", given, err, want)
		}
	}
}
