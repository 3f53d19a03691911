// Package snowflake is the wire protocol between Snowflake's drivers and
// Snowflake, as the drivers really speak it: envelopes, codes, the shapes of
// login, query and result. It knows nothing of policy. Field names and codes
// are facts of the protocol, observed from the public drivers.
//
// Invariants:
//
//  1. Reading is strict: RFC 8259 and valid UTF-8, no duplicate keys, no lone
//     surrogates, nothing after the value, bounded depth and size. Two readers
//     cannot take one body for two.
//  2. What is not understood is kept byte for byte (Object, RowMasker), or
//     dropped by name (QueryRequest); it is never decoded and encoded again.
//     Integers of any size survive.
//  3. A masked column leaves nothing of its values: not in a JSON cell, not under
//     an Arrow NULL, not in padding. What cannot be masked without a doubt is an
//     error, and the bytes written until then do not end like a whole result.
//  4. Memory is bounded by the longest row or batch, not by the result; lengths
//     in a stream are claims and are checked before they are believed.
package snowflake

import "encoding/json"

// The paths drivers use.
const (
	PathLogin     = "/session/v1/login-request"
	PathRenew     = "/session/token-request"
	PathHeartbeat = "/session/heartbeat"
	PathSession   = "/session" // DELETE by ?delete=true
	PathQuery     = "/queries/v1/query-request"
	PathAbort     = "/queries/v1/abort-request"
	PathTelemetry = "/telemetry/send"
)

// The envelope codes with a meaning to drivers. Refusals must never use one
// that makes a driver poll, renew, retry or drop its session.
const (
	CodeInProgress      = "333333" // poll getResultUrl
	CodeInProgressAsync = "333334"
	CodeLoginFailed     = "390100"
	CodeSessionGone     = "390111"
	CodeSessionExpired  = "390112" // renew and send again
	CodeMasterGone      = "390114"
	CodeAccessDenied    = "003001" // SQLSTATE 42501
	CodeSyntax          = "001003" // SQLSTATE 42000
	CodeUnsupported     = "000002" // SQLSTATE 0A000
	CodeCanceled        = "000604" // SQLSTATE 57014
	CodeInternal        = "000603" // SQLSTATE XX000
	CodeNotExecuting    = "000605"
	CodeNoSuchStatement = "000709" // SQLSTATE 02000
)

// Envelope is the answer of every driver endpoint, always with HTTP 200 and
// Content-Type application/json. On failure Data is an object, never null,
// Code a string of digits and Message a string.
type Envelope struct {
	Data    json.RawMessage `json:"data"`
	Code    *string         `json:"code"`
	Message *string         `json:"message"`
	Success bool            `json:"success"`
	Headers json.RawMessage `json:"headers"`
}

// Parameter is one session parameter. Value keeps its JSON type.
type Parameter struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

// SessionInfo names the session's current objects.
type SessionInfo struct {
	Database  string `json:"databaseName"`
	Schema    string `json:"schemaName"`
	Warehouse string `json:"warehouseName"`
	Role      string `json:"roleName"`
}

// LoginAnswer is the data of a successful login. Token and MasterToken are
// secrets: the holder wraps them at once.
type LoginAnswer struct {
	Token             string      `json:"token"`
	MasterToken       string      `json:"masterToken"`
	ValidInSeconds    int64       `json:"validityInSeconds"`
	MasterValidInSecs int64       `json:"masterValidityInSeconds"`
	DisplayUser       string      `json:"displayUserName"`
	ServerVersion     string      `json:"serverVersion"`
	FirstLogin        bool        `json:"firstLogin"`
	HealthCheck       int64       `json:"healthCheckInterval"`
	SessionID         int64       `json:"sessionId"`
	Parameters        []Parameter `json:"parameters"`
	SessionInfo       SessionInfo `json:"sessionInfo"`
}

// RenewAnswer is the data of a successful token renewal.
type RenewAnswer struct {
	SessionToken    string `json:"sessionToken"`
	ValidInSeconds  int64  `json:"validityInSecondsST"`
	MasterToken     string `json:"masterToken"`
	MasterValidSecs int64  `json:"validityInSecondsMT"`
	SessionID       int64  `json:"sessionId"`
}

// ErrorData is the data of a failed query.
type ErrorData struct {
	Internal   bool   `json:"internalError"`
	Unredacted bool   `json:"unredactedFromSecureObject"`
	ErrorCode  string `json:"errorCode"`
	Age        int    `json:"age"`
	SQLState   string `json:"sqlState"`
	QueryID    string `json:"queryId"`
	Line       int    `json:"line"`
	Pos        int    `json:"pos"`
	Type       string `json:"type"`
}
