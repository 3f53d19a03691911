package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// errTooLarge refuses an event above MaxEvent.
var errTooLarge = fmt.Errorf("the event is larger than %d bytes", MaxEvent)

// marshal is json.Marshal without HTML escaping: SQL is full of < and >.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes()[:b.Len()-1], nil // without the newline
}

// FormatEvent encodes e as its line, without the newline. The encoding is
// canonical: ParseEvent accepts nothing else for the same event. The texts of an
// event that was not parsed get new salts.
func FormatEvent(e Event) ([]byte, error) {
	if _, err := tlog.ParseHash(e.Prev); err != nil {
		return nil, errors.New("encoding event: prev is not a hash")
	}
	sealed, openings, err := e.seal()
	if err != nil {
		return nil, fmt.Errorf("encoding event: %w", err)
	}
	b, err := marshal(sealed)
	if err != nil {
		return nil, fmt.Errorf("encoding event: %w", err)
	}
	// A string that was not UTF-8 is written with the escape \ufffd, which reads
	// back as a character that is written as itself: encode what was read.
	if bytes.Contains(b, []byte(`\ufffd`)) {
		var again Event
		if err := json.Unmarshal(b, &again); err != nil {
			return nil, fmt.Errorf("encoding event: %w", err)
		}
		if b, err = marshal(again); err != nil {
			return nil, fmt.Errorf("encoding event: %w", err)
		}
	}
	if b, err = appendTexts(b, openings); err != nil {
		return nil, fmt.Errorf("encoding event: %w", err)
	}
	if len(b) > MaxEvent {
		return nil, errTooLarge
	}
	return b, nil
}

// EventJSON is an event for people and tools: one line of JSON with its texts in
// place. It is not what was signed.
func EventJSON(e Event) ([]byte, error) { return marshal(e) }

// ParseEvent decodes one line, without its newline. It refuses unknown fields
// and every encoding but the canonical one.
func ParseEvent(line []byte) (Event, error) {
	e, err := decodeEvent(line)
	if err != nil {
		return Event{}, fmt.Errorf("decoding event: %w", err)
	}
	again, err := FormatEvent(e)
	if err != nil {
		return Event{}, err
	}
	if !bytes.Equal(line, again) {
		return Event{}, errors.New("decoding event: not in canonical form")
	}
	return e, nil
}

// decodeEvent opens a line's texts, each of which must be the one that the line
// commits to.
func decodeEvent(line []byte) (Event, error) {
	var (
		e        Event
		openings []opening
	)
	committed, texts, ok := splitTexts(line)
	if ok {
		var err error
		if openings, err = parseTexts(texts); err != nil {
			return Event{}, err
		}
		committed = append(committed[:len(committed):len(committed)], '}')
	}
	d := json.NewDecoder(bytes.NewReader(committed))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return Event{}, err
	}
	return e, e.unseal(openings)
}

// draft is an event encoded as far as it can be before its place in the log is
// known: everything after prev.
type draft []byte

// newDraft encodes e. at stands in for a zero e.At.
func newDraft(e Event, at time.Time) (draft, error) {
	if e.At.IsZero() {
		e.At = at
	}
	e.At = e.At.UTC().Round(0)
	e.Seq, e.Prev = 0, tlog.Hash{}.String()
	b, err := FormatEvent(e)
	if err != nil {
		return nil, err
	}
	_, _, rest, ok := splitHeader(b)
	if !ok {
		return nil, errors.New("encoding event: unexpected header")
	}
	if len(rest) > MaxEvent-128 { // leaves room for any header
		return nil, errTooLarge
	}
	return rest, nil
}

// appendLine writes the draft's line, without the newline.
func (d draft) appendLine(dst []byte, seq int64, prev tlog.Hash) []byte {
	return append(appendHeader(dst, seq, prev), d...)
}
