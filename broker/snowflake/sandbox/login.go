package sandbox

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/session/secret"
)

// version stands where Snowflake has its version: three numbers, which clients
// parse, and no version that Snowflake ever had.
const version = "0.0.0"

type loginRequest struct {
	Data struct {
		Account       string         `json:"ACCOUNT_NAME"`
		User          string         `json:"LOGIN_NAME"`
		Password      string         `json:"PASSWORD"`
		Authenticator string         `json:"AUTHENTICATOR"`
		Token         string         `json:"TOKEN"`
		Client        string         `json:"CLIENT_APP_ID"`
		Parameters    map[string]any `json:"SESSION_PARAMETERS"`
	} `json:"data"`
}

// failed is a refusal with Snowflake's code.
type failed struct{ code, message string }

var badLogin = failed{snowflake.CodeLoginFailed, "Incorrect username or password was specified."}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var req loginRequest
	if !s.body(w, r, &req) {
		return
	}
	user, bad := s.authenticate(req)
	if bad != nil {
		s.log.Info("login refused", "code", bad.code)
		refuse(w, bad.code, bad.message, loginFailure{NextAction: "RETRY_LOGIN", Method: "USERNAME_PASSWORD"})
		return
	}
	q := r.URL.Query()
	role, bad := chooseRole(s.opt.Users[user], strings.ToUpper(q.Get("roleName")))
	if bad != nil {
		refuse(w, bad.code, bad.message, loginFailure{NextAction: "RETRY_LOGIN"})
		return
	}
	sess, err := s.newSession(user, role)
	if err != nil {
		s.log.Error("opening a session", "error", err)
		refuse(w, snowflake.CodeInternal, "The sandbox could not open a session.", loginFailure{})
		return
	}
	sess.client = req.Data.Client
	for name, value := range req.Data.Parameters {
		sess.setParam(strings.ToUpper(name), paramText(value))
	}
	s.enter(sess, strings.ToUpper(q.Get("databaseName")), strings.ToUpper(q.Get("schemaName")))
	sess.warehouse = strings.ToUpper(q.Get("warehouse"))
	token, master := s.newTokens(sess)
	s.mu.Lock()
	s.logins++
	s.mu.Unlock()
	s.log.Info("session opened", "session", sess.id, "user", user)
	at, warehouse, role := sess.facts()
	succeed(w, snowflake.LoginAnswer{
		Token: token.Reveal(), MasterToken: master.Reveal(),
		ValidInSeconds: seconds64(s.opt.SessionTTL), MasterValidInSecs: seconds64(s.opt.MasterTTL),
		DisplayUser: user, ServerVersion: version, HealthCheck: 45, SessionID: sess.id,
		Parameters:  s.parameters(sess),
		SessionInfo: snowflake.SessionInfo{Database: at.database, Schema: at.schema, Warehouse: warehouse, Role: role},
	})
}

type loginFailure struct {
	NextAction string `json:"nextAction,omitempty"`
	Method     string `json:"authnMethod,omitempty"`
}

// seconds64 rounds up: a life of half a second is not no life.
func seconds64(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// enter sets the session's database and schema as far as they exist, as
// Snowflake does with those named at login.
func (s *Server) enter(sess *session, databaseName, schemaName string) {
	s.schema.RLock()
	defer s.schema.RUnlock()
	if _, ok := s.cat.databases[databaseName]; !ok {
		return
	}
	if schemaName == "" {
		schemaName = "PUBLIC"
	}
	if _, ok := s.cat.schema(databaseName, schemaName); !ok {
		schemaName = ""
	}
	sess.mu.Lock()
	defer sess.mu.Unlock()
	sess.place = place{databaseName, schemaName}
}

func chooseRole(u User, asked string) (string, *failed) {
	if len(u.Roles) == 0 {
		if asked == "" {
			asked = "SYSADMIN"
		}
		return asked, nil
	}
	if asked == "" {
		return strings.ToUpper(u.Roles[0]), nil
	}
	for _, r := range u.Roles {
		if strings.EqualFold(r, asked) {
			return asked, nil
		}
	}
	return "", &failed{"390189", "Role '" + asked + "' specified in the connect string is not granted to this user. Contact your local system administrator, or attempt to login with another role, e.g. PUBLIC."}
}

// authenticate returns the user whose credential the request proves.
func (s *Server) authenticate(req loginRequest) (string, *failed) {
	d := req.Data
	if !strings.EqualFold(d.Account, s.opt.Account) {
		return "", &failed{"390100", "The requested account '" + d.Account + "' is not this sandbox's."}
	}
	name := strings.ToUpper(d.User)
	switch strings.ToUpper(d.Authenticator) {
	case "", "SNOWFLAKE":
		u := s.opt.Users[name]
		if u.Password.IsZero() || !u.Password.Equal(secret.New(d.Password)) {
			return "", &badLogin
		}
	case "PROGRAMMATIC_ACCESS_TOKEN":
		u := s.opt.Users[name]
		if u.PAT.IsZero() || !u.PAT.Equal(secret.New(d.Token)) {
			return "", &failed{"394400", "Programmatic access token is invalid."}
		}
	case "SNOWFLAKE_JWT":
		return s.authenticateJWT(name, d.Token)
	default:
		return "", &failed{"390100", "The sandbox takes password, key-pair and programmatic access token logins only."}
	}
	return name, nil
}

// authenticateJWT verifies a key-pair login: signature by the user's
// registered key, issuer ACCOUNT.USER.SHA256:fingerprint, subject
// ACCOUNT.USER, and a life of at most an hour. The user is the subject's when
// the login names none.
func (s *Server) authenticateJWT(name, token string) (string, *failed) {
	invalid := &failed{"390144", "JWT token is invalid."}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return "", invalid
	}
	var unverified jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&unverified); err != nil {
		return "", invalid
	}
	account, user, ok := strings.Cut(unverified.Subject, ".")
	if !ok || !strings.EqualFold(account, s.opt.Account) || name != "" && name != strings.ToUpper(user) {
		return "", invalid
	}
	name = strings.ToUpper(user)
	key := s.opt.Users[name].PublicKey
	if key == nil {
		return "", invalid
	}
	var claims jwt.Claims
	if err := parsed.Claims(key, &claims); err != nil {
		return "", invalid
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", invalid
	}
	sum := sha256.Sum256(der)
	if claims.Issuer != unverified.Subject+".SHA256:"+base64.StdEncoding.EncodeToString(sum[:]) {
		return "", invalid
	}
	now := time.Now()
	if claims.Expiry == nil || claims.IssuedAt == nil || claims.Expiry.Time().Sub(claims.IssuedAt.Time()) > time.Hour {
		return "", invalid
	}
	if err := claims.ValidateWithLeeway(jwt.Expected{Time: now}, time.Minute); err != nil {
		return "", invalid
	}
	return name, nil
}

