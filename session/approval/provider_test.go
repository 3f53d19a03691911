package approval

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// provider is npm's oidc-provider, which shares no code with this module; see
// testdata/op.mjs for its users and clients.
type provider struct {
	t      *testing.T
	issuer string
	port   string
	stop   func()
}

// part is a file in .cache, which .ci/parts.sh prepares. Without it the test is
// skipped, loudly, unless JIT_TEST_PARTS=required asks for everything.
func part(t *testing.T, path string) string {
	t.Helper()
	full, err := filepath.Abs(filepath.Join("..", "..", ".cache", path))
	if err == nil {
		_, err = os.Stat(full)
	}
	switch {
	case err == nil:
		return full
	case os.Getenv("JIT_TEST_PARTS") == "required":
		t.Fatalf("%v, and JIT_TEST_PARTS=required", err)
	default:
		t.Skipf("NOT TESTED, run .ci/parts.sh first: %v", err)
	}
	return ""
}

func newProvider(t *testing.T, keys ...jose.JSONWebKey) *provider {
	t.Helper()
	port := freePort(t)
	p := &provider{t: t, port: port, issuer: "http://127.0.0.1:" + port}
	p.start(keys...)
	t.Cleanup(func() { p.stop() })
	return p
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

// start runs the provider with these signing keys until stop.
func (p *provider) start(keys ...jose.JSONWebKey) {
	p.t.Helper()
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command("node", "testdata/op.mjs")
	cmd.Env = append(os.Environ(), "MODULES="+part(p.t, "node/node_modules"), "PORT="+p.port, "ISSUER="+p.issuer, "JWKS="+string(jwks))
	runUntilReady(p.t, cmd, "op ready")
	p.stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		p.stop = func() {}
	}
}

// runUntilReady starts cmd and returns once a line of its output says ready.
func runUntilReady(t *testing.T, cmd *exec.Cmd, ready string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errText := &logBuffer{}
	cmd.Stderr = errText
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan bool, 1)
	go func() { // ends with the process
		for in := bufio.NewScanner(out); in.Scan(); {
			if strings.Contains(in.Text(), ready) {
				lines <- true
				_, _ = io.Copy(io.Discard, out)
				return
			}
		}
		lines <- false
	}()
	select {
	case ok := <-lines:
		if ok {
			return
		}
	case <-time.After(90 * time.Second):
	}
	_ = cmd.Process.Kill()
	t.Fatalf("%s never said %q:\n%s", cmd, ready, errText.text())
}

// rotate restarts the provider with other keys.
func (p *provider) rotate(keys ...jose.JSONWebKey) {
	p.t.Helper()
	p.stop()
	p.start(keys...)
}

func signingKey(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: id, Algorithm: "RS256", Use: "sig"}
}

var xsrfField = regexp.MustCompile(`name="xsrf" value="([^"]*)"`)

// idToken signs user in with the device grant, as jit login does, and plays the
// browser's half.
func (p *provider) idToken(client, user string) string {
	p.t.Helper()
	jar, _ := cookiejar.New(nil) // never fails without options
	browser := &http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	visit := func(to string, form url.Values) (body, next string) {
		p.t.Helper()
		if !strings.HasPrefix(to, "http") {
			to = p.issuer + to
		}
		var res *http.Response
		var err error
		if form == nil {
			res, err = browser.Get(to)
		} else {
			res, err = browser.PostForm(to, form)
		}
		if err != nil {
			p.t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			p.t.Fatal(err)
		}
		return string(text), res.Header.Get("Location")
	}
	var codes struct {
		Device string `json:"device_code"`
		User   string `json:"user_code"`
	}
	text, _ := visit("/device/auth", url.Values{"client_id": {client}, "scope": {"openid"}})
	if err := json.Unmarshal([]byte(text), &codes); err != nil || codes.User == "" {
		p.t.Fatalf("no code: %s", text)
	}
	page, _ := visit("/device", nil)
	xsrf := xsrfField.FindStringSubmatch(page)
	if xsrf == nil {
		p.t.Fatalf("no form: %s", page)
	}
	page, next := visit("/device", url.Values{"xsrf": {xsrf[1]}, "user_code": {codes.User}, "confirm": {"yes"}})
	for _, prompt := range []string{"login", "consent"} {
		if !strings.Contains(next, "/interaction/") {
			break
		}
		_, resume := visit(next, url.Values{"prompt": {prompt}, "login": {user}, "password": {"x"}})
		page, next = visit(resume, nil)
	}
	var got struct {
		ID string `json:"id_token"`
	}
	text, _ = visit("/token", url.Values{
		"client_id": {client}, "device_code": {codes.Device}, "grant_type": {"urn:ietf:params:oauth:grant-type:device_code"},
	})
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.ID == "" {
		p.t.Fatalf("no ID token: %s\n%s", text, page)
	}
	return got.ID
}

// machineToken is an access token by client credentials.
func (p *provider) machineToken(audience string) string {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodPost, p.issuer+"/token", strings.NewReader(url.Values{"grant_type": {"client_credentials"}, "resource": {audience}}.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	req.SetBasicAuth("ci-bot", "ci-bot-secret-of-the-test")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || got.Token == "" {
		p.t.Fatalf("no access token (HTTP status %d)", res.StatusCode)
	}
	return got.Token
}

// ask is a server's answer to whoami with a token.
type asked struct {
	Status    int
	Principal struct {
		Issuer  string   `json:"issuer"`
		Subject string   `json:"subject"`
		Email   string   `json:"email"`
		Groups  []string `json:"groups"`
	} `json:"principal"`
	Detail string `json:"detail"`
}

func (a asked) String() string {
	return fmt.Sprintf("%d %s %q %s", a.Status, a.Principal.Subject, a.Principal.Groups, a.Detail)
}
