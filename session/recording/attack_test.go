package recording

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/mod/sumdb/note"
)

// An attacker has the folder, and every tool of this package; not the session
// key, nor the witness's.

// copyOf reads a recording into memory, where the attacker changes it.
func copyOf(t testing.TB, dir string) fstest.MapFS {
	t.Helper()
	m := fstest.MapFS{}
	for _, name := range []string{FileSession, FileEvents, FileCheckpoint, FileCosig, FileRedactions} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		m[name] = &fstest.MapFile{Data: data}
	}
	return m
}

func clone(m fstest.MapFS) fstest.MapFS {
	c := fstest.MapFS{}
	for name, f := range m {
		c[name] = &fstest.MapFile{Data: bytes.Clone(f.Data)}
	}
	return c
}

// readAll opens a recording as an auditor does and counts the events yielded.
func readAll(m fstest.MapFS, opt VerifyOptions) (n int64, err error) {
	r, err := OpenFS(m, opt)
	if err != nil {
		return 0, err
	}
	for _, err := range r.Events() {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// lines splits events.jsonl; join puts it together again.
func lines(m fstest.MapFS) [][]byte {
	return bytes.Split(bytes.TrimSuffix(m[FileEvents].Data, []byte("\n")), []byte("\n"))
}

func join(ls [][]byte) []byte { return append(bytes.Join(ls, []byte("\n")), '\n') }

// rechain writes the events again so that every seq and prev is right: the
// forgery that only the signed root gives away.
func rechain(t *testing.T, m fstest.MapFS, change func([]Event) []Event) {
	t.Helper()
	var all []Event
	for _, l := range lines(m) {
		e, err := ParseEvent(l)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	prev := leafHash(m[FileSession].Data)
	var out []byte
	for i, e := range change(all) {
		e.Seq, e.Prev = int64(i), prev.String()
		line, err := FormatEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		prev = leafHash(line)
		out = append(append(out, line...), '\n')
	}
	m[FileEvents].Data = out
}

// resign makes a checkpoint over the events as they are now, with a key of the
// attacker's.
func resign(t *testing.T, m fstest.MapFS, signer note.Signer) []byte {
	t.Helper()
	var tr tree
	for _, l := range lines(m) {
		tr.add(leafHash(l))
	}
	msg, err := note.Sign(&note.Note{Text: FormatCheckpoint(Checkpoint{Origin("s1"), tr.size, tr.root()})}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func newKey(t *testing.T, name string) (note.Signer, string) {
	t.Helper()
	skey, vkey, err := NewKey(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return s, vkey
}

// TestAttacks: a recording of 12 events, cosigned at 7 and at the end (or, for
// "early", only at 7), is changed; the auditor must notice, and be told where.
func TestAttacks(t *testing.T) {
	f := newFixture(t)
	f.append(t, 6)
	f.notarise(t)
	early := copyOf(t, f.dir) // the attacker kept what the folder held then
	f.append(t, 4)
	f.seal(t)
	sealed := copyOf(t, f.dir)
	cosigEarly := clone(sealed)
	cosigEarly[FileCosig] = early[FileCosig]
	trust := VerifyOptions{WitnessKeys: []string{f.srv.witness.Key()}}

	if n, err := readAll(sealed, trust); n != 12 || err != nil {
		t.Fatalf("the untouched recording: %d events, %v", n, err)
	}
	if n, err := readAll(cosigEarly, trust); n != 12 || err != nil {
		t.Fatalf("the untouched recording with an early cosig: %d events, %v", n, err)
	}

	tests := []struct {
		name    string
		from    fstest.MapFS
		trust   VerifyOptions
		do      func(m fstest.MapFS)
		segment string
		event   int64
		until   int64 // if the change can only be narrowed down to a range
	}{
		{"a letter of a statement", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			ls := lines(m)
			ls[4] = bytes.Replace(ls[4], []byte("SELECT * FROM t"), []byte("SELECT * FROM u"), 1)
			m[FileEvents].Data = join(ls)
		}, FileEvents, 4, 0},
		{"a letter of the last event", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			ls := lines(m)
			ls[11] = bytes.Replace(ls[11], []byte("sealed"), []byte("seaIed"), 1)
			m[FileEvents].Data = join(ls)
		}, FileEvents, 0, 11}, // nothing after it names it; the early cosig narrows it, below
		{"a letter of the last event, cosigned early", cosigEarly, trust, func(m fstest.MapFS) {
			ls := lines(m)
			ls[11] = bytes.Replace(ls[11], []byte("sealed"), []byte("seaIed"), 1)
			m[FileEvents].Data = join(ls)
		}, FileEvents, 7, 11},
		{"an event taken out", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			ls := lines(m)
			m[FileEvents].Data = join(append(ls[:5], ls[6:]...))
		}, FileEvents, 5, 0},
		{"two events swapped", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			ls := lines(m)
			ls[5], ls[6] = ls[6], ls[5]
			m[FileEvents].Data = join(ls)
		}, FileEvents, 5, 0},
		{"an event twice", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			ls := lines(m)
			m[FileEvents].Data = join(append(ls[:6:6], ls[5:]...))
		}, FileEvents, 6, 0},
		{"the tail dropped", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			m[FileEvents].Data = join(lines(m)[:9])
		}, FileEvents, 9, 0},
		{"the last line cut short", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			d := m[FileEvents].Data
			m[FileEvents].Data = d[:len(d)-20]
		}, FileEvents, 11, 0},
		{"the last newline dropped", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			d := m[FileEvents].Data
			m[FileEvents].Data = d[:len(d)-1]
		}, FileEvents, 11, 0},
		{"bytes added after the seal", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			m[FileEvents].Data = append(m[FileEvents].Data, `{"seq":12`...)
		}, FileEvents, 12, 0},
		{"an event added after the seal", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			rechain(t, m, func(es []Event) []Event { return append(es, statement(12)) })
		}, FileEvents, 12, 0},
		{"a recovery added after the seal", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			s, v := newKey(t, "recovery")
			rechain(t, m, func(es []Event) []Event {
				return append(es, Event{At: start, Kind: KindSessionEnded, Recovered: &RecoveredFacts{
					Key: v, Checkpoint: string(m[FileCheckpoint].Data)}})
			})
			m[FileCheckpoint].Data = resign(t, m, s)
			delete(m, FileCosig)
		}, FileEvents, 12, 0},
		{"a statement rewritten and the chain repaired", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			rechain(t, m, func(es []Event) []Event { es[3].SQL.Text = "SELECT 1"; return es })
		}, FileEvents, 0, 11},
		{"the same after the early cosig", cosigEarly, trust, func(m fstest.MapFS) {
			rechain(t, m, func(es []Event) []Event { es[8].SQL.Text = "SELECT 1"; return es })
		}, FileEvents, 7, 11},
		{"session.json rewritten", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			m[FileSession].Data = bytes.Replace(m[FileSession].Data, []byte("ana@"), []byte("bob@"), 1)
		}, FileSession, 0, 0},
		{"session.json reformatted", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			m[FileSession].Data = bytes.Replace(m[FileSession].Data, []byte(`":"`), []byte(`": "`), 1)
		}, FileSession, -1, 0},
		{"no checkpoint", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			delete(m, FileCheckpoint)
			delete(m, FileCosig)
		}, FileCheckpoint, -1, 0},
		{"an older checkpoint, with the cosig of the end", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			m[FileCheckpoint] = early[FileCheckpoint]
		}, FileCheckpoint, 7, 0},
		{"the checkpoint of another session", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			m[FileCheckpoint].Data = bytes.Replace(m[FileCheckpoint].Data, []byte("recording/s1"), []byte("recording/s2"), 1)
		}, FileCheckpoint, -1, 0},
		{"everything rewritten and signed with another key of the same name", sealed, VerifyOptions{}, func(m fstest.MapFS) {
			s, _ := newKey(t, "session-s1")
			rechain(t, m, func(es []Event) []Event { es[3].SQL.Text = "SELECT 1"; return es })
			m[FileCheckpoint].Data = resign(t, m, s)
			delete(m, FileCosig)
		}, FileCheckpoint, -1, 0},
		{"everything rewritten, session.json with the attacker's key", sealed, trust, func(m fstest.MapFS) {
			forge(t, m)
			delete(m, FileCosig)
		}, FileCosig, -1, 0},
		{"the same, keeping the cosig", sealed, trust, func(m fstest.MapFS) { forge(t, m) }, FileCosig, -1, 0},
		{"the same, with a witness of the attacker's", sealed, trust, func(m fstest.MapFS) {
			forge(t, m)
			skey, _, err := NewWitnessKey("witness.example")
			if err != nil {
				t.Fatal(err)
			}
			w, err := NewWitness(skey)
			if err != nil {
				t.Fatal(err)
			}
			n, err := note.Open(m[FileCheckpoint].Data, nil)
			var u *note.UnverifiedNoteError
			if !errors.As(err, &u) {
				t.Fatal(n, err)
			}
			if m[FileCosig].Data, err = note.Sign(&note.Note{Text: u.Note.Text, UnverifiedSigs: u.Note.UnverifiedSigs}, w.key.signer(start)); err != nil {
				t.Fatal(err)
			}
		}, FileCosig, -1, 0},
		{"the same, if the auditor knows the session key", sealed, VerifyOptions{SessionKey: f.opt.VerifierKey}, func(m fstest.MapFS) {
			forge(t, m)
			delete(m, FileCosig)
		}, FileSession, -1, 0},
		{"no cosig, if the auditor asks for one", sealed, trust, func(m fstest.MapFS) { delete(m, FileCosig) }, FileCosig, -1, 0},
		{"the time of the cosignature", sealed, trust, func(m fstest.MapFS) {
			d := m[FileCosig].Data
			at := bytes.LastIndexByte(d, ' ') + 1
			raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(d[at:])))
			if err != nil {
				t.Fatal(err)
			}
			raw[11]++ // the last byte of the time
			m[FileCosig].Data = append(d[:at:at], base64.StdEncoding.EncodeToString(raw)+"\n"...)
		}, FileCosig, -1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := clone(tt.from)
			tt.do(m)
			n, err := readAll(m, tt.trust)
			var te *TamperError
			if !errors.As(err, &te) {
				t.Fatalf("%d events, error %v; want a TamperError", n, err)
			}
			if te.Segment != tt.segment || te.Event != tt.event || te.Until != tt.until {
				t.Errorf("named %s events %d to %d (%v), want %s events %d to %d", te.Segment, te.Event, te.Until, te, tt.segment, tt.event, tt.until)
			}
			if n > 0 {
				t.Errorf("%d events were yielded", n)
			}
		})
	}
}

