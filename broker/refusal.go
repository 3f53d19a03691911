package broker

import (
	"regexp"
	"strings"
	"time"
)

// A Refusal is what an agent is told when the broker says no.
type Refusal struct {
	Code, Name string    // JIT-3001, APPROVAL_PENDING
	Request    string    // request id at the approval server; may be empty
	Statement  string    // the broker's id of the statement; may be empty
	Rule       string    // the policy rule that decided; may be empty
	Expires    time.Time // of the request; may be zero
	Why        string    // in one line; may be empty
	Ran        string    // what happened to the statement, a sentence
	Next       string    // the one next step
	Retry      bool      // whether the same statement can succeed later
}

// Pending reports whether the statement waits for a person's decision.
func (r Refusal) Pending() bool { return r.Code == faultPending.code }

var codeLine = regexp.MustCompile(`^(JIT-[0-9]{4}) ([A-Z_]+)((?: [a-z]+=[^ ]+)*)$`)

// ParseRefusal reads the message of an error that a driver passes on:
//
//	JIT-3001 APPROVAL_PENDING request=ID rule=RULE expires=RFC3339
//	jit: why.
//	It has NOT run.
//	NEXT: one step.
//	RETRY: yes, …
//
// It reports false for what is none, such as Snowflake's own errors.
func ParseRefusal(message string) (Refusal, bool) {
	first, _, _ := strings.Cut(message, "\n")
	m := codeLine.FindStringSubmatch(first)
	if m == nil {
		return Refusal{}, false
	}
	r := Refusal{Code: m[1], Name: m[2]}
	for _, pair := range strings.Fields(m[3]) {
		switch key, value, _ := strings.Cut(pair, "="); key {
		case "request":
			r.Request = value
		case "statement":
			r.Statement = value
		case "rule":
			r.Rule = value
		case "expires":
			at, err := time.Parse(time.RFC3339, value)
			if err != nil {
				return Refusal{}, false
			}
			r.Expires = at
		}
	}
	rest := message[len(first):]
	rest, retry, ok := cutLast(rest, "\nRETRY: ")
	if !ok {
		return Refusal{}, false
	}
	r.Retry = strings.HasPrefix("RETRY: "+retry, retryYes)
	rest, r.Next, ok = cutLast(rest, nextMark)
	if !ok {
		return Refusal{}, false
	}
	if why, found := strings.CutPrefix(rest, whyMark); found {
		why, r.Ran, ok = strings.Cut(why, "\n")
		r.Why = why
		return r, ok
	}
	r.Ran, ok = strings.CutPrefix(rest, "\n")
	return r, ok
}

func cutLast(s, mark string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, mark); i >= 0 {
		return s[:i], s[i+len(mark):], true
	}
	return s, "", false
}
