package recording

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// otherWitness is a key that signed nothing here.
func otherWitness(t *testing.T) string {
	t.Helper()
	_, vkey, err := NewWitnessKey("witness.example")
	if err != nil {
		t.Fatal(err)
	}
	return vkey
}

// TestWitnessKeyValidity: what a key signed outside its time does not count, and
// the second verifier agrees. The fixture's witness signs at 12:01:00.
func TestWitnessKeyValidity(t *testing.T) {
	needPython(t)
	f := newFixture(t)
	f.append(t, 3)
	f.seal(t)
	key, other := f.srv.witness.Key(), otherWitness(t)
	for _, tt := range []struct {
		name, file string
		valid      bool
	}{
		{"no time", key, true},
		{"within both ends", key + " from=2026-03-01T12:00:00Z until=2026-03-01T13:00:00Z", true},
		{"on both ends", key + " until=2026-03-01T12:01:00Z from=2026-03-01T12:01:00Z", true},
		{"in another zone", key + " from=2026-03-01T13:00:00+01:00", true},
		{"an older and a newer key, of a server", "# ours\n\nhttps://jit.example.com " + other + " until=2026-03-01T12:00:59Z\nhttps://jit.example.com " + key + " from=2026-03-01T12:01:00Z\n", true},
		{"the same line twice", key + "\n" + key + "\n", true},
		{"before it was valid", key + " from=2026-03-01T12:01:01Z", false},
		{"before it was valid, in another zone", key + " from=2026-03-01T12:02:00-01:00", false},
		{"after it was retired", key + " until=2026-03-01T12:00:59Z", false},
		{"after it was retired, with another key that is valid", key + " until=2026-03-01T12:00:59Z\n" + other, false},
		{"only another key", other, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "keys")
			if err := os.WriteFile(file, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			keys, err := ParseWitnessKeys([]byte(tt.file))
			if err != nil {
				t.Fatal(err)
			}
			rep, err := Verify(f.dir, VerifyOptions{WitnessKeys: keys})
			if tt.valid && (err != nil || !rep.Trusted || rep.Unwitnessed != 0 || rep.Cosigned[0].Key != key) {
				t.Errorf("report %+v, %v", rep, err)
			}
			var te *TamperError
			if !tt.valid && (!errors.As(err, &te) || te.Segment != FileCosig) {
				t.Errorf("error %v, want a TamperError of %s", err, FileCosig)
			}
			if _, err := python(t, f.dir, file); (err == nil) != tt.valid {
				t.Errorf("verify.py: %v", err)
			}
		})
	}
}

func TestWitnessKeyFilesAreRefused(t *testing.T) {
	key := otherWitness(t)
	for name, file := range map[string]string{
		"no key":                      "https://jit.example.com",
		"a damaged key":               strings.Replace(key, "witness", "witless", 1),
		"an unknown member":           key + " since=2026-03-01T12:00:00Z",
		"a date":                      key + " from=2026-03-01",
		"parts of seconds":            key + " from=2026-03-01T12:00:00.5Z",
		"an empty time":               key + " until=",
		"two beginnings":              key + " from=2026-03-01T12:00:00Z from=2026-03-02T12:00:00Z",
		"an end before its beginning": key + " from=2026-03-02T12:00:00Z until=2026-03-01T12:00:00Z",
		"two times for one key":       key + "\n" + key + " until=2026-03-01T12:00:00Z",
		"two servers on a line":       "a b " + key,
	} {
		if keys, err := ParseWitnessKeys([]byte(file)); err == nil {
			t.Errorf("%s: read as %q", name, keys)
		}
	}
	if keys, err := ParseWitnessKeys([]byte("# none\n\n")); err != nil || len(keys) > 0 {
		t.Errorf("an empty file: %q, %v", keys, err)
	}
	f := newFixture(t)
	f.seal(t)
	if _, err := Verify(f.dir, VerifyOptions{WitnessKeys: []string{f.srv.witness.Key() + " until=never"}}); err == nil {
		t.Error("a key with a malformed time verified a recording")
	}
}

// TestOnlyTheEndorsedKeySigns: the witness signs only what the key signed that
// the server registered when the session was opened, and the events hold that
// key. A machine that made itself another key, and puts its signature beside the
// witness's, is found out.
func TestOnlyTheEndorsedKeySigns(t *testing.T) {
	needPython(t)
	f := newFixture(t)
	f.append(t, 3)
	f.seal(t)
	signer, vkey := newKey(t, "session-s1")
	swapped := func(m []byte) []byte { // the same words, and the witness's signature under another's
		text, sigs, ok := bytes.Cut(m, []byte("\n\n"))
		if !ok {
			t.Fatalf("no note: %s", m)
		}
		fresh, err := note.Sign(&note.Note{Text: string(text) + "\n"}, signer)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := bytes.Cut(sigs, []byte("\n"))
		return slices.Concat(fresh, rest)
	}
	for name, header := range map[string]bool{"and session.json with it": true, "alone": false} {
		t.Run(name, func(t *testing.T) {
			m := copyOf(t, f.dir)
			m[FileCheckpoint].Data, m[FileCosig].Data = swapped(m[FileCheckpoint].Data), swapped(m[FileCosig].Data)
			if header {
				h, err := parseHeader(m[FileSession].Data)
				if err != nil {
					t.Fatal(err)
				}
				h.Key = vkey
				if m[FileSession].Data, err = formatHeader(h); err != nil {
					t.Fatal(err)
				}
			}
			var te *TamperError
			if _, err := OpenFS(m, VerifyOptions{WitnessKeys: []string{f.srv.witness.Key()}}); !errors.As(err, &te) {
				t.Errorf("error %v, want a TamperError", err)
			}
			dir := t.TempDir()
			for file, data := range m {
				if err := os.WriteFile(filepath.Join(dir, file), data.Data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if rep, err := python(t, dir, f.srv.witness.Key()); err == nil {
				t.Errorf("verify.py accepted it: %+v", rep)
			}
		})
	}
}
