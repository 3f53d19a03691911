package recording

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/jit-access/jit/session/secret"
)

// The attacker here is the machine that records: it has the session key and may
// send the witness anything.

// forker writes logs with a session key, as the Writer would not.
type forker struct {
	t      *testing.T
	signer note.Signer
	key    string
	w      *Witness
	salts  map[string][]opening // the same text in the same place is the same event
}

func newForker(t *testing.T) *forker {
	s, v := newKey(t, "session-s1")
	skey, _, err := NewWitnessKey("witness.example")
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWitness(skey)
	if err != nil {
		t.Fatal(err)
	}
	return &forker{t, s, v, w, map[string][]opening{}}
}

// log makes the lines of a log of statements with the given texts, and its
// checkpoint.
func (f *forker) log(texts ...string) (data, checkpoint []byte) {
	f.t.Helper()
	var tr tree
	prev := tlog.RecordHash([]byte("session.json"))
	for i, text := range texts {
		e := Event{Seq: int64(i), Prev: prev.String(), At: start, Kind: KindStatement, SQL: &StatementFacts{Text: text}}
		switch {
		case i == 0:
			e.Kind = KindSessionOpened
		case text == "end":
			e.Kind, e.SQL = KindSessionEnded, nil
		}
		where := fmt.Sprintf("%d %s", i, text)
		e.openings = f.salts[where]
		line, err := FormatEvent(e)
		if err != nil {
			f.t.Fatal(err)
		}
		if e, err = ParseEvent(line); err != nil {
			f.t.Fatal(err)
		}
		f.salts[where] = e.openings
		prev = leafHash(line)
		tr.add(prev)
		data = append(append(data, line...), '\n')
	}
	return data, f.sign(Checkpoint{Origin("s1"), tr.size, tr.root()})
}

func (f *forker) sign(c Checkpoint) []byte {
	f.t.Helper()
	msg, err := note.Sign(&note.Note{Text: FormatCheckpoint(c)}, f.signer)
	if err != nil {
		f.t.Fatal(err)
	}
	return msg
}

// observe submits a checkpoint with the bytes that follow what state covers.
func (f *forker) observe(state, checkpoint, data []byte) ([]byte, []byte, error) {
	f.t.Helper()
	offset, err := WitnessOffset(state)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.w.Observe(Observation{State: state, SessionID: "s1", SessionKey: f.key, Checkpoint: checkpoint,
		Events: bytes.NewReader(data[min(offset, int64(len(data))):]), Now: start})
}

func TestWitnessRefuses(t *testing.T) {
	f := newForker(t)
	data, cp3 := f.log("open", "a", "b")
	state, _, err := f.observe(nil, cp3, data)
	if err != nil {
		t.Fatal(err)
	}
	longer, cp5 := f.log("open", "a", "b", "c", "d")
	ended, cpEnd := f.log("open", "a", "b", "end")
	endState, _, err := f.observe(state, cpEnd, ended)
	if err != nil {
		t.Fatal(err)
	}
	short, cp2 := f.log("open", "a")
	fork3, cpFork3 := f.log("open", "a", "x")
	fork5, cpFork5 := f.log("open", "a", "x", "c", "d")
	afterEnd, cpAfterEnd := f.log("open", "a", "b", "end", "more")
	otherKey := newForker(t)
	_, cpOther := otherKey.log("open", "a", "b", "c", "d")
	otherOrigin := f.sign(Checkpoint{Origin("s2"), 5, tlog.Hash{}})

	tests := []struct {
		name                    string
		state, checkpoint, data []byte
	}{
		{"a shortened log", state, cp2, short},
		{"a rewritten log of the same size", state, cpFork3, fork3},
		{"a rewritten and continued log", state, cpFork5, fork5},
		{"a rewritten log, sent with the true bytes", state, cpFork5, longer},
		{"events after the end", endState, cpAfterEnd, afterEnd},
		{"events after the end, all at once", state, cpAfterEnd, afterEnd},
		{"a checkpoint of another key", state, cpOther, longer},
		{"a checkpoint of another session", state, otherOrigin, longer},
		{"a checkpoint with a letter changed", state, bytes.Replace(cp5, []byte("\n5\n"), []byte("\n4\n"), 1), longer},
		{"a checkpoint of more events than int64", state, bytes.Replace(cp5, []byte("\n5\n"), []byte("\n99999999999999999999\n"), 1), longer},
		{"no note at all", state, []byte("hello\n"), longer},
		{"the first checkpoint over a broken log", nil, cp5, bytes.Replace(longer, []byte(`"a"`), []byte(`"x"`), 1)},
		{"a text that the log does not commit to", state, cp5, bytes.Replace(longer, []byte(`"d"]`), []byte(`"e"]`), 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			next, cosigned, err := f.observe(tt.state, tt.checkpoint, tt.data)
			var te *TamperError
			if !errors.As(err, &te) || next != nil || cosigned != nil {
				t.Errorf("error = %v, cosigned %d bytes; want a TamperError", err, len(cosigned))
			}
		})
	}

	t.Run("bytes that are not there yet", func(t *testing.T) {
		for _, cut := range []int{len(data), len(longer) - 1} {
			if _, _, err := f.observe(state, cp5, longer[:cut]); !errors.Is(err, ErrIncomplete) {
				t.Errorf("with %d of %d bytes: %v, want ErrIncomplete", cut, len(longer), err)
			}
		}
	})
	t.Run("the true continuation still passes", func(t *testing.T) {
		next, cosigned, err := f.observe(state, cp5, longer)
		if err != nil {
			t.Fatal(err)
		}
		if c, _, err := openCheckpoint(cosigned, "s1", f.key, f.w.Key()); err != nil || c.Size != 5 {
			t.Errorf("cosigned %+v, %v", c, err)
		}
		if _, _, err := f.observe(next, cp5, longer); err != nil {
			t.Errorf("asking again: %v", err)
		}
		if _, _, err := f.observe(next, cp3, longer); err == nil {
			t.Error("an older checkpoint was cosigned again")
		}
	})
	t.Run("state of another session", func(t *testing.T) {
		_, _, err := f.w.Observe(Observation{State: state, SessionID: "s2", SessionKey: f.key, Checkpoint: cp5, Events: bytes.NewReader(nil), Now: start})
		if err == nil {
			t.Error("cosigned with the state of another session")
		}
	})
}

