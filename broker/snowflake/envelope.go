package snowflake

import "strconv"

// ContentType is the type of every envelope; Node parses nothing else.
const ContentType = "application/json"

// Failure is what a failed call says. Code must be a string of digits.
type Failure struct {
	Code     string
	SQLState string
	QueryID  string
	Message  string
	Type     string // COMPILATION if empty
	// Line counts from 1, Pos in it from 0; a Line of 0 is nowhere.
	Line, Pos int
}

// AppendSuccess writes a success envelope around data (raw JSON, nil = null).
func AppendSuccess(dst, data []byte) []byte {
	dst = append(dst, `{"data":`...)
	if len(data) == 0 {
		data = []byte("null")
	}
	dst = append(dst, data...)
	return append(dst, `,"code":null,"message":null,"success":true,"headers":null}`...)
}

// AppendFailure writes the failure envelope of a statement, in the shape every
// driver surfaces as code, SQLSTATE and message.
func AppendFailure(dst []byte, f Failure) []byte {
	if f.Type == "" {
		f.Type = "COMPILATION"
	}
	dst = append(dst, `{"data":{"internalError":false,"unredactedFromSecureObject":false,"errorCode":`...)
	dst = AppendString(dst, []byte(f.Code))
	dst = append(dst, `,"age":0,"sqlState":`...)
	dst = AppendString(dst, []byte(f.SQLState))
	dst = append(dst, `,"queryId":`...)
	dst = AppendString(dst, []byte(f.QueryID))
	if f.Line == 0 {
		f.Line, f.Pos = -1, -1
	}
	dst = append(dst, `,"line":`...)
	dst = strconv.AppendInt(dst, int64(f.Line), 10)
	dst = append(dst, `,"pos":`...)
	dst = strconv.AppendInt(dst, int64(f.Pos), 10)
	dst = append(dst, `,"type":`...)
	dst = AppendString(dst, []byte(f.Type))
	dst = append(dst, '}')
	return appendFailed(dst, f.Code, f.Message)
}

// AppendLoginFailure writes the failure envelope of a login.
func AppendLoginFailure(dst []byte, code, message string) []byte {
	dst = append(dst, `{"data":{"nextAction":"RETRY_LOGIN","authnMethod":"USERNAME_PASSWORD","signInOptions":{}}`...)
	return appendFailed(dst, code, message)
}

func appendFailed(dst []byte, code, message string) []byte {
	dst = append(dst, `,"code":`...)
	dst = AppendString(dst, []byte(code))
	dst = append(dst, `,"message":`...)
	dst = AppendString(dst, []byte(message))
	return append(dst, `,"success":false,"headers":null}`...)
}

// AppendInProgress writes the answer that keeps a driver polling. code is
// CodeInProgress, or CodeInProgressAsync if the driver asked for asyncExec.
// The URL is a plain path: drivers add or encode query strings differently.
func AppendInProgress(dst []byte, code, queryID string) []byte {
	dst = append(dst, `{"data":{"queryId":`...)
	dst = AppendString(dst, []byte(queryID))
	dst = append(dst, `,"getResultUrl":`...)
	dst = AppendString(dst, []byte(ResultPath(queryID)))
	dst = append(dst, `,"progressDesc":null,"queryAbortsAfterSecs":300},"code":`...)
	dst = AppendString(dst, []byte(code))
	return append(dst, `,"message":"Query execution in progress","success":true,"headers":null}`...)
}

// ResultPath is where the result of a query id is polled.
func ResultPath(queryID string) string { return "/queries/" + queryID + "/result" }

// Monitored is what the monitoring endpoint tells about one query.
type Monitored struct {
	QueryID   string
	Status    string // QUEUED, RUNNING, SUCCESS, FAILED_WITH_ERROR, ABORTED
	ErrorCode string // digits; empty = none
	Message   string
	SessionID int64
	Start     int64 // ms since the epoch
	End       int64 // 0 while running
}

// AppendMonitored writes the monitoring envelope. The statement's text is left
// out: the caller has it.
func AppendMonitored(dst []byte, m Monitored) []byte {
	dst = append(dst, `{"data":{"queries":[{"id":`...)
	dst = AppendString(dst, []byte(m.QueryID))
	dst = append(dst, `,"status":`...)
	dst = AppendString(dst, []byte(m.Status))
	dst = append(dst, `,"state":`...)
	dst = AppendString(dst, []byte(m.Status))
	if m.ErrorCode == "" {
		dst = append(dst, `,"errorCode":null,"errorMessage":null`...)
	} else {
		dst = append(dst, `,"errorCode":`...)
		dst = AppendString(dst, []byte(m.ErrorCode))
		dst = append(dst, `,"errorMessage":`...)
		dst = AppendString(dst, []byte(m.Message))
	}
	dst = append(dst, `,"sqlText":"","sessionId":`...)
	dst = strconv.AppendInt(dst, m.SessionID, 10)
	dst = append(dst, `,"startTime":`...)
	dst = strconv.AppendInt(dst, m.Start, 10)
	dst = append(dst, `,"endTime":`...)
	dst = strconv.AppendInt(dst, m.End, 10)
	dst = append(dst, `,"totalDuration":`...)
	dst = strconv.AppendInt(dst, max(m.End-m.Start, 0), 10)
	return append(dst, `}]},"code":null,"message":null,"success":true,"headers":null}`...)
}
