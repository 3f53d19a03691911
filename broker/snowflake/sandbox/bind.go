package sandbox

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// bind is one bind variable as drivers send it: a type name and a string, null,
// or an array of them.
type bind struct {
	Type  string          `json:"type"`
	Value json.RawMessage `json:"value"`
}

// rows is how many values an array bind has, 1 for a single value.
func (b bind) rows() int {
	var list []json.RawMessage
	if json.Unmarshal(b.Value, &list) == nil && strings.HasPrefix(string(b.Value), "[") {
		return len(list)
	}
	return 1
}

func (b bind) array() bool { return strings.HasPrefix(strings.TrimSpace(string(b.Value)), "[") }

// values are the bind's values in stored form.
func (b bind) values() ([]any, error) {
	var texts []*string
	if b.array() {
		if err := json.Unmarshal(b.Value, &texts); err != nil {
			return nil, errBind(b.Type)
		}
	} else {
		var one *string
		if err := json.Unmarshal(b.Value, &one); err != nil {
			// Some drivers send numbers and booleans bare.
			bare := string(b.Value)
			one = &bare
		}
		texts = []*string{one}
	}
	out := make([]any, len(texts))
	for i, s := range texts {
		if s == nil {
			continue
		}
		v, err := bound(strings.ToUpper(b.Type), *s)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func errBind(typ string) error {
	return &sqlError{code: "002049", state: "42601", line: -1, pos: -1, message: "SQL compilation error:\nBind variable of type " + typ + " is not understood."}
}

// bound makes the stored form of one bind value.
func bound(typ, s string) (any, error) {
	switch typ {
	case "FIXED":
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil
		}
		fallthrough
	case "REAL":
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, errValue("100038", "Numeric value", s)
		}
		return f, nil
	case "BOOLEAN":
		return toBoolean(s)
	case "BINARY":
		b, err := hex.DecodeString(s)
		if err != nil {
			return nil, errValue("100115", "Binary value", s)
		}
		return b, nil
	case "DATE":
		ms, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return convert(s, colType{kind: kindDate})
		}
		return time.UnixMilli(ms).UTC().Format(formDate), nil
	case "TIME":
		ns, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return convert(s, colType{kind: kindTime})
		}
		return time.Unix(0, ns).UTC().Format(formTime), nil
	case "TIMESTAMP_NTZ", "TIMESTAMP_LTZ":
		ns, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return convert(s, colType{kind: kindNTZ})
		}
		return time.Unix(0, ns).UTC().Format(formTimestamp), nil
	case "TIMESTAMP_TZ":
		text, zone, _ := strings.Cut(s, " ")
		ns, err1 := strconv.ParseInt(text, 10, 64)
		offset, err2 := strconv.Atoi(zone)
		if err1 != nil || err2 != nil {
			return nil, errBind(typ)
		}
		return time.Unix(0, ns).In(time.FixedZone("", (offset-1440)*60)).Format(formZoned), nil
	case "TEXT", "ANY", "JSON", "ARRAY", "OBJECT", "VARIANT", "":
		return s, nil
	}
	return nil, errBind(typ)
}

// arguments turns bindings into rows of arguments for a statement with n bind
// variables. Without array binds there is one row; unbound variables are NULL
// if the statement is only described, an error otherwise.
func arguments(bindings map[string]bind, n int, describe bool) ([][]any, error) {
	columns := make([][]any, n)
	rows := 1
	for i := range n {
		b, ok := bindings[strconv.Itoa(i+1)]
		if !ok {
			if describe {
				continue
			}
			return nil, &sqlError{code: "002049", state: "42601", line: -1, pos: -1,
				message: "SQL compilation error: error line 0 at position 0\nBind variable ? not set."}
		}
		v, err := b.values()
		if err != nil {
			return nil, err
		}
		columns[i] = v
		rows = max(rows, len(v))
	}
	out := make([][]any, rows)
	for r := range out {
		out[r] = make([]any, n)
		for i, c := range columns {
			switch {
			case len(c) == rows:
				out[r][i] = c[r]
			case len(c) == 1:
				out[r][i] = c[0]
			case len(c) != 0:
				return nil, errBind("ARRAY")
			}
		}
	}
	return out, nil
}
