package replay

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jit-access/jit/session/recording"
)

// browse has a real browser load a page and returns the document as it stands
// then, and what was written to the console.
func browse(t *testing.T, page []byte) (dom string, console []string) {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("JIT_TEST_PARTS") == "required" {
			t.Fatal("chromium is not on PATH, and JIT_TEST_PARTS=required: run .ci/parts.sh")
		}
		t.Skip("chromium is not on PATH; no browser saw the report")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "report.html")
	if err := os.WriteFile(file, page, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--user-data-dir="+filepath.Join(dir, "profile"),
		"--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom", "file://"+file)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		t.Fatalf("chromium: %v: %s", err, &errs)
	}
	for line := range strings.Lines(errs.String()) {
		if strings.Contains(line, ":CONSOLE") {
			console = append(console, strings.TrimSpace(line))
		}
	}
	return out.String(), console
}

// listener counts what was asked of it.
func listener(t *testing.T) (url string, asked func() []string) {
	t.Helper()
	var (
		mu    sync.Mutex
		paths []string
	)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		paths = append(paths, r.URL.Path)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), paths...)
	}
}

// canaries are pages' ways to run or load something.
func canaries(url string) []string {
	return []string{
		`<script>document.title='pwned';console.error('canary');fetch('` + url + `/canary-fetch')</script>`,
		`</pre></article><img src="` + url + `/canary-img" onerror="document.title='pwned'">`,
		`"><svg onload="document.title='pwned'"><image href="` + url + `/canary-svg"/></svg>`,
		`</title></style><link rel="stylesheet" href="` + url + `/canary-css"><style>@import "` + url + `/canary-import";</style>`,
		`</svg><iframe src="` + url + `/canary-frame"></iframe><meta http-equiv="refresh" content="0;url=` + url + `/canary-refresh">`,
		`{{.Policy}}{{template "foot"}} --><!-- ]]> ` + "\u2028\x00\x1b]8;;" + url + "\x07",
	}
}

// TestReportInABrowser: what stands in the recording is text in the page, the
// page loads nothing, and nothing is refused by its own policy.
func TestReportInABrowser(t *testing.T) {
	url, asked := listener(t)
	planted := canaries(url)
	events := []recording.Event{{Kind: recording.KindAgentStarted, Agent: &recording.AgentFacts{Command: planted}}}
	verdicts := []string{"allow", "hold", "deny"}
	for i, text := range planted {
		id := fmt.Sprintf("s%d%s", i, text)
		events = append(events,
			recording.Event{Kind: recording.KindStatement, Statement: id, SQL: &recording.StatementFacts{Text: text, Kinds: []string{text},
				Reads: []string{text}, Verdict: verdicts[i%3], Rule: text, Reason: text, Outputs: []recording.OutputFacts{{Name: text, From: []string{text}}}}},
			recording.Event{Kind: recording.KindResult, Statement: id, Result: &recording.ResultFacts{Error: text, Masked: []string{text}, Sample: text}})
	}
	r := record(t, events)
	page := export(t, r, FormatHTML)
	dom, console := browse(t, page)
	if len(console) > 0 {
		t.Errorf("the console says: %q", console)
	}
	if got := asked(); len(got) > 0 {
		t.Errorf("the page asked for %q", got)
	}
	if strings.Contains(dom, "pwned</title>") || !strings.Contains(dom, "<title>Session s1</title>") {
		t.Error("the title is not the report's")
	}
	x, err := r.Index()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(dom, "<article "); got != len(x.Entries) {
		t.Errorf("%d articles of %d entries", got, len(x.Entries))
	}
	if got := strings.Count(dom, "<rect "); got < 1 || got > len(x.Entries) {
		t.Errorf("%d marks on the timeline for %d entries", got, len(x.Entries))
	}
	for _, bad := range []string{"<script", "<img", "<image", "<link", "<iframe", "<svg onload", "<meta http-equiv=\"refresh"} {
		if strings.Contains(dom, bad) {
			t.Errorf("the document holds %s", bad)
		}
	}
	for _, want := range []string{"&lt;script&gt;document.title", "#1 ALLOW", "#2 HOLD", "#3 DENY", `class="denied"`} {
		if !strings.Contains(dom, want) {
			t.Errorf("the document lacks %s", want)
		}
	}
}

// TestTheBrowserWouldNotice: the same texts do run, load and complain in a page
// that escapes nothing. Without this the test above could not fail.
func TestTheBrowserWouldNotice(t *testing.T) {
	url, asked := listener(t)
	dom, console := browse(t, []byte("<!doctype html><title>x</title><pre>"+strings.Join(canaries(url)[:4], "\n")))
	if !strings.Contains(dom, "pwned</title>") || len(console) == 0 || len(asked()) == 0 {
		t.Errorf("title changed %v, console %q, asked %q", strings.Contains(dom, "pwned</title>"), console, asked())
	}
}
