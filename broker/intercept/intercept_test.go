package intercept

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jit-access/jit/session/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	token   = "proxy-token-of-this-test"
	account = "myorg-prod.snowflakecomputing.com"
	patient = 20 * time.Second
)

// rig is a proxy whose handler says what reached it.
type rig struct {
	*Proxy
	t    *testing.T
	addr string
	ca   *x509.CertPool

	mu      sync.Mutex
	refused []string
}

func newRig(t *testing.T, parent func(*url.URL) (*url.URL, error)) *rig {
	t.Helper()
	authority, err := NewAuthority("ses_test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, ca: x509.NewCertPool()}
	r.ca.AppendCertsFromPEM(authority.PEM())
	r.Proxy, err = New(Config{
		Token: secret.New(token), Authority: authority, Host: "127.0.0.1:1234", Parent: parent,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			_, _ = fmt.Fprintf(w, "caught %s %s", q.Host, q.URL.Path)
		}),
		Refused: func(_ context.Context, what string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.refused = append(r.refused, what)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return r
}

// notes is what was refused; it waits until there is something.
func (r *rig) notes() string {
	for deadline := time.Now().Add(patient); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		r.mu.Lock()
		all := strings.Join(r.refused, "; ")
		r.mu.Unlock()
		if all != "" {
			return all
		}
	}
	return ""
}

// connect sends raw bytes to the proxy and returns the answer to them.
func (r *rig) connect(request string) (net.Conn, *http.Response, string) {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patient))
	if _, err := io.WriteString(c, request); err != nil {
		r.t.Fatal(err)
	}
	buf := bufio.NewReader(c)
	res, err := http.ReadResponse(buf, &http.Request{Method: http.MethodConnect})
	if err != nil {
		r.t.Fatalf("%q: %v", request, err)
	}
	body := ""
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		body = string(text)
	}
	_ = res.Body.Close()
	return buffered{c, buf}, res, body
}

// buffered is a connection whose first bytes came with the proxy's answer.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

func connectTo(target string) string {
	return "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\nProxy-Authorization: " + credential(secret.New(token)) + "\r\n\r\n"
}

// client is an ordinary client with HTTPS_PROXY set.
func (r *rig) client() *http.Client {
	via, err := url.Parse(r.URL(addr(r.addr)))
	if err != nil {
		r.t.Fatal(err)
	}
	tr := &http.Transport{Proxy: http.ProxyURL(via), TLSClientConfig: &tls.Config{RootCAs: r.ca}}
	r.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patient}
}

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

func get(c *http.Client, to string) (string, error) {
	res, err := c.Get(to)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // test
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

func TestSnowflakeIsCaughtWhateverItsNameLooksLike(t *testing.T) {
	r := newRig(t, nil)
	c := r.client()
	for _, host := range []string{
		account, "MyOrg-Prod.SnowflakeComputing.com", "xy12345.eu-central-1.snowflakecomputing.com", "xy12345.cn-north-1.aws.snowflakecomputing.cn",
		"xy12345.privatelink.snowflakecomputing.com", "snowflakecomputing.com",
	} {
		if got, err := get(c, "https://"+host+"/session/v1/login-request"); err != nil || got != "caught 127.0.0.1:1234 /session/v1/login-request" {
			t.Errorf("%s: %q, %v", host, got, err)
		}
	}
	if !Caught(canonicalHost("A.snowflakecomputing.com.")) || Caught("evilsnowflakecomputing.com") || Caught("snowflakecomputing.com.evil.example") {
		t.Error("names that only look alike are taken for Snowflake's, or a final dot hides one")
	}
}

func TestWithoutTheTokenThereIsNoProxy(t *testing.T) {
	r := newRig(t, nil)
	for _, auth := range []string{"", "Proxy-Authorization: Basic aml0Og==\r\n", "Proxy-Authorization: Bearer " + token + "\r\n"} {
		_, res, _ := r.connect("CONNECT " + account + ":443 HTTP/1.1\r\nHost: " + account + ":443\r\n" + auth + "\r\n")
		if res.StatusCode != http.StatusProxyAuthRequired || res.Header.Get("Proxy-Authenticate") == "" {
			t.Errorf("with %q: %s", auth, res.Status)
		}
	}
	if _, res, _ := r.connect("GET http://" + account + "/ HTTP/1.1\r\nHost: " + account + "\r\nProxy-Authorization: " + credential(secret.New(token)) + "\r\n\r\n"); res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a plain request through the proxy: %s", res.Status)
	}
}

