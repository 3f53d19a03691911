package tui

import (
	"fmt"
	"strings"
	"time"

	"github.com/jit-access/jit/session"
)

// PlainRequests lists requests for a pipe or a screen reader: one paragraph
// each, no escape sequences. Text of agents and requesters is sanitised.
func PlainRequests(requests []session.Request, viewer session.Principal, now time.Time) string {
	m := newReview(viewer, func() time.Time { return now })
	m.style = style{}
	var b strings.Builder
	for _, req := range requests {
		r := riskOf(req)
		fmt.Fprintf(&b, "%s  %s  %s, %s left  %s\n    %s\n", oneLine(req.ID), r.word(), req.State, span(req.ExpiresAt.Sub(now)), whoOf(req), m.whatOf(req))
		if req.RuleText != "" {
			fmt.Fprintf(&b, "    %s\n", oneLine(req.RuleText))
		}
	}
	return b.String()
}

// PlainRequest is one request in full, width cells wide, without escape
// sequences.
func PlainRequest(req session.Request, viewer session.Principal, now time.Time, width int) string {
	m := newReview(viewer, func() time.Time { return now })
	m.style, m.width = style{}, max(width, minWidth)
	return strings.Join(m.detailLines(req), "\n") + "\n"
}
