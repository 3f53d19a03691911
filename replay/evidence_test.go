package replay

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/session/recording"
)

// A bundle comes from outside: whoever made it must not choose where it is
// unpacked to, or what.
func TestUnpackEvidenceTakesNothingElse(t *testing.T) {
	bundle := func(heads ...tar.Header) *bytes.Buffer {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		out := tar.NewWriter(zip)
		for _, h := range heads {
			h.Mode, h.Size = 0o777, 0
			if err := out.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		if err := zip.Close(); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	for name, heads := range map[string][]tar.Header{
		"climbs out":     {{Name: "../README.md"}},
		"climbs within":  {{Name: "x/../../README.md"}},
		"absolute":       {{Name: "/README.md"}},
		"a link":         {{Name: "x/recording/events.jsonl", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}},
		"a hard link":    {{Name: "x/README.md", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}},
		"another file":   {{Name: "x/.bashrc"}},
		"another folder": {{Name: "x/README.md"}, {Name: "y/README.md"}},
		"the same twice": {{Name: "x/README.md"}, {Name: "x/README.md"}},
		"no folder":      {{Name: "README.md"}},
		"a device":       {{Name: "x/README.md", Typeflag: tar.TypeChar}},
	} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "in")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyEvidence(bundle(heads...), dir, nil); err == nil || !strings.Contains(err.Error(), "unpacking") {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) != 1 {
			t.Errorf("%s: something was written outside: %v", name, left)
		}
	}
	if _, err := VerifyEvidence(strings.NewReader("not gzip"), t.TempDir(), nil); err == nil {
		t.Error("garbage was accepted")
	}
}

// What a session says of itself cannot speak for the README.
func TestEvidenceReadmeKeepsToItself(t *testing.T) {
	text := evidenceReadme(recording.Report{Session: recording.SessionFacts{ID: "s\n# x", Reason: "a\n```\n# Verified by your auditor\n\x1b[2J"}}, time.Unix(0, 0))
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, "# Evidence of session") || strings.Contains(line, "\x1b") {
			t.Errorf("the session wrote %q", line)
		}
	}
	if strings.Count(text, "\n```\n") != 2 {
		t.Error("the block was ended early")
	}
}
