package snowflake

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrRequest reports a request body that is valid JSON but not one a driver
// sends: a key in the wrong case, a value of the wrong type.
var ErrRequest = errors.New("not a driver's request")

// checkCase refuses a key that differs from a known one only in case: readers
// that ignore case would see it, this package would not.
func checkCase(o Object, known []string) error {
	for _, m := range o {
		for _, k := range known {
			if m.Key != k && strings.EqualFold(m.Key, k) {
				return fmt.Errorf("%w: the key %q in another case", ErrRequest, k)
			}
		}
	}
	return nil
}

var loginKeys = []string{"CLIENT_APP_ID", "CLIENT_APP_VERSION", "ACCOUNT_NAME", "LOGIN_NAME", "PASSWORD",
	"AUTHENTICATOR", "TOKEN", "RAW_SAML_RESPONSE", "PROOF_KEY", "SPCS_TOKEN", "PASSCODE", "EXT_AUTHN_DUO_METHOD",
	"PROVIDER", "SECONDARY_ROLES", "SESSION_PARAMETERS"}

// LoginRequest is the body of a login. Password and Token are secrets: the
// holder compares and drops them.
type LoginRequest struct {
	AppID, AppVersion string
	Account           string
	LoginName         string
	Password, Token   string
	Authenticator     string // upper case; empty = password
	SecondaryRoles    string
	Parameters        Object // SESSION_PARAMETERS
	// Foreign names a field of a login kind that carries another identity
	// (SAML answer, service token, proof key, second factor); empty = none.
	Foreign string
}

// ParseLogin reads a login body. Unknown keys are ignored.
func ParseLogin(body []byte) (LoginRequest, error) {
	outer, err := ParseObject(body)
	if err != nil {
		return LoginRequest{}, err
	}
	if err := checkCase(outer, []string{"data"}); err != nil {
		return LoginRequest{}, err
	}
	o, err := ParseObject(outer.Get("data"))
	if err != nil {
		return LoginRequest{}, fmt.Errorf("reading data: %w", err)
	}
	if err := checkCase(o, loginKeys); err != nil {
		return LoginRequest{}, err
	}
	text := func(key string) string { s, _ := o.Text(key); return s }
	r := LoginRequest{
		AppID: text("CLIENT_APP_ID"), AppVersion: text("CLIENT_APP_VERSION"), Account: text("ACCOUNT_NAME"),
		LoginName: text("LOGIN_NAME"), Password: text("PASSWORD"), Token: text("TOKEN"),
		Authenticator: strings.ToUpper(text("AUTHENTICATOR")), SecondaryRoles: text("SECONDARY_ROLES"),
	}
	for _, key := range [...]string{"RAW_SAML_RESPONSE", "PROOF_KEY", "SPCS_TOKEN", "PASSCODE"} {
		if text(key) != "" {
			r.Foreign = key
		}
	}
	if raw := o.Get("SESSION_PARAMETERS"); raw != nil {
		if r.Parameters, err = ParseObject(raw); err != nil {
			return LoginRequest{}, fmt.Errorf("reading SESSION_PARAMETERS: %w", err)
		}
	}
	return r, nil
}

var queryKeys = []string{"sqlText", "asyncExec", "sequenceId", "querySubmissionTime", "isInternal", "describeOnly",
	"describedJobId", "parameters", "bindings", "bindStage", "disableOfflineChunks", "requestId", "queryContextDTO",
	"dataframeAst"}

// QueryRequest is the body of a query. Keys not named here are dropped when it
// is written again, dataframeAst, isInternal and describedJobId among them.
type QueryRequest struct {
	SQL          string
	HasSQL       bool // false for a resubmission by request id alone
	Async        bool
	DescribeOnly bool
	Parameters   Object          // statement parameters
	Binds        string          // canonical JSON, see CanonicalBinds; empty if none
	BindStage    string          // values travel by a stage: nobody has seen them
	QueryContext json.RawMessage // opaque to everyone but Snowflake
	Sequence     int64
	Submitted    int64 // ms since the epoch
}