// forge rewrites a recording whole: a statement, the keys and every signature
// but the witness's.
func forge(t *testing.T, m fstest.MapFS) {
	t.Helper()
	s, v := newKey(t, "session-s1")
	h, err := parseHeader(m[FileSession].Data)
	if err != nil {
		t.Fatal(err)
	}
	h.Key, h.Witness = v, ""
	if m[FileSession].Data, err = formatHeader(h); err != nil {
		t.Fatal(err)
	}
	rechain(t, m, func(es []Event) []Event { es[3].SQL.Text = "SELECT 1"; return es })
	m[FileCheckpoint].Data = resign(t, m, s)
}

// TestRollback: whoever holds an older copy of the whole folder can put it back.
// Alone it cannot be told from a crash, and is reported as unsealed; the
// witness's own copy gives it away, because it covers more.
func TestRollback(t *testing.T) {
	f := newFixture(t)
	f.append(t, 6)
	f.notarise(t)
	old := copyOf(t, f.dir)
	f.append(t, 4)
	f.seal(t)

	r, err := OpenFS(old, VerifyOptions{WitnessKeys: []string{f.srv.witness.Key()}})
	if err != nil {
		t.Fatal(err)
	}
	if rep := r.Report(); rep.Sealed || rep.Events != 7 {
		t.Errorf("report = %+v, want unsealed at 7", rep)
	}
	var te *TamperError
	if _, err := OpenFS(old, VerifyOptions{Cosig: f.srv.cosigned}); !errors.As(err, &te) || te.Event != 7 {
		t.Errorf("with the server's cosig: %v, want a TamperError at event 7", err)
	}
}

