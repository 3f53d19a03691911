package broker

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// chunked makes a JSON result of n external chunks at the scripted upstream.
func chunked(r *rig, n int, extra string) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`{"url":"%s/storage/%d?X-Amz-Signature=signed","rowCount":2,"uncompressedSize":80,"compressedSize":40}`, r.up.URL, i))
	}
	return strings.Replace(strings.Replace(customers, `"queryResultFormat":"json"`, `"queryResultFormat":"json","chunks":[`+strings.Join(list, ",")+`]`+extra, 1),
		`"total":3`, `"total":`+strconv.Itoa(3+2*n), 1)
}

const (
	storageHeaders = `,"chunkHeaders":{"x-amz-server-side-encryption-customer-key":"SSE-C-KEY"},"qrmk":"SSE-C-KEY"`
	chunkRows      = "[\"10\",\"planted-é\\u0041@example.com\",\"111223333\"], [\"11\",null,null]"
)

// fetchable reads the addresses and headers of a result as drivers do.
func fetchable(t *testing.T, a answer) (urls []string, headers map[string]string) {
	t.Helper()
	d := a.data(t)
	for _, c := range d["chunks"].([]any) {
		urls = append(urls, c.(map[string]any)["url"].(string))
	}
	headers = map[string]string{}
	for k, v := range d["chunkHeaders"].(map[string]any) {
		headers[k] = v.(string)
	}
	return urls, headers
}

func (r *rig) fetch(url string, headers map[string]string, gzip bool) (*http.Response, []byte, error) {
	r.t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	if !gzip {
		req.Header.Set("Accept-Encoding", "identity")
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

// chunkRig is a result of three external chunks, with the storage's keys.
type chunkRig struct {
	r       *rig
	tk      tokens
	a       answer
	urls    []string
	headers map[string]string
	status  atomic.Int64 // what the storage answers once
	seen    sync.Map     // the paths it was asked for
}

func newChunkRig(t *testing.T) *chunkRig {
	r := newRig(t)
	g := &chunkRig{r: r}
	r.up.extra = func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("x-amz-server-side-encryption-customer-key") != "SSE-C-KEY" || q.Header.Get("Authorization") != "" {
			http.Error(w, "headers", 400)
			return
		}
		g.seen.Store(q.URL.Path, true)
		if s := g.status.Swap(0); s != 0 {
			w.WriteHeader(int(s))
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(gz([]byte(chunkRows)))
	}
	r.up.setAnswer(func(q seenQuery) (int, string) { return 200, chunked(r, 3, storageHeaders) })
	g.tk = r.login()
	g.a = r.query(g.tk, "", "select ID, EMAIL, SSN from customers")
	if !g.a.Success {
		t.Fatalf("got %s", g.a.Raw)
	}
	g.urls, g.headers = fetchable(t, g.a)
	return g
}

func chunksCut(t *testing.T) { // C08
	long := []byte(strings.TrimSuffix(strings.Repeat(chunkRows+",", 40000), ","))
	for name, body := range map[string]func(w http.ResponseWriter){
		"connection cut":  func(w http.ResponseWriter) { _, _ = w.Write(gz(long)[:2000]); panic(http.ErrAbortHandler) },
		"truncated gzip":  func(w http.ResponseWriter) { z := gz(long); _, _ = w.Write(z[:len(z)-9]) },
		"wrong checksum":  func(w http.ResponseWriter) { z := gz(long); z[len(z)-6] ^= 1; _, _ = w.Write(z) },
		"ends in a row":   func(w http.ResponseWriter) { _, _ = w.Write(long[:len(long)-10]) },
		"a row too few":   func(w http.ResponseWriter) { _, _ = w.Write([]byte(`["1","planted",null]`)) },
		"a cell too many": func(w http.ResponseWriter) { _, _ = w.Write([]byte(`["1","x",null,"planted"],["1","x",null,"p"]`)) },
		"not rows":        func(w http.ResponseWriter) { _, _ = w.Write([]byte(`<Error>planted</Error>`)) },
		"an XML error":    func(w http.ResponseWriter) { w.WriteHeader(500); _, _ = w.Write([]byte("planted")) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.up.extra = func(w http.ResponseWriter, _ *http.Request) { body(w) }
			answer := strings.ReplaceAll(chunked(r, 1, ""), `"rowCount":2`, `"rowCount":80000`)
			if name == "a row too few" || name == "a cell too many" {
				answer = chunked(r, 1, "")
			}
			r.up.setAnswer(func(q seenQuery) (int, string) { return 200, answer })
			a := r.query(r.login(), "", "select ID, EMAIL, SSN from customers")
			urls, headers := fetchable(t, a)
			resp, got, err := r.fetch(urls[0], headers, true)
			if err == nil && resp.StatusCode == 200 {
				t.Errorf("a short body of %d bytes ended cleanly", len(got))
			}
			if bytes.Contains(got, []byte("planted")) {
				t.Error("leaks")
			}
		})
	}
}

func TestChunksPassThrough(t *testing.T) {
	r := newRig(t)
	zipped := gz([]byte(`["10"],["11"]`))
	r.up.extra = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(zipped)
	}
	answer := strings.Replace(plainRow, `"queryResultFormat":"json"`, `"queryResultFormat":"json","chunks":[{"url":"`+r.up.URL+`/storage/0","rowCount":2,"uncompressedSize":13,"compressedSize":40}]`, 1)
	r.up.setAnswer(func(q seenQuery) (int, string) { return 200, answer })
	a := r.query(r.login(), "", "select 1")
	urls, headers := fetchable(t, a)
	req, _ := http.NewRequest("GET", urls[0], nil)
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if raw, _ := io.ReadAll(resp.Body); !bytes.Equal(raw, zipped) || resp.Header.Get("Content-Encoding") != "gzip" {
		t.Error("the compressed bytes changed")
	}
	if _, body, err := r.fetch(urls[0], headers, false); err != nil || string(body) != `["10"],["11"]` {
		t.Errorf("identity: %q %v", body, err)
	}
}

