package snowflake

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The SQL API (specification sqlapi.yaml): statements over plain HTTP, without a
// login of their own.
const (
	PathStatements = "/api/v2/statements"
	// HeaderTokenType says what kind of token stands behind Bearer.
	HeaderTokenType = "X-Snowflake-Authorization-Token-Type" //nolint:gosec // G101: a header's name

	CodeExecuted = "090001"
	// MessageBatch stands for rows in the answer to several statements.
	MessageBatch = "Multiple statements executed successfully."
)

var submissionKeys = []string{"statement", "timeout", "database", "schema", "warehouse", "role", "bindings", "parameters"}

// Submission is the body of POST /api/v2/statements.
type Submission struct {
	Statement                         string
	Database, Schema, Warehouse, Role string
	Timeout                           int64  // seconds; 0 = the session's
	Binds                             string // canonical JSON, see CanonicalBinds
	Parameters                        Object // statement parameters, keys in upper case
}

// ParseSubmission reads a body strictly: a key that is not of the SQL API is an
// error, because leaving it out would change what the caller asked for.
func ParseSubmission(body []byte) (Submission, error) {
	o, err := ParseObject(body)
	if err != nil {
		return Submission{}, err
	}
	for _, m := range o {
		if !slices.Contains(submissionKeys, m.Key) {
			return Submission{}, fmt.Errorf("%w: an unknown key", ErrRequest)
		}
	}
	var s Submission
	for _, f := range [...]struct {
		key string
		to  *string
	}{{"statement", &s.Statement}, {"database", &s.Database}, {"schema", &s.Schema}, {"warehouse", &s.Warehouse}, {"role", &s.Role}} {
		if raw := o.Get(f.key); raw != nil {
			var ok bool
			if *f.to, ok = Text(raw); !ok {
				return Submission{}, fmt.Errorf("%w: %s is not a string", ErrRequest, f.key)
			}
		}
	}
	if s.Statement == "" {
		return Submission{}, fmt.Errorf("%w: no statement", ErrRequest)
	}
	if o.Get("timeout") != nil {
		var ok bool
		if s.Timeout, ok = o.Int("timeout"); !ok || s.Timeout < 0 {
			return Submission{}, fmt.Errorf("%w: timeout is not a number of seconds", ErrRequest)
		}
	}
	if s.Binds, err = CanonicalBinds(o.Get("bindings")); err != nil {
		return Submission{}, fmt.Errorf("reading bindings: %w", err)
	}
	if raw := o.Get("parameters"); raw != nil {
		list, err := ParseObject(raw)
		if err != nil {
			return Submission{}, fmt.Errorf("reading parameters: %w", err)
		}
		for _, m := range list {
			m.Key = strings.ToUpper(m.Key)
			if s.Parameters.Has(m.Key) {
				return Submission{}, fmt.Errorf("%w: a parameter twice", ErrRequest)
			}
			s.Parameters = append(s.Parameters, m)
		}
	}
	return s, nil
}

// StatementPath is where the status of a handle is asked for.
func StatementPath(handle string) string { return PathStatements + "/" + handle }

// StatementAnswer is an answer of the SQL API that carries no rows: a statement
// that is under way, has failed or was cancelled.
type StatementAnswer struct {
	Code, SQLState, Message string
	Handle                  string // empty if there is no statement
	Created                 int64  // ms since the epoch; 0 if there is no statement
}

// Append writes the answer.
func (a StatementAnswer) Append(dst []byte) []byte {
	o := Object{{"code", Quote(a.Code)}, {"message", Quote(a.Message)}}
	if a.SQLState != "" {
		o.Set("sqlState", Quote(a.SQLState))
	}
	if a.Handle != "" {
		o.Set("statementHandle", Quote(a.Handle))
		o.Set("statementStatusUrl", Quote(StatementPath(a.Handle)))
	}
	if a.Created != 0 {
		o.Set("createdOn", strconv.AppendInt(nil, a.Created, 10))
	}
	return o.Append(dst)
}

