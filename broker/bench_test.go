package broker

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/google/uuid"
)

// The small-query goal is a ratio: the broker's path (decode, analyse, rule,
// record, forward, mask) against a reverse proxy that buffers request bodies
// and does nothing. The upstream is the scripted one, the recording in memory.

func benchmarkClients(b *testing.B, target string, header http.Header, clients int) {
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	body := queryBody("select ID, EMAIL, SSN from customers")
	b.SetParallelism(clients)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequest("POST", target+"/queries/v1/query-request?requestId="+uuid.NewString(), bytes.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			req.Header = header.Clone()
			resp, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
				b.Errorf("status %d, %v", resp.StatusCode, err)
			}
			_ = resp.Body.Close()
		}
	})
}

func BenchmarkSmallQuery(b *testing.B) {
	r := newRig(b, func(c *Config) { c.Logger = slog.New(slog.DiscardHandler) })
	tk := r.login()
	b.Run("broker", func(b *testing.B) {
		benchmarkClients(b, r.url, http.Header{"Authorization": {`Snowflake Token="` + tk.token + `"`}}, 8)
	})
	target, err := url.Parse(r.up.URL)
	if err != nil {
		b.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			http.Error(w, "", http.StatusBadRequest)
			return
		}
		q.Body, q.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		proxy.ServeHTTP(w, q)
	}))
	defer front.Close()
	b.Run("reverse proxy", func(b *testing.B) { benchmarkClients(b, front.URL, http.Header{}, 8) })
}
