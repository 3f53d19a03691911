package sandbox

import (
	"crypto/md5" //nolint:gosec // the SQL function MD5, not security
	"crypto/sha256"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite"
)

// scalar is a function of SQL values in stored form.
type scalar func(args []driver.Value) (driver.Value, error)

// strict makes a function NULL when any argument is NULL.
func strict(f scalar) scalar {
	return func(args []driver.Value) (driver.Value, error) {
		for _, a := range args {
			if a == nil {
				return nil, nil
			}
		}
		return f(args)
	}
}

// texts is a strict function of texts.
func texts(f func(a []string) driver.Value) scalar {
	return strict(func(args []driver.Value) (driver.Value, error) {
		a := make([]string, len(args))
		for i, v := range args {
			a[i] = show(v)
		}
		return f(a), nil
	})
}

// registerFunctions gives the driver the functions of Snowflake that SQLite
// does not have. The SF_ ones stand for syntax.
func registerFunctions(d *sqlite.Driver) {
	add := func(name string, n int32, f scalar) {
		d.MustRegisterDeterministicScalarFunction(name, n, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
			v, err := f(args)
			if err != nil {
				return nil, packError(err)
			}
			return v, nil
		})
	}
	addCasts(add)
	addTexts(add)
	addDates(add)
	addJSON(add)
	addLike(add)
}

func addCasts(add func(string, int32, scalar)) {
	typed := func(args []driver.Value) colType {
		k, _ := args[1].(int64)
		scale, _ := args[2].(int64)
		return colType{kind: kind(k), scale: int(scale)}
	}
	add("SF_CAST", 3, func(a []driver.Value) (driver.Value, error) { return convert(a[0], typed(a)) })
	add("SF_TRY_CAST", 3, func(a []driver.Value) (driver.Value, error) {
		v, err := convert(a[0], typed(a))
		if err != nil {
			return nil, nil
		}
		return v, nil
	})
	add("SF_CAST_VARIANT", 3, func(a []driver.Value) (driver.Value, error) { return convert(plain(a[0]), typed(a)) })
	// A CHECK: true, or the error that says what is wrong with the value.
	add("SF_VALID", 3, func(a []driver.Value) (driver.Value, error) {
		if _, err := convert(a[0], typed(a)); err != nil {
			return nil, err
		}
		return int64(1), nil
	})
	for name, k := range map[string]kind{"TO_NUMBER": kindFixed, "TO_DECIMAL": kindFixed, "TO_DOUBLE": kindReal, "TO_DATE": kindDate,
		"TO_TIMESTAMP": kindNTZ, "TO_TIMESTAMP_NTZ": kindNTZ, "TO_TIMESTAMP_LTZ": kindLTZ, "TO_TIMESTAMP_TZ": kindTZ, "TO_BOOLEAN": kindBoolean,
		"TO_VARCHAR": kindText, "TO_CHAR": kindText, "TO_BINARY": kindBinary} {
		add(name, 1, func(a []driver.Value) (driver.Value, error) { return convert(a[0], colType{kind: k}) })
		add("TRY_"+name, 1, func(a []driver.Value) (driver.Value, error) {
			v, err := convert(a[0], colType{kind: k})
			if err != nil {
				return nil, nil
			}
			return v, nil
		})
	}
}

func addTexts(add func(string, int32, scalar)) {
	// A session runs its statements one by one: when this runs, none is left to
	// cancel.
	add("SYSTEM$CANCEL_ALL_QUERIES", 1, texts(func([]string) driver.Value { return "0 queries canceled." }))
	truth := func(b bool) driver.Value {
		if b {
			return int64(1)
		}
		return int64(0)
	}
	add("LEFT", 2, texts(func(a []string) driver.Value { return part(a[0], 0, a[1]) }))
	add("RIGHT", 2, texts(func(a []string) driver.Value {
		n, _ := strconv.Atoi(a[1])
		r := []rune(a[0])
		return string(r[max(0, len(r)-max(n, 0)):])
	}))
	add("CONTAINS", 2, texts(func(a []string) driver.Value { return truth(strings.Contains(a[0], a[1])) }))
	add("STARTSWITH", 2, texts(func(a []string) driver.Value { return truth(strings.HasPrefix(a[0], a[1])) }))
	add("ENDSWITH", 2, texts(func(a []string) driver.Value { return truth(strings.HasSuffix(a[0], a[1])) }))
	add("SF_POSITION", 2, texts(func(a []string) driver.Value {
		i := strings.Index(a[1], a[0])
		if i < 0 {
			return int64(0)
		}
		return int64(len([]rune(a[1][:i])) + 1)
	}))
	add("MD5", 1, texts(func(a []string) driver.Value {
		sum := md5.Sum([]byte(a[0])) //nolint:gosec // as above
		return hex.EncodeToString(sum[:])
	}))
	add("SHA2", 1, texts(func(a []string) driver.Value {
		sum := sha256.Sum256([]byte(a[0]))
		return hex.EncodeToString(sum[:])
	}))
	add("REVERSE", 1, texts(func(a []string) driver.Value {
		r := []rune(a[0])
		for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
			r[i], r[j] = r[j], r[i]
		}
		return string(r)
	}))
	add("SPLIT_PART", 3, texts(func(a []string) driver.Value {
		parts := strings.Split(a[0], a[1])
		n, _ := strconv.Atoi(a[2])
		if n < 0 {
			n += len(parts) + 1
		}
		if n = max(n, 1); n > len(parts) {
			return ""
		}
		return parts[n-1]
	}))
	match := strict(func(args []driver.Value) (driver.Value, error) {
		re, err := regexp.Compile("^(?:" + show(args[1]) + ")$")
		if err != nil {
			return nil, &sqlError{code: "100048", state: "2201B", message: "Invalid regular expression: '" + show(args[1]) + "'"}
		}
		return truth(re.MatchString(show(args[0]))), nil
	})
	add("REGEXP_LIKE", 2, match)
	add("RLIKE", 2, match)
	// SQLite calls regexp(pattern, text) for text REGEXP pattern.
	add("REGEXP", 2, func(a []driver.Value) (driver.Value, error) { return match([]driver.Value{a[1], a[0]}) })
}