// arrowResult is an inline Arrow result of the customers' columns.
func arrowResult(t testing.TB, rows int) string {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "ID", Type: arrow.PrimitiveTypes.Int64, Metadata: arrow.NewMetadata([]string{"logicalType", "scale"}, []string{"FIXED", "0"})},
		{Name: "EMAIL", Type: arrow.BinaryTypes.String, Nullable: true, Metadata: arrow.NewMetadata([]string{"logicalType"}, []string{"TEXT"})},
		{Name: "SSN", Type: arrow.PrimitiveTypes.Int64, Metadata: arrow.NewMetadata([]string{"logicalType"}, []string{"FIXED"})},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range rows {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("planted-%d@example.com", i))
		b.Field(2).(*array.Int64Builder).Append(0x706c616e746564) // "planted", as bytes
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(schema))
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(buf.Bytes())
}

func arrowInline(t *testing.T) { // R04 R05 R06 R07 R08
	r := newRig(t)
	tk := r.login()
	with := func(encoded string) string {
		i, j := strings.Index(customers, `"rowset":`), strings.Index(customers, `"total":3`)
		return strings.Replace(customers[:i]+`"rowsetBase64":"`+encoded+`",`+customers[j:], `"queryResultFormat":"json"`, `"queryResultFormat":"arrow"`, 1)
	}
	good := arrowResult(t, 100)
	for _, c := range []struct {
		name, encoded string
		ok            bool
	}{{"rows", good, true}, {"R06 empty", "", true}, {"cut", good[:len(good)/2/4*4], false}, {"not base64", "!!!", false}, {"not Arrow", "AAAA", false}} {
		t.Run(c.name, func(t *testing.T) {
			r.up.setAnswer(func(q seenQuery) (int, string) { return 200, with(c.encoded) })
			a := r.query(tk, "", "select ID, EMAIL, SSN from customers")
			if a.Success != c.ok {
				t.Fatalf("got %.300s", a.Raw)
			}
			if !c.ok {
				wantRefusal(t, a, "000603", "JIT-4002")
				return
			}
			encoded := a.data(t)["rowsetBase64"].(string)
			raw, err := base64.StdEncoding.DecodeString(encoded)
			if err != nil || bytes.Contains(raw, []byte("planted")) || bytes.Contains(raw, []byte("detnalp")) {
				t.Errorf("original bytes are left (%v)", err)
			}
			if (c.encoded == "") != (encoded == "") {
				t.Errorf("rows %q", encoded)
			}
		})
	}
}

func chunksSlow(t *testing.T) { // C05
	r := newRig(t)
	r.b.firstByte = 50 * time.Millisecond
	release := make(chan struct{})
	var fetches atomic.Int64
	r.up.extra = func(w http.ResponseWriter, _ *http.Request) {
		fetches.Add(1)
		<-release
		_, _ = w.Write([]byte(chunkRows))
	}
	r.up.setAnswer(func(q seenQuery) (int, string) { return 200, chunked(r, 1, "") })
	urls, headers := fetchable(t, r.query(r.login(), "", "select ID, EMAIL, SSN from customers"))
	for range 3 {
		if resp, _, err := r.fetch(urls[0], headers, true); err != nil || resp.StatusCode != 503 {
			t.Fatalf("%v %v", resp, err)
		}
	}
	close(release)
	eventually(t, "the chunk", func() bool {
		resp, body, err := r.fetch(urls[0], headers, true)
		return err == nil && resp.StatusCode == 200 && strings.Contains(string(body), "masked")
	})
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d fetches from the storage", n)
	}
}

func chunksInParallel(t *testing.T) { // C10
	r := newRig(t)
	body := gz([]byte(strings.TrimSuffix(strings.Repeat(chunkRows+",", 4000), ",")))
	r.up.extra = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }
	answer := strings.ReplaceAll(chunked(r, 20, ""), `"rowCount":2`, `"rowCount":8000`)
	r.up.setAnswer(func(q seenQuery) (int, string) { return 200, answer })
	urls, headers := fetchable(t, r.query(r.login(), "", "select ID, EMAIL, SSN from customers"))
	var work sync.WaitGroup
	for _, u := range urls {
		work.Go(func() {
			resp, got, err := r.fetch(u, headers, true)
			if err != nil || resp.StatusCode != 200 || bytes.Count(got, []byte("masked")) != 4000 || bytes.Contains(got, []byte("planted")) {
				t.Errorf("%v, %d bytes, %v", resp, len(got), err)
			}
		})
	}
	work.Wait()
}
