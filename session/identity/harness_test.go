package identity_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jit-access/jit/session/identity"
	"github.com/jit-access/jit/session/identity/op"
	"github.com/jit-access/jit/session/secret"
)

// TestMain quiets the provider's library, which logs through slog's default.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	m.Run()
}

const issuerURL = "http://127.0.0.1:9400"

// inProcess carries requests to a handler without a network, so that tests run
// on synctest's clock. fault, if set, may answer instead.
type inProcess struct {
	handler http.Handler

	mu       sync.Mutex // guards below
	fault    func(*http.Request) (*http.Response, error)
	requests map[string]int // by path
}

func (t *inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.requests[r.URL.Path]++
	fault := t.fault
	t.mu.Unlock()
	if fault != nil {
		if resp, err := fault(r); resp != nil || err != nil {
			return resp, err
		}
	}
	in := r.Clone(r.Context())
	in.RequestURI, in.Host = r.URL.RequestURI(), r.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	t.handler.ServeHTTP(rec, in)
	resp := rec.Result()
	resp.Request = r
	return resp, nil
}

func (t *inProcess) setFault(f func(*http.Request) (*http.Response, error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault = f
}

func (t *inProcess) count(path string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.requests[path]
}

// world is a provider and the ways to reach it.
type world struct {
	t    *testing.T
	op   *op.Provider
	wire *inProcess
}

func newWorld(t *testing.T, change func(*op.Options)) *world {
	t.Helper()
	opt := op.Options{Issuer: issuerURL}
	if change != nil {
		change(&opt)
	}
	p, err := op.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, op: p, wire: &inProcess{handler: p.Handler(), requests: map[string]int{}}}
}

// source makes a Source as one process would have it.
func (w *world) source(store secret.Store, change func(*identity.Config)) *identity.Source {
	w.t.Helper()
	cfg := identity.Config{
		Issuer: issuerURL, ClientID: op.DefaultClientID, Store: store,
		LockDir: w.t.TempDir(), HTTP: &http.Client{Transport: w.wire},
	}
	if change != nil {
		change(&cfg)
	}
	s, err := identity.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// approving is a person who enters the code after thinking for a while.
func (w *world) approving(user string, after time.Duration) identity.PromptFunc {
	return func(ctx context.Context, p identity.Prompt) error {
		go func() {
			time.Sleep(after) // on synctest's clock
			if err := w.op.Approve(context.WithoutCancel(ctx), p.UserCode, user); err != nil {
				w.t.Errorf("approving: %v", err)
			}
		}()
		return nil
	}
}

var errNetwork = errors.New("connection refused")

// lasting is a memory store that says it outlives the process, and so takes
// the paths of one that does.
type lasting struct {
	secret.Store
	failSet bool
}

func newLasting() *lasting { return &lasting{Store: secret.NewMemory()} }

func (*lasting) Backend() secret.Backend { return secret.BackendKeyring }

func (l *lasting) Set(ctx context.Context, key string, v secret.Text) error {
	if l.failSet {
		return secret.ErrTimeout
	}
	return l.Store.Set(ctx, key, v)
}
