package broker

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session/recording"
)

// The goals of the data path are ratios: the broker against a proxy that does
// the same transport and nothing else. Both answer in turns of the same length,
// from one upstream, so that what else the machine does meets both alike; the
// recording is in memory and keeps nothing.

// benchRig is a broker and a reverse proxy that buffers request bodies, in front
// of an upstream that answers one thing.
func benchRig(b *testing.B, answer http.HandlerFunc, proxied func(*http.Response) error) (r *rig, proxy string) {
	r = newRig(b, func(c *Config) {
		c.Logger = slog.New(slog.DiscardHandler)
		c.Policy = policy.Default()
		c.Record = func(context.Context, recording.Event) (int64, error) { return 1, nil }
	})
	r.b.analyze = sql.Analyze
	up := httptest.NewServer(answer)
	b.Cleanup(up.Close)
	r.account.url = up.URL
	target, err := url.Parse(up.URL)
	if err != nil {
		b.Fatal(err)
	}
	transport := newTransport()
	b.Cleanup(transport.CloseIdleConnections)
	back := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }, Transport: transport, ModifyResponse: proxied}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			http.Error(w, "", http.StatusBadRequest)
			return
		}
		q.Body, q.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		back.ServeHTTP(w, q)
	}))
	b.Cleanup(front.Close)
	return r, front.URL
}

// turn has clients send each requests after the other and appends how long each
// took.
func turn(b *testing.B, client *http.Client, clients, each int, took []time.Duration, request func(c int) *http.Request) []time.Duration {
	var mu sync.Mutex
	var work sync.WaitGroup
	for c := range clients {
		work.Go(func() {
			own := make([]time.Duration, 0, each)
			for range each {
				began := time.Now()
				resp, err := client.Do(request(c))
				if err != nil {
					b.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || bytes.Contains(body, []byte(`"success":false`)) {
					b.Errorf("status %d, %v: %.300s", resp.StatusCode, err, body)
					return
				}
				own = append(own, time.Since(began))
			}
			mu.Lock()
			took = append(took, own...)
			mu.Unlock()
		})
	}
	work.Wait()
	return took
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// BenchmarkSmallQuery is the query path: decode, analyse, rule, record, forward,
// mask, with the analyser and the rules that are shipped. "x-proxy" is its median latency in those of the proxy.
func BenchmarkSmallQuery(b *testing.B) {
	for _, clients := range []int{1, 64, 512} {
		b.Run("clients="+strconv.Itoa(clients), func(b *testing.B) {
			r, proxy := benchRig(b, func(w http.ResponseWriter, q *http.Request) {
				_, _ = io.Copy(io.Discard, q.Body)
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, customers)
			}, nil)
			var logins []tokens
			for range 8 { // a connection runs at most a few hundred statements at once
				logins = append(logins, r.login())
			}
			transport := &http.Transport{MaxIdleConnsPerHost: clients}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			body := queryBody("select ID, EMAIL, SSN from customers")
			request := func(base string) func(c int) *http.Request {
				return func(c int) *http.Request {
					q, err := http.NewRequest("POST", base+"/queries/v1/query-request?requestId="+uuid.NewString(), bytes.NewReader(body))
					if err != nil {
						panic(err) // of constants
					}
					q.Header.Set("Authorization", `Snowflake Token="`+logins[c%len(logins)].token+`"`)
					return q
				}
			}
			const each = 8
			var ours, theirs []time.Duration
			turn(b, client, clients, 2, nil, request(r.url)) // connections
			turn(b, client, clients, 2, nil, request(proxy))
			fresh := r.b.usage // the rules' budgets do not fill up
			for b.Loop() {
				r.b.mu.Lock()
				r.b.usage = fresh
				r.b.mu.Unlock()
				ours = turn(b, client, clients, each, ours, request(r.url))
				theirs = turn(b, client, clients, each, theirs, request(proxy))
			}
			if b.Failed() {
				return
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(median(ours).Microseconds()), "p50-us")
			b.ReportMetric(float64(median(theirs).Microseconds()), "proxy-p50-us")
			b.ReportMetric(float64(median(ours))/float64(median(theirs)), "x-proxy")
		})
	}
}
