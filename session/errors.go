package session

import (
	"errors"
	"fmt"
)

// ErrUpstream means Snowflake itself refused or did not answer.
var ErrUpstream = errors.New("snowflake refused")

// DeniedError is a refusal by policy. It is ErrDenied.
type DeniedError struct {
	Rule   string // the @id of the policy
	Reason string // its @reason, for people
}

func (e *DeniedError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("denied by policy %s", e.Rule)
	}
	return fmt.Sprintf("denied by policy %s: %s", e.Rule, e.Reason)
}

// Unwrap makes errors.Is(err, ErrDenied) true.
func (e *DeniedError) Unwrap() error { return ErrDenied }

// UpstreamError is Snowflake's own answer to a login or a renewal, passed on so
// that an administrator can act on it. It is ErrUpstream and holds no secret.
type UpstreamError struct {
	Code    string // Snowflake's code, e.g. "390100"; empty if there was no answer
	Message string // Snowflake's text; sanitise before drawing
}

func (e *UpstreamError) Error() string {
	if e.Code == "" {
		return "logging in to snowflake: " + e.Message
	}
	return fmt.Sprintf("logging in to snowflake: %s (code %s)", e.Message, e.Code)
}

// Unwrap makes errors.Is(err, ErrUpstream) true.
func (e *UpstreamError) Unwrap() error { return ErrUpstream }

// RefusedError is a refusal with words meant for the caller: Sentinel is one of
// this package's errors, Text says what, why and how to fix it. Text never
// holds another principal's data.
type RefusedError struct {
	Sentinel error
	Text     string
}

func (e *RefusedError) Error() string { return e.Text }

// Unwrap makes errors.Is(err, e.Sentinel) true.
func (e *RefusedError) Unwrap() error { return e.Sentinel }

// Refuse makes a RefusedError.
func Refuse(sentinel error, format string, args ...any) error {
	return &RefusedError{Sentinel: sentinel, Text: fmt.Sprintf(format, args...)}
}
