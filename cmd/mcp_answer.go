package cmd

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jit-access/jit/broker"
	"github.com/jit-access/jit/replay"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/snowflakedb/gosnowflake/v2"
)

// mcpAnswer is the structured answer of a tool that runs a statement.
type mcpAnswer struct {
	Status string `json:"status" jsonschema:"ok; pending: a person must decide, it has NOT run; refused: by policy or a person; failed: an error of Snowflake or of the connection"`

	Columns   []mcpColumn `json:"columns,omitempty"`
	Rows      [][]*string `json:"rows,omitempty" jsonschema:"cells as text, null for NULL"`
	RowCount  int         `json:"row_count,omitempty" jsonschema:"rows in this answer"`
	Truncated bool        `json:"truncated,omitempty" jsonschema:"there is more than is shown"`

	Code    string `json:"code,omitempty" jsonschema:"such as JIT-2001, or Snowflake's error number"`
	Name    string `json:"name,omitempty"`
	Message string `json:"message,omitempty" jsonschema:"the first line of the refusal, or Snowflake's error text"`
	Reason  string `json:"reason,omitempty"`
	Rule    string `json:"rule,omitempty" jsonschema:"the policy rule that decided"`
	Request string `json:"request,omitempty" jsonschema:"for request_status"`
	Expires string `json:"expires,omitempty" jsonschema:"when the request ends undecided, RFC 3339"`
	Ran     string `json:"ran,omitempty" jsonschema:"what happened to the statement"`
	Next    string `json:"next,omitempty" jsonschema:"the one next step"`
	Retry   *bool  `json:"retry,omitempty" jsonschema:"whether the very same statement can succeed later"`
}

// The states of an answer.
const (
	mcpOK      = "ok"
	mcpPending = "pending"
	mcpRefused = "refused"
	mcpFailed  = "failed"
)

// result is the answer as a tool's result. What waits is no error: the client
// has nothing to correct.
func (m mcpAnswer) result() *mcp.CallToolResult {
	return &mcp.CallToolResult{IsError: m.Status == mcpRefused || m.Status == mcpFailed}
}

// answerError makes an answer of a driver's error.
func answerError(err error) mcpAnswer {
	var sf *gosnowflake.SnowflakeError
	if !errors.As(err, &sf) {
		return mcpAnswer{Status: mcpFailed, Message: replay.Visible(err.Error()), Ran: "It may have run.",
			Next: "if the session has ended, tell the person you work for; else check what it changed before sending it again."}
	}
	if r, ok := broker.ParseRefusal(sf.Message); ok {
		first, _, _ := strings.Cut(sf.Message, "\n")
		return answerRefusal(r, first)
	}
	return mcpAnswer{Status: mcpFailed, Code: fmt.Sprintf("%06d", sf.Number), Message: replay.Visible(sf.Error()), Next: "correct the statement; this is Snowflake's own error."}
}

func answerRefusal(r broker.Refusal, first string) mcpAnswer {
	m := mcpAnswer{
		Status: mcpRefused, Code: r.Code, Name: r.Name, Message: replay.Visible(first), Reason: replay.Visible(r.Why),
		Rule: replay.Visible(r.Rule), Request: replay.Visible(r.Request), Ran: r.Ran, Next: replay.Visible(r.Next), Retry: &r.Retry,
	}
	if r.Pending() {
		m.Status = mcpPending
	}
	if !r.Expires.IsZero() {
		m.Expires = r.Expires.UTC().Format(time.RFC3339)
	}
	return m
}