func part(s string, from int, count string) string {
	n, _ := strconv.Atoi(count)
	r := []rune(s)
	return string(r[from:min(len(r), from+max(n, 0))])
}

func addDates(add func(string, int32, scalar)) {
	for name, field := range map[string]string{"YEAR": "year", "MONTH": "month", "DAY": "day", "HOUR": "hour", "MINUTE": "minute", "SECOND": "second"} {
		add(name, 1, strict(func(a []driver.Value) (driver.Value, error) { return datePart(field, a[0]) }))
	}
	add("DATE_PART", 2, strict(func(a []driver.Value) (driver.Value, error) { return datePart(show(a[0]), a[1]) }))
	for _, name := range []string{"DATEADD", "TIMESTAMPADD"} {
		add(name, 3, strict(dateAdd))
	}
	for _, name := range []string{"DATEDIFF", "TIMESTAMPDIFF"} {
		add(name, 3, strict(dateDiff))
	}
	add("DATE_TRUNC", 2, strict(func(a []driver.Value) (driver.Value, error) {
		m, ok := moment(show(a[1]))
		if !ok {
			return nil, errValue("100035", "Timestamp", show(a[1]))
		}
		return truncate(show(a[0]), m).Format(formTimestamp), nil
	}))
}

func unit(s string) string {
	s = strings.TrimSuffix(strings.ToLower(strings.Trim(s, "'")), "s")
	switch s {
	case "yy", "yyyy", "y":
		return "year"
	case "mm", "mon":
		return "month"
	case "dd", "d":
		return "day"
	case "hh", "h":
		return "hour"
	case "mi":
		return "minute"
	}
	return s
}

func datePart(field string, v driver.Value) (driver.Value, error) {
	m, ok := moment(show(v))
	if !ok {
		return nil, errValue("100035", "Timestamp", show(v))
	}
	switch unit(field) {
	case "year":
		return int64(m.Year()), nil
	case "month":
		return int64(m.Month()), nil
	case "day":
		return int64(m.Day()), nil
	case "hour":
		return int64(m.Hour()), nil
	case "minute":
		return int64(m.Minute()), nil
	case "second":
		return int64(m.Second()), nil
	case "dayofweek", "dow":
		return int64(m.Weekday()), nil
	case "epoch_second":
		return m.Unix(), nil
	}
	return nil, errUnsupported("date part " + field)
}

func dateAdd(a []driver.Value) (driver.Value, error) {
	n, err := strconv.Atoi(show(a[1]))
	if err != nil {
		return nil, errValue("100038", "Numeric value", show(a[1]))
	}
	text := show(a[2])
	m, ok := moment(text)
	if !ok {
		return nil, errValue("100035", "Timestamp", text)
	}
	form := formTimestamp
	if len(text) == len(formDate) {
		form = formDate
	}
	switch unit(show(a[0])) {
	case "year":
		m = m.AddDate(n, 0, 0)
	case "month":
		m = m.AddDate(0, n, 0)
	case "week":
		m = m.AddDate(0, 0, 7*n)
	case "day":
		m = m.AddDate(0, 0, n)
	case "hour":
		m, form = m.Add(time.Duration(n)*time.Hour), formTimestamp
	case "minute":
		m, form = m.Add(time.Duration(n)*time.Minute), formTimestamp
	case "second":
		m, form = m.Add(time.Duration(n)*time.Second), formTimestamp
	default:
		return nil, errUnsupported("date part " + show(a[0]))
	}
	return m.Format(form), nil
}

