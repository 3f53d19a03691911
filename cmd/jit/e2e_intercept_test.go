//go:build e2e

package main_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// byAccount turns an agent into one that knows nothing but an account and a
// password, which is the lease: it finds Snowflake at a name on the internet that
// does not exist. Of what jit put into its environment only the proxy and the
// certificates remain.
func byAccount(t *testing.T, a agent) agent {
	t.Helper()
	home := t.TempDir()
	const forget = `
for name in $(env | sed -n 's/^\(\(SNOWFLAKE\|JIT\|DBT\)_[A-Z_]*\)=.*/\1/p'); do
  case $name in
    SNOWFLAKE_PASSWORD) lease=$SNOWFLAKE_PASSWORD; unset "$name" ;;
    SNOWFLAKE_DISABLE_*) ;;
    *) unset "$name" ;;
  esac
done
umask 077
printf '[default]\naccount = "jit-e2e-nowhere"\nuser = "somebody"\npassword = "%s"\n' "$lease" >"$0/connections.toml"
SNOWFLAKE_HOME=$0 exec "$@"`
	return agent{argv: append([]string{"sh", "-c", forget, home}, a.argv...), env: a.env}
}

// TestIntercept: drivers that are told an account, not a broker, through
// --intercept. The same rules hold, masks, holds and refusals.
func TestIntercept(t *testing.T) {
	for _, p := range []pairing{
		{"go", func(w *world) *upstream { return w.fakesnow }},
		{"python5", func(w *world) *upstream { return w.fakesnow }},
		{"python4", func(w *world) *upstream { return w.fakesnow }},
		{"node", func(w *world) *upstream { return w.wiremock }},
	} {
		up := p.upstream(shared)
		t.Run(p.driver+" on "+up.name, func(t *testing.T) {
			t.Parallel()
			masked, change, user := customers(), scratch(), "user_"+mark()
			e := shared.alice.exec(t, up, []string{"--intercept"}, byAccount(t, shared.agent[p.driver]),
				statements(masked, change, "alter user "+user+" set password = 'x'", orders())...)
			id := e.held(t)
			if n := up.tap.ran(change); n != 0 {
				t.Errorf("the held statement ran %d times", n)
			}
			shared.bob.must(t, "approve", id)
			r, seen := e.finish(t, 0)
			for _, i := range []int{0, 1, 3} {
				if seen[i].Error != nil {
					t.Fatalf("%s\n%s", seen[i], r)
				}
			}
			if got := seen[0].column(t, "SSN"); fmt.Sprint(got) != "[‹masked:pii.ssn› ‹masked:pii.ssn› null]" {
				t.Errorf("SSN arrived as %q", got)
			}
			assertNothingClear(t, "what the agent printed", r.stdout+r.stderr)
			assertRefused(t, seen[2], "JIT-2001")
			if n := up.tap.ran(change); n != 1 {
				t.Errorf("the approved statement ran %d times, want once", n)
			}
			if n := len(up.tap.matching(func(c call) bool { return strings.Contains(strings.ToLower(c.Body), user) })); n != 0 {
				t.Errorf("the refused statement reached the upstream %d times", n)
			}
		})
	}
}

// curl runs curl under jit exec --intercept and returns the session with it.
func curl(t *testing.T, p *person, args ...string) (result, *execution) {
	t.Helper()
	argv := append([]string{"exec", "--connection", "sandbox", "--intercept", "--", "curl", "--silent", "--show-error", "--max-time", "20"}, args...)
	e := &execution{running: p.launch(t, argv...), who: p}
	return e.wait(), e
}

// TestInterceptRefuses what a client might try with what it was given.
func TestInterceptRefuses(t *testing.T) {
	const snowflake = "https://jit-e2e-nowhere.snowflakecomputing.com"
	// Another identity than the lease.
	r, e := curl(t, shared.alice, "-H", "Content-Type: application/json", "--data",
		`{"data":{"LOGIN_NAME":"me","PASSWORD":"my own","ACCOUNT_NAME":"x","CLIENT_APP_ID":"Go","CLIENT_APP_VERSION":"1","SESSION_PARAMETERS":{}}}`,
		snowflake+"/session/v1/login-request?requestId=00000000-0000-4000-8000-000000000001")
	if r.code != 0 || !strings.Contains(r.stdout, `"success":false`) || !strings.Contains(r.stdout, "390100") {
		t.Errorf("a login without the lease: %s", r)
	}
	e.assertEvents(t, "login", 1)
	// What the broker does not serve.
	r, e = curl(t, shared.alice, "--output", "/dev/null", "--write-out", "%{http_code}", snowflake+"/api/v2/databases")
	if r.stdout != "404" {
		t.Errorf("an unknown path: %s", r)
	}
	e.assertEvents(t, "protocol.refused", 1)
	// Snowflake on another port.
	r, e = curl(t, shared.alice, "--write-out", "%{http_connect}", snowflake+":8443/")
	if r.code == 0 || !strings.Contains(r.stdout, "403") {
		t.Errorf("another port: %s", r)
	}
	e.assertEvents(t, "protocol.refused", 1)
	// The certificate of the session is good for Snowflake alone.
	r, _ = curl(t, shared.alice, "--connect-to", "example.com:443:jit-e2e-nowhere.snowflakecomputing.com:443", "https://example.com/")
	if r.code == 0 {
		t.Errorf("another server name in a connection to Snowflake: %s", r)
	}
}

