package broker

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// Limits of the upstream leg.
const (
	maxUpstreamBody  = 512 << 20
	upstreamAttempts = 6
	upstreamRetryFor = 60 * time.Second
	upstreamHeader   = 5 * time.Minute // Snowflake answers or says 333333 within 45 s
	maxRenewals      = 2
	retryPause       = 250 * time.Millisecond // the first of them; each is twice the one before
)

// The errors of the upstream leg. None crosses the wire.
var (
	errUpstream     = errors.New("no usable answer from Snowflake")
	errUpstreamGone = errors.New("the upstream session is gone")
	errNotSent      = errors.New("the request was not sent")
)

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: upstreamHeader,
		MaxIdleConns: 256, MaxIdleConnsPerHost: 128, IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true,
	}
}

// noRedirect keeps the session token from following a redirect.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// upstreamRequestID maps a driver's request id to the one Snowflake sees. It is
// the same for every repeat, so Snowflake de-duplicates too, and never one the
// driver chose: a driver cannot name another statement's result.
func (b *Broker) upstreamRequestID(l *login, requestID string) string {
	l.mu.Lock()
	up := l.up.ID
	l.mu.Unlock()
	m := hmac.New(sha256.New, b.idKey)
	_, _ = fmt.Fprintf(m, "%d:%s%s", len(up), up, requestID) // hash.Hash never returns an error
	var id uuid.UUID
	copy(id[:], m.Sum(nil))
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id.String()
}

// reply is an upstream envelope, parsed two levels deep, raw below.
type reply struct {
	raw     []byte
	top     snowflake.Object
	data    snowflake.Object // nil if there is none, or it is no object; never changed
	code    string
	success bool
}

func parseReply(raw []byte) (*reply, error) {
	top, err := snowflake.ParseObject(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: reading the envelope: %w", errUpstream, err)
	}
	p := &reply{raw: raw, top: top, success: top.Bool("success")}
	p.code, _ = top.Text("code")
	if !top.Has("success") || !p.success && (p.code == "" || strings.Trim(p.code, "0123456789") != "") {
		return nil, fmt.Errorf("%w: the envelope has no verdict", errUpstream)
	}
	if raw := top.Get("data"); len(raw) > 0 && raw[0] == '{' {
		if p.data, err = snowflake.ParseObject(raw); err != nil {
			return nil, fmt.Errorf("%w: reading the data: %w", errUpstream, err)
		}
	}
	return p, nil
}

// lostSession are the codes that say the upstream session cannot be renewed.
func lostSession(code string) bool {
	switch code {
	case "390104", "390110", "390111", "390113", "390114", "390115", "390195", "390303", "390318", "390400":
		return true
	}
	return false
}

// upstreamCall is one logical request upstream.
type upstreamCall struct {
	method, path string
	requestID    string // constant over retries; empty = none
	body         []byte
	accept       string
}

