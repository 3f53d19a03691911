package credential

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/session/secret"
)

// ErrSessionGone says that the upstream session or its master token is over:
// only a new Login helps. A *SessionError matches it by its code.
var ErrSessionGone = errors.New("the Snowflake session is over")

// ErrTokenExpired says that the session token is too old while the session, and
// whatever it runs, is alive: Renew, then try again.
var ErrTokenExpired = errors.New("the Snowflake session token has expired")

// ErrUnreachable says that no usable answer came from Snowflake within the
// attempts allowed. The credential was neither accepted nor refused.
var ErrUnreachable = errors.New("snowflake did not answer")

// LoginError is Snowflake's refusal of a login. Message is Snowflake's own,
// without secrets and control characters.
type LoginError struct {
	Code    string // six digits
	Message string
}

// Error implements error: what, why, and how to fix it where that is known.
func (e *LoginError) Error() string {
	s := fmt.Sprintf("snowflake refused the login: %s (%s)", e.Message, e.Code)
	if hint := e.Hint(); hint != "" {
		s += ": " + hint
	}
	return s
}

// Hint says what usually helps; empty if that is not known.
func (e *LoginError) Hint() string { return loginHint(e.Code) }

// loginHint says what usually helps. The codes are Snowflake's login codes.
func loginHint(code string) string {
	switch code {
	case "390100":
		return "check user, account and secret of the connection"
	case "390144":
		return "check that the user's RSA_PUBLIC_KEY belongs to this private key, the account name, and this machine's clock"
	case "390189":
		return "the role does not exist or is not granted to the user"
	case "390201":
		return "a named database, schema or warehouse does not exist or is not granted"
	case "390303", "390318":
		return "get a new OAuth token"
	case "390422":
		return "the user's network policy does not admit this machine"
	case "394400":
		return "the programmatic access token is invalid, expired or not for this user"
	default:
		return ""
	}
}

// SessionError is Snowflake's refusal of something asked of an open session.
type SessionError struct {
	Doing   string // what was asked, a gerund
	Code    string
	Message string

	renewing bool // the token that was refused is the master token
}

// Error implements error.
func (e *SessionError) Error() string {
	return fmt.Sprintf("%s: snowflake answered %s (%s)", e.Doing, e.Message, e.Code)
}

// Is matches ErrSessionGone for the codes that end a session, and
// ErrTokenExpired for the one that asks for a renewal. To a renewal there is no
// renewal: there it ends the session, too.
func (e *SessionError) Is(target error) bool {
	expired := e.Code == snowflake.CodeSessionExpired
	switch target {
	case ErrTokenExpired:
		return expired && !e.renewing
	case ErrSessionGone:
		return goneCode(e.Code) || expired && e.renewing
	}
	return false
}

// goneCode is whether code ends a session for every driver, whatever it was
// doing.
func goneCode(code string) bool {
	switch code {
	case "390104", "390110", "390111", "390113", "390114", "390115", "390400":
		return true
	}
	return false
}

// maxMessage bounds what is passed on of a message from outside, in bytes.
const maxMessage = 600

// clean makes a message from outside fit to be shown: every secret, also in
// the forms a server may echo it, is cut out; control characters become
// spaces; the length is bounded.
func clean(message string, secrets []secret.Text) string {
	for _, s := range secrets {
		if s.IsZero() {
			continue
		}
		v := s.Reveal()
		for _, form := range []string{v, url.QueryEscape(v), url.PathEscape(v), base64.StdEncoding.EncodeToString([]byte(v))} {
			message = strings.ReplaceAll(message, form, "[redacted]")
		}
	}
	message = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return ' '
		}
		return r
	}, message)
	message = strings.TrimSpace(message)
	if len(message) > maxMessage {
		cut := maxMessage
		for cut > 0 && !utf8.RuneStart(message[cut]) {
			cut--
		}
		message = message[:cut] + "…"
	}
	if message == "" {
		return "no message"
	}
	return message
}
