package approval

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/loopback"
	"github.com/jit-access/jit/session/secret"
)

// TokenSource gives the bearer token of a call: an ID token that is fresh, or a
// broker token. It returns session.ErrSignIn if there is none.
type TokenSource interface {
	Token(ctx context.Context) (secret.Text, error)
}

// transport speaks the API. Redirects are not followed and plain http is for
// loopback only: a token goes to the server it is for, or nowhere.
type transport struct {
	base   string
	tokens TokenSource
	hc     *http.Client
}

// callTimeout bounds one call; an upstream login takes the longest.
const callTimeout = 2 * time.Minute

// maxAnswer bounds what the client reads of one answer: a list of large
// statements.
const maxAnswer = 256 << 20

func newTransport(baseURL string, tokens TokenSource, hc *http.Client) *transport {
	if hc == nil {
		hc = &http.Client{}
	}
	own := *hc
	own.Timeout = 0 // event streams last; calls have a context of their own
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &transport{base: strings.TrimRight(baseURL, "/"), tokens: tokens, hc: &own}
}

// CheckURL says whether baseURL may be talked to.
func CheckURL(baseURL string) error {
	u, err := url.Parse(baseURL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return session.Refuse(session.ErrInvalid, "The server's URL must be https://HOST.")
	case u.Scheme == "https" || u.Scheme == "http" && loopback.Host(u.Hostname()):
		return nil
	default:
		return session.Refuse(session.ErrInvalid, "The server's URL %s must be https; plain http is for loopback only.", u.Redacted())
	}
}

// request makes a request with the caller's token.
func (t *transport) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	if err := CheckURL(t.base); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, t.base+path, body)
	if err != nil {
		return nil, session.Refuse(session.ErrInvalid, "The call cannot be made: %v", err)
	}
	if t.tokens != nil {
		token, err := t.tokens.Token(ctx)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	return req, nil
}

// send returns the answer if it is a success, else the error it stands for.
func (t *transport) send(req *http.Request) (*http.Response, error) {
	resp, err := t.hc.Do(req)
	if err != nil {
		if cerr := req.Context().Err(); errors.Is(cerr, context.Canceled) {
			return nil, cerr
		}
		var uerr *url.Error
		if errors.As(err, &uerr) {
			err = uerr.Err // without the URL, which may name ids
		}
		return nil, session.Refuse(session.ErrUnavailable, "The approval server at %s gave no answer: %v", t.base, err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var p problemDoc
	if kind == problemType && json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&p) == nil {
		if err := p.err(); err != nil {
			return nil, err
		}
		return nil, session.Refuse(session.ErrUnavailable, "The approval server failed: %s (%s)", p.Detail, p.Trace)
	}
	return nil, session.Refuse(session.ErrUnavailable, "%s answered %d, not as an approval server does. Is it the right URL?", t.base, resp.StatusCode)
}

// call sends in as JSON, if it is not nil, and reads the answer into out, if
// that is not nil.
func (t *transport) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("calling the approval server: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := t.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	return t.finish(req, out)
}

func (t *transport) finish(req *http.Request, out any) error {
	resp, err := t.send(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return session.Refuse(session.ErrUnavailable, "The approval server's answer cannot be read: %v", err)
	}
	return nil
}

// FetchConfig asks the server at baseURL how to sign in. It needs no token.
func FetchConfig(ctx context.Context, baseURL string, hc *http.Client) (PublicConfig, error) {
	var c PublicConfig
	err := newTransport(baseURL, nil, hc).call(ctx, http.MethodGet, "/v1/config", nil, &c)
	if err == nil && (c.Issuer == "" || c.ClientID == "") {
		err = session.Refuse(session.ErrUnavailable, "%s names no identity provider. Is it the right URL?", baseURL)
	}
	return c, err
}
