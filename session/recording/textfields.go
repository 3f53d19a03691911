package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
)

// visitText sees one text: its name for people, and where it stands.
type visitText func(name string, text *string) error

// eachText visits the event's texts in the order in which they stand on its
// line. Empty ones are none. What is visited here can be redacted, and nothing
// else can. sealed says that the event holds commitments, not texts.
func (e *Event) eachText(sealed bool, visit visitText) error {
	v := &textVisitor{sealed: sealed, visit: visit}
	if s := e.Session; s != nil {
		v.text("session.reason", &s.Reason)
	}
	if s := e.SQL; s != nil {
		v.text("sql.text", &s.Text)
		v.text("sql.digest", &s.Digest)
		v.json("sql.binds", &s.Binds)
		v.list("sql.unknown", s.Unknown)
		for i := range s.Outputs {
			v.name("sql.outputs.name", &s.Outputs[i].Name)
		}
	}
	if d := e.Decision; d != nil {
		v.text("decision.reason", &d.Reason)
	}
	if f := e.Forwarded; f != nil {
		v.text("forwarded.digest", &f.Digest)
	}
	if r := e.Refused; r != nil {
		v.text("refused.message", &r.Message)
	}
	if r := e.Result; r != nil {
		for i := range r.Masked {
			v.name("result.masked", &r.Masked[i])
		}
		v.text("result.error", &r.Error)
		v.text("result.sample", &r.Sample)
	}
	if a := e.Agent; a != nil {
		v.list("agent.command", a.Command)
	}
	v.text("note", &e.Note)
	return v.err
}

// textVisitor stops at the first error.
type textVisitor struct {
	sealed bool
	visit  visitText
	err    error
}

func (v *textVisitor) text(name string, at *string) {
	if v.err == nil && *at != "" {
		v.err = v.visit(name, at)
	}
}

func (v *textVisitor) list(name string, at []string) {
	for i := range at {
		v.text(name, &at[i])
	}
}

// name visits a column's name unless it is a plain one. Any other may be an
// expression, with values in it. A commitment is no plain name.
func (v *textVisitor) name(name string, at *string) {
	if !plainName(*at) {
		v.text(name, at)
	}
}

// json visits JSON as the text that it is.
func (v *textVisitor) json(name string, at *json.RawMessage) {
	if v.err != nil || len(*at) == 0 {
		return
	}
	var text string
	if v.sealed {
		if v.err = json.Unmarshal(*at, &text); v.err != nil {
			return
		}
	} else {
		var b bytes.Buffer
		if v.err = json.Compact(&b, *at); v.err != nil {
			return
		}
		text = b.String()
	}
	v.text(name, &text)
	switch {
	case v.err != nil:
	case v.sealed && text != Redacted:
		if *at = json.RawMessage(text); !json.Valid(*at) {
			v.err = errors.New(name + " is not JSON")
		}
	default:
		*at, v.err = marshal(text)
	}
}

// plainName reports whether a name can be no more than one.
func plainName(s string) bool {
	for _, c := range []byte(s) {
		if c != '_' && c != '$' && (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// clone copies what eachText may change.
func (e *Event) clone() Event {
	c := *e
	c.Session, c.Decision, c.Forwarded, c.Refused = copied(e.Session), copied(e.Decision), copied(e.Forwarded), copied(e.Refused)
	if c.SQL = copied(e.SQL); c.SQL != nil {
		c.SQL.Unknown, c.SQL.Outputs = slices.Clone(e.SQL.Unknown), slices.Clone(e.SQL.Outputs)
	}
	if c.Result = copied(e.Result); c.Result != nil {
		c.Result.Masked = slices.Clone(e.Result.Masked)
	}
	if c.Agent = copied(e.Agent); c.Agent != nil {
		c.Agent.Command = slices.Clone(e.Agent.Command)
	}
	return c
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