type renewRequest struct {
	Old  string `json:"oldSessionToken"`
	Type string `json:"requestType"`
}

func (s *Server) renew(w http.ResponseWriter, r *http.Request) {
	var req renewRequest
	if !s.body(w, r, &req) {
		return
	}
	token, _ := bearer(r)
	s.mu.Lock()
	sess := s.masters[token.Digest()]
	s.mu.Unlock()
	if sess == nil || req.Type != "RENEW" {
		refuse(w, snowflake.CodeMasterGone, "Authentication token has expired. The user must authenticate again.", nil)
		return
	}
	sess.mu.Lock()
	over := time.Now().After(sess.masterExpires)
	sess.mu.Unlock()
	if over {
		refuse(w, snowflake.CodeMasterGone, "Authentication token has expired. The user must authenticate again.", nil)
		return
	}
	newToken, newMaster := s.newTokens(sess)
	succeed(w, snowflake.RenewAnswer{SessionToken: newToken.Reveal(), ValidInSeconds: seconds64(s.opt.SessionTTL),
		MasterToken: newMaster.Reveal(), MasterValidSecs: seconds64(s.opt.MasterTTL), SessionID: sess.id})
}

// parameters is the list a login answer carries. Those the session has set
// replace the defaults.
func (s *Server) parameters(sess *session) []snowflake.Parameter {
	var list []snowflake.Parameter
	for _, p := range s.defaults() {
		if v, ok := sess.param(p.Name); ok {
			p.Value = paramJSON(v, p.Value)
		}
		list = append(list, p)
	}
	return list
}

// paramJSON writes text with the JSON type of the default it replaces.
func paramJSON(text string, like json.RawMessage) json.RawMessage {
	if len(like) > 0 && like[0] != '"' && json.Valid([]byte(strings.ToLower(text))) {
		return json.RawMessage(strings.ToLower(text))
	}
	b, _ := json.Marshal(text) // a string cannot fail
	return b
}

func defaultParameters() []snowflake.Parameter {
	raw := func(name, value string) snowflake.Parameter {
		return snowflake.Parameter{Name: name, Value: json.RawMessage(value)}
	}
	return []snowflake.Parameter{
		raw("TIMEZONE", `"UTC"`),
		raw("TIMESTAMP_OUTPUT_FORMAT", `"YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM"`),
		raw("TIMESTAMP_NTZ_OUTPUT_FORMAT", `"YYYY-MM-DD HH24:MI:SS.FF3"`),
		raw("TIMESTAMP_LTZ_OUTPUT_FORMAT", `""`),
		raw("TIMESTAMP_TZ_OUTPUT_FORMAT", `""`),
		raw("TIMESTAMP_TYPE_MAPPING", `"TIMESTAMP_NTZ"`),
		raw("DATE_OUTPUT_FORMAT", `"YYYY-MM-DD"`),
		raw("TIME_OUTPUT_FORMAT", `"HH24:MI:SS"`),
		raw("BINARY_OUTPUT_FORMAT", `"HEX"`),
		raw("AUTOCOMMIT", `true`),
		raw("QUERY_TAG", `""`),
		raw("MULTI_STATEMENT_COUNT", `1`),
		raw("CLIENT_RESULT_CHUNK_SIZE", `160`),
		raw("CLIENT_RESULT_PREFETCH_SLOTS", `2`),
		raw("CLIENT_RESULT_PREFETCH_THREADS", `1`),
		raw("CLIENT_PREFETCH_THREADS", `4`),
		raw("CLIENT_MEMORY_LIMIT", `1536`),
		raw("CLIENT_STAGE_ARRAY_BINDING_THRESHOLD", `2147483647`),
		raw("CLIENT_SESSION_KEEP_ALIVE", `false`),
		raw("CLIENT_SESSION_KEEP_ALIVE_HEARTBEAT_FREQUENCY", `3600`),
		raw("CLIENT_TELEMETRY_ENABLED", `false`),
		raw("CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED", `false`),
		raw("CLIENT_TELEMETRY_SESSIONLESS_ENABLED", `false`),
		raw("CLIENT_METADATA_REQUEST_USE_CONNECTION_CTX", `false`),
		raw("CLIENT_RESULT_COLUMN_CASE_INSENSITIVE", `false`),
		raw("CLIENT_HONOR_CLIENT_TZ_FOR_TIMESTAMP_NTZ", `true`),
		raw("CLIENT_DISABLE_INCIDENTS", `true`),
		raw("QUERY_CONTEXT_CACHE_SIZE", `5`),
		raw("SERVICE_NAME", `""`),
	}
}
