package approval

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	smtpd "github.com/emersion/go-smtp"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

const plantedMailPassword = "PLANTED-m41l-pass"

// postOffice is a real SMTP server, for one user.
type postOffice struct {
	addr  string
	roots *x509.CertPool
	mu    sync.Mutex
	say   error // to a message
	got   []letterBox
}

type letterBox struct{ from, to, text string }

func (p *postOffice) NewSession(*smtpd.Conn) (smtpd.Session, error) { return &posting{p: p}, nil }

func (p *postOffice) answer(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.say = err
}

func (p *postOffice) letters() []letterBox {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

type posting struct {
	p        *postOffice
	known    bool
	from, to string
}

func (s *posting) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s *posting) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "jit" || password != plantedMailPassword {
			return smtpd.ErrAuthFailed
		}
		s.known = true
		return nil
	}), nil
}
func (s *posting) Mail(from string, _ *smtpd.MailOptions) error {
	if !s.known {
		return smtpd.ErrAuthRequired
	}
	s.from = from
	return nil
}
func (s *posting) Rcpt(to string, _ *smtpd.RcptOptions) error { s.to = to; return nil }
func (s *posting) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.p.say != nil {
		return s.p.say
	}
	s.p.got = append(s.p.got, letterBox{s.from, s.to, string(b)})
	return nil
}
func (s *posting) Reset()        {}
func (s *posting) Logout() error { return nil }

