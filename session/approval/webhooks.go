package approval

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// Webhooks tell other systems of events, signed as Standard Webhooks
// (https://www.standardwebhooks.com). They carry who and where, never a
// statement's text, and nothing in them decides: a decision needs a signed-in
// person.

// Webhook is an outgoing webhook. Its URL and key are never read back.
type Webhook struct {
	Name   string   `json:"name" maxLength:"64"`
	Host   string   `json:"host,omitempty" readOnly:"true" doc:"of its URL"`
	Format string   `json:"format,omitempty" enum:"standard,slack" default:"standard"`
	Events []string `json:"events,omitempty" maxItems:"16" doc:"kinds of events; empty: all"`
}

// Delivery is a message that could not be delivered.
type Delivery struct {
	ID        string    `json:"id"`
	Webhook   string    `json:"webhook" doc:"its name, or \"mail to\" and an address"`
	EventID   int64     `json:"event_id"`
	Attempts  int       `json:"attempts"`
	CreatedAt time.Time `json:"created_at"`
	LastError string    `json:"last_error"`
}

// The formats of a webhook's messages.
const (
	FormatStandard = "standard"
	FormatSlack    = "slack"
)

var eventKinds = []string{
	string(session.EventRequestSubmitted), string(session.EventRequestDecided), string(session.EventRequestEnded),
	string(session.EventRequestCommented), string(session.EventEmergency),
	string(session.EventSessionOpened), string(session.EventSessionExtended), string(session.EventSessionEnded),
}

// hookSecrets is what is sealed of a webhook.
type hookSecrets struct {
	URL string `json:"url"`
	Key []byte `json:"key"`
}

func hookPurpose(name string) string { return "webhook " + name }

const maxWebhooks = 32

// addWebhook adds a webhook and returns its signing secret, this once.
func (s *Store) addWebhook(ctx context.Context, w Caller, h Webhook, target secret.Text) (Webhook, secret.Text, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // crypto/rand.Read never fails
	err := s.checkAndRecord(ctx, w, "webhook.add", h.Name, func(ctx context.Context, c *change) error {
		if err := s.admin(w); err != nil {
			return err
		}
		u, err := s.checkWebhook(h, target)
		if err != nil {
			return err
		}
		if h.Host = u.Hostname(); h.Format == "" {
			h.Format = FormatStandard
		}
		c.note("host", h.Host)
		var n int
		if err := c.QueryRowContext(ctx, `SELECT COUNT(*) FROM webhooks`).Scan(&n); err != nil {
			return err
		}
		if n >= maxWebhooks {
			return session.Refuse(session.ErrCapacity, "There are %d webhooks already.", n)
		}
		doc, err := json.Marshal(h)
		if err != nil {
			return err
		}
		sealed, err := s.seal(ctx, c, hookPurpose(h.Name), hookSecrets{URL: target.Reveal(), Key: key})
		if err != nil {
			return err
		}
		err = c.exactlyOne(ctx, `INSERT INTO webhooks (name, doc, sealed, created_at, created_by) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING`,
			h.Name, string(doc), sealed, micros(c.now), w.Principal.ID())
		if errors.Is(err, session.ErrConflict) {
			return session.Refuse(session.ErrConflict, "There is a webhook %q already. Remove it first.", h.Name)
		}
		return err
	})
	if err != nil {
		return Webhook{}, secret.Text{}, err
	}
	return h, secret.New("whsec_" + base64.StdEncoding.EncodeToString(key)), nil
}

func (s *Store) checkWebhook(h Webhook, target secret.Text) (*url.URL, error) {
	bad := func(format string, args ...any) (*url.URL, error) {
		return nil, session.Refuse(session.ErrInvalid, format, args...)
	}
	if !nameOK(h.Name) {
		return bad("A webhook's name has 1 to 64 letters, digits, dots, dashes or underscores.")
	}
	if h.Format != "" && h.Format != FormatStandard && h.Format != FormatSlack {
		return bad("The format of a webhook is standard or slack.")
	}
	for _, kind := range h.Events {
		if !slices.Contains(eventKinds, kind) {
			return bad("There is no such kind of event. There are: %s.", strings.Join(eventKinds, ", "))
		}
	}
	u, err := url.Parse(target.Reveal())
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || len(target.Reveal()) > 2048 {
		return bad("The URL of a webhook must be https://HOST/PATH.")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !s.dialer.allowsPlain(u.Hostname())) {
		return bad("The URL of a webhook must be https.")
	}
	if err := s.dialer.checkHost(u.Hostname()); err != nil {
		return bad("The webhook's address is not allowed: private networks are off limits, unless the server's operator allows them.")
	}
	return u, nil
}

func nameOK(name string) bool {
	return name != "" && len(name) <= 64 && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	})
}

