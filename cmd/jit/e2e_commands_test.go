//go:build e2e

package main_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jit-access/jit/broker/snowflake/sandbox"
)

// TestSignInAndOut: what one person's sign-in is, and that its end is an end.
func TestSignInAndOut(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	p := shared.stranger(t, ctx, "carol")
	if err := p.signIn(ctx, shared.op, "--server", shared.server.tap.URL); err != nil {
		t.Fatal(err)
	}
	var who struct {
		Email  string   `json:"email"`
		Issuer string   `json:"issuer"`
		Groups []string `json:"groups"`
		Kept   string   `json:"kept"`
	}
	if err := json.Unmarshal([]byte(p.must(t, "whoami", "--json").stdout), &who); err != nil {
		t.Fatal(err)
	}
	if who.Email != "carol@example.test" || who.Issuer != shared.op.issuer || !slices.Equal(who.Groups, []string{"approvers"}) || who.Kept != "keyring" {
		t.Errorf("whoami says %+v", who)
	}
	revoked := shared.op.tap.at("/token/revocation")
	p.must(t, "logout")
	if n := shared.op.tap.at("/token/revocation") - revoked; n == 0 {
		t.Error("the refresh token still works at the identity provider")
	}
	for _, args := range [][]string{{"whoami"}, {"session", "list"}, {"exec", "--connection", "sandbox", "--", "true"}} {
		if r := p.jit(t, args...); r.code != 4 || !strings.Contains(r.stderr, "jit login") {
			t.Errorf("jit %v after logout: want exit 4 and the next step: %s", args, r)
		}
	}
	p.must(t, "logout") // nothing to do is no error
}

// TestConnections: an administrator's connections, with a key pair that the
// upstream really checks.
func TestConnections(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "broker.p8")
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := sandbox.New(sandbox.Options{Account: account, Users: map[string]sandbox.User{upstreamUser: {PublicKey: &key.PublicKey, Roles: []string{"ANALYST"}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	web := httptest.NewServer(s.Handler())
	defer web.Close()
	up := &upstream{name: "key-pair"}
	if up.tap, err = newTap(web.URL, false); err != nil {
		t.Fatal(err)
	}
	defer up.tap.Close()
	add := func(name, user string) []string {
		return []string{"connection", "add", name, "--account", account, "--url", up.tap.URL, "--user", user, "--role", "ANALYST", "--database", "DEMO", "--schema", "PUBLIC", "--private-key-file", keyFile}
	}
	if r := shared.alice.jit(t, add("mine", upstreamUser)...); r.code != 5 {
		t.Errorf("somebody who is no administrator added a connection: %s", r)
	}
	shared.bob.must(t, add("key-pair", upstreamUser)...)
	shared.bob.must(t, "connection", "test", "key-pair")
	e := shared.alice.exec(t, up, nil, shared.agent["go"], statements("select id, email from customers order by id limit 2")...)
	r, seen := e.finish(t, 0)
	if seen[0].Error != nil || !strings.Contains(seen[0].cells(), "‹masked›@example.com") {
		t.Errorf("%s\n%s", seen[0], r)
	}
	list := shared.bob.must(t, "connection", "list").stdout
	for _, name := range []string{"key-pair", "fakesnow", "wiremock", "sandbox"} {
		if !strings.Contains(list, name) {
			t.Errorf("the list lacks %s:\n%s", name, list)
		}
	}
	shared.bob.must(t, add("stranger", "NOBODY")...)
	if r := shared.bob.jit(t, "connection", "test", "stranger"); r.code == 0 || !strings.Contains(r.stderr, "stranger") {
		t.Errorf("want a failure that names the connection: %s", r)
	}
	for _, name := range []string{"key-pair", "stranger"} {
		shared.bob.must(t, "connection", "remove", name)
	}
	if r := shared.alice.jit(t, "exec", "--connection", "key-pair", "--", "true"); r.code != 125 || !strings.Contains(r.stderr, "key-pair") {
		t.Errorf("want exit 125 and the name of what is gone: %s", r)
	}
}