func newPostOffice(t *testing.T, implicitTLS bool) *postOffice {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	p := &postOffice{roots: x509.NewCertPool()}
	p.roots.AddCert(parsed)
	srv := smtpd.NewServer(p)
	srv.Domain = "localhost"
	srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = ln.Addr().String()
	if implicitTLS {
		ln = tls.NewListener(ln, srv.TLSConfig)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(ln); err != nil && !errors.Is(err, smtpd.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return p
}

// withMail gives w a store that writes by p.
func withMail(t *testing.T, w *world, m Mail) {
	t.Helper()
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	m.From = "jit@example.com"
	store, err := NewStore(StoreConfig{Dir: w.dir, Database: w.url, Policy: policy.Default(), Now: w.clock.now, Logger: w.log.logger(), Mail: m, PublicURL: "https://jit.example.com/"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	server, err := NewServer(Config{Store: store, Issuer: w.idp.URL, ClientID: clientID})
	if err != nil {
		t.Fatal(err)
	}
	w.store, w.server = store, server
	w.web.Config.Handler = server.Handler()
}

func (w *world) mailNow() {
	w.t.Helper()
	if err := w.store.mailDue(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// Reviewers are written to, over TLS of either kind, about what they may decide.
// What gathers in a minute is one mail; an emergency does not wait.
func TestMail(t *testing.T) {
	for _, scheme := range []string{"smtp", "smtps"} {
		eachDatabase(t, func(t *testing.T, databaseURL string) {
			if scheme == "smtps" && databaseURL != "" {
				return // the database does not see how it is sent
			}
			w, ctx := newWorldOn(t, databaseURL, Limits{}), t.Context()
			p := newPostOffice(t, scheme == "smtps")
			withMail(t, w, Mail{URL: scheme + "://jit@" + p.addr, Password: secret.New(plantedMailPassword), Roots: p.roots,
				To: []Recipient{{Address: "all@example.com"}, {Group: "security", Address: "security@example.com"}, {Group: "dba", Address: "dba@example.com"}}})
			must[string](t)(w.store.As(w.root).PushPolicy(ctx, rulesBesides(t, emergencyRule+`
@id("dba-only") @reason("The DBAs decide.") @reviewers("dba")
forbid (principal, action == Action::"openUnattended", resource) when { context.role == "ACCOUNTADMIN" };`)))
			sub := sessionSubmission()
			sub.Scope.Role = "ACCOUNTADMIN"
			r := must[session.Request](t)(w.store.As(w.alice).Submit(ctx, sub))
			w.mailNow()
			first := p.letters()
			if len(first) != 2 || first[0].from != "jit@example.com" || !slices.Contains([]string{first[0].to, first[1].to}, "dba@example.com") || !slices.Contains([]string{first[0].to, first[1].to}, "all@example.com") {
				t.Fatalf("sent %+v", first)
			}
			for _, want := range []string{"jit review " + r.ID, "https://jit.example.com/r/" + r.ID, "monthly report"} {
				if text := decodeMail(t, first[0].text); !strings.Contains(text, want) {
					t.Errorf("no %q in %s", want, text)
				}
			}
			for range 3 {
				must[session.Request](t)(w.store.As(w.alice).Submit(ctx, sessionSubmission()))
			}
			w.mailNow()
			if n := len(p.letters()); n != 3 || p.letters()[2].to != "security@example.com" { // who had none yet
				t.Fatalf("%d mails within a minute", n)
			}
			oncall := w.dave
			oncall.Groups = append(slices.Clone(oncall.Groups), "oncall")
			must[session.Request](t)(w.store.As(oncall).Submit(ctx, emergencySubmission()))
			w.mailNow()
			all := p.letters()[3:]
			if len(all) != 3 {
				t.Fatalf("%d mails after an emergency", len(all))
			}
			for _, l := range all {
				if text := decodeMail(t, l.text); !strings.Contains(l.text, "Subject: jit: EMERGENCY") || strings.Count(text, "jit review req_") != map[bool]int{true: 1, false: 4}[l.to == "security@example.com"] {
					t.Errorf("the digest to %s reads %s", l.to, l.text)
				}
			}
			w.clock.advance(time.Hour)
			w.mailNow()
			if n := len(p.letters()); n != 6 {
				t.Errorf("%d mails in the end", n)
			}
			// What the policy lets open by itself is nobody's to decide.
			must[session.Request](t)(w.store.As(w.dave).Submit(ctx, sessionSubmission()))
			w.mailNow()
			if n := len(p.letters()); n != 6 {
				t.Errorf("%d mails about nothing", n)
			}
		})
	}
}

func decodeMail(t *testing.T, text string) string {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return quotedPrintable(t, m)
}

func TestMailRetriesAndDies(t *testing.T) {
	w, ctx := newWorld(t, Limits{}), t.Context()
	p := newPostOffice(t, false)
	withMail(t, w, Mail{URL: "smtp://jit@" + p.addr, Password: secret.New(plantedMailPassword), Roots: p.roots, To: []Recipient{{Address: "all@example.com"}}})
	p.answer(&smtpd.SMTPError{Code: 451, EnhancedCode: smtpd.EnhancedCode{4, 3, 0}, Message: "later"})
	must[session.Request](t)(w.store.As(w.alice).Submit(ctx, sessionSubmission()))
	for _, wait := range retryAfter {
		w.mailNow()
		w.clock.advance(max(wait, mailPace))
	}
	if dead := must[[]Delivery](t)(w.store.deadDeliveries(ctx, Caller{Principal: w.root})); len(dead) != 0 {
		t.Fatalf("dead too early: %+v", dead)
	}
	w.mailNow()
	dead := must[[]Delivery](t)(w.client(w.root).DeadDeliveries(ctx))
	if len(dead) != 1 || dead[0].Webhook != "mail to all@example.com" || !strings.Contains(dead[0].LastError, "451") || dead[0].Attempts != len(retryAfter)+1 {
		t.Fatalf("dead: %+v", dead)
	}
	p.answer(nil)
	wantErr(t, w.client(w.bob).RetryDelivery(ctx, dead[0].ID), session.ErrForbidden)
	if err := w.client(w.root).RetryDelivery(ctx, dead[0].ID); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(mailPace)
	w.mailNow()
	if n := len(p.letters()); n != 1 {
		t.Errorf("%d mails after trying again", n)
	}
	// A refusal for good is not tried again.
	p.answer(&smtpd.SMTPError{Code: 550, EnhancedCode: smtpd.EnhancedCode{5, 1, 1}, Message: "no such user"})
	must[session.Request](t)(w.store.As(w.alice).Submit(ctx, sessionSubmission()))
	w.clock.advance(mailPace)
	w.mailNow()
	if dead := must[[]Delivery](t)(w.client(w.root).DeadDeliveries(ctx)); len(dead) != 1 || !strings.Contains(dead[0].LastError, "550") {
		t.Errorf("dead: %+v", dead)
	}
	if log := w.log.text(); strings.Contains(log, plantedMailPassword) {
		t.Error("the log holds the password")
	}
}

// No text of a requester becomes a header, a recipient or a line of its own.
func TestAttackMailHeaderInjection(t *testing.T) {
	w, ctx := newWorld(t, Limits{}), t.Context()
	p := newPostOffice(t, false)
	withMail(t, w, Mail{URL: "smtp://jit@" + p.addr, Password: secret.New(plantedMailPassword), Roots: p.roots, To: []Recipient{{Address: "all@example.com"}}})
	evil := w.alice
	evil.Email = "alice@example.com\r\nBcc: mallory@example.com\r\n\r\n<b>body"
	sub := sessionSubmission()
	sub.Reason = "x\r\n.\r\nMAIL FROM:<mallory@example.com>\r\n  jit review req_forged\u202e\u2028y"
	must[session.Request](t)(w.store.As(evil).Submit(ctx, sub))
	w.mailNow()
	got := p.letters()
	if len(got) != 1 || got[0].to != "all@example.com" || got[0].from != "jit@example.com" {
		t.Fatalf("sent %+v", got)
	}
	m, err := mail.ReadMessage(strings.NewReader(got[0].text))
	if err != nil || m.Header.Get("Bcc") != "" || !strings.HasPrefix(m.Header.Get("Subject"), "jit: ") || m.Header.Get("Auto-Submitted") != "auto-generated" {
		t.Errorf("headers %v, %v", m.Header, err)
	}
	for line := range strings.Lines(quotedPrintable(t, m)) {
		if strings.HasPrefix(strings.TrimSpace(line), "jit review req_forged") || strings.ContainsAny(line, "\u202e\u2028") || strings.HasPrefix(line, "MAIL") {
			t.Errorf("a line of its own: %q", line)
		}
	}
}

// Mail goes over TLS to the server named, or not at all; the password to nobody
// else.
func TestAttackMailWithoutTLS(t *testing.T) {
	p := newPostOffice(t, false)
	ctx := context.Background()
	for name, m := range map[string]Mail{
		"a stranger's certificate": {URL: "smtp://jit@" + p.addr},
		"another kind of TLS":      {URL: "smtps://jit@" + p.addr, Roots: p.roots},
	} {
		m.From, m.To, m.Password = "jit@example.com", []Recipient{{Address: "a@example.com"}}, secret.New(plantedMailPassword)
		ml, err := newMailer(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := ml.send(ctx, "a@example.com", "s", "b", time.Now()); err == nil || strings.Contains(err.Error(), plantedMailPassword) {
			t.Errorf("%s: %v", name, err)
		}
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() { // a server that offers no TLS and takes any password
		conn, err := plain.Accept()
		if err != nil {
			said <- err.Error()
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "220 mail\r\n")
		buf := make([]byte, 4096)
		var all strings.Builder
		for {
			n, err := conn.Read(buf)
			if err != nil {
				said <- all.String()
				return
			}
			all.Write(buf[:n])
			_, _ = io.WriteString(conn, "250-mail\r\n250 AUTH PLAIN LOGIN\r\n")
		}
	}()
	ml, err := newMailer(Mail{URL: "smtp://jit@" + plain.Addr().String(), From: "jit@example.com", To: []Recipient{{Address: "a@example.com"}}, Password: secret.New(plantedMailPassword)})
	if err != nil {
		t.Fatal(err)
	}
	if err := ml.send(ctx, "a@example.com", "s", "b", time.Now()); err == nil {
		t.Error("sent without TLS")
	}
	_ = plain.Close()
	if text := <-said; strings.Contains(text, "AUTH") || strings.Contains(text, "MAIL") {
		t.Errorf("said without TLS: %q", text)
	}
	if p.letters() != nil {
		t.Error("something arrived")
	}
}

func TestMailSettings(t *testing.T) {
	to := []Recipient{{Address: "a@example.com"}}
	for name, m := range map[string]Mail{
		"no server": {From: "a@example.com", To: to}, "http": {URL: "http://h", From: "a@example.com", To: to}, "password": {URL: "smtp://u:p@h", From: "a@example.com", To: to},
		"no sender": {URL: "smtp://h", To: to}, "nobody": {URL: "smtp://h", From: "a@example.com"}, "port": {URL: "smtp://h:99999", From: "a@example.com", To: to},
		"path": {URL: "smtp://h/x", From: "a@example.com", To: to}, "address": {URL: "smtp://h", From: "a@example.com", To: []Recipient{{Address: "a@example.com\r\nBcc: b@example.com"}}},
	} {
		if _, err := newMailer(m); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, bad := range []string{"", "x", "=a@example.com", "g=", "a@example.com, b@example.com", "Ana <a@example.com>", "g=a@example.com\nBcc: b@example.com"} {
		if r, err := ParseRecipient(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, r)
		}
	}
	if r, err := ParseRecipient("dba=team@example.com"); err != nil || r != (Recipient{"dba", "team@example.com"}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func quotedPrintable(t *testing.T, m *mail.Message) string {
	t.Helper()
	b, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
