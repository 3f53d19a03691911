package identity

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"golang.org/x/oauth2"

	"github.com/jit-access/jit/session/secret"
)

func secretOf(s string) secret.Text { return secret.New(s) }

const (
	defaultInterval = 5 * time.Second // RFC 8628 §3.2
	slowDown        = 5 * time.Second // RFC 8628 §3.5
	firstPoll       = time.Second     // a scripted approval is there at once
	maxBackoff      = 30 * time.Second
	maxCodeLife     = 30 * time.Minute // also when the issuer names no expiry
)

// deviceCode is a sign-in under way.
type deviceCode struct {
	code     secret.Text
	interval time.Duration
	prompt   Prompt
}

// begin asks the issuer for a code.
func (s *Source) begin(ctx context.Context, is *issuer) (deviceCode, error) {
	var opts []oauth2.AuthCodeOption
	hc := *s.cfg.HTTP
	if !s.cfg.ClientSecret.IsZero() {
		// x/oauth2 does not authenticate the client here, which RFC 8628 §3.1 asks for.
		if is.oauth.Endpoint.AuthStyle == oauth2.AuthStyleInHeader {
			hc.Transport = basicAuth{hc.Transport, s.cfg.ClientID, s.cfg.ClientSecret}
		} else {
			opts = append(opts, oauth2.SetAuthURLParam("client_secret", s.cfg.ClientSecret.Reveal()))
		}
	}
	da, err := is.oauth.DeviceAuth(context.WithValue(ctx, oauth2.HTTPClient, &hc), opts...)
	if err != nil {
		return deviceCode{}, s.clientError(answerError(ctx, err))
	}
	for _, r := range da.UserCode {
		if !unicode.IsPrint(r) {
			return deviceCode{}, fmt.Errorf("%w: %s sent a code that cannot be shown", ErrIssuer, s.cfg.Issuer)
		}
	}
	if da.UserCode == "" || da.DeviceCode == "" {
		return deviceCode{}, fmt.Errorf("%w: %s sent no code", ErrIssuer, s.cfg.Issuer)
	}
	for _, u := range []string{da.VerificationURI, da.VerificationURIComplete} {
		if err := checkURL(u); err != nil && (u != "" || da.VerificationURI == "") {
			return deviceCode{}, fmt.Errorf("%w: the sign-in page of %s: %w", ErrIssuer, s.cfg.Issuer, err)
		}
	}
	d := deviceCode{
		code:     secretOf(da.DeviceCode),
		interval: time.Duration(da.Interval) * time.Second,
		prompt:   Prompt{UserCode: da.UserCode, URL: da.VerificationURI, CompleteURL: da.VerificationURIComplete, Expires: da.Expiry},
	}
	if d.interval <= 0 {
		d.interval = defaultInterval
	}
	if most := time.Now().Add(maxCodeLife); d.prompt.Expires.IsZero() || d.prompt.Expires.After(most) {
		d.prompt.Expires = most
	}
	return d, nil
}

// poll asks until the person has decided or the code expires.
//
// x/oauth2's own loop gives up on the first network error, so each question is
// one Exchange here: the device grant is a token request with its own grant
// type, and a parameter without a value (code) counts as not sent (RFC 6749 §3.2).
func (s *Source) poll(ctx context.Context, is *issuer, d deviceCode) (*oauth2.Token, error) {
	interval, backoff := d.interval, time.Duration(0)
	wait := time.NewTimer(min(interval, firstPoll))
	defer wait.Stop()
	expiry := time.NewTimer(time.Until(d.prompt.Expires))
	defer expiry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-expiry.C:
			return nil, ErrExpired
		case <-wait.C:
		}
		token, err := is.oauth.Exchange(s.httpContext(ctx), "",
			oauth2.SetAuthURLParam("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
			oauth2.SetAuthURLParam("device_code", d.code.Reveal()))
		if err == nil {
			return token, nil
		}
		err = answerError(ctx, err)
		if errors.Is(err, ErrUnreachable) {
			s.cfg.OnTrouble(err)
			s.cfg.Logger.WarnContext(ctx, "sign-in poll unanswered")
			backoff = min(max(2*backoff, interval), maxBackoff) // RFC 8628 §3.5
			wait.Reset(backoff)
			continue
		}
		if backoff > 0 {
			backoff = 0
			s.cfg.OnTrouble(nil)
		}
		var answer *AnswerError
		if !errors.As(err, &answer) {
			return nil, err
		}
		switch answer.Code {
		case "authorization_pending":
		case "slow_down":
			interval += slowDown
		case "access_denied":
			return nil, ErrRefused
		case "expired_token":
			return nil, ErrExpired
		default:
			return nil, s.clientError(err)
		}
		wait.Reset(interval)
	}
}

// clientError explains the answers that mean the client is not set up.
func (s *Source) clientError(err error) error {
	var answer *AnswerError
	if !errors.As(err, &answer) {
		return err
	}
	switch answer.Code {
	case "invalid_client", "unauthorized_client", "unsupported_grant_type":
		return fmt.Errorf("%w: %s does not let client %q use the device grant (%w)", ErrIssuer, s.cfg.Issuer, s.cfg.ClientID, answer)
	case "invalid_scope":
		return fmt.Errorf("%w: %s does not allow client %q the scopes %s (%w)", ErrIssuer, s.cfg.Issuer, s.cfg.ClientID, strings.Join(s.cfg.Scopes, " "), answer)
	}
	return err
}

// basicAuth authenticates a confidential client (RFC 6749 §2.3.1).
type basicAuth struct {
	http.RoundTripper
	id     string
	secret secret.Text
}

func (b basicAuth) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	pair := url.QueryEscape(b.id) + ":" + url.QueryEscape(b.secret.Reveal())
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	return b.RoundTripper.RoundTrip(r)
}
