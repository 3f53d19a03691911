package bridge

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// crowd is a bridge and people at addresses of their own. The identity provider
// is only pointed to here: no sign-in gets that far.
type crowd struct {
	t       *testing.T
	handler http.Handler
	at      time.Time
}

func newCrowd(t *testing.T, behindProxy bool) *crowd {
	t.Helper()
	c := &crowd{t: t, at: time.Now()}
	b, err := New(Config{
		Issuer: "https://jit.example.test", ClientID: "jit-cli", BehindProxy: behindProxy, Now: func() time.Time { return c.at }, Logger: slog.New(slog.DiscardHandler),
		Metadata: []byte(`<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="urn:idp.example.test"><IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"><SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example.test/sso"/></IDPSSODescriptor></EntityDescriptor>`),
	})
	if err != nil {
		t.Fatal(err)
	}
	c.handler = b.Handler()
	return c
}

func (c *crowd) do(method, path, from string, form url.Values, header http.Header, cookies ...*http.Cookie) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://jit.example.test"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for k, v := range header {
		r.Header[k] = v
	}
	for _, cookie := range cookies {
		r.AddCookie(cookie)
	}
	r.RemoteAddr = from
	rec := httptest.NewRecorder()
	c.handler.ServeHTTP(rec, r)
	return rec
}

// code asks for one; "" if there is none to be had.
func (c *crowd) code(from string, header http.Header) string {
	c.t.Helper()
	rec := c.do(http.MethodPost, "/oauth/device", from, url.Values{"client_id": {"jit-cli"}}, header)
	var got codes
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
		c.t.Fatal(err)
	}
	if (rec.Code == http.StatusOK) != (got.User != "") {
		c.t.Fatalf("asking for a code: %d %s", rec.Code, rec.Body)
	}
	return got.User
}

// enter types a code in, and says whether the page leads on.
func (c *crowd) enter(from, user string, header http.Header) bool {
	c.t.Helper()
	page := c.do(http.MethodGet, "/device", from, nil, header)
	m := formField.FindStringSubmatch(page.Body.String())
	if m == nil {
		c.t.Fatalf("there is no form in\n%s", page.Body)
	}
	return c.do(http.MethodPost, "/device", from, url.Values{"user_code": {user}, "form": {m[1]}}, header, page.Result().Cookies()...).Code == http.StatusSeeOther
}

// A stranger guesses codes and takes codes for as long as they get any: those
// who come from elsewhere sign in all the same.
func TestAttackSignInBlocked(t *testing.T) {
	for name, test := range map[string]struct {
		stranger, other string
	}{
		"IPv4":                     {"203.0.113.7:%d", "198.51.100.1:1"},
		"all of an IPv6 network":   {"[2001:db8:0:1::%x]:1", "[2001:db8:0:2::1]:1"},
		"IPv4 written as IPv6 too": {"[::ffff:203.0.113.7]:%d", "[::ffff:198.51.100.1]:1"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, false)
			stranger := func(i int) string { return fmt.Sprintf(test.stranger, i+1) }
			for i := range wrongFrom {
				if c.enter(stranger(i), "BBBB-BBBB", nil) {
					t.Fatal("a guess was right")
				}
			}
			own := c.code(stranger(0), nil)
			if c.enter(stranger(0), own, nil) {
				t.Error("after so many guesses the stranger may go on")
			}
			if !c.enter(test.other, c.code(test.other, nil), nil) {
				t.Error("somebody else cannot enter a code")
			}
			taken := 0
			for i := range maxCodesFrom + 10 {
				if c.code(stranger(i), nil) != "" {
					taken++
				}
			}
			if taken >= maxCodesFrom {
				t.Errorf("the stranger took %d codes more", taken)
			}
			if c.code(test.other, nil) == "" {
				t.Error("somebody else gets no code")
			}
			c.at = c.at.Add(time.Minute)
			if !c.enter(stranger(0), own, nil) {
				t.Error("a minute later the stranger cannot enter a code")
			}
		})
	}
}

// Many strangers together: whoever asked for a code where they enter it gets on,
// while codes from elsewhere, which may be guesses, wait.
func TestAttackSignInBlockedByMany(t *testing.T) {
	c := newCrowd(t, false)
	for i := range wrongPerMin {
		c.enter(fmt.Sprintf("203.0.%d.%d:1", i/200, i%200), "BBBB-BBBB", nil)
	}
	user := c.code("198.51.100.1:1", nil)
	if c.enter("198.51.100.2:1", user, nil) {
		t.Error("over the limit for all, a code is taken from anywhere")
	}
	if !c.enter("198.51.100.1:2", user, nil) {
		t.Error("over the limit for all, nobody gets on")
	}
}

// One code entered again and again does not take the pages of everybody.
func TestAttackCodeEnteredForEver(t *testing.T) {
	c := newCrowd(t, false)
	user := c.code("203.0.113.7:1", nil)
	on := 0
	for range 3 * maxLoginsTo {
		if c.enter("203.0.113.7:1", user, nil) {
			on++
		}
	}
	if on != maxLoginsTo {
		t.Errorf("one code led on %d times, want %d", on, maxLoginsTo)
	}
}

// Behind a proxy the address is what the proxy says; without one, whatever a
// client says of itself is not looked at.
func TestAttackForwardedAddress(t *testing.T) {
	block := func(c *crowd, header func(i int) http.Header) {
		for i := range wrongFrom {
			c.enter("192.0.2.1:1", "BBBB-BBBB", header(i))
		}
	}
	forwarded := func(text string) http.Header { return http.Header{"X-Forwarded-For": {text}} }
	c := newCrowd(t, true)
	block(c, func(i int) http.Header { return forwarded(fmt.Sprintf("10.0.0.%d, 203.0.113.7", i)) })
	for from, want := range map[string]bool{"203.0.113.7": false, "9.9.9.9, 203.0.113.7": false, "198.51.100.1": true} {
		if got := c.enter("192.0.2.1:1", c.code("192.0.2.1:1", forwarded(from)), forwarded(from)); got != want {
			t.Errorf("from %s: %v, want %v", from, got, want)
		}
	}
	c = newCrowd(t, false)
	block(c, func(i int) http.Header { return forwarded(fmt.Sprintf("10.0.0.%d", i)) })
	if header := forwarded("10.1.1.1"); c.enter("192.0.2.1:1", c.code("192.0.2.1:1", header), header) {
		t.Error("a client that names an address of its choice guesses on")
	}
}
