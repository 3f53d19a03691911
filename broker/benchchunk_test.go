package broker

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session/recording"
)

// benchMasks hide four of ten columns, one of them under an HMAC.
var benchMasks = []policy.ColumnMask{
	1: {Class: "pii.email", Mask: policy.MaskKeepDomain}, 3: {Class: "pii.phone", Mask: policy.MaskRedact},
	5: {Class: "pii.ssn", Mask: policy.MaskHash}, 7: {Class: "pii.name", Mask: policy.MaskKeepLast4}, 9: {},
}

// benchRows appends n rows of ten columns, as a chunk holds them.
func benchRows(dst []byte, n int) []byte {
	for i := range n {
		if len(dst) > 0 {
			dst = append(dst, ',')
		}
		dst = fmt.Appendf(dst, `["%d","user%d@example.com","Springfield","+1 415 555 %04d","12.50","123-45-%04d","2021-01-04","4111 1111 1111 %04d","1","x"]`,
			i, i, i%10000, i%10000, i%10000)
	}
	return dst
}

// benchChunk publishes a chunk that lies at address, as a result of ten text
// columns would.
func (r *rig) benchChunk(masks []policy.ColumnMask, address string, rows int64, arrow bool) (url string, headers map[string]string) {
	r.login()
	set := &chunkSet{s: &statement{id: "bench"}, secret: keyOf("secret"), arrow: arrow, since: time.Now(), urls: []string{address}, headers: http.Header{}}
	r.b.mu.Lock()
	for l := range r.b.logins {
		set.l = l
	}
	r.b.mu.Unlock()
	set.rewrites, _ = r.b.rewrites(masks, textColumns(len(masks)), new(recording.ResultFacts))
	name, err := newToken()
	if err != nil {
		r.t.Fatal(err)
	}
	r.b.chunks.put(name.Reveal(), chunkRef{set: set, rows: rows})
	return r.url + chunkPrefix + name.Reveal(), map[string]string{chunkHeader: "secret"}
}

func textColumns(n int) []snowflake.Column {
	columns := make([]snowflake.Column, n)
	for i := range columns {
		columns[i] = snowflake.Column{Name: "C" + strconv.Itoa(i), Type: "text"}
	}
	return columns
}

// BenchmarkChunk is the chunk path: fetch, inflate, mask, send, of 16 MB of JSON
// as it lies in cloud storage. "x-throughput" is its throughput in that of a proxy:
//
//	masked    fetches, inflates with klauspost/compress, sends
//	gzip      fetches, inflates and compresses (level 1) with the standard library
//	unmasked  httputil.ReverseProxy that buffers the request body
func BenchmarkChunk(b *testing.B) {
	const rows = 120000
	plain := benchRows(nil, rows)
	packed := gz(plain)
	for _, bb := range []struct {
		name     string
		masks    []policy.ColumnMask
		encoding string // asked for
		proxied  func(*http.Response) error
	}{
		{"masked", benchMasks, "identity", func(resp *http.Response) error {
			z, err := gzip.NewReader(resp.Body)
			return replaceBody(resp, z, err)
		}},
		{"gzip", benchMasks, "gzip, identity;q=0", func(resp *http.Response) error {
			z, err := stdgzip.NewReader(resp.Body)
			r, w := io.Pipe()
			go func() {
				packed, _ := stdgzip.NewWriterLevel(w, stdgzip.BestSpeed) // a level there is
				_, err := io.Copy(packed, z)
				_ = packed.Close()
				w.CloseWithError(err)
			}()
			return replaceBody(resp, r, err)
		}},
		{"unmasked", make([]policy.ColumnMask, len(benchMasks)), "gzip", nil},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r, proxy := benchRig(b, func(w http.ResponseWriter, q *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write(packed)
			}, bb.proxied)
			address, headers := r.benchChunk(bb.masks, r.account.url, rows, false)
			get := func(address, encoding string, headers map[string]string) func(int) *http.Request {
				return func(int) *http.Request {
					q, err := http.NewRequest("GET", address, nil)
					if err != nil {
						panic(err) // of constants
					}
					q.Header.Set("Accept-Encoding", encoding)
					for k, v := range headers {
						q.Header.Set(k, v)
					}
					return q
				}
			}
			client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
			defer client.CloseIdleConnections()
			var ours, theirs []time.Duration
			for b.Loop() {
				ours = turn(b, client, 1, 2, ours, get(address, bb.encoding, headers))
				theirs = turn(b, client, 1, 2, theirs, get(proxy, "gzip", nil))
			}
			if b.Failed() {
				return
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(len(plain))/1e6/median(ours).Seconds(), "MB/s")
			b.ReportMetric(float64(len(plain))/1e6/median(theirs).Seconds(), "proxy-MB/s")
			b.ReportMetric(float64(median(theirs))/float64(median(ours)), "x-throughput")
		})
	}
}