// dateDiff counts the boundaries between two moments, as Snowflake does.
func dateDiff(a []driver.Value) (driver.Value, error) {
	x, ok1 := moment(show(a[1]))
	y, ok2 := moment(show(a[2]))
	if !ok1 || !ok2 {
		return nil, errValue("100035", "Timestamp", show(a[1]))
	}
	u := unit(show(a[0]))
	switch u {
	case "year":
		return int64(y.Year() - x.Year()), nil
	case "month":
		return int64((y.Year()-x.Year())*12 + int(y.Month()) - int(x.Month())), nil
	case "day", "hour", "minute", "second":
		size := map[string]time.Duration{"day": 24 * time.Hour, "hour": time.Hour, "minute": time.Minute, "second": time.Second}[u]
		return int64(truncate(u, y).Sub(truncate(u, x)) / size), nil
	}
	return nil, errUnsupported("date part " + u)
}

func truncate(field string, m time.Time) time.Time {
	y, mo, d := m.Date()
	h, mi, s := m.Clock()
	switch unit(field) {
	case "year":
		mo, d, h, mi, s = 1, 1, 0, 0, 0
	case "month":
		d, h, mi, s = 1, 0, 0, 0
	case "week":
		d, h, mi, s = d-(int(m.Weekday())+6)%7, 0, 0, 0
	case "day":
		h, mi, s = 0, 0, 0
	case "hour":
		mi, s = 0, 0
	case "minute":
		s = 0
	}
	return time.Date(y, mo, d, h, mi, s, 0, m.Location())
}

func addJSON(add func(string, int32, scalar)) {
	parse := strict(func(a []driver.Value) (driver.Value, error) {
		var v any
		if err := decodeJSON(show(a[0]), &v); err != nil {
			return nil, &sqlError{code: "100069", state: "22P02", message: "Error parsing JSON: " + show(a[0])}
		}
		return show(a[0]), nil
	})
	add("PARSE_JSON", 1, parse)
	add("TRY_PARSE_JSON", 1, func(a []driver.Value) (driver.Value, error) {
		v, err := parse(a)
		if err != nil {
			return nil, nil
		}
		return v, nil
	})
	add("SF_PATH", 2, strict(func(a []driver.Value) (driver.Value, error) { return jsonPath(show(a[0]), show(a[1])), nil }))
	add("TO_JSON", 1, strict(func(a []driver.Value) (driver.Value, error) { return show(a[0]), nil }))
	add("OBJECT_CONSTRUCT", -1, func(a []driver.Value) (driver.Value, error) {
		object := map[string]json.RawMessage{}
		for i := 0; i+1 < len(a); i += 2 {
			if a[i] != nil && a[i+1] != nil {
				object[show(a[i])] = asJSON(a[i+1])
			}
		}
		b, err := marshal(object)
		return string(b), err
	})
	add("ARRAY_CONSTRUCT", -1, func(a []driver.Value) (driver.Value, error) {
		list := make([]json.RawMessage, len(a))
		for i, v := range a {
			list[i] = asJSON(v)
		}
		b, err := marshal(list)
		return string(b), err
	})
}

func asJSON(v driver.Value) json.RawMessage {
	switch v := v.(type) {
	case nil:
		return json.RawMessage("null")
	case int64, float64:
		return json.RawMessage(show(v))
	default:
		b, _ := marshal(show(v))
		return b
	}
}

func decodeJSON(s string, into any) error {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	return d.Decode(into)
}

// jsonPath follows a path of the form $."a"."b"[0] and returns JSON text, or
// nil if nothing is there.
func jsonPath(text, p string) driver.Value {
	cur := json.RawMessage(text)
	rest := strings.TrimPrefix(p, "$")
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, `."`):
			key, after, ok := strings.Cut(rest[2:], `"`)
			var object map[string]json.RawMessage
			if !ok || json.Unmarshal(cur, &object) != nil || object[key] == nil {
				return nil
			}
			cur, rest = object[key], after
		case strings.HasPrefix(rest, "["):
			index, after, ok := strings.Cut(rest[1:], "]")
			n, err := strconv.Atoi(index)
			var list []json.RawMessage
			if !ok || err != nil || json.Unmarshal(cur, &list) != nil || n >= len(list) {
				return nil
			}
			cur, rest = list[n], after
		default:
			return nil
		}
	}
	return strings.TrimSpace(string(cur))
}

// plain is the SQL value of JSON text: a string without its quotes, JSON null
// as NULL.
func plain(v driver.Value) driver.Value {
	if v == nil {
		return nil
	}
	var x any
	if decodeJSON(show(v), &x) != nil {
		return v
	}
	switch x := x.(type) {
	case nil:
		return nil
	case string:
		return x
	case bool:
		return fmt.Sprint(x)
	case json.Number:
		return x.String()
	}
	return v
}
