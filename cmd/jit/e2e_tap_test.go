//go:build e2e

package main_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// tap is a reverse proxy that remembers what passes, so that tests can count
// what reached an upstream and read what it answered.
type tap struct {
	*httptest.Server
	mu    sync.Mutex
	calls []call
}

// call is one request and its answer.
type call struct {
	Path     string
	Query    url.Values
	Header   http.Header
	Body     string // decompressed
	SQL      string // of a query-request
	Describe bool   // describeOnly
	Status   int
	Answer   string
}

// remembered is how long an answer is kept for tests to look at, in bytes.
const remembered = 256 << 10

// newTap stands in front of target. With complete it adds to login answers what
// the 5.x Python driver insists on and fakesnow leaves out: a master token, a
// session id and a validity. Only direct runs of that driver need it.
func newTap(target string, complete bool) (*tap, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	t := &tap{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // an identity provider makes its URLs of it
		},
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // clients that go away are part of the tests
		ModifyResponse: func(res *http.Response) error {
			if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
				return nil // it has no end to read to
			}
			body, err := io.ReadAll(res.Body)
			if err != nil {
				return err
			}
			if complete && strings.HasSuffix(res.Request.URL.Path, "/login-request") {
				body = completeLogin(body)
			}
			res.Body = io.NopCloser(bytes.NewReader(body))
			res.ContentLength = int64(len(body))
			res.Header.Set("Content-Length", strconv.Itoa(len(body)))
			if c, ok := res.Request.Context().Value(callKey{}).(*call); ok {
				c.Status = res.StatusCode
				if len(body) < remembered { // the chunks of large results are not
					c.Answer = string(inflate(body))
				}
			}
			return nil
		},
	}
	t.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client went away
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		c := &call{Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone(), Body: string(inflate(body))}
		var query struct {
			SQLText      string `json:"sqlText"`
			DescribeOnly bool   `json:"describeOnly"`
		}
		if strings.HasSuffix(c.Path, "/query-request") && json.Unmarshal([]byte(c.Body), &query) == nil {
			c.SQL, c.Describe = query.SQLText, query.DescribeOnly
		}
		proxy.ServeHTTP(w, r.WithContext(withCall(r.Context(), c)))
		t.mu.Lock()
		defer t.mu.Unlock()
		t.calls = append(t.calls, *c)
	}))
	return t, nil
}

// callKey carries a *call from the request to its answer.
type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

func inflate(body []byte) []byte {
	if z, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
		if plain, err := io.ReadAll(z); err == nil {
			return plain
		}
	}
	return body
}

func completeLogin(body []byte) []byte {
	var answer struct {
		Data    map[string]json.RawMessage `json:"data"`
		Success bool                       `json:"success"`
	}
	if json.Unmarshal(body, &answer) != nil || !answer.Success {
		return body
	}
	for name, value := range map[string]string{
		"masterToken": `"direct"`, "sessionId": "1", "validityInSeconds": "3600", "masterValidityInSeconds": "14400",
	} {
		if _, there := answer.Data[name]; !there {
			answer.Data[name] = json.RawMessage(value)
		}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		panic(fmt.Sprintf("re-encoding what was just decoded: %v", err))
	}
	return text
}

// matching returns the calls that pick accepts, in the order they ended.
func (t *tap) matching(pick func(call) bool) []call {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []call
	for _, c := range t.calls {
		if pick(c) {
			found = append(found, c)
		}
	}
	return found
}

// ran counts the statements that contain text and were executed.
func (t *tap) ran(text string) int {
	return len(t.matching(func(c call) bool {
		return !c.Describe && strings.Contains(strings.ToLower(c.SQL), strings.ToLower(text))
	}))
}

// at counts the calls of a path.
func (t *tap) at(path string) int {
	return len(t.matching(func(c call) bool { return c.Path == path }))
}