// replaceBody makes a response carry what r reads from it.
func replaceBody(resp *http.Response, r io.Reader, err error) error {
	if err != nil {
		return err
	}
	resp.Header.Del("Content-Encoding")
	resp.Header.Del("Content-Length")
	resp.ContentLength = -1
	resp.Body = struct {
		io.Reader
		io.Closer
	}{r, resp.Body}
	return nil
}

// BenchmarkMaskRows masks 4 of 10 columns of rows, one of them under an HMAC of
// values that repeat, and has encoding/json decode the rows, replaces the same
// cells and encodes them, in turns. "x-json" is how many times faster the first is.
func BenchmarkMaskRows(b *testing.B) {
	r, _ := benchRig(b, nil, nil)
	plan, _ := r.b.rewrites(benchMasks, textColumns(len(benchMasks)), new(recording.ResultFacts))
	in := benchRows(nil, 40000)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	var ours, theirs time.Duration
	for b.Loop() {
		began := time.Now()
		if _, err := snowflake.NewRowMasker(plan).MaskStream(io.Discard, bytes.NewReader(in)); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(began)
		b.StopTimer()
		began = time.Now()
		if err := decodeMaskEncode(plan, in); err != nil {
			b.Fatal(err)
		}
		theirs += time.Since(began)
		b.StartTimer()
	}
	b.ReportMetric(float64(theirs)/float64(ours), "x-json")
}

func decodeMaskEncode(plan []snowflake.Rewrite, in []byte) error {
	var rows [][]*string
	if err := json.Unmarshal(append(append([]byte{'['}, in...), ']'), &rows); err != nil {
		return err
	}
	for _, row := range rows {
		for c := range row {
			if row[c] != nil && plan[c].Text != nil {
				s := string(plan[c].Text(nil, []byte(*row[c])))
				row[c] = &s
			}
		}
	}
	return json.NewEncoder(io.Discard).Encode(rows)
}

// A client that refuses what is not compressed gets gzip; a cut chunk does not
// end like a whole one in it either.
func TestChunkGzip(t *testing.T) {
	r := newRig(t)
	rows := benchRows(nil, 5000)
	var sent []byte
	r.up.extra = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(sent) }
	address, headers := r.benchChunk(benchMasks, r.up.URL+"/bench", 5000, false)
	headers["Accept-Encoding"] = "gzip, identity;q=0"
	for _, cut := range []int{0, 20} {
		sent = gz(rows[:len(rows)-cut])
		resp, body, err := r.fetch(address, headers, true)
		if cut > 0 {
			if err == nil {
				t.Errorf("a cut chunk of %d bytes ended cleanly", len(body))
			}
			continue
		}
		if err != nil || resp.Header.Get("Content-Encoding") != "gzip" {
			t.Fatal(resp, err)
		}
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(z)
		if err != nil || bytes.Count(plain, []byte("hash:")) != 5000 || bytes.Contains(plain, []byte("user1@")) || bytes.Contains(plain, []byte("123-45")) {
			t.Errorf("%v: %.300s", err, plain)
		}
	}
}

func TestWantsGzip(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "gzip": false, "gzip, deflate, br": false, "gzip, identity": false, "gzip, *": false, "gzip;q=0, identity;q=0": false,
		"identity;q=0": false, "gzip, identity;q=0": true, "GZIP;q=0.5, identity;q=0.0": true, "gzip, *;q=0": true, "gzip, *;q=0, identity": false,
		"gzip, identity; q=0": true, "gzip;q=x, identity;q=0": false,
	} {
		r := &http.Request{Header: http.Header{"Accept-Encoding": {accept}}}
		if got := wantsGzip(r); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}