func TestCaughtHostsAreNeverTunnelled(t *testing.T) {
	dialled := func(u *url.URL) (*url.URL, error) { t.Errorf("a tunnel to %s", u.Host); return nil, errors.New("no") }
	r := newRig(t, dialled)
	for _, target := range []string{account + ":80", account + ":8443", "A.SNOWFLAKECOMPUTING.COM.:1"} {
		if _, res, body := r.connect(connectTo(target)); res.StatusCode != http.StatusForbidden || !strings.Contains(body, "443") {
			t.Errorf("%s: %s %s", target, res.Status, body)
		}
	}
	if notes := r.notes(); !strings.Contains(notes, "CONNECT to port 80 of "+account) {
		t.Errorf("not told: %q", notes)
	}
}

func TestServerNameAndHostMustBeThatOfTheConnection(t *testing.T) {
	r := newRig(t, nil)
	for _, name := range []string{"other.snowflakecomputing.com", "example.com", ""} {
		c, _, _ := r.connect(connectTo(account + ":443"))
		conn := tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true}) //nolint:gosec // what is tested is the server
		if err := conn.Handshake(); err == nil {
			t.Errorf("a TLS server name %q was accepted in a connection to %s", name, account)
		}
	}
	c, _, _ := r.connect(connectTo(account + ":443"))
	conn := tls.Client(c, &tls.Config{ServerName: account, RootCAs: r.ca})
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: other.snowflakecomputing.com\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusMisdirectedRequest {
		t.Fatalf("another Host inside the connection: %v, %v", res, err)
	}
	_ = res.Body.Close()
	for _, want := range []string{"TLS server name other.snowflakecomputing.com", "TLS server name example.com", "Host other.snowflakecomputing.com"} {
		if !strings.Contains(r.notes(), want) {
			t.Errorf("nobody was told of %q: %q", want, r.notes())
		}
	}
}

func TestTargetsMustBePlain(t *testing.T) {
	r := newRig(t, nil)
	for _, target := range []string{"example.com", "example.com:", "example.com:0443", "example.com:99999", "exa%6dple.com:443", "user@example.com:443", "exämple.com:443", "a..b:443", ":443"} {
		if _, res, _ := r.connect(connectTo(target)); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %s", target, res.Status)
		}
	}
}

func TestNoTunnelLeadsToThisMachine(t *testing.T) {
	r := newRig(t, nil)
	for _, target := range []string{
		r.addr, "localhost:80", "api.localhost:80", "0.0.0.0:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "169.254.169.254:80", "[fe80::1]:80",
		"[fd00:ec2::254]:80", "metadata.google.internal:80", "127.1:80", "2130706433:80", "0x7f000001:80", "127.0.0.1.:80",
	} {
		if _, res, body := r.connect(connectTo(target)); res.StatusCode == http.StatusOK {
			t.Errorf("%s: %s %s", target, res.Status, body)
		}
	}
	// A name that resolves to this machine is found out where it is dialled.
	if _, err := r.dial(t.Context(), net.JoinHostPort("localhost", "80")); !errors.Is(err, errReserved) {
		t.Errorf("dialling a name of this machine: %v", err)
	}
}

// parentProxy stands for the company's proxy: it tunnels to target whatever it is
// asked for, and remembers what that was.
func parentProxy(t *testing.T, target string) (*url.URL, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.Method+" "+r.RequestURI+" "+r.Header.Get("Proxy-Authorization"))
		mu.Unlock()
		up, err := net.Dial("tcp", target)
		if err != nil {
			t.Error(err)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, established)
		go func() { _, _ = io.Copy(up, conn); _ = up.Close() }() // they end with the connections
		go func() { _, _ = io.Copy(conn, up); _ = conn.Close() }()
	}))
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("corp", "parent-secret")
	return u, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(asked)
	}
}

func TestOtherHostsPassUntouchedByTheParentsProxy(t *testing.T) {
	site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		_, _ = fmt.Fprintf(w, "%s over %s by %q", q.Host, q.TLS.NegotiatedProtocol, q.Header.Get("Proxy-Authorization"))
	}))
	defer site.Close()
	via, asked := parentProxy(t, site.Listener.Addr().String())
	r := newRig(t, func(*url.URL) (*url.URL, error) { return via, nil })
	c := r.client()
	tr, ok := c.Transport.(*http.Transport)
	if !ok {
		t.Fatal("not a transport")
	}
	tr.TLSClientConfig.RootCAs = x509.NewCertPool()
	tr.TLSClientConfig.RootCAs.AddCert(site.Certificate()) // the site's own, so nobody is in between
	got, err := get(c, "https://example.com/")
	if err != nil || got != `example.com over  by ""` {
		t.Fatalf("%q, %v", got, err)
	}
	if a := asked(); len(a) != 1 || a[0] != "CONNECT example.com:443 Basic Y29ycDpwYXJlbnQtc2VjcmV0" {
		t.Errorf("the parent's proxy was asked %q", a)
	}
}

