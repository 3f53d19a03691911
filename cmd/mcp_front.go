package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/jit-access/jit/replay"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// mcpFront serves the tools outside of a session: at the first call it starts
// `jit exec -- jit mcp` and passes calls on to it. That one has the lease; this
// process holds nothing.
type mcpFront struct {
	a    *App
	o    mcpOptions
	gone chan struct{} // closed by leave: the client has gone

	left   sync.Once
	opened atomic.Bool // inner is set

	mu      sync.Mutex // guards what follows
	given   string     // the reason, once somebody gave one
	inner   *mcp.ClientSession
	said    *transcriptTail
	waiters map[string]func(*mcp.ProgressNotificationParams) // by progress token
	calls   int
}

func newMCPFront(a *App, o mcpOptions) *mcpFront {
	return &mcpFront{a: a, o: o, given: o.Reason, gone: make(chan struct{}), waiters: map[string]func(*mcp.ProgressNotificationParams){}}
}

// leave gives up a session that is on its way.
func (f *mcpFront) leave() { f.left.Do(func() { close(f.gone) }) }

func (f *mcpFront) close() {
	f.leave()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.inner != nil {
		_ = f.inner.Close() // ends the session; jit exec seals it
	}
}

func (f *mcpFront) register(server *mcp.Server) {
	frontTool[queryInput, mcpAnswer](f, server, queryTool)
	frontTool[describeInput, mcpAnswer](f, server, describeTool)
	frontTool[listInput, mcpAnswer](f, server, listTool)
	frontTool[requestInput, mcpRequest](f, server, requestTool)
}

// frontTool adds a tool that another process answers.
func frontTool[In, Out any](f *mcpFront, server *mcp.Server, tool *mcp.Tool) {
	mcp.AddTool(server, tool, func(ctx context.Context, req *mcp.CallToolRequest, in In) (*mcp.CallToolResult, Out, error) {
		var out Out
		reason, ask, err := f.reason(req)
		if err != nil || ask != nil {
			return ask, out, err
		}
		inner, err := f.open(ctx, reason)
		if err != nil {
			return nil, out, err
		}
		res, err := f.pass(ctx, inner, req, tool.Name, in)
		if err != nil {
			return nil, out, errors.New("the session has ended: " + replay.Visible(f.lastWords()))
		}
		if res.StructuredContent == nil { // an error in words
			return nil, out, errors.New(wordsOf(res))
		}
		if err := remarshal(res.StructuredContent, &out); err != nil {
			return nil, out, err
		}
		return &mcp.CallToolResult{IsError: res.IsError}, out, nil
	})
}

func remarshal(from, into any) error {
	text, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("reading the session's answer: %w", err)
	}
	return nil
}

func wordsOf(res *mcp.CallToolResult) string {
	var words []string
	for _, c := range res.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			words = append(words, t.Text)
		}
	}
	return strings.Join(words, "\n")
}

// askReason is the id of the one question there is.
const askReason = "reason"

// reason is why the session is asked for: the flag's, or what the user of the
// client says. An agent cannot give it in a call, and nobody is asked to approve.
func (f *mcpFront) reason(req *mcp.CallToolRequest) (reason string, ask *mcp.CallToolResult, err error) {
	f.mu.Lock()
	given := f.given
	f.mu.Unlock()
	if given != "" {
		return given, nil, nil
	}
	if said, ok := req.Params.InputResponses[askReason].(*mcp.ElicitResult); ok {
		text, _ := said.Content["reason"].(string)
		text = strings.TrimSpace(text)
		switch {
		case said.Action != "accept" || text == "":
			return "", nil, errors.New("no session was opened: its user gave no reason. Nothing has run; ask them before calling again")
		case len(text) > maxReason:
			return "", nil, fmt.Errorf("no session was opened: the reason has %d bytes, at most %d", len(text), maxReason)
		}
		return text, nil, nil
	}
	if p := req.Session.InitializeParams(); p == nil || p.Capabilities == nil || p.Capabilities.Elicitation == nil {
		return "", nil, errors.New("no session was opened: it needs a reason, and this client cannot ask for one. " +
			"Tell the person you work for to start it as `jit mcp --reason REASON`, or the agent as `jit exec --reason REASON -- AGENT`. Nothing has run")
	}
	return "", &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{askReason: &mcp.ElicitParams{
		Message: "Why is access to Snowflake needed? Reviewers read this, and the recording keeps it.",
		RequestedSchema: map[string]any{"type": "object", "required": []string{"reason"}, "properties": map[string]any{
			"reason": map[string]any{"type": "string", "title": "Reason", "minLength": 1, "maxLength": maxReason}}},
	}}}, nil
}

