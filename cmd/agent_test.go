package cmd

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/jit-access/jit/policy"
)

// agentRun runs `jit agent init` with a folder of its own.
func agentRun(t *testing.T, args ...string) (code ExitCode, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	a := &App{In: strings.NewReader(""), Out: &out, Err: &errOut, Getenv: func(string) string { return "" }}
	code = a.Run(t.Context(), append([]string{"agent", "init"}, args...))
	return code, out.String(), errOut.String()
}

// Each agent's entry starts `jit mcp`, in the place its documentation names, and
// passes on the session's files; no value that a session has is in it.
func TestAgentEntries(t *testing.T) {
	for _, h := range agentHosts {
		code, out, _ := agentRun(t, h.name)
		if code != ExitOK || !strings.Contains(out, "Do not guess") || !strings.Contains(out, "JIT-3001") {
			t.Errorf("%s: exit %d\n%s", h.name, code, out)
		}
		code, out, _ = agentRun(t, h.name, "--json")
		var doc struct{ Launch, Entry, Briefing string }
		if err := json.Unmarshal([]byte(out), &doc); err != nil || code != ExitOK || doc.Briefing != briefing || !strings.HasPrefix(doc.Launch, "jit exec --reason") {
			t.Errorf("%s --json: %v %s", h.name, err, out)
		}
		if h.under == "" {
			if doc.Entry != "" {
				t.Errorf("%s has an entry: %s", h.name, doc.Entry)
			}
			continue
		}
		var file map[string]map[string]map[string]any
		var err error
		if h.toml {
			err = toml.Unmarshal([]byte(doc.Entry), &file)
		} else {
			err = json.Unmarshal([]byte(doc.Entry), &file)
		}
		entry := file[h.under]["jit"]
		if err != nil || !strings.Contains(doc.Entry, "mcp") || entry["command"] == nil {
			t.Errorf("%s: %v\n%s", h.name, err, doc.Entry)
		}
		for _, v := range sessionVariables {
			if !strings.Contains(doc.Entry, v) {
				t.Errorf("%s does not pass on %s", h.name, v)
			}
		}
	}
	if code, _, _ := agentRun(t, "emacs"); code != ExitUsage {
		t.Errorf("an unknown agent: exit %d", code)
	}
}

func TestAgentEntryIsMergedWithCare(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c")
	const other = `{"z": 1.0, "mcpServers": {"other": {"command": "x", "n": 12345678901234567890}}, "a": [1, 2]}`
	tomlOther := "# mine\nmodel = \"m\"\n\n[mcp_servers.other]\ncommand = \"x\"\n"
	for name, c := range map[string]struct {
		host, old string // "-": no file
		flags     []string
		code      ExitCode
		keeps     []string // in this order
	}{
		"new file":            {host: "claude", old: "-", keeps: []string{`"jit"`}},
		"empty file":          {host: "claude", old: "\n", keeps: []string{`"jit"`}},
		"beside another":      {host: "claude", old: other, keeps: []string{`"z": 1.0`, `"n": 12345678901234567890`, `"jit"`, `"a"`}},
		"servers are null":    {host: "gemini", old: `{"mcpServers": null}`, keeps: []string{`"jit"`}},
		"another key":         {host: "opencode", old: other, keeps: []string{`"other"`, `"mcp"`, `"jit"`}},
		"comments":            {host: "claude", old: "// mine\n{}", code: ExitError, keeps: []string{"// mine\n{}"}},
		"a list":              {host: "claude", old: `[]`, code: ExitError, keeps: []string{`[]`}},
		"a key twice":         {host: "claude", old: `{"a":1,"a":2}`, code: ExitError, keeps: []string{`{"a":1,"a":2}`}},
		"servers are a list":  {host: "claude", old: `{"mcpServers":[1]}`, code: ExitError, keeps: []string{`[1]`}},
		"an entry of its own": {host: "claude", old: `{"mcpServers":{"jit":{"command":"mine"}}}`, code: ExitError, keeps: []string{`"mine"`}},
		"forced":              {host: "claude", old: `{"mcpServers":{"jit":{"command":"old"},"b":{}}}`, flags: []string{"--force"}, keeps: []string{`"jit"`, `"mcp"`, `"b"`}},
		"toml":                {host: "codex", old: tomlOther, keeps: []string{"# mine", `model = "m"`, "[mcp_servers.other]", "[mcp_servers.jit]"}},
		"toml, servers named": {host: "codex", old: "[mcp_servers]\n", keeps: []string{"[mcp_servers]", "[mcp_servers.jit]"}},
		"toml, inline":        {host: "codex", old: "mcp_servers = {a = {command = 'x'}}\n", code: ExitError, keeps: []string{"mcp_servers = {a"}},
		"toml, its own":       {host: "codex", old: "[mcp_servers.jit]\ncommand = 'mine'\n", flags: []string{"--force"}, code: ExitError, keeps: []string{"mine"}},
		"broken toml":         {host: "codex", old: "a = ", code: ExitError, keeps: []string{"a = "}},
		"agents-md":           {host: "agents-md", old: "x", code: ExitUsage, keeps: []string{"x"}},
	} {
		t.Run(name, func(t *testing.T) {
			_ = os.Remove(file)
			if c.old != "-" {
				if err := os.WriteFile(file, []byte(c.old), 0o640); err != nil {
					t.Fatal(err)
				}
			}
			code, _, stderr := agentRun(t, append([]string{c.host, "--write", file}, c.flags...)...)
			text, err := os.ReadFile(file)
			if code != c.code || err != nil {
				t.Fatalf("exit %d, want %d: %v %s", code, c.code, err, stderr)
			}
			rest := string(text)
			for _, want := range c.keeps {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Fatalf("%q is missing, or out of order:\n%s", want, text)
				}
				rest = after
			}
			if c.code != ExitOK {
				if string(text) != c.old {
					t.Errorf("a file that was refused changed:\n%s", text)
				}
				return
			}
			if code, _, stderr := agentRun(t, c.host, "--write", file); code != ExitOK {
				t.Errorf("the same again: exit %d %s", code, stderr)
			}
			if again, _ := os.ReadFile(file); !bytes.Equal(again, text) {
				t.Errorf("the same again changed it:\n%s", again)
			}
			if info, err := os.Stat(file); err != nil || c.old != "-" && info.Mode().Perm() != 0o640 {
				t.Errorf("permissions %v, %v", info.Mode(), err)
			}
		})
	}
}

func TestAgentBriefingOverwritesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "CLAUDE.md")
	if code, _, stderr := agentRun(t, "claude", "--briefing", file); code != ExitOK {
		t.Fatalf("exit %d %s", code, stderr)
	}
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := agentRun(t, "claude", "--briefing", file); code != ExitError {
		t.Errorf("exit %d", code)
	}
	if text, _ := os.ReadFile(file); string(text) != "mine" {
		t.Errorf("it was overwritten: %s", text)
	}
	if code, _, _ := agentRun(t, "claude", "--briefing", file, "--force"); code != ExitOK {
		t.Errorf("--force: exit %d", code)
	}
	if text, _ := os.ReadFile(file); string(text) != briefing {
		t.Errorf("--force wrote %s", text)
	}
}

// What an agent finds at $JIT_CONTEXT_FILE: the briefing and where it is, for
// this user alone, without the lease.
func TestContextFile(t *testing.T) {
	w := testWire(t, nil)
	file := w.vars["JIT_CONTEXT_FILE"]
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if !strings.HasPrefix(string(text), briefing) || !strings.Contains(string(text), "- role: ANALYST\n") || strings.Contains(string(text), "lease-value") {
		t.Errorf("%s", text)
	}
	a := &App{Getenv: func(name string) string { return w.vars[name] }}
	if a.instructions() != string(text) {
		t.Errorf("jit mcp says %q", a.instructions())
	}
}

// The marks that jit mcp names columns by are those that package policy writes.
func TestMaskMarks(t *testing.T) {
	m := policy.NewMasker([]byte("key"))
	for value, c := range map[string]struct {
		mask  policy.ColumnMask
		class string
	}{
		"ann@example.com":     {policy.ColumnMask{Mask: policy.MaskRedact, Class: "pii.email"}, "pii.email"},
		"ben@example.com":     {policy.ColumnMask{Mask: policy.MaskKeepDomain, Class: "pii.email"}, ""},
		"4111 1111 1111 1111": {policy.ColumnMask{Mask: policy.MaskKeepLast4, Class: "pii.card"}, ""},
		"hash me":             {policy.ColumnMask{Mask: policy.MaskHash, Class: "pii.name"}, ""},
	} {
		var answer mcpAnswer
		var column mcpColumn
		answer.cell(&column, string(m.AppendText(nil, c.mask, []byte(value))))
		if !column.Masked || column.Class != c.class {
			t.Errorf("%s: %+v", value, column)
		}
	}
	for _, plain := range []string{"", "x ‹masked:pii.email›", "••••", "‹hash›", "1234"} {
		var answer mcpAnswer
		var column mcpColumn
		if answer.cell(&column, plain); column.Masked {
			t.Errorf("%q counts as masked", plain)
		}
	}
	var answer mcpAnswer
	if got := *answer.cell(&mcpColumn{}, "a\x1b[31m\u202e"+strings.Repeat("x", maxMCPCell)); strings.ContainsAny(got, "\x1b\u202e") || !answer.Truncated || len(got) > maxMCPCell+100 {
		t.Errorf("%d bytes, truncated %v", len(got), answer.Truncated)
	}
}