// webhooks lists them, for admins.
func (s *Store) webhooks(ctx context.Context, w Caller) ([]Webhook, error) {
	if err := s.admin(w); err != nil {
		return nil, err
	}
	return loadWebhooks(ctx, s.db.read)
}

func loadWebhooks(ctx context.Context, q querier) ([]Webhook, error) {
	rows, err := q.QueryContext(ctx, `SELECT doc FROM webhooks ORDER BY name`)
	if err != nil {
		return nil, err
	}
	docs, err := scanStrings(rows)
	if err != nil {
		return nil, err
	}
	out := []Webhook{}
	for _, doc := range docs {
		var h Webhook
		if err := json.Unmarshal([]byte(doc), &h); err != nil {
			return nil, fmt.Errorf("reading a webhook: %w", errDamaged)
		}
		out = append(out, h)
	}
	return out, nil
}

// removeWebhook forgets a webhook and what was still to be delivered to it.
func (s *Store) removeWebhook(ctx context.Context, w Caller, name string) error {
	return s.checkAndRecord(ctx, w, "webhook.remove", name, func(ctx context.Context, c *change) error {
		if err := s.admin(w); err != nil {
			return err
		}
		if _, err := c.ExecContext(ctx, `DELETE FROM deliveries WHERE webhook = $1`, name); err != nil {
			return err
		}
		err := c.exactlyOne(ctx, `DELETE FROM webhooks WHERE name = $1`, name)
		if errors.Is(err, session.ErrConflict) {
			return session.ErrNotFound
		}
		return err
	})
}

// deadDeliveries lists what could not be delivered, newest first.
func (s *Store) deadDeliveries(ctx context.Context, w Caller) ([]Delivery, error) {
	if err := s.admin(w); err != nil {
		return nil, err
	}
	rows, err := s.db.read.QueryContext(ctx, `SELECT id, webhook, event_id, attempts, created_at, last_error FROM deliveries WHERE state = 'dead'
		UNION ALL SELECT id, 'mail to ' || recipient, event_id, attempts, created_at, last_error FROM mails WHERE state = 'dead'
		ORDER BY 5 DESC, 1 LIMIT 1000`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := []Delivery{}
	for rows.Next() {
		var (
			d  Delivery
			at int64
		)
		if err := rows.Scan(&d.ID, &d.Webhook, &d.EventID, &d.Attempts, &at, &d.LastError); err != nil {
			return nil, err
		}
		d.CreatedAt = fromMicros(at)
		out = append(out, d)
	}
	return out, rows.Err()
}

// retryDelivery takes a message off the dead-letter list and tries it again.
func (s *Store) retryDelivery(ctx context.Context, w Caller, id string) error {
	return s.checkAndRecord(ctx, w, "webhook.retry", id, func(ctx context.Context, c *change) error {
		if err := s.admin(w); err != nil {
			return err
		}
		c.afterCommit(s.pokeSender)
		if strings.HasPrefix(id, "mail_") {
			return retryMail(ctx, c, id)
		}
		err := c.exactlyOne(ctx, `UPDATE deliveries SET state = 'pending', attempts = 0, retry_at = 0 WHERE id = $1 AND state = 'dead'`, id)
		if errors.Is(err, session.ErrConflict) {
			return session.ErrNotFound
		}
		return err
	})
}

// enqueue writes the messages about the events of a change, within it: an event
// that is told of has happened, and one that happened is told of.
func (s *Store) enqueue(ctx context.Context, c *change) error {
	if err := s.enqueueMail(ctx, c); err != nil {
		return err
	}
	hooks, err := loadWebhooks(ctx, c)
	if err != nil {
		return fmt.Errorf("telling webhooks: %w", err)
	}
	for _, e := range c.events {
		for _, h := range hooks {
			// Whatever a webhook asked for, it is told of emergencies.
			if len(h.Events) > 0 && !slices.Contains(h.Events, string(e.Kind)) && e.Kind != session.EventEmergency {
				continue
			}
			body, err := s.message(ctx, c, h, e)
			if err != nil {
				return fmt.Errorf("telling webhooks: %w", err)
			}
			if _, err := c.ExecContext(ctx, `INSERT INTO deliveries (id, webhook, event_id, body, state, attempts, retry_at, created_at, last_error)
				VALUES ($1, $2, $3, $4, 'pending', 0, 0, $5, '')`, newID("msg"), h.Name, e.ID, string(body), micros(c.now)); err != nil {
				return fmt.Errorf("telling webhooks: %w", err)
			}
			c.afterCommit(s.pokeSender)
		}
	}
	return nil
}

// sign is the signature of one message, see the Standard Webhooks
// specification: HMAC-SHA256 over id.timestamp.body.
func sign(key []byte, id string, at time.Time, body string) string {
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%d.%s", id, at.Unix(), body) // a hash never fails
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
