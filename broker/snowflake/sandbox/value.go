package sandbox

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Values lie in SQLite as integer (fixed with scale 0, boolean), real (fixed
// with a scale, real), blob (binary) or text: 'YYYY-MM-DD' for dates,
// 'HH:MM:SS[.f]' for times, 'YYYY-MM-DD HH:MM:SS[.f][ ±HH:MM]' for timestamps,
// JSON for the semi-structured types.

const (
	formDate      = "2006-01-02"
	formTime      = "15:04:05.999999999"
	formTimestamp = "2006-01-02 15:04:05.999999999"
	formZoned     = "2006-01-02 15:04:05.999999999 -07:00"
)

// moment parses any of the date and timestamp forms Snowflake's AUTO takes
// that matter here.
func moment(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	for _, form := range []string{formZoned, formTimestamp, formDate, time.RFC3339Nano, "2006-01-02T15:04:05.999999999",
		"2006-01-02 15:04:05.999999999 -0700", "2006-01-02 15:04:05.999999999 Z07:00", "2006-01-02 15:04", "2006-01-02T15:04"} {
		if t, err := time.Parse(form, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func clock(s string) (time.Time, bool) {
	for _, form := range []string{formTime, "15:04"} {
		if t, err := time.Parse(form, strings.TrimSpace(s)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// show is a value as text, as a cast to VARCHAR gives it.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return strings.ToUpper(hex.EncodeToString(v))
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// convert makes a value of type t of v in its stored form, or fails as
// Snowflake's casts do.
func convert(v any, t colType) (any, error) {
	if v == nil {
		return nil, nil
	}
	switch t.kind {
	case kindFixed:
		return toNumber(v, t.scale)
	case kindReal:
		f, err := strconv.ParseFloat(strings.TrimSpace(show(v)), 64)
		if err != nil {
			return nil, errValue("100038", "Numeric value", show(v))
		}
		return f, nil
	case kindBoolean:
		return toBoolean(v)
	case kindDate:
		if m, ok := moment(show(v)); ok {
			return m.Format(formDate), nil
		}
		return nil, errValue("100040", "Date", show(v))
	case kindTime:
		if m, ok := clock(show(v)); ok {
			return m.Format(formTime), nil
		}
		return nil, errValue("100108", "Time", show(v))
	case kindNTZ, kindLTZ, kindTZ:
		m, ok := moment(show(v))
		if !ok {
			return nil, errValue("100035", "Timestamp", show(v))
		}
		if t.kind == kindTZ {
			return m.Format(formZoned), nil
		}
		return m.Format(formTimestamp), nil
	case kindBinary:
		if b, ok := v.([]byte); ok {
			return b, nil
		}
		b, err := hex.DecodeString(show(v))
		if err != nil {
			return nil, errValue("100115", "Binary value", show(v))
		}
		return b, nil
	default:
		return show(v), nil
	}
}

func toNumber(v any, scale int) (any, error) {
	s := strings.TrimSpace(show(v))
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, errValue("100038", "Numeric value", show(v))
	}
	if math.Abs(f) >= math.Pow10(38-scale) { // more than 38 digits with the scale
		return nil, &sqlError{code: "100039", state: "22003", line: -1, pos: -1, message: "Numeric value '" + show(v) + "' is out of range"}
	}
	if n, ok := v.(int64); ok {
		return n, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	p := math.Pow10(scale)
	f = math.Round(f*p) / p
	if scale == 0 && math.Abs(f) < 1<<63 {
		return int64(f), nil
	}
	return f, nil
}

func toBoolean(v any) (any, error) {
	switch v := v.(type) {
	case int64:
		if v != 0 {
			return int64(1), nil
		}
		return int64(0), nil
	case float64:
		return toBoolean(int64(math.Ceil(math.Abs(v))))
	}
	switch strings.ToLower(strings.TrimSpace(show(v))) {
	case "true", "t", "yes", "y", "on", "1":
		return int64(1), nil
	case "false", "f", "no", "n", "off", "0":
		return int64(0), nil
	}
	return nil, errValue("100037", "Boolean value", show(v))
}

// cell encodes a stored value for a JSON rowset; nil is SQL NULL.
func cell(v any, t colType) (*string, error) {
	if v == nil {
		return nil, nil
	}
	v, err := convert(v, t)
	if err != nil {
		return nil, err
	}
	var s string
	switch t.kind {
	case kindFixed:
		if n, ok := v.(int64); ok && t.scale > 0 {
			s = strconv.FormatInt(n, 10) + "." + strings.Repeat("0", t.scale)
		} else if f, ok := v.(float64); ok {
			s = strconv.FormatFloat(f, 'f', t.scale, 64)
		} else {
			s = show(v)
		}
	case kindDate:
		m, _ := moment(v.(string))
		s = strconv.FormatInt(floorDiv(m.Unix(), 86400), 10)
	case kindTime:
		m, _ := clock(v.(string))
		midnight := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
		s = seconds(int64(m.Sub(midnight)/time.Second), m.Nanosecond(), t.scale)
	case kindNTZ, kindLTZ:
		m, _ := moment(v.(string))
		s = seconds(m.Unix(), m.Nanosecond(), t.scale)
	case kindTZ:
		m, _ := moment(v.(string))
		_, offset := m.Zone()
		s = seconds(m.Unix(), m.Nanosecond(), t.scale) + " " + strconv.Itoa(offset/60+1440)
	default:
		s = show(v)
	}
	return &s, nil
}

// seconds writes whole seconds and a fraction of scale digits. A moment before
// 1970 counts from zero: -1.5 s is 1.5 before, not -2 + 0.5.
func seconds(sec int64, nanos, scale int) string {
	sign := ""
	if sec < 0 && nanos > 0 {
		sec, nanos = sec+1, 1_000_000_000-nanos
		if sec == 0 {
			sign = "-"
		}
	}
	s := sign + strconv.FormatInt(sec, 10)
	if scale > 0 {
		s += "." + fmt.Sprintf("%09d", nanos)[:scale]
	}
	return s
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

// guess is the type of an expression by its values, when nothing else tells.
func guess(values []any) colType {
	seen := kindUnknown
	for _, v := range values {
		k := kindUnknown
		switch v.(type) {
		case int64:
			k = kindFixed
		case float64:
			k = kindReal
		case []byte:
			k = kindBinary
		case string:
			return textType()
		}
		if k > seen {
			seen = k
		}
	}
	switch seen {
	case kindFixed:
		return fixed(38, 0)
	case kindReal:
		return colType{kind: kindReal}
	case kindBinary:
		return colType{kind: kindBinary, length: 8388608}
	}
	return textType()
}
