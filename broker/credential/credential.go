// Package credential logs in to Snowflake on behalf of the approval server and
// keeps the sessions it opens: renew, heartbeat, abort, close.
//
// Invariants:
//
//  1. A type that cannot redact itself is not a Credential: the interface asks
//     for fmt, slog and text-marshal redaction, and for an unexported method,
//     so every implementation is in this package and under its tests.
//  2. A credential leaves the process only in the body of a login request; a
//     session or master token only in a request header or a renewal body.
//  3. Nothing is sent in the clear: https, or plain http to a loopback address.
//     Redirects are never followed.
//  4. No error carries a secret. Snowflake's own message is passed on, with
//     every secret of that exchange cut out and its length bounded.
//  5. Attempts, answer sizes and waiting are bounded; a repeated attempt keeps
//     its requestId, which is Snowflake's idempotency key.
//
// The protocol is that of the public drivers (see package snowflake).
package credential

import (
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/jit-access/jit/session/secret"
)

// Credential is one upstream Snowflake secret. It prints as its kind and
// "[redacted]" under every verb and marshaller.
type Credential interface {
	fmt.Formatter
	slog.LogValuer
	encoding.TextMarshaler

	// Kind names the sort of credential: one of the Kind constants.
	Kind() string

	// proof answers the login challenge of user at account.
	proof(account, user string, now time.Time) (proof, error)
}

// The kinds of credential, as Parse takes them.
const (
	KindPassword = "password"
	KindKeyPair  = "key-pair"
	KindPAT      = "pat"
	KindOAuth    = "oauth" // an access token, until it expires

	KindOAuthClient  = "oauth-client"      // see OAuthExchange
	KindOAuthRefresh = "oauth-refresh"     // see OAuthExchange
	KindWorkload     = "workload-identity" // see WorkloadIdentity
)

// proof is what a login body carries. Secrets lists every value of it that
// must not be seen again in an answer.
type proof struct {
	authenticator string
	password      secret.Text
	token         secret.Text
	provider      string // of a workload identity
}

// secrets returns the values to cut out of whatever comes back.
func (p proof) secrets() []secret.Text { return []secret.Text{p.password, p.token} }

// Parse makes the credential of kind from its stored material: the password,
// the token, the private key in PEM, of which passphrase opens an encrypted
// one, or what FormatOAuthExchange or FormatWorkloadIdentity made.
func Parse(kind string, material, passphrase secret.Text) (Credential, error) {
	if material.IsZero() {
		return nil, fmt.Errorf("the %s credential is empty: give the secret itself", kind)
	}
	switch kind {
	case KindPassword:
		return NewPassword(material), nil
	case KindPAT:
		return NewProgrammaticAccessToken(material), nil
	case KindOAuth:
		return NewOAuth(material), nil
	case KindKeyPair:
		return ParseKeyPair(material, passphrase)
	case KindOAuthClient, KindOAuthRefresh:
		return parseOAuthExchange(kind, material)
	case KindWorkload:
		return parseWorkloadIdentity(material)
	default:
		return nil, fmt.Errorf("unknown kind of credential %q: use %s", kind,
			strings.Join([]string{KindKeyPair, KindPassword, KindPAT, KindOAuth, KindOAuthClient, KindOAuthRefresh, KindWorkload}, ", "))
	}
}

// Holds reports whether c was made of material.
func Holds(c Credential, material secret.Text) bool {
	h, ok := c.(interface{ made() secret.Text })
	return ok && h.made().Equal(material)
}

func (h held) made() secret.Text { return h.text }

// held is a secret and its kind, redacted under every printing interface. The
// credential types embed it.
type held struct {
	kind string
	text secret.Text
}

// Kind implements Credential.
func (h held) Kind() string { return h.kind }

// Format implements fmt.Formatter for every verb.
func (h held) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, h.redacted()) }

// LogValue implements slog.LogValuer.
func (h held) LogValue() slog.Value { return slog.StringValue(h.redacted()) }

// MarshalText implements encoding.TextMarshaler; JSON uses it too.
func (h held) MarshalText() ([]byte, error) { return []byte(h.redacted()), nil }

func (h held) redacted() string { return h.kind + " [redacted]" }

// Password is a Snowflake user's password.
type Password struct{ held }

// NewPassword makes a Password.
func NewPassword(t secret.Text) Password { return Password{held{KindPassword, t}} }

func (p Password) proof(_, _ string, _ time.Time) (proof, error) {
	return proof{password: p.text}, nil
}

// ProgrammaticAccessToken is a Snowflake PAT.
type ProgrammaticAccessToken struct{ held }

// NewProgrammaticAccessToken makes a ProgrammaticAccessToken.
func NewProgrammaticAccessToken(t secret.Text) ProgrammaticAccessToken {
	return ProgrammaticAccessToken{held{KindPAT, t}}
}

func (p ProgrammaticAccessToken) proof(_, _ string, _ time.Time) (proof, error) {
	return proof{authenticator: "PROGRAMMATIC_ACCESS_TOKEN", token: p.text}, nil
}

// OAuth is an OAuth access token for Snowflake.
type OAuth struct{ held }

// NewOAuth makes an OAuth credential.
func NewOAuth(t secret.Text) OAuth { return OAuth{held{KindOAuth, t}} }

func (o OAuth) proof(_, _ string, _ time.Time) (proof, error) {
	return proof{authenticator: "OAUTH", token: o.text}, nil
}

var (
	_ Credential = Password{}
	_ Credential = ProgrammaticAccessToken{}
	_ Credential = OAuth{}
	_ Credential = (*KeyPair)(nil)
	_ Exchanger  = OAuthExchanger{}
	_ Exchanger  = WorkloadIdentity{}
)