// ParseQuery reads a query body strictly.
func ParseQuery(body []byte) (QueryRequest, error) {
	o, err := ParseObject(body)
	if err != nil {
		return QueryRequest{}, err
	}
	if err := checkCase(o, queryKeys); err != nil {
		return QueryRequest{}, err
	}
	q := QueryRequest{Async: o.Bool("asyncExec"), DescribeOnly: o.Bool("describeOnly")}
	if raw := o.Get("sqlText"); raw != nil {
		if q.SQL, q.HasSQL = Text(raw); !q.HasSQL {
			return QueryRequest{}, fmt.Errorf("%w: sqlText is not a string", ErrRequest)
		}
	}
	for _, key := range [...]string{"asyncExec", "describeOnly"} {
		if raw := o.Get(key); raw != nil && string(raw) != "true" && string(raw) != "false" {
			return QueryRequest{}, fmt.Errorf("%w: %s is not a boolean", ErrRequest, key)
		}
	}
	if raw := o.Get("parameters"); raw != nil {
		if q.Parameters, err = ParseObject(raw); err != nil {
			return QueryRequest{}, fmt.Errorf("reading parameters: %w", err)
		}
	}
	if q.Binds, err = CanonicalBinds(o.Get("bindings")); err != nil {
		return QueryRequest{}, fmt.Errorf("reading bindings: %w", err)
	}
	q.BindStage, _ = o.Text("bindStage")
	if raw := o.Get("queryContextDTO"); raw != nil {
		if _, err := ParseObject(raw); err != nil {
			return QueryRequest{}, fmt.Errorf("reading queryContextDTO: %w", err)
		}
		q.QueryContext = raw
	}
	q.Sequence, _ = o.Int("sequenceId")
	q.Submitted, _ = o.Int("querySubmissionTime")
	return q, nil
}

// Append writes the query as it goes upstream.
func (q QueryRequest) Append(dst []byte) []byte {
	dst = append(dst, `{"sqlText":`...)
	dst = AppendString(dst, []byte(q.SQL))
	dst = append(dst, `,"asyncExec":`...)
	dst = strconv.AppendBool(dst, q.Async)
	dst = append(dst, `,"sequenceId":`...)
	dst = strconv.AppendInt(dst, q.Sequence, 10)
	dst = append(dst, `,"isInternal":false`...)
	if q.Submitted != 0 {
		dst = append(dst, `,"querySubmissionTime":`...)
		dst = strconv.AppendInt(dst, q.Submitted, 10)
	}
	if q.DescribeOnly {
		dst = append(dst, `,"describeOnly":true`...)
	}
	if len(q.Parameters) > 0 {
		dst = append(dst, `,"parameters":`...)
		dst = q.Parameters.Append(dst)
	}
	if q.Binds != "" {
		dst = append(dst, `,"bindings":`...)
		dst = append(dst, q.Binds...)
	}
	dst = append(dst, `,"queryContextDTO":`...)
	if q.QueryContext == nil {
		dst = append(dst, "{}"...)
	} else {
		dst = append(dst, q.QueryContext...)
	}
	return append(dst, '}')
}

var bindKeys = []string{"type", "value", "fmt", "schema"}

// CanonicalBinds writes binds in one form: positions in numeric order, keys in
// the order type, value, fmt, schema, strings escaped one way. The canonical
// form is hashed into approvals, shown to reviewers and sent upstream. A value
// is a string, null, or an array of those (array binds). Empty for no binds.
func CanonicalBinds(raw json.RawMessage) (string, error) {
	if IsNull(raw) {
		return "", nil
	}
	o, err := ParseObject(raw)
	if err != nil || len(o) == 0 {
		return "", err
	}
	slices.SortFunc(o, func(a, b Member) int {
		return cmp.Or(cmp.Compare(len(a.Key), len(b.Key)), strings.Compare(a.Key, b.Key))
	})
	dst := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, []byte(m.Key))
		dst = append(dst, ':')
		if dst, err = appendBind(dst, m.Raw); err != nil {
			return "", fmt.Errorf("bind %d: %w", i+1, err)
		}
	}
	return string(append(dst, '}')), nil
}

func appendBind(dst []byte, raw json.RawMessage) ([]byte, error) {
	b, err := ParseObject(raw)
	if err != nil {
		return nil, err
	}
	for _, m := range b {
		if !slices.Contains(bindKeys, m.Key) {
			return nil, fmt.Errorf("%w: an unknown key in a bind", ErrRequest)
		}
	}
	dst = append(dst, '{')
	first := true
	for _, key := range bindKeys {
		v := b.Get(key)
		if v == nil && key != "value" {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = AppendString(dst, []byte(key))
		dst = append(dst, ':')
		if key == "schema" { // structured binds: an object of types, kept as it is
			dst = append(dst, v...)
			continue
		}
		if dst, err = appendBindValue(dst, v, key == "value"); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

func appendBindValue(dst []byte, v json.RawMessage, array bool) ([]byte, error) {
	if v == nil {
		return append(dst, "null"...), nil
	}
	if s, ok := Text(v); ok {
		return AppendString(dst, []byte(s)), nil
	}
	if !array || v[0] != '[' {
		return nil, fmt.Errorf("%w: a bind value is not a string", ErrRequest)
	}
	list, err := ParseArray(v)
	if err != nil {
		return nil, err
	}
	dst = append(dst, '[')
	for i, e := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		if IsNull(e) {
			e = nil
		}
		if dst, err = appendBindValue(dst, e, false); err != nil {
			return nil, err
		}
	}
	return append(dst, ']'), nil
}
