// Package secret keeps secrets out of logs, errors, JSON and memory dumps, and
// keeps the few that must outlive a process in the keyring.
//
// Invariants:
//
//  1. A Text prints as "[redacted]" under every verb and marshaller; Reveal is
//     the only exit.
//  2. Comparisons are constant-time, on digests.
//  3. A Store writes to the platform's keyring, to a file encrypted with a
//     passphrase, or nowhere; never in the clear. Which one is told to people.
//  4. No keyring call takes longer than its limit, whatever the keyring does.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Text is a secret string. The zero value is empty. The value lies behind a
// pointer, so that printing a struct that holds one cannot reach it by
// reflection on unexported fields.
type Text struct{ p *string }

// New makes a Text of s.
func New(s string) Text { return Text{p: &s} }

// Reveal returns the secret. It stands only where a header or a login body is
// written, or where the secret itself is stored.
func (t Text) Reveal() string {
	if t.p == nil {
		return ""
	}
	return *t.p
}

// IsZero reports whether there is no secret.
func (t Text) IsZero() bool { return t.p == nil || *t.p == "" }

// Equal compares in constant time.
func (t Text) Equal(o Text) bool {
	a, b := sha256.Sum256([]byte(t.Reveal())), sha256.Sum256([]byte(o.Reveal()))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Digest is the hex SHA-256 of the secret, for storage and lookup.
func (t Text) Digest() string {
	d := sha256.Sum256([]byte(t.Reveal()))
	return hex.EncodeToString(d[:])
}

// Format implements fmt.Formatter for every verb.
func (Text) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// String implements fmt.Stringer.
func (Text) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Text) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler; JSON uses it too.
func (Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText refuses: a secret is never read back from a printed form.
func (*Text) UnmarshalText([]byte) error {
	return errors.New("a secret cannot be read from text")
}
