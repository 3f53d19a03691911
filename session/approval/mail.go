package approval

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	smtp "github.com/wneessen/go-mail"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/loopback"
	"github.com/jit-access/jit/session/secret"
)

// Mail says how reviewers are written to. The zero value writes to nobody.
type Mail struct {
	// URL is smtp://USER@HOST:PORT, where STARTTLS is asked for and needed, or
	// smtps://USER@HOST:PORT. Without TLS nothing is sent, except to this machine
	// itself without a user.
	URL      string
	Password secret.Text
	From     string
	To       []Recipient
	Roots    *x509.CertPool // nil: the system's
}

// Recipient is whom to write to. Group narrows it to requests that people of that
// group may decide; empty: all requests.
type Recipient struct{ Group, Address string }

// ParseRecipient reads ADDRESS or GROUP=ADDRESS.
func ParseRecipient(s string) (Recipient, error) {
	group, address, found := strings.Cut(s, "=")
	if !found {
		group, address = "", s
	}
	a, err := mail.ParseAddress(address)
	if err != nil || a.Name != "" || found && group == "" || strings.ContainsFunc(a.Address, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return Recipient{}, fmt.Errorf("%q is not ADDRESS or GROUP=ADDRESS", s)
	}
	return Recipient{Group: group, Address: a.Address}, nil
}

// mailer is a checked Mail.
type mailer struct {
	host     string
	options  []smtp.Option
	from     string
	to       []Recipient
	password secret.Text
	user     string
}

const mailTimeout = 30 * time.Second

// newMailer checks m. It is nil for the zero Mail.
func newMailer(m Mail) (*mailer, error) {
	if m.URL == "" {
		if len(m.To) > 0 || m.From != "" {
			return nil, errors.New("mail: there are recipients or a sender, and no SMTP server")
		}
		return nil, nil //nolint:nilnil // no mail is not an error
	}
	u, err := url.Parse(m.URL)
	if err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("mail: the SMTP server must be smtp://USER@HOST:PORT or smtps://USER@HOST:PORT")
	}
	if _, inURL := u.User.Password(); inURL {
		return nil, errors.New("mail: a password in the URL shows in process lists and logs; put it into a file")
	}
	from, err := mail.ParseAddress(m.From)
	if err != nil {
		return nil, errors.New("mail: the sender must be an address")
	}
	if len(m.To) == 0 {
		return nil, errors.New("mail: there is nobody to write to")
	}
	for _, r := range m.To {
		if _, err := ParseRecipient(r.Address); err != nil {
			return nil, fmt.Errorf("mail: %w", err)
		}
	}
	port := map[string]int{"smtp": 587, "smtps": 465}[u.Scheme]
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return nil, errors.New("mail: the port of the SMTP server is no port")
		}
	}
	ml := &mailer{host: u.Hostname(), from: from.Address, to: m.To, user: u.User.Username(), password: m.Password}
	ml.options = []smtp.Option{smtp.WithPort(port), smtp.WithTimeout(mailTimeout),
		smtp.WithTLSConfig(&tls.Config{ServerName: ml.host, MinVersion: tls.VersionTLS12, RootCAs: m.Roots})}
	switch {
	case u.Scheme == "smtps":
		ml.options = append(ml.options, smtp.WithSSL())
	case loopback.Host(ml.host) && ml.user == "":
		ml.options = append(ml.options, smtp.WithTLSPolicy(smtp.TLSOpportunistic))
	default:
		ml.options = append(ml.options, smtp.WithTLSPolicy(smtp.TLSMandatory))
	}
	return ml, nil
}

// recipients are the addresses that a request concerns.
func (m *mailer) recipients(r session.Request) []string {
	var out []string
	for _, to := range m.to {
		if (to.Group == "" || len(r.Reviewers) == 0 || slices.Contains(r.Reviewers, to.Group)) && !slices.Contains(out, to.Address) {
			out = append(out, to.Address)
		}
	}
	return out
}

// send sends one message. What stands in it may be anybody's text: it is flat, and
// the library encodes headers and body.
func (m *mailer) send(ctx context.Context, to, subject, body string, at time.Time) error {
	msg := smtp.NewMsg()
	if err := msg.From(m.from); err != nil {
		return err
	}
	if err := msg.To(to); err != nil {
		return err
	}
	msg.Subject(subject)
	msg.SetDateWithValue(at)
	msg.SetMessageID()
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(smtp.TypeTextPlain, body)
	options := slices.Clone(m.options)
	if m.user != "" {
		// The password's only way out: to the SMTP server, over TLS.
		options = append(options, smtp.WithSMTPAuth(smtp.SMTPAuthPlain), smtp.WithUsername(m.user), smtp.WithPassword(m.password.Reveal()))
	}
	client, err := smtp.NewClient(m.host, options...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	return client.DialAndSendWithContext(ctx, msg)
}

// permanent reports whether the server will not take this message ever.
func permanent(err error) bool {
	var refused *smtp.SendError
	var network net.Error
	return errors.As(err, &refused) && !errors.As(err, &network) && refused.ErrorCode() >= 500 && refused.ErrorCode() < 600
}

// mailDoc is what is kept of an event until its mail is sent.
type mailDoc struct {
	Event      string    `json:"event"`
	Request    string    `json:"request"`
	Kind       string    `json:"kind"`
	Principal  string    `json:"principal"`
	Connection string    `json:"connection"`
	Role       string    `json:"role,omitempty"`
	Rule       string    `json:"rule,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Ticket     string    `json:"ticket,omitempty"`
	Expires    time.Time `json:"expires"`
}

// enqueueMail writes, within the change, the mail about its events: what waits
// for people, and emergencies.
func (s *Store) enqueueMail(ctx context.Context, c *change) error {
	if s.mail == nil {
		return nil
	}
	for _, e := range c.events {
		if e.Kind != session.EventRequestSubmitted && e.Kind != session.EventEmergency {
			continue
		}
		r, err := s.loadRequest(ctx, c, e.RequestID, c.now)
		if err != nil {
			return fmt.Errorf("writing mail: %w", err)
		}
		if e.Kind == session.EventRequestSubmitted && r.State != session.StatePending {
			continue
		}
		doc, err := json.Marshal(mailDoc{Event: string(e.Kind), Request: r.ID, Kind: r.Kind.String(), Principal: r.Principal.Display(), Connection: r.Scope.Connection,
			Role: r.Scope.Role, Rule: r.Rule, Reason: r.Reason, Ticket: r.Ticket, Expires: r.ExpiresAt})
		if err != nil {
			return fmt.Errorf("writing mail: %w", err)
		}
		for _, to := range s.mail.recipients(r) {
			if _, err := c.ExecContext(ctx, `INSERT INTO mails (id, recipient, event_id, urgent, doc, state, attempts, retry_at, created_at, last_error)
				VALUES ($1, $2, $3, $4, $5, 'pending', 0, 0, $6, '')`, newID("mail"), to, e.ID, boolInt(e.Kind == session.EventEmergency), string(doc), micros(c.now)); err != nil {
				return fmt.Errorf("writing mail: %w", err)
			}
		}
	}
	return nil
}

// Check says what is wrong with the settings, as NewStore would.
func (m Mail) Check() error {
	_, err := newMailer(m)
	return err
}
