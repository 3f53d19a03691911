package recording

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A witness key may come with the time in which it may have signed:
//
//	key [from=TIME] [until=TIME]
//
// TIME is RFC 3339 in whole seconds; both ends belong to it, and one that is
// missing is open. A cosignature says when it was made, by the witness's clock,
// so a key that was retired, or stolen, vouches for nothing made afterwards.

// validKey is a witness key with its time.
type validKey struct {
	key         string
	from, until time.Time // zero: open
}

// parseValidKey reads one of VerifyOptions.WitnessKeys.
func parseValidKey(s string) (validKey, error) {
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return validKey{}, errors.New("reading verifier key: there is none")
	}
	k := validKey{key: fields[0]}
	if err := CheckKey(k.key); err != nil {
		return validKey{}, err
	}
	for _, f := range fields[1:] {
		name, value, _ := strings.Cut(f, "=")
		end := map[string]*time.Time{"from": &k.from, "until": &k.until}[name]
		if end == nil || !end.IsZero() {
			return validKey{}, fmt.Errorf("reading verifier key: %q is neither from=TIME nor until=TIME, or stands twice", f)
		}
		t, err := time.Parse(time.RFC3339, value)
		if err != nil || t.Nanosecond() != 0 || t.IsZero() {
			return validKey{}, fmt.Errorf("reading verifier key: %q is not a time like 2026-03-01T12:00:00Z", f)
		}
		*end = t
	}
	if !k.from.IsZero() && !k.until.IsZero() && k.until.Before(k.from) {
		return validKey{}, errors.New("reading verifier key: its time ends before it begins")
	}
	return k, nil
}

// check reports whether the key may sign at a time; it does in whole seconds.
func (k validKey) check(at time.Time) error {
	at = at.Truncate(time.Second)
	name, _, _ := strings.Cut(k.key, "+")
	switch {
	case !k.from.IsZero() && at.Before(k.from):
		return fmt.Errorf("the key of %s is valid from %s, not yet at %s", name, k.from.Format(time.RFC3339), at.UTC().Format(time.RFC3339))
	case !k.until.IsZero() && at.After(k.until):
		return fmt.Errorf("the key of %s is valid until %s, no more at %s", name, k.until.Format(time.RFC3339), at.UTC().Format(time.RFC3339))
	}
	return nil
}

// CheckWitnessKey reports whether a key, as ParseWitnessKeys returns it, may sign
// at a time.
func CheckWitnessKey(key string, at time.Time) error {
	k, err := parseValidKey(key)
	if err != nil {
		return err
	}
	return k.check(at)
}

// ParseWitnessKeys reads a file of witness keys, for VerifyOptions.WitnessKeys:
// a line each, "[server] key [from=TIME] [until=TIME]". Empty lines and those
// that begin with # mean nothing. A key that stands twice with another time is
// refused: nobody could say which one counts.
func ParseWitnessKeys(data []byte) ([]string, error) {
	var keys []string
	n := 0
	for line := range bytes.Lines(data) {
		n++
		fields := strings.Fields(string(line))
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) > 1 && CheckKey(fields[0]) != nil {
			fields = fields[1:] // the server
		}
		key := strings.Join(fields, " ")
		k, err := parseValidKey(key)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if slices.Contains(keys, key) {
			continue
		}
		if slices.ContainsFunc(keys, func(s string) bool { return strings.Fields(s)[0] == k.key }) {
			return nil, fmt.Errorf("line %d: the key stands there twice, with different times", n)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
