package recording

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"
)

// Some parts of an event are texts: what people and agents wrote, and what may
// quote data. The log does not commit to them but to salted hashes, so that they
// can be taken out later and everything else still verifies. On a line, each
// text's commitment stands where the text would, and a last member holds the
// openings, in the order in which the commitments stand:
//
//	{…,"sql":{"text":"COMMITMENT",…},"texts":[["SALT","SELECT 1"],null]}
//
// null is a text that was redacted. What is hashed into the tree is the committed
// form: the line without that member. In an Event the texts are in place; one that
// was redacted reads ‹redacted›.
const textsMark = `,"texts":[`

// Redacted stands in an Event for a text that was taken out.
const Redacted = "‹redacted›"

const saltSize = 16

// opening is a text with its salt, or what is left of it.
type opening struct {
	salt       [saltSize]byte
	text       string
	commitment string // of a redacted text, which has neither
}

func (o opening) redacted() bool { return o.commitment != "" }

// commit is the text's commitment: base64 of SHA-256(0x02, salt, text). The
// first byte keeps it apart from leaves and nodes of the tree.
func (o opening) commit() string {
	if o.redacted() {
		return o.commitment
	}
	h := sha256.New()
	h.Write([]byte{2}) // hash.Hash never returns an error
	h.Write(o.salt[:])
	h.Write([]byte(o.text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// newSalts draws the salts of n texts.
func newSalts(n int) ([]opening, error) {
	raw := make([]byte, n*saltSize)
	if _, err := rand.Read(raw); err != nil {
		return nil, fmt.Errorf("drawing salts: %w", err)
	}
	out := make([]opening, n)
	for i := range out {
		copy(out[i].salt[:], raw[i*saltSize:])
	}
	return out, nil
}

// splitTexts cuts a line before its openings. The mark cannot stand within a
// string, where a quote is escaped.
func splitTexts(line []byte) (committed, texts []byte, ok bool) {
	i := bytes.Index(line, []byte(textsMark))
	if i < 0 {
		return line, nil, false
	}
	return line[:i], line[i+len(textsMark)-1:], true
}

// leafHash is the hash of a line's committed form; of session.json with its
// newline.
func leafHash(line []byte) tlog.Hash {
	head, texts, ok := splitTexts(line)
	if !ok {
		return tlog.RecordHash(line)
	}
	committed := append(make([]byte, 0, len(head)+2), head...)
	committed = append(committed, '}')
	if texts[len(texts)-1] == '\n' {
		committed = append(committed, '\n')
	}
	return tlog.RecordHash(committed)
}

// appendTexts adds the openings to a committed form.
func appendTexts(committed []byte, openings []opening) ([]byte, error) {
	if len(openings) == 0 {
		return committed, nil
	}
	b := append(committed[:len(committed)-1], textsMark...)
	for i, o := range openings {
		if i > 0 {
			b = append(b, ',')
		}
		if o.redacted() {
			b = append(b, "null"...)
			continue
		}
		text, err := marshal(o.text)
		if err != nil {
			return nil, err
		}
		b = append(b, `["`...)
		b = base64.StdEncoding.AppendEncode(b, o.salt[:])
		b = append(b, `",`...)
		b = append(append(b, text...), ']')
	}
	return append(b, "]}"...), nil
}

// parseTexts reads what appendTexts wrote. That it is in canonical form is for
// the caller to see, who writes it again.
func parseTexts(b []byte) ([]opening, error) {
	b, ok := bytes.CutSuffix(b, []byte("}"))
	if !ok {
		return nil, errors.New("its texts do not end the line")
	}
	var entries [][]string
	if err := json.Unmarshal(b, &entries); err != nil {
		return nil, fmt.Errorf("its texts: %w", err)
	}
	out := make([]opening, len(entries))
	for i, e := range entries {
		if e == nil {
			continue
		}
		if len(e) != 2 {
			return nil, errors.New("a text is not one of two strings")
		}
		salt, err := base64.StdEncoding.Strict().DecodeString(e[0])
		if err != nil || len(salt) != saltSize {
			return nil, errors.New("a salt is malformed")
		}
		copy(out[i].salt[:], salt)
		out[i].text = e[1]
	}
	return out, nil
}

// seal is the event with commitments in place of its texts, and the openings. An
// event that was parsed keeps the salts that it has.
func (e *Event) seal() (Event, []opening, error) {
	c := e.clone()
	n := 0
	count := func(string, *string) error { n++; return nil }
	if err := c.eachText(false, count); err != nil {
		return Event{}, nil, err
	}
	c = e.clone() // counting turned JSON into strings
	openings := slices.Clone(e.openings)
	if len(openings) != n {
		if slices.ContainsFunc(openings, opening.redacted) {
			return Event{}, nil, errors.New("it has other texts than those that were redacted")
		}
		var err error
		if openings, err = newSalts(n); err != nil {
			return Event{}, nil, err
		}
	}
	i := 0
	err := c.eachText(false, func(_ string, text *string) error {
		o := &openings[i]
		if !o.redacted() {
			o.text = *text
			if !utf8.ValidString(o.text) {
				o.text = string([]rune(o.text)) // U+FFFD in place of each bad byte
			}
		}
		*text = o.commit()
		i++
		return nil
	})
	return c, openings, err
}

// unseal puts the texts in place of their commitments.
func (e *Event) unseal(openings []opening) error {
	i := 0
	err := e.eachText(true, func(name string, text *string) error {
		if i == len(openings) {
			return errors.New("there is no text for " + name)
		}
		o := &openings[i]
		i++
		if o.redacted() || o.text == "" { // null: nobody commits to an empty text
			if _, err := tlog.ParseHash(*text); err != nil {
				return errors.New(name + " is redacted and no commitment")
			}
			o.commitment, *text = *text, Redacted
			return nil
		}
		if o.commit() != *text {
			return errors.New(name + " is not what was recorded")
		}
		*text = o.text
		return nil
	})
	if err == nil && i != len(openings) {
		err = errors.New("it has more texts than commitments")
	}
	e.openings = openings
	return err
}

// RedactedTexts names the event's texts that were taken out.
func (e *Event) RedactedTexts() []string {
	var names []string
	for i, name := range e.textNames() {
		if i < len(e.openings) && e.openings[i].redacted() {
			names = append(names, name)
		}
	}
	return names
}

// textNames names the event's texts in order.
func (e *Event) textNames() []string {
	var names []string
	c := e.clone()
	_ = c.eachText(false, func(name string, _ *string) error { // a parsed event visits without error
		names = append(names, name)
		return nil
	})
	return names
}
