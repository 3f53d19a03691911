package bridge

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// world is a bridge, the SAML provider behind it, and a clock that the test may
// put forward for the bridge.
type world struct {
	t      *testing.T
	bridge *Bridge
	web    *httptest.Server
	idp    string // URL of the provider's sign-in page

	mu    sync.Mutex
	ahead time.Duration
	keys  []Key
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.ahead)
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead += d
}

func newKey(t *testing.T, id string) Key {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return Key{id, k}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	modules, err := filepath.Abs(filepath.Join("..", "..", "..", ".cache", "saml", "node_modules"))
	if err == nil {
		_, err = os.Stat(modules)
	}
	switch {
	case err != nil && os.Getenv("JIT_TEST_PARTS") == "required":
		t.Fatalf("%v, and JIT_TEST_PARTS=required", err)
	case err != nil:
		t.Skipf("NOT TESTED, run .ci/parts.sh first: %v", err)
	}
	w := &world{t: t, keys: []Key{newKey(t, "one")}}
	w.web = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.bridge.Handler().ServeHTTP(rw, r) }))
	t.Cleanup(w.web.Close)

	dir := t.TempDir()
	keyPEM, certPEM, der := selfSigned(t)
	for name, text := range map[string][]byte{"key.pem": keyPEM, "cert.pem": certPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("node", "testdata/idp.mjs")
	cmd.Env = append(os.Environ(), "MODULES="+modules, "KEY="+filepath.Join(dir, "key.pem"), "CERT="+filepath.Join(dir, "cert.pem"),
		"ACS="+w.web.URL+"/saml/acs", "AUDIENCE="+w.web.URL+"/saml/metadata")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	port, ready := strings.CutPrefix(strings.TrimSpace(line), "idp ready ")
	if err != nil || !ready {
		t.Fatalf("the provider said %q, %v", line, err)
	}
	w.idp = "http://127.0.0.1:" + port + "/sso"
	metadata := fmt.Sprintf(`<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="urn:idp.example.test"><IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"><KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>%s</X509Certificate></X509Data></KeyInfo></KeyDescriptor><SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="%s"/></IDPSSODescriptor></EntityDescriptor>`,
		base64.StdEncoding.EncodeToString(der), w.idp)
	w.bridge, err = New(Config{
		Issuer: w.web.URL, ClientID: "jit-cli", Metadata: []byte(metadata), Now: w.now,
		Keys: func(context.Context) ([]Key, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return slices.Clone(w.keys), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func selfSigned(t *testing.T) (keyPEM, certPEM, der []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	if der, err = x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), der
}

// browser is one person's.
type visitor struct {
	w  *world
	hc *http.Client
}

func (w *world) visitor() *visitor {
	jar, _ := cookiejar.New(nil) // never fails without options
	return &visitor{w, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (v *visitor) get(to string) (int, string, string) { return v.do(http.MethodGet, to, nil, nil) }

func (v *visitor) post(to string, form url.Values) (int, string, string) {
	return v.do(http.MethodPost, to, form, nil)
}

// do returns status, page and where it sends the browser.
func (v *visitor) do(method, to string, form url.Values, header map[string]string) (int, string, string) {
	v.w.t.Helper()
	if strings.HasPrefix(to, "/") {
		to = v.w.web.URL + to
	}
	r, err := http.NewRequest(method, to, strings.NewReader(form.Encode()))
	if err != nil {
		v.w.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, h := range header {
		r.Header.Set(k, h)
	}
	resp, err := v.hc.Do(r)
	if err != nil {
		v.w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		v.w.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header.Get("Location")
}

var formField = regexp.MustCompile(`name="form" value="([^"]+)"`)

func (v *visitor) form(page string) string {
	v.w.t.Helper()
	m := formField.FindStringSubmatch(page)
	if m == nil {
		v.w.t.Fatalf("there is no form in\n%s", page)
	}
	return m[1]
}

type codes struct {
	Device   string `json:"device_code"`
	User     string `json:"user_code"`
	Interval int    `json:"interval"`
}

func (w *world) begin() codes {
	w.t.Helper()
	var c codes
	_, text, _ := w.visitor().post("/oauth/device", url.Values{"client_id": {"jit-cli"}, "scope": {"openid"}})
	if err := json.Unmarshal([]byte(text), &c); err != nil || len(c.User) != 9 || c.Interval != 5 {
		w.t.Fatalf("no code: %s", text)
	}
	return c
}

type tokens struct {
	ID      string `json:"id_token"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
}

func (w *world) ask(form url.Values) tokens {
	w.t.Helper()
	form.Set("client_id", "jit-cli")
	var got tokens
	_, text, _ := w.visitor().post("/oauth/token", form)
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		w.t.Fatalf("%v: %s", err, text)
	}
	return got
}

func (w *world) poll(c codes) tokens {
	w.t.Helper()
	return w.ask(url.Values{"grant_type": {deviceGrant}, "device_code": {c.Device}})
}

// toProvider enters a code; it returns the provider's address with the request.
func (v *visitor) toProvider(c codes) string {
	v.w.t.Helper()
	_, page, _ := v.get("/device")
	status, page, to := v.post("/device", url.Values{"user_code": {strings.ToLower(c.User)}, "form": {v.form(page)}})
	if status != http.StatusSeeOther || !strings.HasPrefix(to, v.w.idp+"?SAMLRequest=") {
		v.w.t.Fatalf("entering the code: %d %s\n%s", status, to, page)
	}
	return to
}

// response is what the provider would have the browser post.
func (v *visitor) response(to, wrong string) url.Values {
	v.w.t.Helper()
	if wrong != "" {
		to += "&" + wrong
	}
	status, text, _ := v.get(to)
	var got struct{ SAMLResponse, RelayState string }
	if err := json.Unmarshal([]byte(text), &got); err != nil || status != http.StatusOK {
		v.w.t.Fatalf("the provider: %d %s", status, text)
	}
	return url.Values{"SAMLResponse": {got.SAMLResponse}, "RelayState": {got.RelayState}}
}

// signIn goes all the way to the page that asks.
func (v *visitor) signIn(c codes) (confirm, page string) {
	v.w.t.Helper()
	status, page, confirm := v.post("/saml/acs", v.response(v.toProvider(c), ""))
	if status != http.StatusSeeOther {
		v.w.t.Fatalf("the assertion was refused: %d\n%s", status, page)
	}
	_, page, _ = v.get(confirm)
	return confirm, page
}

func (v *visitor) answer(confirm, page, yes string) (int, string) {
	v.w.t.Helper()
	u, _ := url.Parse(confirm)
	status, page, _ := v.post("/device/confirm", url.Values{"login": {u.Query().Get("login")}, "form": {v.form(page)}, "answer": {yes}})
	return status, page
}

func TestSignInBySAML(t *testing.T) {
	w := newWorld(t)
	c := w.begin()
	if got := w.poll(c); got.Error != "authorization_pending" {
		t.Errorf("before anybody came: %+v", got)
	}
	if got := w.poll(c); got.Error != "slow_down" {
		t.Errorf("a second poll at once: %+v", got)
	}
	w.advance(6 * time.Second)
	if got := w.poll(c); got.Error != "slow_down" {
		t.Errorf("a poll after the old interval: %+v", got)
	}
	v := w.visitor()
	confirm, page := v.signIn(c)
	for _, want := range []string{"alice@example.test", c.User, "127.0.0.1", `value="no" autofocus`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page that asks does not show %s:\n%s", want, page)
		}
	}
	w.advance(time.Minute)
	if got := w.poll(c); got.Error != "authorization_pending" {
		t.Errorf("signed in, but not yet approved: %+v", got)
	}
	if status, page := v.answer(confirm, page, "yes"); status != http.StatusOK || !strings.Contains(page, "Signed in") {
		t.Fatalf("%d\n%s", status, page)
	}
	got := w.poll(c)
	if got.ID == "" || got.Refresh == "" {
		t.Fatalf("approved: %+v", got)
	}
	if again := w.poll(c); again.Error != "invalid_grant" {
		t.Errorf("a device code twice: %+v", again)
	}

	// Any OpenID Connect client can check it, by discovery.
	p, err := oidc.NewProvider(t.Context(), w.web.URL)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := p.Verifier(&oidc.Config{ClientID: "jit-cli", Now: w.now}).Verify(t.Context(), got.ID)
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Email  string   `json:"email"`
		Groups []string `json:"groups"`
	}
	if err := tok.Claims(&claims); err != nil || tok.Subject != "alice-4711" || claims.Email != "alice@example.test" || !slices.Equal(claims.Groups, []string{"analysts", "night-shift"}) {
		t.Errorf("%s %+v %v", tok.Subject, claims, err)
	}
	own := oidc.NewVerifier(w.web.URL, w.bridge, &oidc.Config{ClientID: "jit-cli", Now: w.now})
	if _, err := own.Verify(t.Context(), got.ID); err == nil {
		t.Error("a verifier of RS256 takes ES256") // go-oidc's default; the server names ES256
	}
	own = oidc.NewVerifier(w.web.URL, w.bridge, &oidc.Config{ClientID: "jit-cli", Now: w.now, SupportedSigningAlgs: []string{oidc.ES256}})
	if _, err := own.Verify(t.Context(), got.ID); err != nil {
		t.Error(err)
	}

	// Refresh tokens are good once; the second use ends the sign-in.
	next := w.ask(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Refresh}})
	if next.ID == "" || next.Refresh == got.Refresh {
		t.Fatalf("refreshed: %+v", next)
	}
	// Rotated keys: the old one's tokens hold while it is published.
	w.keys = []Key{newKey(t, "two"), w.keys[0]}
	last := w.ask(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {next.Refresh}})
	for _, id := range []string{next.ID, last.ID} {
		if _, err := own.Verify(t.Context(), id); err != nil {
			t.Errorf("after rotation: %v", err)
		}
	}
	w.keys = w.keys[:1]
	if _, err := own.Verify(t.Context(), next.ID); err == nil {
		t.Error("a token of a key that is gone is accepted")
	}
	if stolen := w.ask(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Refresh}}); stolen.Error != "invalid_grant" {
		t.Errorf("a spent refresh token: %+v", stolen)
	}
	if got := w.ask(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {last.Refresh}}); got.Error != "invalid_grant" {
		t.Errorf("a refresh token of a sign-in that was ended: %+v", got)
	}
}

func TestRefusedAndExpired(t *testing.T) {
	w := newWorld(t)
	c := w.begin()
	v := w.visitor()
	confirm, page := v.signIn(c)
	v.answer(confirm, page, "no")
	if got := w.poll(c); got.Error != "access_denied" {
		t.Errorf("refused: %+v", got)
	}
	c = w.begin()
	v = w.visitor()
	confirm, page = v.signIn(c)
	w.advance(codeLife)
	if status, _ := v.answer(confirm, page, "yes"); status == http.StatusOK {
		t.Error("a code was approved after its end")
	}
	if got := w.poll(c); got.Error != "expired_token" {
		t.Errorf("expired: %+v", got)
	}
	c = w.begin()
	v = w.visitor()
	v.answer2(t, c)
	got := w.poll(c)
	w.advance(signInLife)
	if late := w.ask(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Refresh}}); late.Error != "invalid_grant" {
		t.Errorf("a sign-in of %s ago: %+v", signInLife, late)
	}
}

func (v *visitor) answer2(t *testing.T, c codes) {
	t.Helper()
	confirm, page := v.signIn(c)
	if status, page := v.answer(confirm, page, "yes"); status != http.StatusOK {
		t.Fatalf("%d\n%s", status, page)
	}
}

// What an attacker, or a careless provider, may send as the assertion.
func TestAttackAssertions(t *testing.T) {
	w := newWorld(t)
	refused := func(what string, change func(v *visitor, to string) url.Values) {
		t.Helper()
		c := w.begin()
		v := w.visitor()
		form := change(v, v.toProvider(c))
		status, page, to := v.post("/saml/acs", form)
		if status != http.StatusForbidden || to != "" {
			t.Errorf("%s: %d %s\n%s", what, status, to, page)
		}
		w.advance(6 * time.Second)
		if got := w.poll(c); got.Error != "authorization_pending" {
			t.Errorf("%s: then a poll gets %+v", what, got)
		}
	}
	for what, wrong := range map[string]string{
		"unsigned":                    "sign=none",
		"another audience":            "audience=https://elsewhere.example.com",
		"another destination":         "destination=https://elsewhere.example.com/acs&sign=both",
		"another recipient":           "recipient=https://elsewhere.example.com/acs",
		"in response to another":      "inResponseTo=id-000",
		"in response to nothing":      "inResponseTo=none",
		"expired":                     "lifetime=-3600",
		"another issuer":              "issuer=urn:evil.example.test",
		"a transient name":            "format=urn:oasis:names:tc:SAML:2.0:nameid-format:transient",
		"signed by response, expired": "sign=response&lifetime=-3600",
	} {
		refused(what, func(v *visitor, to string) url.Values { return v.response(to, wrong) })
	}
	edit := func(f func(string) string) func(*visitor, string) url.Values {
		return func(v *visitor, to string) url.Values {
			form := v.response(to, "")
			raw, err := base64.StdEncoding.DecodeString(form.Get("SAMLResponse"))
			if err != nil {
				t.Fatal(err)
			}
			changed := f(string(raw))
			if changed == string(raw) {
				t.Fatal("nothing was changed")
			}
			form.Set("SAMLResponse", base64.StdEncoding.EncodeToString([]byte(changed)))
			return form
		}
	}
	assertion := regexp.MustCompile(`(?s)<saml:Assertion.*</saml:Assertion>`)
	signature := regexp.MustCompile(`(?s)<Signature.*</Signature>`)
	evil := func(a string) string {
		a = signature.ReplaceAllString(a, "")
		a = strings.ReplaceAll(a, "alice-4711", "root")
		return regexp.MustCompile(` ID="[^"]*"`).ReplaceAllString(a, ` ID="_evil"`)
	}
	refused("a name changed", edit(func(x string) string { return strings.ReplaceAll(x, "alice-4711", "root") }))
	refused("a comment in the name", edit(func(x string) string { return strings.ReplaceAll(x, "alice-4711", "root<!-- -->-4711") }))
	refused("wrapped: the forgery first", edit(func(x string) string {
		return assertion.ReplaceAllStringFunc(x, func(a string) string { return evil(a) + a })
	}))
	refused("wrapped: the forgery around", edit(func(x string) string {
		return assertion.ReplaceAllStringFunc(x, func(a string) string {
			return strings.Replace(evil(a), "</saml:Assertion>", "<saml:Advice>"+a+"</saml:Advice></saml:Assertion>", 1)
		})
	}))
	refused("wrapped: the original in the forgery's signature", edit(func(x string) string {
		return assertion.ReplaceAllStringFunc(x, func(a string) string {
			sig := signature.FindString(a)
			return strings.Replace(evil(a), "<saml:Subject>", strings.Replace(sig, "</Signature>", "<Object>"+signature.ReplaceAllString(a, "")+"</Object></Signature>", 1)+"<saml:Subject>", 1)
		})
	}))
	refused("an entity", edit(func(x string) string { return `<!DOCTYPE a [<!ENTITY x "root">]>` + x }))
	refused("not XML", func(v *visitor, to string) url.Values {
		form := v.response(to, "")
		form.Set("SAMLResponse", base64.StdEncoding.EncodeToString([]byte("hello")))
		return form
	})
	refused("nothing asked for (initiated by the provider)", func(v *visitor, _ string) url.Values {
		return v.response(w.idp+"?x=1", "")
	})
	refused("somebody else's request", func(v *visitor, to string) url.Values {
		other := w.visitor()
		form := other.response(other.toProvider(w.begin()), "")
		u, _ := url.Parse(to)
		form.Set("RelayState", u.Query().Get("RelayState"))
		return form
	})
	refused("replayed", func(v *visitor, to string) url.Values {
		form := v.response(to, "")
		if status, _, _ := v.post("/saml/acs", form); status != http.StatusSeeOther {
			t.Fatal("the first time was refused")
		}
		return form
	})
	for _, sign := range []string{"response", "both"} {
		c, v := w.begin(), w.visitor()
		if status, page, _ := v.post("/saml/acs", v.response(v.toProvider(c), "sign="+sign)); status != http.StatusSeeOther {
			t.Errorf("signed by %s: %d\n%s", sign, status, page)
		}
	}
}

// What somebody may try with the pages: a code sent to a victim, a page of
// another site, guesses.
func TestAttackPages(t *testing.T) {
	w := newWorld(t)
	c := w.begin()
	v := w.visitor()
	to := v.toProvider(c)
	form := v.response(to, "")

	// The victim's browser posts the attacker's assertion, or goes on with the
	// attacker's sign-in.
	victim := w.visitor()
	status, _, confirm := victim.post("/saml/acs", form)
	if status != http.StatusSeeOther {
		t.Fatalf("status %d", status)
	}
	if status, page, _ := victim.get(confirm); status != http.StatusForbidden || strings.Contains(page, "alice") {
		t.Errorf("another browser sees the question: %d\n%s", status, page)
	}
	_, page, _ := v.get(confirm)
	u, _ := url.Parse(confirm)
	yes := url.Values{"login": {u.Query().Get("login")}, "form": {v.form(page)}, "answer": {"yes"}}
	for what, try := range map[string]func() int{
		"another browser": func() int { s, _, _ := victim.post("/device/confirm", yes); return s },
		"a page of another site": func() int {
			s, _, _ := v.do(http.MethodPost, "/device/confirm", yes, map[string]string{"Origin": "https://evil.example.com"})
			return s
		},
		"another site, by fetch": func() int {
			s, _, _ := v.do(http.MethodPost, "/device/confirm", yes, map[string]string{"Sec-Fetch-Site": "cross-site"})
			return s
		},
		"a link": func() int {
			s, _, _ := v.get("/device/confirm?" + yes.Encode())
			return map[bool]int{true: 403, false: s}[w.poll(c).ID == ""]
		},
		"a form without the page's mark": func() int {
			bad := url.Values{"login": yes["login"], "answer": {"yes"}}
			s, _, _ := v.post("/device/confirm", bad)
			return s
		},
	} {
		if got := try(); got != http.StatusForbidden {
			t.Errorf("%s: status %d", what, got)
		}
	}
	w.advance(time.Minute)
	if got := w.poll(c); got.ID != "" {
		t.Fatal("one of them signed the device in")
	}

	fresh := w.begin()
	stranger := w.visitor()
	if status, _, to := stranger.post("/device", url.Values{"user_code": {fresh.User}}); status != http.StatusForbidden || to != "" {
		t.Errorf("a code posted without the page: %d %s", status, to)
	}
	_, page, _ = stranger.get("/device?user_code=" + fresh.User + `"><script>alert(1)</script>`)
	if strings.Contains(page, "<script") {
		t.Errorf("the page holds what the link brought:\n%s", page)
	}
	for i := range wrongFrom + 1 {
		_, page, _ = stranger.get("/device")
		status, page, _ = stranger.post("/device", url.Values{"user_code": {"BBBB-BBBB"}, "form": {stranger.form(page)}})
		if i == wrongFrom && (status != http.StatusBadRequest || !strings.Contains(page, "Too many")) {
			t.Errorf("guess %d: %d\n%s", i, status, page)
		}
	}
	for _, header := range []string{"Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options"} {
		resp, err := http.Get(w.web.URL + "/device")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.Header.Get(header) == "" {
			t.Errorf("no %s", header)
		}
	}
	if got := w.ask(url.Values{"grant_type": {deviceGrant}, "device_code": {"guess"}}); got.Error != "invalid_grant" {
		t.Errorf("a guessed device code: %+v", got)
	}
	_, text, _ := stranger.post("/oauth/device", url.Values{"client_id": {"evil"}})
	if !strings.Contains(text, "invalid_client") {
		t.Errorf("another client: %s", text)
	}
}