// TestEveryByteCounts flips a bit of each byte of a recording, cuts it at each
// place, and expects every one to be found before an event comes out.
func TestEveryByteCounts(t *testing.T) {
	f := newFixture(t)
	f.append(t, 1)
	f.seal(t)
	m := copyOf(t, f.dir)
	trust := VerifyOptions{WitnessKeys: []string{f.srv.witness.Key()}}
	check := func(what string, c fstest.MapFS) {
		t.Helper()
		if n, err := readAll(c, trust); err == nil || n > 0 {
			t.Errorf("%s: %d events, error %v", what, n, err)
		}
		// A lazy reader finds a changed text with its event, and no later.
		lazy := trust
		lazy.Lazy = true
		var te *TamperError
		if n, err := readAll(c, lazy); err == nil || n > 0 && (!errors.As(err, &te) || te.Segment != FileEvents || te.Event != n) {
			t.Errorf("%s, lazily: %d events, error %v", what, n, err)
		}
	}
	for name, file := range m {
		for i := range file.Data {
			c := clone(m)
			bit := byte(1) << (i % 8)
			c[name].Data[i] ^= bit
			check(fmt.Sprintf("%s byte %d ^ %#x", name, i, bit), c)
			c = clone(m)
			c[name].Data = c[name].Data[:i]
			check(fmt.Sprintf("%s cut at %d", name, i), c)
		}
	}
}

