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
	Kind       string    `json:"kind,omitempty"`  // of the request: session, statement, extension
	State      string    `json:"state,omitempty"` // of the request, or phase of the session
	Principal  string    `json:"principal"`
	Connection string    `json:"connection"`
	Role       string    `json:"role,omitempty"`
	Rule       string    `json:"rule,omitempty"`
	Reason     string    `json:"reason,omitempty"` // the requester's words
	Ticket     string    `json:"ticket,omitempty"`
	Emergency  bool      `json:"emergency,omitempty"`
	Reviewers  []string  `json:"reviewers,omitempty"`
	Approvals  int       `json:"approvals,omitempty"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	URL        string    `json:"url,omitempty"` // says how to review; decides nothing
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
		d.Reason, d.Ticket, d.Emergency, d.URL = r.Reason, r.Ticket, r.Emergency, requestLink(s.cfg.PublicURL, r.ID)
	} else {
		ses, err := s.loadSession(ctx, c, e.SessionID)
		if err != nil {
			return nil, err
		}
		d.State, d.Principal, d.Connection, d.Role = ses.Phase.String(), ses.Principal.Display(), ses.Scope.Connection, ses.Scope.Role
		d.Emergency = ses.Emergency
	}
	if h.Format == FormatSlack {
		return json.Marshal(slackMessage(e.Kind, d))
	}
	return json.Marshal(messageDoc{Type: string(e.Kind), Timestamp: e.At, Data: d})
}

// slackDoc is a message as Slack's incoming webhooks take it. Text is what
// notifications show; people see the blocks.
type slackDoc struct {
	Text        string       `json:"text"`
	Blocks      []slackBlock `json:"blocks"`
	UnfurlLinks bool         `json:"unfurl_links"`
	UnfurlMedia bool         `json:"unfurl_media"`
}

type slackBlock struct {
	Type   string      `json:"type"`
	Text   *slackText  `json:"text,omitempty"`
	Fields []slackText `json:"fields,omitempty"`
}

// slackText is mrkdwn or plain_text. Verbatim keeps Slack from making links and
// mentions of what looks like them; plain_text knows neither.
type slackText struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Verbatim bool   `json:"verbatim,omitempty"`
}

// slackMessage says what happened in jit's own words, and what people chose in
// plain text, which neither links nor calls anybody.
func slackMessage(kind session.EventKind, d messageData) slackDoc {
	line := slackLine(kind, d)
	out := slackDoc{Text: line, Blocks: []slackBlock{{Type: "section", Text: &slackText{Type: "mrkdwn", Text: line, Verbatim: true}}}}
	var fields []slackText
	for _, f := range [][2]string{{"role", d.Role}, {"rule", d.Rule}, {"ticket", d.Ticket}, {"reason", d.Reason}} {
		if text := plainLine(f[1]); text != "" {
			fields = append(fields, slackText{Type: "plain_text", Text: f[0] + ": " + text})
		}
	}
	if len(fields) > 0 {
		out.Blocks = append(out.Blocks, slackBlock{Type: "section", Fields: fields})
	}
	if d.RequestID != "" {
		how := "`jit review " + d.RequestID + "`"
		if d.URL != "" {
			how += "  <" + d.URL + "|how to review>"
		}
		out.Blocks = append(out.Blocks, slackBlock{Type: "section", Text: &slackText{Type: "mrkdwn", Text: how, Verbatim: true}})
	}
	return out
}

// slackLine is one line in Slack's mrkdwn.
func slackLine(kind session.EventKind, d messageData) string {
	who, where := slackEscape(d.Principal), slackEscape(d.Connection)
	switch {
	case kind == session.EventEmergency:
		return fmt.Sprintf(":rotating_light: *EMERGENCY*: *%s* opens a session on *%s* without a reviewer. Look at it with `jit audit emergencies`.", who, where)
	case kind == session.EventRequestSubmitted && d.Kind == session.RequestStatement.String():
		return fmt.Sprintf("*%s* has a statement on *%s* that waits for a reviewer (%s): `jit review %s`", who, where, slackEscape(d.Rule), d.RequestID)
	case kind == session.EventRequestSubmitted:
		return fmt.Sprintf("*%s* %s on *%s*: `jit review %s`", who, asksFor(d.Kind), where, d.RequestID)
	case kind == session.EventRequestCommented:
		return fmt.Sprintf("Somebody commented on the request %s of *%s* on *%s*.", d.RequestID, who, where)
	case d.RequestID != "":
		return fmt.Sprintf("The request %s of *%s* on *%s* is %s.", d.RequestID, who, where, d.State)
	case kind == session.EventSessionExtended:
		return fmt.Sprintf("The session %s of *%s* on *%s* was extended.", d.SessionID, who, where)
	default:
		return fmt.Sprintf("The session %s of *%s* on *%s* is %s.", d.SessionID, who, where, d.State)
	}
}

// slackEscape makes a text one that Slack shows as it is: the three characters
// that its documentation names are escaped, and what would format, link or call
// somebody is taken apart.
func slackEscape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "`", "'", "*", "", "://", ": //").Replace(plainLine(s))
}
