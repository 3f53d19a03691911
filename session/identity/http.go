package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/jit-access/jit/session/loopback"
)

const (
	requestTimeout = 20 * time.Second
	maxAnswer      = 1 << 20 // discovery documents and key sets are far smaller
	maxRedirects   = 5
)

// checkURL accepts https anywhere and http on this machine only.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%q is not a URL like https://idp.example.com", s)
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback.Host(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%q must use https", s)
}

// guardedClient bounds what an issuer may send and where it may send us.
func guardedClient(base *http.Client) *http.Client {
	c := http.Client{}
	if base != nil {
		c = *base
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	c.Transport = bounded{c.Transport}
	c.Jar = nil
	c.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		switch {
		case via[0].Method != http.MethodGet:
			return errors.New("refusing to follow a redirect with a secret")
		case len(via) > maxRedirects:
			return errors.New("too many redirects")
		}
		return checkURL(r.URL.String())
	}
	return &c
}

// bounded reads each answer whole, up to maxAnswer and requestTimeout: what is
// cut off cannot parse, and a caller that forgets to close a body (x/oauth2
// does, for device codes) leaks nothing.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	resp, err := b.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}