// Partition is one element of partitionInfo.
type Partition struct {
	Rows                     int64
	Uncompressed, Compressed int64 // bytes; 0 = not told
}

// ResultSet is a finished statement in the SQL API's words.
type ResultSet struct {
	Handle    string
	Children  []string // handles of the statements of a batch
	RequestID string
	Created   int64 // ms since the epoch
	RowType   json.RawMessage
	Rows      int64
	Parts     []Partition // the first is in Data
	Data      []byte      // an array of rows
	Stats     json.RawMessage
}

// Append writes the result set.
func (s ResultSet) Append(dst []byte) []byte {
	parts := []byte{'['}
	for i, p := range s.Parts {
		if i > 0 {
			parts = append(parts, ',')
		}
		parts = append(parts, `{"rowCount":`...)
		parts = strconv.AppendInt(parts, p.Rows, 10)
		parts = append(parts, `,"uncompressedSize":`...)
		parts = strconv.AppendInt(parts, p.Uncompressed, 10)
		if p.Compressed > 0 {
			parts = append(parts, `,"compressedSize":`...)
			parts = strconv.AppendInt(parts, p.Compressed, 10)
		}
		parts = append(parts, '}')
	}
	rowType := s.RowType
	if rowType == nil {
		rowType = json.RawMessage("[]")
	}
	meta := Object{{"numRows", strconv.AppendInt(nil, s.Rows, 10)}, {"format", Quote("jsonv2")},
		{"partitionInfo", append(parts, ']')}, {"rowType", rowType}}
	o := Object{{"resultSetMetaData", meta.Append(nil)}, {"data", s.Data}, {"code", Quote(CodeExecuted)}, {"sqlState", Quote("00000")},
		{"statementStatusUrl", Quote(StatementPath(s.Handle))}, {"requestId", Quote(s.RequestID)}, {"statementHandle", Quote(s.Handle)},
		{"message", Quote("Statement executed successfully.")}, {"createdOn", strconv.AppendInt(nil, s.Created, 10)}}
	if len(s.Children) > 0 {
		list := []byte{'['}
		for i, id := range s.Children {
			if i > 0 {
				list = append(list, ',')
			}
			list = AppendString(list, []byte(id))
		}
		o.Set("statementHandles", append(list, ']'))
	}
	if s.Stats != nil {
		o.Set("stats", s.Stats)
	}
	return o.Append(dst)
}

// SQLAPICells turns the cells drivers read into those of the SQL API: booleans
// are words, and times have nine decimal places. Dates (days), numbers, texts,
// binary (hexadecimal) and semi-structured values are the same in both. Columns
// that masks rewrite already are left to them.
func SQLAPICells(columns []Column, masks []Rewrite) []Rewrite {
	out := make([]Rewrite, len(columns))
	copy(out, masks)
	for i, c := range columns {
		if !out[i].Keeps() {
			continue
		}
		switch c.Type {
		case "boolean":
			out[i].Text = booleanWord
		case "time", "timestamp_ntz", "timestamp_ltz", "timestamp_tz":
			out[i].Text = nineDecimals
		}
	}
	return out
}

func booleanWord(dst, value []byte) []byte {
	switch strings.ToLower(string(value)) {
	case "1", "true":
		return append(dst, "true"...)
	case "0", "false":
		return append(dst, "false"...)
	}
	return append(dst, value...)
}

// nineDecimals fills the fraction of seconds up; an offset stands behind it.
func nineDecimals(dst, value []byte) []byte {
	seconds, offset, hasOffset := strings.Cut(string(value), " ")
	whole, fraction, _ := strings.Cut(seconds, ".")
	if strings.Trim(cmp.Or(strings.TrimPrefix(whole, "-"), "x"), "0123456789") != "" || strings.Trim(fraction, "0123456789") != "" || len(fraction) > 9 {
		return append(dst, value...) // not a number of seconds
	}
	dst = append(dst, whole...)
	dst = append(dst, '.')
	dst = append(dst, fraction...)
	dst = append(dst, "000000000"[len(fraction):]...)
	if hasOffset {
		dst = append(append(dst, ' '), offset...)
	}
	return dst
}