// TestInterceptLeavesOthersAlone: other hosts pass through the proxy that the
// parent names, by their own certificate.
func TestInterceptLeavesOthersAlone(t *testing.T) {
	site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello from %s", r.Host) }))
	defer site.Close()
	var asked []string
	corporate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.RequestURI)
		up, err := net.Dial("tcp", site.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\n\r\n")
		pipe(conn, up)
	}))
	defer corporate.Close()
	// httptest's certificate is its own authority.
	ca := filepath.Join(t.TempDir(), "site.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	p := shared.alice.with("HTTPS_PROXY="+strings.Replace(corporate.URL, "http://", "http://corp:corp-secret@", 1), "NO_PROXY=intern.example,.snowflakecomputing.com", "CURL_CA_BUNDLE="+ca)
	r, _ := curl(t, p, "https://example.com/")
	if r.code != 0 || r.stdout != "hello from example.com" {
		t.Fatalf("%s", r)
	}
	if fmt.Sprint(asked) != "[CONNECT example.com:443]" {
		t.Errorf("the parent's proxy was asked for %q", asked)
	}
	// The child has neither the parent's proxy password nor a way around.
	env := launch(t, p.env, filepath.Join(p.home, "work"), p.w.jit, "exec", "--connection", "sandbox", "--intercept", "--", "env").wait()
	if env.code != 0 || strings.Contains(env.stdout, "corp-secret") || strings.Contains(env.stdout, "NO_PROXY=127.0.0.1,localhost,intern.example,.") ||
		!strings.Contains(env.stdout, "NO_PROXY=127.0.0.1,localhost,intern.example\n") {
		t.Errorf("the child's environment: %s", env)
	}
}

// TestInterceptFiles: the certificates are private files, the key is nowhere, and
// nothing of it is left afterwards.
func TestInterceptFiles(t *testing.T) {
	list := `cat "$SSL_CERT_FILE" "$NODE_EXTRA_CA_CERTS"; stat -c '%a %n' "$SNOWFLAKE_HOME"/*; echo "home $SNOWFLAKE_HOME"`
	r := shared.alice.must(t, "exec", "--connection", "sandbox", "--intercept", "--", "sh", "-c", list)
	if strings.Contains(r.stdout, "PRIVATE KEY") {
		t.Error("a private key is on disk")
	}
	found, rest := 0, []byte(r.stdout)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(cert.Subject.CommonName, "jit session ") {
			found++
			if !cert.PermittedDNSDomainsCritical || fmt.Sprint(cert.PermittedDNSDomains) != "[snowflakecomputing.com snowflakecomputing.cn]" {
				t.Errorf("the session's authority may sign for %v", cert.PermittedDNSDomains)
			}
		}
	}
	if found != 2 {
		t.Errorf("the session's authority is in %d of 2 files", found)
	}
	home := ""
	for line := range strings.Lines(r.stdout) {
		if mode, file, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(file, "/") && mode != "home" && mode != "600" {
			t.Errorf("%s has mode %s", file, mode)
		}
		if h, ok := strings.CutPrefix(line, "home "); ok {
			home = strings.TrimSpace(h)
		}
	}
	if _, err := os.Stat(home); home == "" || !os.IsNotExist(err) {
		t.Errorf("%q is left: %v", home, err)
	}
}

// pipe copies both ways until both have ended.
func pipe(a, b net.Conn) {
	done := make(chan struct{}, 2)
	for _, d := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			buf := make([]byte, 16<<10)
			for {
				n, err := d[0].Read(buf)
				if _, werr := d[1].Write(buf[:n]); err != nil || werr != nil {
					break
				}
			}
			d[1].Close()
			done <- struct{}{}
		}()
	}
	<-done
	<-done
}