// call sends a request, renewing the session token and retrying as drivers do:
// the request id stays, the guid changes, and the retry is announced.
func (b *Broker) call(ctx context.Context, l *login, c upstreamCall) (*reply, error) {
	began := time.Now()
	renewals, retries, reason := 0, 0, ""
	for {
		up := l.upstreamSession()
		raw, status, err := b.once(ctx, up, c, began, retries, reason)
		if err == nil && status == http.StatusOK {
			p, err := parseReply(raw)
			if err != nil {
				return nil, err
			}
			if !p.success && p.code == snowflake.CodeSessionExpired && renewals < maxRenewals {
				renewals++
				if err := b.renewUpstream(ctx, l, up.Token); err != nil {
					return nil, err
				}
				continue
			}
			if !p.success && (p.code == snowflake.CodeSessionExpired || lostSession(p.code)) {
				return nil, fmt.Errorf("%w: code %s", errUpstreamGone, p.code)
			}
			return p, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests {
			return nil, fmt.Errorf("%w: HTTP status %d", errUpstream, status)
		}
		retries++
		reason = strconv.Itoa(status)
		if retries >= upstreamAttempts || time.Since(began) > upstreamRetryFor {
			if err == nil {
				err = fmt.Errorf("HTTP status %d", status)
			}
			return nil, fmt.Errorf("%w after %d attempts: %w", errUpstream, retries, err)
		}
		pause := time.NewTimer(min(b.retryPause<<(retries-1), 4*time.Second))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// once makes one attempt. Only the broker's own headers go upstream.
func (b *Broker) once(ctx context.Context, up session.Upstream, c upstreamCall, began time.Time, retries int, reason string) ([]byte, int, error) {
	// Ids, numbers and status codes of the broker's own: nothing to escape.
	target := strings.TrimRight(up.URL, "/") + c.path + "?request_guid=" + uuid.NewString()
	if c.requestID != "" {
		target += "&requestId=" + c.requestID
	}
	if retries > 0 {
		target += "&clientStartTime=" + strconv.FormatInt(began.UnixMilli(), 10) + "&retryCount=" + strconv.Itoa(retries) + "&retryReason=" + reason
	}
	req, err := http.NewRequestWithContext(ctx, c.method, target, bytes.NewReader(c.body)) //nolint:gosec // G704: the server names the host, and ids are plain segments
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errNotSent, err)
	}
	if c.accept == "" {
		c.accept = "application/snowflake"
	}
	values := [...]string{c.accept, snowflake.ContentType, "jit", `Snowflake Token="` + up.Token.Reveal() + `"`}
	for i, name := range [...]string{"Accept", "Content-Type", "User-Agent", "Authorization"} {
		req.Header[name] = values[i : i+1 : i+1]
	}
	resp, err := b.upstream.Transport.RoundTrip(req) // a client adds redirects, and refuses them
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	body, err := readUpTo(resp.Body, maxUpstreamBody, resp.ContentLength)
	if err != nil {
		return nil, 0, err
	}
	return body, resp.StatusCode, nil
}

func readUpTo(r io.Reader, limit, expected int64) ([]byte, error) {
	if expected > 0 && expected < 16<<20 {
		b := make([]byte, expected)
		if _, err := io.ReadFull(r, b); err != nil { // the transport ends the body there
			return nil, err
		}
		return b, nil
	}
	var buf bytes.Buffer
	n, err := buf.ReadFrom(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("%w: the answer is larger than %d bytes", errUpstream, limit)
	}
	return buf.Bytes(), nil
}

// renewUpstream asks the approval server for a fresh token, once for all
// statements that met the expiry together. stale is the token that expired.
func (b *Broker) renewUpstream(ctx context.Context, l *login, stale secret.Text) error {
	l.mu.Lock()
	if !l.up.Token.Equal(stale) { // someone was faster
		l.mu.Unlock()
		return nil
	}
	if running := l.renewing; running != nil {
		l.mu.Unlock()
		select {
		case <-running:
			return nil // the next attempt shows whether it worked
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	finished := make(chan struct{})
	l.renewing = finished
	id := l.up.ID
	l.mu.Unlock()

	up, err := b.cfg.Upstreams.RenewUpstream(ctx, id)

	l.mu.Lock()
	if err == nil {
		l.up.Token, l.up.ValidFor = up.Token, up.ValidFor
		if up.URL != "" {
			l.up.URL = up.URL
		}
	}
	l.renewing = nil
	close(finished)
	l.mu.Unlock()
	if err != nil {
		if errors.Is(err, session.ErrRevoked) || errors.Is(err, session.ErrExpired) || errors.Is(err, session.ErrForbidden) {
			b.end("it was revoked or closed at the approval server")
		}
		return fmt.Errorf("%w: renewing: %w", errUpstreamGone, err)
	}
	return nil
}

// abortUpstream cancels a running statement. It outlives the statement's
// context, which has ended.
func (b *Broker) abortUpstream(l *login, requestID, queryID string) {
	b.finish(func(ctx context.Context) {
		c := upstreamCall{method: http.MethodPost, path: snowflake.PathAbort, requestID: uuid.NewString(),
			body: snowflake.Object{{Key: "requestId", Raw: snowflake.Quote(requestID)}}.Append(nil), accept: snowflake.ContentType}
		if queryID != "" {
			c.path, c.body = "/queries/"+queryID+"/abort-request", []byte("{}")
		}
		if _, err := b.call(ctx, l, c); err != nil {
			b.log.Warn("aborting upstream failed", "query_id", queryID, "err", err)
		}
	})
}
