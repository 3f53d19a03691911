package approval

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jit-access/jit/session"
)

// messageDoc is the body of a webhook message.
type messageDoc struct {
	Type      string      `json:"type"`
	Timestamp time.Time   `json:"timestamp"`
	Data      messageData `json:"data"`
}

type messageData struct {
	EventID    int64     `json:"event_id"`
	RequestID  string    `json:"request_id,omitempty"`
	SessionID  string    `json:"session_id,omitempty"`
	Kind       string    `json:"kind,omitempty"`  // of the request: session, statement
	State      string    `json:"state,omitempty"` // of the request, or phase of the session
	Principal  string    `json:"principal"`
	Connection string    `json:"connection"`
	Role       string    `json:"role,omitempty"`
	Rule       string    `json:"rule,omitempty"`
	Reviewers  []string  `json:"reviewers,omitempty"`
	Approvals  int       `json:"approvals,omitempty"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
}

// message is what webhook h is told of event e.
func (s *Store) message(ctx context.Context, c *change, h Webhook, e session.Event) ([]byte, error) {
	d := messageData{EventID: e.ID, RequestID: e.RequestID, SessionID: e.SessionID}
	if e.RequestID != "" {
		r, err := s.loadRequest(ctx, c, e.RequestID, c.now)
		if err != nil {
			return nil, err
		}
		d.Kind, d.State, d.Principal, d.Connection, d.Role = r.Kind.String(), r.State.String(), r.Principal.Display(), r.Scope.Connection, r.Scope.Role
		d.Rule, d.Reviewers, d.Approvals, d.ExpiresAt = r.Rule, r.Reviewers, r.Approvals, r.ExpiresAt
	} else {
		ses, err := s.loadSession(ctx, c, e.SessionID)
		if err != nil {
			return nil, err
		}
		d.State, d.Principal, d.Connection, d.Role = ses.Phase.String(), ses.Principal.Display(), ses.Scope.Connection, ses.Scope.Role
	}
	if h.Format == FormatSlack {
		return json.Marshal(struct {
			Text string `json:"text"`
		}{slackText(e.Kind, d)})
	}
	return json.Marshal(messageDoc{Type: string(e.Kind), Timestamp: e.At, Data: d})
}

// slackText is one line in Slack's mrkdwn. What people chose is escaped, so that
// it neither links nor calls anybody.
func slackText(kind session.EventKind, d messageData) string {
	who, where := slackEscape(d.Principal), slackEscape(d.Connection)
	switch {
	case kind == session.EventRequestSubmitted && d.Kind == session.RequestStatement.String():
		return fmt.Sprintf("*%s* has a statement on *%s* that waits for a reviewer (%s): `jit review %s`", who, where, slackEscape(d.Rule), d.RequestID)
	case kind == session.EventRequestSubmitted:
		return fmt.Sprintf("*%s* asks for a session on *%s*: `jit review %s`", who, where, d.RequestID)
	case d.RequestID != "":
		return fmt.Sprintf("The request %s of *%s* on *%s* is %s.", d.RequestID, who, where, d.State)
	default:
		return fmt.Sprintf("The session %s of *%s* on *%s* is %s.", d.SessionID, who, where, d.State)
	}
}

func slackEscape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "`", "'", "*", "", "\n", " ", "\r", " ").Replace(s)
}