// TestWitnessInAnySteps: however a log reaches the witness, what it knows in the
// end is the same.
func TestWitnessInAnySteps(t *testing.T) {
	f := newForker(t)
	texts := []string{"open"}
	for i := range 19 {
		texts = append(texts, strings.Repeat("x", i))
	}
	data, cp := f.log(append(texts, "end")...)
	once, _, err := f.observe(nil, cp, data)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		var state []byte
		for size := 0; size < len(texts); {
			size += rapid.IntRange(1, len(texts)-size).Draw(rt, "events")
			_, cp := f.log(texts[:size]...)
			next, _, err := f.observe(state, cp, data)
			if err != nil {
				rt.Fatal(err)
			}
			state = next
		}
		state, _, err := f.observe(state, cp, data)
		if err != nil || !bytes.Equal(state, once) {
			rt.Fatalf("%v: %s, want %s", err, state, once)
		}
	})
}

func TestWitnessStateIsChecked(t *testing.T) {
	for _, state := range []string{`{`, `{"size":3,"peaks":[]}`, `{"size":-1}`, `{"sizes":1}`} {
		if _, err := WitnessOffset([]byte(state)); err == nil {
			t.Errorf("state %s was accepted", state)
		}
	}
}

func TestWitnessKeys(t *testing.T) {
	skey, vkey, err := NewWitnessKey("w")
	if err != nil {
		t.Fatal(err)
	}
	noteKey, noteVerifier, err := NewKey("w")
	if err != nil {
		t.Fatal(err)
	}
	if w, err := NewWitness(skey); err != nil || w.Key() != vkey {
		t.Errorf("its own key: %v", err)
	}
	if _, err := NewWitness(noteKey); err == nil {
		t.Error("a session key made a witness")
	}
	if _, err := NewWitness(secret.New(strings.Replace(skey.Reveal(), "+w+", "+x+", 1))); err == nil {
		t.Error("a key under another name made a witness")
	}
	for _, bad := range []string{"", "w", "w+00000000+BA==", strings.Replace(vkey, "w+", "x+", 1), vkey + "A", strings.Replace(noteVerifier, "w+", "x+", 1)} {
		if _, err := newVerifier(bad); err == nil {
			t.Errorf("verifier key %q was accepted", bad)
		}
	}
	if _, _, err := NewKey("with space"); err == nil {
		t.Error("a key name with a space was accepted")
	}
}

// TestTreeMatchesTlog compares the right-edge tree with golang.org/x/mod's at
// every size up to 200.
func TestTreeMatchesTlog(t *testing.T) {
	var tr tree
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(at))
		for i, x := range at {
			out[i] = stored[x]
		}
		return out, nil
	})
	for n := range int64(200) {
		want, err := tlog.TreeHash(n, read)
		if err != nil {
			t.Fatal(err)
		}
		if got := tr.root(); got != want {
			t.Fatalf("root of %d leaves = %v, want %v", n, got, want)
		}
		if err := tr.check(); err != nil {
			t.Fatal(err)
		}
		data := []byte{byte(n), byte(n >> 8)}
		hashes, err := tlog.StoredHashes(n, data, read)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		tr.add(tlog.RecordHash(data))
	}
}

// FuzzWitness gives the witness arbitrary state, note and bytes: it must never
// cosign what it cannot have computed.
func FuzzWitness(f *testing.F) {
	f.Add([]byte(nil), []byte("a\n1\nx\n\n— n AAAA\n"), []byte("{}\n"))
	f.Add([]byte(`{"size":1,"peaks":["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]}`), []byte(nil), []byte(nil))
	_, vkey, err := NewKey("k")
	if err != nil {
		f.Fatal(err)
	}
	skey, _, err := NewWitnessKey("w")
	if err != nil {
		f.Fatal(err)
	}
	w, err := NewWitness(skey)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, state, checkpoint, data []byte) {
		_, cosigned, err := w.Observe(Observation{State: state, SessionID: "s1", SessionKey: vkey,
			Checkpoint: checkpoint, Events: bytes.NewReader(data), Now: start})
		if err == nil || cosigned != nil {
			t.Errorf("cosigned without a signature of the session key: %q", cosigned)
		}
	})
}
