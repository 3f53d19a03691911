//go:build e2e

package main_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestDemo: the first thing a new user does, with no terminal, no keyring and
// nothing configured.
func TestDemo(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	p := shared.stranger(t, ctx, "newcomer").with("DBUS_SESSION_BUS_ADDRESS=unix:path=/nowhere")
	r := p.jit(t, "demo")
	if r.code != 0 || r.took > 20*time.Second {
		t.Fatalf("want exit 0 within 20 s: %s", r)
	}
	all := r.stdout + r.stderr
	for what, pattern := range map[string]string{
		"a masked e-mail address": `‹masked›@example\.com`,
		"a masked SSN":            `‹masked:pii\.ssn›`,
		"a refusal by policy":     `JIT-2001`,
		"a held statement":        `DROP DATABASE OLD_REPORTS`,
		"an approval":             `(?i)approve`,
		"a verified recording":    `The recording is whole`,
		"how to replay it":        `jit replay \S+`,
	} {
		if !regexp.MustCompile(pattern).MatchString(all) {
			t.Errorf("the demo does not show %s: %s", what, r)
		}
	}
	folder := regexp.MustCompile(`jit replay (/\S+)`).FindStringSubmatch(all)
	if folder == nil {
		t.Fatalf("no recording to replay: %s", r)
	}
	if replay := p.must(t, "replay", "--plain", folder[1]); !strings.Contains(replay.stdout, "OLD_REPORTS") {
		t.Errorf("the replay lacks the held statement: %s", replay)
	}
	p.must(t, "recording", "verify", folder[1])
}
