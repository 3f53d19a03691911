package approval

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

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