// TestLostCheckpoint: only a log of a single event can have lost its checkpoint
// to a crash.
func TestLostCheckpoint(t *testing.T) {
	f := newFixture(t)
	m := copyOf(t, f.dir)
	delete(m, FileCheckpoint)
	if _, err := readAll(m, VerifyOptions{}); !errors.Is(err, ErrEmpty) {
		t.Errorf("one event: %v, want ErrEmpty", err)
	}
	f.append(t, 1)
	f.seal(t)
	m = copyOf(t, f.dir)
	delete(m, FileCheckpoint)
	delete(m, FileCosig)
	var te *TamperError
	if _, err := readAll(m, VerifyOptions{}); !errors.As(err, &te) {
		t.Errorf("three events: %v, want a TamperError", err)
	}
}

// TestChangedWhileRead: the file changes after it was verified.
func TestChangedWhileRead(t *testing.T) {
	f := newFixture(t)
	f.append(t, 5)
	f.seal(t)
	r, err := Open(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := filepath.Join(f.dir, FileEvents)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(data, []byte(`"stmt-3"`), []byte(`"stmt-X"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := events(r)
	var te *TamperError
	if !errors.As(err, &te) || te.Event != 3 || len(all) != 3 {
		t.Errorf("%d events, error %v; want 3 and a TamperError at event 3", len(all), err)
	}
}

// FuzzTampering applies one edit anywhere in any file.
func FuzzTampering(f *testing.F) {
	fx := newFixture(f)
	for i := range int64(4) {
		if _, err := fx.Append(context.Background(), statement(i)); err != nil {
			f.Fatal(err)
		}
	}
	if err := fx.Seal(context.Background()); err != nil {
		f.Fatal(err)
	}
	m := copyOf(f, fx.dir)
	names := []string{FileSession, FileEvents, FileCheckpoint, FileCosig}
	trust := VerifyOptions{WitnessKeys: []string{fx.srv.witness.Key()}}
	f.Add(uint8(1), uint8(0), uint16(100), uint16(0), []byte{'x'})
	f.Add(uint8(1), uint8(1), uint16(300), uint16(20), []byte(nil))
	f.Add(uint8(3), uint8(2), uint16(10), uint16(30), []byte(nil))
	f.Fuzz(func(t *testing.T, file, op uint8, at, n uint16, put []byte) {
		c := clone(m)
		name := names[int(file)%len(names)]
		d := c[name].Data
		i := int(at) % (len(d) + 1)
		j := min(i+int(n), len(d))
		switch op % 4 {
		case 0: // replace
			d = bytes.Join([][]byte{d[:i], put, d[j:]}, nil)
		case 1: // cut out
			d = bytes.Join([][]byte{d[:i], d[j:]}, nil)
		case 2: // double
			d = bytes.Join([][]byte{d[:j], d[i:]}, nil)
		case 3: // move to the end
			d = bytes.Join([][]byte{d[:i], d[j:], d[i:j]}, nil)
		}
		if bytes.Equal(d, m[name].Data) {
			return
		}
		c[name].Data = d
		if n, err := readAll(c, trust); err == nil || n > 0 {
			t.Errorf("%s: %d events, error %v", name, n, err)
		}
	})
}