func TestATunnelElsewhereCarriesNoTLSToSnowflake(t *testing.T) {
	var got []byte
	done := make(chan struct{})
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // test
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		got, _ = io.ReadAll(c)
		_ = c.Close()
	}()
	via, _ := parentProxy(t, ln.Addr().String())
	r := newRig(t, func(*url.URL) (*url.URL, error) { return via, nil })
	c, res, _ := r.connect(connectTo("203.0.113.7:443"))
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	if err := tls.Client(c, &tls.Config{ServerName: account, InsecureSkipVerify: true}).Handshake(); err == nil { //nolint:gosec // as above
		t.Error("the handshake succeeded")
	}
	<-done
	if len(got) > 0 {
		t.Errorf("%d bytes of the hello went through", len(got))
	}
	if !strings.Contains(r.notes(), account) {
		t.Errorf("nobody was told: %q", r.notes())
	}
}

func TestServersThatSpeakFirstAreHeard(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // test
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "SSH-2.0-test\r\n")
		_, _ = io.Copy(c, c) // an echo
		_ = c.Close()
	}()
	via, _ := parentProxy(t, ln.Addr().String())
	r := newRig(t, func(*url.URL) (*url.URL, error) { return via, nil })
	c, _, _ := r.connect(connectTo("git.example.com:22"))
	line := make([]byte, 14)
	if _, err := io.ReadFull(c, line); err != nil || string(line) != "SSH-2.0-test\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := io.WriteString(c, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, line[:1]); err != nil || line[0] != 'x' {
		t.Errorf("%q, %v", line[:1], err)
	}
}

func TestTheAuthorityIsGoodForSnowflakeOnly(t *testing.T) {
	a, err := NewAuthority("ses_test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	for host, good := range map[string]bool{account: true, "a.b.snowflakecomputing.cn": true, "example.com": false, "api.anthropic.com": false} {
		leaf, err := a.leaf(host, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		_, err = leaf.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
		if (err == nil) != good {
			t.Errorf("%s: %v", host, err)
		}
		if life := time.Until(leaf.Leaf.NotAfter); life > leafLife {
			t.Errorf("%s is good for %s", host, life)
		}
	}
	block, _ := pem.Decode(a.PEM())
	if block == nil || block.Type != "CERTIFICATE" || strings.Contains(string(a.PEM()), "PRIVATE") {
		t.Errorf("what clients are given is no certificate:\n%s", a.PEM())
	}
	first, err := a.leaf(account, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := a.leaf(account, time.Now()); again != first {
		t.Error("the certificate was made anew for a second connection")
	}
	if later, _ := a.leaf(account, time.Now().Add(leafLife)); later == first {
		t.Error("an expired certificate was kept")
	}
}

func TestNoProxyKeepsEverythingButWaysToSnowflake(t *testing.T) {
	for given, want := range map[string]string{
		"":                        "",
		"*":                       "",
		"corp.example,10.0.0.0/8": "corp.example,10.0.0.0/8",
		".com":                    "",
		"localhost, .snowflakecomputing.com:443 ,x": "localhost,x",
		"*.privatelink.snowflakecomputing.com":      "",
		"SNOWFLAKECOMPUTING.CN,other.cn":            "other.cn",
	} {
		if got := NoProxy(given); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}

func TestReservedAddresses(t *testing.T) {
	for text, want := range map[string]bool{"127.0.0.1": true, "::ffff:169.254.1.1": true, "224.0.0.1": true, "10.1.2.3": false, "93.184.216.34": false, "2606:2800::1": false} {
		if got := reserved(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// FuzzHello: whatever a client sends first, what is passed on is what was read.
func FuzzHello(f *testing.F) {
	f.Add([]byte{0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0})
	f.Add([]byte("\x16\x03\x01"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		read, _, _ := peekHello(t.Context(), strings.NewReader(string(sent)))
		if !strings.HasPrefix(string(sent), string(read)) {
			t.Errorf("read %x of %x", read, sent)
		}
	})
}
