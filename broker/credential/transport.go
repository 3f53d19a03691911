package credential

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/session/secret"
)

const (
	maxAttempts    = 4
	firstBackoff   = 250 * time.Millisecond
	attemptTimeout = 20 * time.Second
	maxAnswer      = 4 << 20 // a login answer has some 20 KiB of parameters
)

// A call is one exchange with Snowflake, repeated until it has an answer.
type call struct {
	doing string // a gerund, for errors
	path  string
	query url.Values
	auth  secret.Text // session or master token; zero before login
	// body makes the request body of one attempt and the secrets in it. A
	// login signs anew each time.
	body func() (any, []secret.Text, error)
}

// do sends c until Snowflake answers or the attempts are used up. A failure
// envelope is returned as it is: the caller knows what it means.
func do(ctx context.Context, hc *http.Client, baseURL string, c call) (snowflake.Envelope, []secret.Text, error) {
	base, err := checkBase(baseURL)
	if err != nil {
		return snowflake.Envelope{}, nil, fmt.Errorf("%s: %w", c.doing, err)
	}
	// A redirect would carry the body, and with it the secret, elsewhere.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if hc != nil {
		client.Transport = hc.Transport
	}
	if c.query == nil {
		c.query = url.Values{}
	}
	c.query.Set("requestId", uuid.NewString())

	var last error
	backoff := firstBackoff
	for attempt := range maxAttempts {
		if attempt > 0 {
			if err := wait(ctx, backoff/2+rand.N(backoff)); err != nil {
				return snowflake.Envelope{}, nil, fmt.Errorf("%s: %w (last: %w)", c.doing, err, last)
			}
			backoff *= 2
		}
		answer, secrets, again, err := try(ctx, client, base, c)
		if err == nil {
			return answer, secrets, nil
		}
		last = err
		if !again || ctx.Err() != nil {
			break
		}
	}
	return snowflake.Envelope{}, nil, fmt.Errorf("%s at %s: %w", c.doing, base.Host, last)
}

// try makes one attempt; again says whether another may help.
func try(ctx context.Context, client *http.Client, base *url.URL, c call) (_ snowflake.Envelope, _ []secret.Text, again bool, _ error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	var payload []byte
	secrets := []secret.Text{c.auth}
	if c.body != nil {
		body, used, err := c.body()
		if err != nil {
			return snowflake.Envelope{}, nil, false, err
		}
		secrets = append(secrets, used...)
		if payload, err = json.Marshal(body); err != nil {
			return snowflake.Envelope{}, nil, false, errors.New("encoding the request body")
		}
	}
	c.query.Set("request_guid", uuid.NewString())
	target := *base
	target.Path, target.RawQuery = c.path, c.query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(payload))
	if err != nil {
		return snowflake.Envelope{}, nil, false, errors.New("building the request")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "jit")
	if !c.auth.IsZero() {
		req.Header.Set("Authorization", `Snowflake Token="`+c.auth.Reveal()+`"`)
	}
	resp, err := client.Do(req)
	if err != nil {
		// Another attempt does not make a certificate trusted.
		var untrusted *tls.CertificateVerificationError
		again := !errors.As(err, &untrusted)
		return snowflake.Envelope{}, nil, again, fmt.Errorf("%w: %s", ErrUnreachable, clean(transportText(err), secrets))
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusRequestTimeout, resp.StatusCode == http.StatusTooManyRequests:
		return snowflake.Envelope{}, nil, true, fmt.Errorf("%w: HTTP status %d", ErrUnreachable, resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return snowflake.Envelope{}, nil, false, fmt.Errorf("%w: HTTP status %d; check the account and the URL of the connection", ErrUnreachable, resp.StatusCode)
	case err != nil:
		return snowflake.Envelope{}, nil, true, fmt.Errorf("%w: the answer broke off", ErrUnreachable)
	case len(raw) > maxAnswer:
		return snowflake.Envelope{}, nil, false, fmt.Errorf("%w: the answer is larger than %d bytes", ErrUnreachable, maxAnswer)
	}
	var answer snowflake.Envelope
	if err := json.Unmarshal(raw, &answer); err != nil {
		// The decoder's error may quote the answer: it is not passed on.
		return snowflake.Envelope{}, nil, false, fmt.Errorf("%w: the answer is not Snowflake's JSON; check the URL of the connection", ErrUnreachable)
	}
	return answer, secrets, false, nil
}

// transportText is the cause of a failed exchange without the URL, which
// url.Error would repeat with its whole query.
func transportText(err error) string {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return err.Error()
}

// wait sleeps for d or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// refusal takes code and message of a failure envelope. A code that is not a
// short number is none of Snowflake's and becomes 000000.
func refusal(answer snowflake.Envelope, secrets []secret.Text) (code, message string) {
	code = "000000"
	if answer.Code != nil && len(*answer.Code) <= 6 && *answer.Code != "" && strings.Trim(*answer.Code, "0123456789") == "" {
		code = *answer.Code
	}
	if answer.Message != nil {
		message = *answer.Message
	}
	return code, clean(message, secrets)
}