// open starts the session, once. It waits as long as `jit exec` waits for a
// person to agree to it; that process outlives the call that started it.
func (f *mcpFront) open(ctx context.Context, reason string) (*mcp.ClientSession, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.inner != nil {
		return f.inner, nil
	}
	f.given = reason                                      // a call that was given up is not a reason to ask again
	life, end := context.WithCancel(context.Background()) // of the process: longer than this call's
	defer func() {
		if f.inner == nil {
			end()
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-f.gone:
		case <-ctx.Done():
		}
		cancel()
		if f.opened.Load() {
			return
		}
		end() // it may wait for a reviewer, whom nobody waits for any more
	}()
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding jit's own program: %w", err)
	}
	args := []string{"exec", "--reason", reason, "--ttl", f.o.TTL.String()}
	if f.o.Connection != "" {
		args = append(args, "--connection", f.o.Connection)
	}
	if f.a.server != "" {
		args = append(args, "--server", f.a.server)
	}
	if f.a.identity != "" {
		args = append(args, "--identity", f.a.identity)
	}
	child := exec.CommandContext(life, self, append(args, "--", self, "mcp")...) //nolint:gosec // this program
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
	child.WaitDelay = endTimeout
	f.said = &transcriptTail{}
	child.Stderr = f.said
	client := mcp.NewClient(&mcp.Implementation{Name: "jit", Version: Version}, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, req *mcp.ProgressNotificationClientRequest) { f.heard(req.Params) },
	})
	inner, err := client.Connect(ctx, &mcp.CommandTransport{Command: child, TerminateDuration: endTimeout}, nil)
	if err != nil {
		return nil, errors.New("no session was opened, and nothing has run: " + replay.Visible(f.said.String()))
	}
	f.inner = inner
	f.opened.Store(true)
	return inner, nil
}

// pass makes the call within the session.
func (f *mcpFront) pass(ctx context.Context, inner *mcp.ClientSession, req *mcp.CallToolRequest, name string, in any) (*mcp.CallToolResult, error) {
	params := &mcp.CallToolParams{Name: name, Arguments: in}
	if token := req.Params.GetProgressToken(); token != nil {
		f.mu.Lock()
		f.calls++
		own := fmt.Sprintf("call-%d", f.calls)
		f.waiters[own] = func(p *mcp.ProgressNotificationParams) {
			_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ // a client that has gone needs none
				ProgressToken: token, Progress: p.Progress, Message: p.Message})
		}
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			delete(f.waiters, own)
			f.mu.Unlock()
		}()
		params.SetProgressToken(own)
	}
	return inner.CallTool(ctx, params)
}

func (f *mcpFront) heard(p *mcp.ProgressNotificationParams) {
	own, _ := p.ProgressToken.(string)
	f.mu.Lock()
	tell := f.waiters[own]
	f.mu.Unlock()
	if tell != nil {
		tell(p)
	}
}

func (f *mcpFront) lastWords() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said.String()
}

// transcriptTail keeps the last of what `jit exec` says, for errors.
type transcriptTail struct {
	mu  sync.Mutex
	end []byte
}

const maxTail = 4 << 10

func (t *transcriptTail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, b...)
	if over := len(t.end) - maxTail; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
	}
	return len(b), nil
}

func (t *transcriptTail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.end))
}
