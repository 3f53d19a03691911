package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/jit-access/jit/session/loopback"
	"github.com/jit-access/jit/session/secret"
)

// Exchanger is a Credential that cannot log in itself: it is exchanged for one
// that can, somewhere else than at Snowflake.
type Exchanger interface {
	Credential
	// Exchange returns what to log in with. If keep is not zero, it is the
	// material to store from now on, before the login: the old one may be used up.
	Exchange(ctx context.Context, hc *http.Client, now time.Time) (ready Credential, keep secret.Text, err error)
}

// ExchangeError is the refusal of a token endpoint.
type ExchangeError struct {
	Code string // OAuth error code; empty if it gave none
	Text string
}

// Error implements error.
func (e *ExchangeError) Error() string { return e.Text }

// OAuthExchange is how access tokens for Snowflake are had from an authorisation
// server: by client credentials or, with RefreshToken, by refreshing.
type OAuthExchange struct {
	TokenURL     string
	ClientID     string
	ClientSecret secret.Text // zero for a public client that refreshes
	RefreshToken secret.Text
	Scope        string // such as session:role:ANALYST
}

// oauthMaterial is the stored form. Access and Expires are of the last token.
type oauthMaterial struct {
	TokenURL     string    `json:"token_url"`
	ClientID     string    `json:"client_id"`
	ClientSecret string    `json:"client_secret,omitempty"`
	RefreshToken string    `json:"refresh_token,omitempty"`
	Scope        string    `json:"scope,omitempty"`
	Access       string    `json:"access_token,omitempty"`
	Expires      time.Time `json:"expires,omitzero"`
}

// FormatOAuthExchange makes the material that Parse takes.
func FormatOAuthExchange(e OAuthExchange) secret.Text {
	return oauthMaterial{
		TokenURL: e.TokenURL, ClientID: e.ClientID, ClientSecret: e.ClientSecret.Reveal(), RefreshToken: e.RefreshToken.Reveal(), Scope: e.Scope,
	}.text()
}

func (m oauthMaterial) text() secret.Text {
	b, err := json.Marshal(m) //nolint:gosec // it is sealed by whoever stores it
	if err != nil {           // texts and a time always marshal
		return secret.Text{}
	}
	return secret.New(string(b))
}

// OAuthExchanger is the credential of an OAuthExchange.
type OAuthExchanger struct{ held }

func parseOAuthExchange(kind string, material secret.Text) (OAuthExchanger, error) {
	m, err := readMaterial(material)
	if err != nil {
		return OAuthExchanger{}, err
	}
	u, err := url.Parse(m.TokenURL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return OAuthExchanger{}, errors.New("the token URL must be https://HOST/PATH, without a password")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback.Host(u.Hostname())):
		return OAuthExchanger{}, errors.New("the token URL must be https; plain http is for loopback only")
	case m.ClientID == "":
		return OAuthExchanger{}, errors.New("the OAuth client is missing: give its client id")
	case kind == KindOAuthClient && m.ClientSecret == "":
		return OAuthExchanger{}, errors.New("client credentials need the client's secret")
	case (kind == KindOAuthRefresh) != (m.RefreshToken != ""):
		return OAuthExchanger{}, fmt.Errorf("a refresh token belongs to the kind %s, and to that alone", KindOAuthRefresh)
	}
	return OAuthExchanger{held{kind, material}}, nil
}

func readMaterial(material secret.Text) (oauthMaterial, error) {
	var m oauthMaterial
	if json.Unmarshal([]byte(material.Reveal()), &m) != nil { // its error may quote the material
		return m, errors.New("the OAuth credential must be a JSON object with token_url, client_id and what the client needs")
	}
	return m, nil
}

func (o OAuthExchanger) proof(_, _ string, _ time.Time) (proof, error) {
	return proof{}, errors.New("the OAuth credential was not exchanged for a token")
}

// spare is how long an access token must still be good for to be used again.
const spare = 2 * time.Minute

// exchangeTimeout bounds one exchange.
const exchangeTimeout = 30 * time.Second

// Exchange implements Exchanger. An access token that is still good is used
// again; then there is nothing to keep.
func (o OAuthExchanger) Exchange(ctx context.Context, hc *http.Client, now time.Time) (Credential, secret.Text, error) {
	m, err := readMaterial(o.text)
	if err != nil {
		return nil, secret.Text{}, err
	}
	if m.Access != "" && now.Add(spare).Before(m.Expires) {
		return NewOAuth(secret.New(m.Access)), secret.Text{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if hc != nil {
		client.Transport = hc.Transport
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, client)
	style := oauth2.AuthStyleInHeader // RFC 6749 §2.3.1; named, so that nothing is tried twice
	if m.ClientSecret == "" {
		style = oauth2.AuthStyleInParams
	}
	var token *oauth2.Token
	if m.RefreshToken == "" {
		cfg := clientcredentials.Config{ClientID: m.ClientID, ClientSecret: m.ClientSecret, TokenURL: m.TokenURL, AuthStyle: style}
		if m.Scope != "" {
			cfg.Scopes = []string{m.Scope}
		}
		token, err = cfg.Token(ctx)
	} else {
		cfg := oauth2.Config{ClientID: m.ClientID, ClientSecret: m.ClientSecret, Endpoint: oauth2.Endpoint{TokenURL: m.TokenURL, AuthStyle: style}}
		token, err = cfg.TokenSource(ctx, &oauth2.Token{RefreshToken: m.RefreshToken}).Token()
	}
	if err != nil {
		return nil, secret.Text{}, exchangeError(err, m)
	}
	m.Access, m.Expires = token.AccessToken, now.UTC() // without a lifetime it is used once
	if !token.Expiry.IsZero() {
		m.Expires = now.Add(time.Until(token.Expiry)).UTC()
	}
	if m.RefreshToken != "" {
		m.RefreshToken = token.RefreshToken // x/oauth2 gives the old one if there is no new one
	}
	return NewOAuth(secret.New(token.AccessToken)), m.text(), nil
}

// exchangeError translates x/oauth2's error, which quotes bodies.
func exchangeError(err error, m oauthMaterial) error {
	host := "the token endpoint"
	if u, perr := url.Parse(m.TokenURL); perr == nil {
		host = "the token endpoint at " + u.Host
	}
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return fmt.Errorf("%w: %s gave no usable answer", ErrUnreachable, host)
	}
	secrets := []secret.Text{secret.New(m.ClientSecret), secret.New(m.RefreshToken), secret.New(m.Access)}
	e := &ExchangeError{Code: clean(refused.ErrorCode, secrets)}
	switch refused.ErrorCode {
	case "":
		e.Code = ""
		e.Text = host + " refused"
		if refused.Response != nil {
			e.Text = fmt.Sprintf("%s answered with HTTP status %d", host, refused.Response.StatusCode)
		}
	case "invalid_grant":
		e.Text = host + " no longer takes the refresh token (invalid_grant): get a new one and rotate the connection's credential"
	case "invalid_client", "unauthorized_client":
		e.Text = fmt.Sprintf("%s does not let the client in (%s): check its id and secret", host, e.Code)
	default:
		e.Text = fmt.Sprintf("%s answered %s: %s", host, e.Code, clean(refused.ErrorDescription, secrets))
	}
	return e
}
