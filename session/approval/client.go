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
	"strconv"
	"strings"
	"time"

	"github.com/jit-access/jit/session"
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
	case u.Scheme == "https" || u.Scheme == "http" && loopbackHost(u.Hostname()):
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

// desk is session.Desk over HTTP, for people and brokers alike.
type desk struct{ t *transport }

func (d desk) requestCall(ctx context.Context, method, path string, in any) (session.Request, error) {
	var doc requestDoc
	if err := d.t.call(ctx, method, path, in, &doc); err != nil {
		return session.Request{}, err
	}
	return doc.request()
}

// Submit implements session.Desk.
func (d desk) Submit(ctx context.Context, sub session.Submission) (session.Request, error) {
	return d.requestCall(ctx, http.MethodPost, "/v1/requests", toSubmissionDoc(sub))
}

// Request implements session.Desk.
func (d desk) Request(ctx context.Context, id string) (session.Request, error) {
	return d.requestCall(ctx, http.MethodGet, "/v1/requests/"+url.PathEscape(id), nil)
}

// Pending implements session.Desk.
func (d desk) Pending(ctx context.Context, f session.Filter) ([]session.Request, error) {
	q := url.Values{"mine": {strconv.FormatBool(f.Mine)}, "all": {strconv.FormatBool(f.All)}, "limit": {strconv.Itoa(f.Limit)}}
	if f.SessionID != "" {
		q.Set("session", f.SessionID)
	}
	var doc requestsDoc
	if err := d.t.call(ctx, http.MethodGet, "/v1/requests?"+q.Encode(), nil, &doc); err != nil {
		return nil, err
	}
	var out []session.Request
	for _, rd := range doc.Requests {
		r, err := rd.request()
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Decide implements session.Desk.
func (d desk) Decide(ctx context.Context, id string, c session.Choice) (session.Request, error) {
	return d.requestCall(ctx, http.MethodPost, "/v1/requests/"+url.PathEscape(id)+"/decisions",
		choiceDoc{Outcome: c.Outcome.String(), Reuse: c.Reuse.String(), Reason: c.Reason, Digest: c.Digest})
}

// Withdraw implements session.Desk.
func (d desk) Withdraw(ctx context.Context, id string) error {
	return d.t.call(ctx, http.MethodPost, "/v1/requests/"+url.PathEscape(id)+"/withdraw", nil, nil)
}

// Redeem implements session.Desk.
func (d desk) Redeem(ctx context.Context, id, digest string) (session.Decision, error) {
	var in redeemInput
	in.Body.Digest = digest
	var doc decisionDoc
	if err := d.t.call(ctx, http.MethodPost, "/v1/requests/"+url.PathEscape(id)+"/redeem", in.Body, &doc); err != nil {
		return session.Decision{}, err
	}
	return doc.decision()
}

// Session is session.Office's Session; brokers read their own.
func (d desk) Session(ctx context.Context, id string) (session.Session, error) {
	var doc sessionDoc
	if err := d.t.call(ctx, http.MethodGet, sessionPath(id), nil, &doc); err != nil {
		return session.Session{}, err
	}
	return doc.session()
}

func sessionPath(id string) string { return "/v1/sessions/" + url.PathEscape(id) }

// Client is the approval server as one signed-in person sees it.
type Client struct{ desk }

var (
	_ session.Desk      = (*Client)(nil)
	_ session.Office    = (*Client)(nil)
	_ session.Desk      = (*BrokerClient)(nil)
	_ session.Upstreams = (*BrokerClient)(nil)
)

// NewClient makes a client of the server at baseURL. hc gives the transport;
// nil means http.DefaultTransport.
func NewClient(baseURL string, tokens TokenSource, hc *http.Client) *Client {
	return &Client{desk{newTransport(baseURL, tokens, hc)}}
}

// Open implements session.Office.
func (c *Client) Open(ctx context.Context, grantID, recordingKey string) (session.Opened, error) {
	var in openInput
	in.Body.GrantID, in.Body.RecordingKey = grantID, recordingKey
	var doc openedDoc
	if err := c.t.call(ctx, http.MethodPost, "/v1/sessions", in.Body, &doc); err != nil {
		return session.Opened{}, err
	}
	ses, err := doc.Session.session()
	return session.Opened{Session: ses, Token: secret.New(doc.Token), Bundle: doc.Bundle, WitnessKey: doc.WitnessKey}, err
}

// Sessions implements session.Office.
func (c *Client) Sessions(ctx context.Context) ([]session.Session, error) {
	var doc sessionsDoc
	if err := c.t.call(ctx, http.MethodGet, "/v1/sessions", nil, &doc); err != nil {
		return nil, err
	}
	var out []session.Session
	for _, sd := range doc.Sessions {
		ses, err := sd.session()
		if err != nil {
			return nil, err
		}
		out = append(out, ses)
	}
	return out, nil
}

// Revoke implements session.Office.
func (c *Client) Revoke(ctx context.Context, id, reason string) error {
	var in reasonInput
	in.Body.Reason = reason
	return c.t.call(ctx, http.MethodPost, sessionPath(id)+"/revoke", in.Body, nil)
}

// Whoami asks the server whom the token names, and whether they administer it.
func (c *Client) Whoami(ctx context.Context) (p session.Principal, admin bool, err error) {
	var doc whoamiDoc
	err = c.t.call(ctx, http.MethodGet, "/v1/whoami", nil, &doc)
	return doc.Principal.principal(), doc.Admin, err
}

// Connections lists what this person could ask for.
func (c *Client) Connections(ctx context.Context) ([]Connection, error) {
	var doc connectionsDoc
	if err := c.t.call(ctx, http.MethodGet, "/v1/connections", nil, &doc); err != nil {
		return nil, err
	}
	var out []Connection
	for _, d := range doc.Connections {
		out = append(out, Connection(d))
	}
	return out, nil
}

// AddConnection adds a connection; replace lets it take the place of another.
func (c *Client) AddConnection(ctx context.Context, conn Connection, nc NewCredential, replace bool) (Connection, error) {
	var in addConnectionInput
	in.Body.Connection, in.Body.Replace = connectionDoc(conn), replace
	// The one place where a credential leaves the administrator's machine.
	in.Body.Credential = credentialDoc{Kind: nc.Kind, Material: nc.Material.Reveal(), Passphrase: nc.Passphrase.Reveal()}
	var doc connectionDoc
	err := c.t.call(ctx, http.MethodPost, "/v1/connections", in.Body, &doc)
	return Connection(doc), err
}

// RemoveConnection forgets a connection and its credential.
func (c *Client) RemoveConnection(ctx context.Context, name string) error {
	return c.t.call(ctx, http.MethodDelete, "/v1/connections/"+url.PathEscape(name), nil, nil)
}

// TestConnection has the server log in and out once.
func (c *Client) TestConnection(ctx context.Context, name string) (ConnectionTest, error) {
	var doc ConnectionTest
	err := c.t.call(ctx, http.MethodPost, "/v1/connections/"+url.PathEscape(name)+"/test", nil, &doc)
	return doc, err
}

// Policy returns the active bundle and its digest.
func (c *Client) Policy(ctx context.Context) (digest string, bundle []byte, err error) {
	var doc policyDoc
	err = c.t.call(ctx, http.MethodGet, "/v1/policy", nil, &doc)
	return doc.Digest, doc.Bundle, err
}

// PushPolicy makes bundle the active one and returns its digest.
func (c *Client) PushPolicy(ctx context.Context, bundle []byte) (string, error) {
	var in pushInput
	in.Body.Bundle = bundle
	var doc policyDoc
	err := c.t.call(ctx, http.MethodPut, "/v1/policy", in.Body, &doc)
	return doc.Digest, err
}

// RecordingFiles lists what the server stores of a session's recording.
func (c *Client) RecordingFiles(ctx context.Context, sessionID string) ([]RecordingFile, error) {
	var doc filesDoc
	err := c.t.call(ctx, http.MethodGet, sessionPath(sessionID)+"/recording", nil, &doc)
	return doc.Files, err
}

// Recording reads one stored file of a session's recording. The caller closes
// it, and verifies what it reads (recording.Verify).
func (c *Client) Recording(ctx context.Context, sessionID, file string) (io.ReadCloser, error) {
	req, err := c.t.request(ctx, http.MethodGet, sessionPath(sessionID)+"/recording/"+url.PathEscape(file), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.t.send(req)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// ForBroker is the server as the broker of one session sees it.
func (c *Client) ForBroker(sessionID string, token secret.Text) *BrokerClient {
	t := *c.t
	t.tokens = fixedToken{token}
	return &BrokerClient{desk{&t}, sessionID}
}

// ForRecovery is the server for sending the rest of an ended session's
// recording, whose broker died. Of the broker's calls it may do Cosign and
// Upload, and only for the person's own session.
func (c *Client) ForRecovery(sessionID string) *BrokerClient { return &BrokerClient{c.desk, sessionID} }

type fixedToken struct{ token secret.Text }

func (f fixedToken) Token(context.Context) (secret.Text, error) { return f.token, nil }

// BrokerClient is session.Desk for one session's statements, and its
// session.Upstreams.
type BrokerClient struct {
	desk
	id string
}

// OpenUpstream implements session.Upstreams.
func (b *BrokerClient) OpenUpstream(ctx context.Context) (session.Upstream, error) {
	return b.upstream(ctx, sessionPath(b.id)+"/upstreams")
}

// RenewUpstream implements session.Upstreams.
func (b *BrokerClient) RenewUpstream(ctx context.Context, upstreamID string) (session.Upstream, error) {
	return b.upstream(ctx, sessionPath(b.id)+"/upstreams/"+url.PathEscape(upstreamID)+"/renew")
}

func (b *BrokerClient) upstream(ctx context.Context, path string) (session.Upstream, error) {
	var d upstreamDoc
	if err := b.t.call(ctx, http.MethodPost, path, nil, &d); err != nil {
		return session.Upstream{}, err
	}
	return session.Upstream{
		ID: d.ID, URL: d.URL, Token: secret.New(d.Token), SnowflakeID: d.SnowflakeID, Parameters: d.Parameters,
		Database: d.Database, Schema: d.Schema, Warehouse: d.Warehouse, Role: d.Role,
		ServerVersion: d.ServerVersion, ValidFor: time.Duration(d.ValidMillis) * time.Millisecond,
	}, nil
}

// CloseUpstream implements session.Upstreams.
func (b *BrokerClient) CloseUpstream(ctx context.Context, upstreamID string) error {
	return b.t.call(ctx, http.MethodDelete, sessionPath(b.id)+"/upstreams/"+url.PathEscape(upstreamID), nil, nil)
}

// Close implements session.Upstreams.
func (b *BrokerClient) Close(ctx context.Context) error {
	return b.t.call(ctx, http.MethodPost, sessionPath(b.id)+"/close", nil, nil)
}

// Cosign implements session.Upstreams.
func (b *BrokerClient) Cosign(ctx context.Context, checkpoint []byte) ([]byte, error) {
	var in checkpointInput
	in.Body.Checkpoint = checkpoint
	var doc cosignedDoc
	err := b.t.call(ctx, http.MethodPost, sessionPath(b.id)+"/checkpoints", in.Body, &doc)
	return doc.Cosigned, err
}

// Upload implements session.Upstreams. Data larger than one call takes is sent
// in pieces.
func (b *BrokerClient) Upload(ctx context.Context, file string, offset int64, data []byte) error {
	for len(data) > 0 {
		piece := data[:min(len(data), maxUpload)]
		if err := b.uploadPiece(ctx, file, offset, piece); err != nil {
			return err
		}
		data, offset = data[len(piece):], offset+int64(len(piece))
	}
	return nil
}

func (b *BrokerClient) uploadPiece(ctx context.Context, file string, offset int64, piece []byte) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	path := sessionPath(b.id) + "/recording/" + url.PathEscape(file) + "?offset=" + strconv.FormatInt(offset, 10)
	req, err := b.t.request(ctx, http.MethodPut, path, bytes.NewReader(piece))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	return b.t.finish(req, nil)
}
