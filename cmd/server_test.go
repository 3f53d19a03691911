package cmd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serverApp is an operator with an environment of their own.
func serverApp(t *testing.T, env map[string]string) *App {
	t.Helper()
	dir := t.TempDir()
	return &App{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &typist{decide: func(string) {}}, Getenv: func(k string) string { return env[k] },
		Now: time.Now, Logger: slog.New(slog.DiscardHandler), Paths: Paths{Config: filepath.Join(dir, "config"), State: filepath.Join(dir, "state")}}
}

func noneChanged(string) bool { return false }

func TestServerSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.yaml")
	if err := os.WriteFile(file, []byte("listen: 127.0.0.1:1\nissuer: https://file.example.com\nclient_id: file\ngroups_claim: roles\naudience: [a, b]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := serverApp(t, map[string]string{"JIT_SERVER_ISSUER": "https://env.example.com", "JIT_SERVER_CLIENT_ID": "env", "JIT_SERVER_CONFIG": file})
	o, err := a.serverSettings("", serverOptions{ClientID: "flag"}, func(f string) bool { return f == "client-id" })
	if err != nil {
		t.Fatal(err)
	}
	if o.ClientID != "flag" || o.Issuer != "https://env.example.com" || o.GroupsClaim != "roles" || o.Listen != "127.0.0.1:1" || len(o.Audience) != 2 {
		t.Errorf("flags, environment and file merged to %+v", o)
	}
	if want := filepath.Join(a.Paths.State, "server"); o.Data != want {
		t.Errorf("data %s, want %s", o.Data, want)
	}
}

func TestServerSettingsAreRefused(t *testing.T) {
	base := func() serverOptions { return serverOptions{Issuer: "https://idp.example.com", ClientID: "jit-cli"} }
	all := func(string) bool { return true }
	for name, test := range map[string]struct {
		change func(*serverOptions)
		says   string
	}{
		"nobody may sign in":       {func(o *serverOptions) { o.Issuer = "" }, "--issuer"},
		"no TLS beyond loopback":   {func(o *serverOptions) { o.Listen = ":8443" }, "--tls-cert"},
		"no TLS on an address":     {func(o *serverOptions) { o.Listen = "192.0.2.1:8443" }, "--tls-cert"},
		"no public name":           {func(o *serverOptions) { o.Listen, o.TLSCert, o.TLSKey = ":8443", "c", "k" }, "--public-url"},
		"half a certificate":       {func(o *serverOptions) { o.TLSCert = "c" }, "--tls-key"},
		"a key in the flag":        {func(o *serverOptions) { o.SecretsURL = "base64key://c2VjcmV0LWtleS1vZi0zMi1ieXRlcw" }, "--secrets-url"},
		"no network":               {func(o *serverOptions) { o.WebhookAllow = []string{"10.0.0.1"} }, "--webhook-allow"},
		"a database password":      {func(o *serverOptions) { o.Database = "postgres://jit:hunter2@db/jit" }, "passfile"},
		"a password as a setting":  {func(o *serverOptions) { o.Database = "postgres://jit@db/jit?password=hunter2" }, "passfile"},
		"an address that is none":  {func(o *serverOptions) { o.Listen = "8443" }, "--listen"},
		"an address with no digit": {func(o *serverOptions) { o.Listen = "localhost" }, "--listen"},
	} {
		t.Run(name, func(t *testing.T) {
			o := base()
			test.change(&o)
			_, err := serverApp(t, nil).serverSettings("", o, all)
			var usage usageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want a usage error that names %s", err, test.says)
			}
			if err != nil && strings.Contains(err.Error(), "c2VjcmV0") {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
	proxied := base()
	proxied.Listen, proxied.BehindProxy = ":8443", true
	if _, err := serverApp(t, nil).serverSettings("", proxied, all); err != nil {
		t.Errorf("behind a proxy: %v", err)
	}
}

func TestServerConfigFileIsStrict(t *testing.T) {
	for name, text := range map[string]string{"unknown key": "lissten: x\n", "not YAML": "listen: [", "wrong type": "behind_proxy: maybe\n", "twice": "issuer: a\nissuer: b\n"} {
		file := filepath.Join(t.TempDir(), "server.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := serverApp(t, nil).serverSettings(file, serverOptions{}, noneChanged)
		if code, _ := exitOf(err); code != ExitUsage || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := serverApp(t, nil).serverSettings("/no/such/file.yaml", serverOptions{}, noneChanged)
	if code, _ := exitOf(err); code != ExitUsage {
		t.Errorf("a missing file: %v", err)
	}
}

// The server starts, answers, and stops cleanly when asked.
func TestServerRuns(t *testing.T) {
	w := newSignInWorld(t)
	a := serverApp(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- a.serve(ctx, serverOptions{Listen: addr, Data: filepath.Join(t.TempDir(), "data"), Issuer: w.issuer, ClientID: "jit-cli"})
	}()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-poll.C {
		resp, err := http.Get("http://" + addr + "/readyz") //nolint:noctx // a poll
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(end) {
			t.Fatalf("not ready: %v\n%s", err, a.Err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestServerNeedsItsIssuer(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	a := serverApp(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // less patience than the command has
	defer cancel()
	err := a.serve(ctx, serverOptions{Listen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"), Issuer: gone.URL, ClientID: "jit-cli"})
	if err == nil || !strings.Contains(err.Error(), gone.URL) {
		t.Errorf("got %v, want an error that names %s", err, gone.URL)
	}
}
