package snowflake

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Column is one entry of a result's rowtype. What is not understood stays as
// it was in Raw.
type Column struct {
	Name                    string
	Database, Schema, Table string // provenance, "" for expressions
	Type                    string // lower case: text, fixed, …
	Raw                     Object
}

// IsText reports whether cells are plain strings, so that a mask may replace
// one string by another. Semi-structured, binary and spatial values also
// travel as strings but must parse.
func (c Column) IsText() bool { return c.Type == "text" && c.Raw.Get("extTypeName") == nil }

// ParseRowType reads a rowtype array.
func ParseRowType(raw json.RawMessage) ([]Column, error) {
	list, err := ParseArray(raw)
	if err != nil {
		return nil, err
	}
	columns := make([]Column, len(list))
	for i, e := range list {
		o, err := ParseObject(e)
		if err != nil {
			return nil, fmt.Errorf("column %d: %w", i+1, err)
		}
		c := Column{Raw: o}
		var named, typed bool
		c.Name, named = o.Text("name")
		c.Type, typed = o.Text("type")
		if !named || !typed {
			return nil, fmt.Errorf("%w: column %d has no name or type", ErrMalformed, i+1)
		}
		c.Type = lower(c.Type)
		c.Database, _ = o.Text("database")
		c.Schema, _ = o.Text("schema")
		c.Table, _ = o.Text("table")
		columns[i] = c
	}
	return columns, nil
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// AppendRowType writes a rowtype array.
func AppendRowType(dst []byte, columns []Column) []byte {
	dst = append(dst, '[')
	for i, c := range columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = c.Raw.Append(dst)
	}
	return append(dst, ']')
}

// maxText is Snowflake's longest text, in characters and in bytes.
const maxText = 16777216

// Nullable declares that the column may hold NULL: what a typed NULL mask does
// to the column, no more.
func (c *Column) Nullable() { c.Raw.Set("nullable", json.RawMessage("true")) }

// Rename gives the column another name.
func (c *Column) Rename(name string) {
	c.Name = name
	c.Raw.Set("name", Quote(name))
}

// Grow declares text up to n characters longer than before: drivers bind
// buffers from the declared length.
func (c *Column) Grow(n int64) {
	length, ok := c.Raw.Int("length")
	if !ok || length > maxText-n {
		length = maxText - n
	}
	length += n
	c.Raw.Set("length", strconv.AppendInt(nil, length, 10))
	c.Raw.Set("byteLength", strconv.AppendInt(nil, min(4*length, maxText), 10))
}
