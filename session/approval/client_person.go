package approval

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

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
	return session.Opened{Session: ses, Token: secret.New(doc.Token), Bundle: doc.Bundle, DryRun: doc.DryRun, WitnessKey: doc.WitnessKey}, err
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

// DryRunPolicy puts bundle in dry run: sessions opened from now on record where
// it would have decided otherwise. An empty bundle ends the dry run.
func (c *Client) DryRunPolicy(ctx context.Context, bundle []byte) (string, error) {
	if len(bundle) == 0 {
		return "", c.t.call(ctx, http.MethodDelete, "/v1/policy/dry-run", nil, nil)
	}
	var in pushInput
	in.Body.Bundle = bundle
	var doc policyDoc
	err := c.t.call(ctx, http.MethodPut, "/v1/policy/dry-run", in.Body, &doc)
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
