package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/approval"
)

// queueDesk is a desk one can only read.
type queueDesk struct {
	session.Desk
	requests []session.Request
	err      error
}

func (q queueDesk) Pending(context.Context, session.Filter) ([]session.Request, error) {
	return q.requests, q.err
}

func (q queueDesk) Request(_ context.Context, id string) (session.Request, error) {
	for _, r := range q.requests {
		if r.ID == id {
			return r, q.err
		}
	}
	return session.Request{}, fmt.Errorf("request %s: %w", id, session.ErrNotFound)
}

func queue() queueDesk {
	alice := session.Principal{Issuer: "https://idp.test", Subject: "alice", Email: "alice@example.test"}
	agent := session.Agent{Command: []string{"claude", "\x1b[2Jrm"}}
	now := time.Now()
	return queueDesk{requests: []session.Request{
		{ID: "req-1", Kind: session.RequestSession, Principal: alice, Agent: agent, Approvals: 1, CreatedAt: now, ExpiresAt: now.Add(time.Hour),
			Scope: session.Scope{Connection: "prod", TTL: time.Hour}},
		{ID: "req-2", Kind: session.RequestStatement, Principal: alice, Agent: agent, Approvals: 2, CreatedAt: now, ExpiresAt: now.Add(time.Hour),
			Case:      session.Case{Canonical: "DROP DATABASE \x1b]0;x\x07APP", Kinds: []string{"DROP_DATABASE"}, Binds: `["1"]`},
			Decisions: []session.Decision{{Reviewer: session.Principal{Subject: "carol"}, Outcome: session.OutcomeApprove}}},
	}}
}

func pastOf(_ context.Context, id string) ([]approval.Statement, error) {
	if id != "req-2" {
		return nil, nil
	}
	return []approval.Statement{{Seq: 3, Verdict: "allow", Text: "SELECT '\x1b[2J' FROM T", Emergency: true}}, nil
}

func printed(t *testing.T, o reviewOptions, desk session.Desk) (string, string, ExitCode) {
	t.Helper()
	a, out, errs := signInApp(t, func(string) {})
	viewer := session.Principal{Issuer: "https://idp.test", Subject: "alice"}
	code := a.report(a.reviewPrinted(t.Context(), desk, pastOf, viewer, o))
	return out.String(), errs.String(), code
}

func TestReviewJSON(t *testing.T) {
	out, _, code := printed(t, reviewOptions{JSON: true}, queue())
	type doc struct {
		ID, Kind, Risk string
		Own            bool
		Scope          struct {
			TTL int64 `json:"ttl_ms"`
		}
		Case      struct{ Canonical, Digest, Binds string }
		Decisions []struct{ Reuse string }
		History   []struct{ Verdict string }
	}
	var got []doc
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != ExitOK || len(got) != 2 {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	if s := got[0]; s.Kind != "session" || !s.Own || s.Scope.TTL != 3600_000 || s.Case.Digest != "" || s.Risk != "low" {
		t.Errorf("session request: %+v", s)
	}
	st := got[1]
	if st.Kind != "statement" || st.Risk != "severe" || st.Case.Digest != queue().requests[1].Case.Digest() ||
		st.Case.Binds == "" || len(st.Decisions) != 1 || st.Decisions[0].Reuse != "once" {
		t.Errorf("statement request: %+v", st)
	}
	one, _, _ := printed(t, reviewOptions{JSON: true, Request: "req-2"}, queue())
	if err := json.Unmarshal([]byte(one), &st); err != nil || len(st.History) != 1 || st.History[0].Verdict != "allow" {
		t.Errorf("with its history: %v: %s", err, one)
	}
	if strings.ContainsAny(out, "\x1b\x07") {
		t.Error("JSON carries a raw escape sequence")
	}
	out, _, _ = printed(t, reviewOptions{JSON: true}, queueDesk{})
	if strings.TrimSpace(out) != "[]" {
		t.Errorf("an empty queue is %q, want []", out)
	}
}

func TestReviewPlain(t *testing.T) {
	out, _, code := printed(t, reviewOptions{Plain: true}, queue())
	if code != ExitOK || !strings.Contains(out, "req-1  low") || !strings.Contains(out, "req-2  severe") || strings.ContainsAny(out, "\x1b\x07") {
		t.Errorf("exit %d: %q", code, out)
	}
	out, _, code = printed(t, reviewOptions{Plain: true, Request: "req-2"}, queue())
	if code != ExitOK || !strings.Contains(out, "DROP DATABASE") || !strings.Contains(out, "EMERGENCY allow SELECT") || strings.ContainsAny(out, "\x1b\x07") {
		t.Errorf("exit %d: %q", code, out)
	}
	if out, errs, code := printed(t, reviewOptions{Plain: true}, queueDesk{}); code != ExitOK || out != "" || !strings.Contains(errs, "Nothing waits.") {
		t.Errorf("empty queue: exit %d, %q, %q", code, out, errs)
	}
	if _, errs, code := printed(t, reviewOptions{Request: "req-9"}, queue()); code != ExitError || !strings.Contains(errs, "req-9") {
		t.Errorf("unknown request: exit %d, %q", code, errs)
	}
	if _, errs, code := printed(t, reviewOptions{}, queueDesk{err: session.ErrSignIn}); code != ExitSignIn || !strings.Contains(errs, "jit login") {
		t.Errorf("signed out: exit %d, %q", code, errs)
	}
}
