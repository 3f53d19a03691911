package snowflake

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// Member is one key of an Object with its value as received.
type Member struct {
	Key string
	Raw json.RawMessage
}

// Object is a JSON object whose values stay raw, in order: what is not
// understood is kept byte for byte, integers beyond 2^53 included.
// The zero value is the empty object.
type Object []Member

// keyNames are the keys of everyday requests and answers, so that reading them
// does not copy each name anew. It never changes.
var keyNames = func() map[string]string {
	m := map[string]string{}
	for _, list := range [][]string{queryKeys, loginKeys, bindKeys, {"data", "code", "message", "success", "headers", "rowtype", "rowset",
		"rowsetBase64", "total", "returned", "queryId", "databaseProvider", "finalDatabaseName", "finalSchemaName", "finalWarehouseName",
		"finalRoleName", "numberOfBinds", "arrayBindSupported", "statementTypeId", "version", "sendResultTime", "queryResultFormat",
		"queryContext", "name", "database", "table", "nullable", "length", "byteLength", "precision", "scale", "collation", "chunks",
		"chunkHeaders", "qrmk", "url", "rowCount", "uncompressedSize", "compressedSize", "sqlState", "errorCode", "entries"}} {
		for _, k := range list {
			m[k] = k
		}
	}
	return m
}()

// ParseObject reads one strict JSON object that fills b, apart from white
// space. Values alias b.
func ParseObject(b []byte) (Object, error) {
	if !utf8.Valid(b) {
		return nil, malformed(0, "not UTF-8")
	}
	i := skipSpace(b, 0)
	// Room for the members of everyday objects, at most 16 for a start.
	o := make(Object, 0, min(bytes.Count(b[:min(len(b), 512)], []byte{':'}), 16))
	end, err := eachMember(b, i, 0, func(key []byte, from, to int) error {
		name, known := keyNames[string(key)] // the lookup does not allocate
		if !known {
			name = string(key)
		}
		o = append(o, Member{Key: name, Raw: b[from:to:to]})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if skipSpace(b, end) != len(b) {
		return nil, malformed(end, "bytes after the object")
	}
	return o, nil
}

// ParseArray reads one strict JSON array that fills b. Elements alias b.
func ParseArray(b []byte) ([]json.RawMessage, error) {
	if !utf8.Valid(b) {
		return nil, malformed(0, "not UTF-8")
	}
	i := skipSpace(b, 0)
	list := []json.RawMessage{}
	end, err := eachElement(b, i, 0, func(from, to int) error {
		list = append(list, b[from:to:to])
		return nil
	})
	if err != nil {
		return nil, err
	}
	if skipSpace(b, end) != len(b) {
		return nil, malformed(end, "bytes after the array")
	}
	return list, nil
}

// Get returns the raw value of key, nil if it is absent or null.
func (o Object) Get(key string) json.RawMessage {
	for i := range o {
		if o[i].Key == key {
			if IsNull(o[i].Raw) {
				return nil
			}
			return o[i].Raw
		}
	}
	return nil
}

// Has reports whether key is present, null or not.
func (o Object) Has(key string) bool {
	for i := range o {
		if o[i].Key == key {
			return true
		}
	}
	return false
}

// Set replaces the value of key where it stands, or adds it at the end.
func (o *Object) Set(key string, raw json.RawMessage) {
	for i := range *o {
		if (*o)[i].Key == key {
			(*o)[i].Raw = raw
			return
		}
	}
	*o = append(*o, Member{Key: key, Raw: raw})
}

// Delete removes key.
func (o *Object) Delete(key string) {
	for i := range *o {
		if (*o)[i].Key == key {
			*o = append((*o)[:i:i], (*o)[i+1:]...)
			return
		}
	}
}

// Append writes the object, values byte for byte.
func (o Object) Append(dst []byte) []byte {
	dst = append(dst, '{')
	for i, m := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, []byte(m.Key))
		dst = append(dst, ':')
		dst = append(dst, m.Raw...)
	}
	return append(dst, '}')
}

// Text returns key's value if it is a string, else "" and false.
func (o Object) Text(key string) (string, bool) { return Text(o.Get(key)) }

// Int returns key's value if it is an integer or a string of one.
func (o Object) Int(key string) (int64, bool) {
	raw := o.Get(key)
	if s, ok := Text(raw); ok {
		n, err := strconv.ParseInt(s, 10, 64)
		return n, err == nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil
}

// Bool returns key's value if it is true or false; anything else is false.
func (o Object) Bool(key string) bool { return string(o.Get(key)) == "true" }

// IsNull reports whether raw is absent or the JSON null.
func IsNull(raw json.RawMessage) bool { return len(raw) == 0 || bytes.Equal(raw, []byte("null")) }

// Text decodes a JSON string; false if raw is anything else.
func Text(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	end, escaped, err := skipString(raw, 0)
	if err != nil || end != len(raw) {
		return "", false
	}
	if !escaped {
		return string(raw[1 : end-1]), true
	}
	return string(appendUnescaped(nil, raw[1:end-1])), true
}

// Quote encodes s as a JSON string.
func Quote(s string) json.RawMessage { return AppendString(nil, []byte(s)) }
