package cmd

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/session"
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
	const server = "https://jit.example.com"
	for i, step := range []struct {
		key   string
		known bool
	}{{"", true}, {first, true}, {first, true}, {second, false}, {"", false}, {first, true}} {
		err := a.rememberWitness(server, step.key, time.Now())
		if (err == nil) != step.known {
			t.Errorf("step %d, %q: %v", i, step.key, err)
		}
		var failure *Failure
		if !step.known && (!errors.As(err, &failure) || !strings.Contains(failure.Fix, a.witnessKeyFile())) {
			t.Errorf("step %d: %v does not say what to do", i, err)
		}
	}
	if err := a.rememberWitness("https://other.example.com", second, time.Now()); err != nil {
		t.Errorf("another server's first key: %v", err)
	}
	if keys, err := a.witnessKeys(); err != nil || !slices.Equal(keys, []string{first, second}) {
		t.Errorf("known keys %q, %v", keys, err)
	}
	if err := a.addWitnessKey(server + " " + second); err != nil { // as the message says
		t.Fatal(err)
	}
	for _, key := range []string{first, second} {
		if err := a.rememberWitness(server, key, time.Now()); err != nil {
			t.Errorf("a key that was added by hand: %v", err)
		}
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
	end := time.Date(2026, 6, 30, 23, 59, 59, 0, time.UTC)
	if err := a.rememberWitness("https://jit.example.com", vkey, end); err != nil {
		t.Errorf("the known key: %v", err)
	}
	if err := a.rememberWitness("https://jit.example.com", vkey, end.Add(time.Second)); err == nil {
		t.Error("a key whose time is over was accepted")
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
	if err := a.rememberWitness("https://evil.example.com", vkey+"\nhttps://jit.example.com "+vkey, time.Now()); err == nil {
		t.Error("a key of two lines was kept")
	}
	if keys, err := a.witnessKeys(); err != nil || len(keys) > 0 {
		t.Errorf("known keys %q, %v", keys, err)
	}
}

// TestSessionWithAnotherServersWitnessKey: a server whose key is not the one that
// is known gets no session to cosign, and what it opened is closed again.
func TestSessionWithAnotherServersWitnessKey(t *testing.T) {
	o := newOffice(t)
	alice, bob, carol := o.signIn("alice"), o.signIn("bob"), o.signIn("carol")
	bob.In = strings.NewReader(plantedPassword + "\n")
	bob.run(ExitOK, "connection", "add", "prod", "--account", "SANDBOX", "--url", o.upstream, "--user", "JIT_SVC", "--role", "ANALYST", "--password-file", "-")
	asked := alice.ask("monthly report")
	carol.run(ExitOK, "approve", asked.ID)
	client, cfg, err := alice.client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req, err := client.Request(t.Context(), asked.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := recording.NewWitnessKey("server")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.addWitnessKey(cfg.Server + " " + other); err != nil {
		t.Fatal(err)
	}

	r, err := alice.openRun(t.Context(), client, cfg, req, execOptions{})
	var failure *Failure
	if r != nil || !errors.As(err, &failure) || !strings.Contains(failure.Error(), "not the one that is known") {
		t.Fatalf("openRun: %v, %v", r, err)
	}
	all, err := client.Sessions(t.Context())
	if err != nil || len(all) != 1 || all[0].Phase != session.PhaseRevoked {
		t.Errorf("sessions %+v, %v; want one, revoked", all, err)
	}
	if left, err := os.ReadDir(alice.Paths.Recordings()); err == nil && len(left) > 0 {
		t.Errorf("a recording was begun: %v", left)
	}
}
