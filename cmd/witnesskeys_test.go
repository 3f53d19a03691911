package cmd

import (
	"os"
	"slices"
	"testing"

	"github.com/jit-access/jit/session/recording"
)

func TestWitnessKeysAreKeptLikeHostKeys(t *testing.T) {
	a := &App{Paths: Paths{State: t.TempDir()}}
	newKey := func() string {
		_, vkey, err := recording.NewWitnessKey("server")
		if err != nil {
			t.Fatal(err)
		}
		return vkey
	}
	first, second := newKey(), newKey()
	for _, step := range []struct {
		key     string
		changed bool
	}{{"", false}, {first, false}, {first, false}, {second, true}, {first, false}} {
		if changed, err := a.rememberWitness("https://jit.example.com", step.key); err != nil || changed != step.changed {
			t.Errorf("%q: changed %v, %v", step.key, changed, err)
		}
	}
	if changed, err := a.rememberWitness("https://other.example.com", second); err != nil || changed {
		t.Errorf("another server's first key: changed %v, %v", changed, err)
	}
	keys, err := a.witnessKeys()
	if err != nil || !slices.Equal(keys, []string{first, second}) {
		t.Errorf("known keys %q, %v", keys, err)
	}
}

// A time that somebody wrote beside a key stays, however often the server shows it.
func TestWitnessKeyWithATime(t *testing.T) {
	a := &App{Paths: Paths{State: t.TempDir()}}
	_, vkey, err := recording.NewWitnessKey("server")
	if err != nil {
		t.Fatal(err)
	}
	const times = " until=2026-06-30T23:59:59Z"
	if err := os.WriteFile(a.witnessKeyFile(), []byte("# known\nhttps://jit.example.com "+vkey+times+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := a.rememberWitness("https://jit.example.com", vkey); err != nil || changed {
		t.Errorf("the known key: changed %v, %v", changed, err)
	}
	if keys, err := a.witnessKeys(); err != nil || !slices.Equal(keys, []string{vkey + times}) {
		t.Errorf("known keys %q, %v", keys, err)
	}
}

// A server must not be able to plant a line for another server.
func TestWitnessKeyThatIsSeveralLines(t *testing.T) {
	a := &App{Paths: Paths{State: t.TempDir()}}
	_, vkey, err := recording.NewWitnessKey("evil")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.rememberWitness("https://evil.example.com", vkey+"\nhttps://jit.example.com "+vkey); err == nil {
		t.Error("a key of two lines was kept")
	}
	if keys, err := a.witnessKeys(); err != nil || len(keys) > 0 {
		t.Errorf("known keys %q, %v", keys, err)
	}
}
