package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/session/secret"
)

type renewBody struct {
	OldSessionToken string `json:"oldSessionToken"`
	RequestType     string `json:"requestType"`
}

// Renew changes s's session token for a new one, by its master token. s stays
// as it is; the old token may be dead from now on. ErrSessionGone means that
// only a new Login helps.
func Renew(ctx context.Context, hc *http.Client, baseURL string, s *Session) (*Session, error) {
	const doing = "renewing the Snowflake session"
	if s == nil || s.MasterToken.IsZero() {
		return nil, errors.New(doing + ": there is no master token")
	}
	answer, secrets, err := do(ctx, hc, baseURL, call{
		doing: doing,
		path:  snowflake.PathRenew,
		auth:  s.MasterToken,
		body: func() (any, []secret.Text, error) {
			return renewBody{s.Token.Reveal(), "RENEW"}, []secret.Text{s.Token}, nil
		},
	})
	if err != nil {
		return nil, err
	}
	if !answer.Success {
		refused := sessionError(doing, answer, secrets)
		refused.renewing = true
		return nil, refused
	}
	var data snowflake.RenewAnswer
	if err := json.Unmarshal(answer.Data, &data); err != nil || data.SessionToken == "" {
		return nil, fmt.Errorf("%s: %w: the answer has no session token", doing, ErrUnreachable)
	}
	renewed := *s
	renewed.Token = secret.New(data.SessionToken)
	renewed.ValidFor = time.Duration(data.ValidInSeconds) * time.Second
	if data.MasterToken != "" {
		renewed.MasterToken = secret.New(data.MasterToken)
		renewed.MasterValidFor = time.Duration(data.MasterValidSecs) * time.Second
	}
	return &renewed, nil
}

// Heartbeat keeps the session of token alive; ErrTokenExpired asks for Renew.
func Heartbeat(ctx context.Context, hc *http.Client, baseURL string, token secret.Text) error {
	return order(ctx, hc, baseURL, call{doing: "keeping the Snowflake session alive", path: snowflake.PathHeartbeat, auth: token})
}

// Close ends the session of token, and with it whatever it runs. A session
// that is already over is not an error. ErrTokenExpired means that it is not
// over: Logout renews and closes.
func Close(ctx context.Context, hc *http.Client, baseURL string, token secret.Text) error {
	err := order(ctx, hc, baseURL, call{
		doing: "closing the Snowflake session",
		path:  snowflake.PathSession,
		query: url.Values{"delete": {"true"}},
		auth:  token,
	})
	if errors.Is(err, ErrSessionGone) {
		return nil
	}
	return err
}

// Logout ends s. If its token is too old to do so, it is renewed first: an
// expired token closes nothing, and what the session runs would go on.
func Logout(ctx context.Context, hc *http.Client, baseURL string, s *Session) error {
	err := Close(ctx, hc, baseURL, s.Token)
	if !errors.Is(err, ErrTokenExpired) {
		return err
	}
	fresh, err := Renew(ctx, hc, baseURL, s)
	switch {
	case errors.Is(err, ErrSessionGone):
		return nil
	case err != nil:
		return err
	}
	return Close(ctx, hc, baseURL, fresh.Token)
}

type abortBody struct {
	RequestID string `json:"requestId"`
}

// AbortRequest cancels the statement that was sent with requestID in the
// session of token. A statement that is not executing is a *SessionError with
// snowflake.CodeNotExecuting.
func AbortRequest(ctx context.Context, hc *http.Client, baseURL string, token secret.Text, requestID string) error {
	return order(ctx, hc, baseURL, call{
		doing: "cancelling the statement",
		path:  snowflake.PathAbort,
		auth:  token,
		body: func() (any, []secret.Text, error) {
			return abortBody{requestID}, nil, nil
		},
	})
}

// AbortQuery cancels the statement with Snowflake's query id.
func AbortQuery(ctx context.Context, hc *http.Client, baseURL string, token secret.Text, queryID string) error {
	id, err := uuid.Parse(queryID)
	if err != nil {
		return errors.New("cancelling the statement: the query id is not a UUID")
	}
	return order(ctx, hc, baseURL, call{doing: "cancelling the statement", path: "/queries/" + id.String() + "/abort-request", auth: token})
}

// order sends c, of which only success or failure is of interest.
func order(ctx context.Context, hc *http.Client, baseURL string, c call) error {
	if c.auth.IsZero() {
		return errors.New(c.doing + ": there is no session token")
	}
	answer, secrets, err := do(ctx, hc, baseURL, c)
	if err != nil {
		return err
	}
	if !answer.Success {
		return sessionError(c.doing, answer, secrets)
	}
	return nil
}

func sessionError(doing string, answer snowflake.Envelope, secrets []secret.Text) *SessionError {
	code, message := refusal(answer, secrets)
	return &SessionError{Doing: doing, Code: code, Message: message}
}
