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

	"github.com/google/uuid"
)

// What goes wrong upstream, or is larger than usual, shows nothing unmasked, never
// ends a short body like a whole one, and leaves no goroutine (newRig checks).
// Cut, truncated and damaged chunks are cases C08 of TestConformance.

// TestUpstreamKeepsFailing: one definite answer, under one request id.
func TestUpstreamKeepsFailing(t *testing.T) {
	for _, status := range []int{500, 502, 503, 504, 429, 408} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			r := newRig(t)
			r.b.retryPause = time.Millisecond
			tk := r.login()
			r.up.setAnswer(func(seenQuery) (int, string) { return status, "<html>planted</html>" })
			a := r.query(tk, "", "select 1")
			wantRefusal(t, a, "000603", "JIT-4001")
			if !strings.Contains(*a.Message, "may have run") || strings.Contains(a.Raw, "planted") {
				t.Errorf("got %s", a.Raw)
			}
			ids := map[string]bool{}
			for _, q := range r.up.seen() {
				ids[q.RequestID] = true
			}
			if len(ids) != 1 || len(r.up.seen()) != upstreamAttempts {
				t.Errorf("%d attempts under %d ids", len(r.up.seen()), len(ids))
			}
			r.up.setAnswer(func(seenQuery) (int, string) { return 200, plainRow })
			if a := r.query(tk, "", "select 1"); !a.Success {
				t.Errorf("the connection is unusable: %s", a.Raw)
			}
		})
	}
}

// TestAnswerIsCut: the query's own answer, not a chunk, ends early.
func TestAnswerIsCut(t *testing.T) {
	r := newRig(t)
	r.b.retryPause = time.Millisecond
	tk := r.login()
	for name, write := range map[string]func(w http.ResponseWriter){
		"reset": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, customers[:len(customers)/2])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"short of its length": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", strconv.Itoa(len(customers)))
			_, _ = io.WriteString(w, customers[:len(customers)/2])
		},
		"ended cleanly": func(w http.ResponseWriter) { _, _ = io.WriteString(w, customers[:len(customers)/2]) },
	} {
		t.Run(name, func(t *testing.T) {
			r.up.intercept(func(w http.ResponseWriter, _ *http.Request) { write(w) })
			defer r.up.intercept(nil)
			a := r.query(tk, "", "select ID, EMAIL, SSN from customers")
			if a.Success || strings.Contains(a.Raw, "planted") {
				t.Errorf("got %s", a.Raw)
			}
		})
	}
}

// TestWideResult: 10,000 columns, each second one masked.
func TestWideResult(t *testing.T) {
	r := newRig(t)
	const n = 10000
	var names, columns, cells []string
	for i := range n {
		name, typ, cell := fmt.Sprintf("C%d", i), "fixed", strconv.Itoa(i)
		if i%2 == 1 {
			name, typ, cell = "EMAIL", "text", "planted-"+strconv.Itoa(i)
		}
		names = append(names, name)
		columns = append(columns, `{"name":"`+name+`","type":"`+typ+`","nullable":true,"length":20}`)
		cells = append(cells, `"`+cell+`"`)
	}
	answer := strings.Replace(plainRow, `[{"name":"ONE","database":"","schema":"","table":"","nullable":false,"type":"fixed","length":null,"byteLength":null,"precision":1,"scale":0}]`,
		"["+strings.Join(columns, ",")+"]", 1)
	answer = strings.Replace(answer, `[["1"]]`, "[["+strings.Join(cells, ",")+"]]", 1)
	r.up.setAnswer(func(seenQuery) (int, string) { return 200, answer })
	a := r.query(r.login(), "", "select "+strings.Join(names, ", ")+" from customers")
	if !a.Success || strings.Contains(a.Raw, "planted") || strings.Count(a.Raw, "‹masked:pii.email›") != n/2 || !strings.Contains(a.Raw, `"9998"`) {
		t.Errorf("%d masked: %.200s", strings.Count(a.Raw, "‹masked"), a.Raw)
	}
}

// TestLongCells: cells of a megabyte, inline and in a chunk, in JSON and Arrow.
func TestLongCells(t *testing.T) {
	r := newRig(t)
	long := strings.Repeat("planted-\\u00e9\\n", 1<<20/16)
	row := `["1","` + long + `","5"]`
	r.up.extra = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(gz([]byte(row + "," + row))) }
	tk := r.login()
	r.up.setAnswer(func(seenQuery) (int, string) {
		return 200, strings.Replace(chunked(r, 1, ""), `["1","planted-ada@example.com","987654321"]`, row, 1)
	})
	a := r.query(tk, "", "select ID, EMAIL, SSN from customers")
	if !a.Success || strings.Contains(a.Raw, "planted") {
		t.Fatalf("%.300s", a.Raw)
	}
	urls, headers := fetchable(t, a)
	if _, body, err := r.fetch(urls[0], headers, true); err != nil || string(body) != `["1","‹masked:pii.email›",null],["1","‹masked:pii.email›",null]` {
		t.Errorf("%v %.300s", err, body)
	}
	// In the clear column a long cell comes as it is.
	r.up.setAnswer(func(seenQuery) (int, string) {
		return 200, strings.Replace(plainRow, `[["1"]]`, `[["`+strings.Repeat("9", 1<<20)+`"]]`, 1)
	})
	if a := r.query(tk, "", "select 1"); !a.Success || strings.Count(a.Raw, "9") < 1<<20 {
		t.Errorf("%d bytes", len(a.Raw))
	}
}

// TestManySessions: 64 at once, each with its own tokens and results.
func TestManySessions(t *testing.T) {
	const n = 64
	r := newRig(t, func(c *Config) { c.MaxLogins = n })
	var work sync.WaitGroup
	for range n {
		work.Go(func() {
			tk := r.login()
			for range 4 {
				a := r.query(tk, "", "select ID, EMAIL, SSN from customers")
				if !a.Success || strings.Contains(a.Raw, "planted") || strings.Contains(a.Raw, "987654321") {
					t.Errorf("got %.200s", a.Raw)
				}
			}
			wantRefusal(t, r.query(tk, "", "grant x"), "003001", "JIT-2001")
		})
	}
	work.Wait()
	if a := r.loginWith(r.patFields(), ""); a.Success {
		t.Error("a login too many")
	}
	r.stop()
	if len(r.account.closed) != n {
		t.Errorf("%d of %d upstream sessions closed", len(r.account.closed), n)
	}
}

// endless writes rows until the reader is gone, and counts their bytes.
func endless(w http.ResponseWriter, q *http.Request, sent *atomic.Int64) {
	piece := []byte(strings.Repeat(chunkRows+",", 1000))
	for q.Context().Err() == nil {
		n, err := w.Write(piece)
		sent.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// TestSlowReader: a driver that stops reading stops the storage, too; what is
// between them is bounded, and gone when the driver goes.
func TestSlowReader(t *testing.T) {
	r := newRig(t)
	var sent atomic.Int64
	gone := make(chan struct{})
	r.up.extra = func(w http.ResponseWriter, q *http.Request) { endless(w, q, &sent); close(gone) }
	r.up.setAnswer(func(seenQuery) (int, string) {
		return 200, strings.Replace(chunked(r, 1, ""), `"rowCount":2`, `"rowCount":2000000000`, 1)
	})
	urls, headers := fetchable(t, r.query(r.login(), "", "select ID, EMAIL, SSN from customers"))
	req, _ := http.NewRequest("GET", urls[0], nil)
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	last, since := int64(-1), time.Now()
	eventually(t, "the storage waits", func() bool {
		if n := sent.Load(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 300*time.Millisecond
	})
	if last > 64<<20 { // sockets' buffers on two legs, and the broker's own
		t.Errorf("%d bytes were taken for a reader of 1000", last)
	}
	_ = resp.Body.Close()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Error("the transfer from the storage goes on")
	}
}

// TestSilenceInMidChunk: the storage falls silent in the middle. Python gives up
// after seven seconds; what it has then is no whole chunk, and the next attempt
// gets all of it.
func TestSilenceInMidChunk(t *testing.T) {
	for _, zipped := range []bool{false, true} {
		t.Run(fmt.Sprintf("gzip %v", zipped), func(t *testing.T) {
			r := newRig(t)
			whole := []byte(strings.TrimSuffix(strings.Repeat(chunkRows+",", 40000), ","))
			if zipped {
				whole = gz(whole)
			}
			var silent atomic.Bool
			silent.Store(true)
			r.up.extra = func(w http.ResponseWriter, q *http.Request) {
				if silent.Load() {
					_, _ = w.Write(whole[:len(whole)/2])
					_ = http.NewResponseController(w).Flush()
					<-q.Context().Done() // until the broker hangs up
					return
				}
				_, _ = w.Write(whole)
			}
			r.up.setAnswer(func(seenQuery) (int, string) {
				return 200, strings.Replace(chunked(r, 1, ""), `"rowCount":2`, `"rowCount":80000`, 1)
			})
			urls, headers := fetchable(t, r.query(r.login(), "", "select ID, EMAIL, SSN from customers"))
			req, _ := http.NewRequest("GET", urls[0], nil)
			for k, v := range headers {
				req.Header.Set(k, v)
			}
			resp, err := r.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			quiet := time.AfterFunc(500*time.Millisecond, func() { _ = resp.Body.Close() }) // the driver's patience
			got, err := io.ReadAll(resp.Body)
			quiet.Stop()
			if err == nil {
				t.Errorf("half a chunk of %d bytes ended cleanly", len(got))
			}
			if bytes.Contains(got, []byte("planted")) {
				t.Error("leaks")
			}
			silent.Store(false)
			_, again, err := r.fetch(urls[0], headers, true)
			if err != nil || bytes.Count(again, []byte("masked")) != 40000 || bytes.Contains(again, []byte("planted")) {
				t.Errorf("the next attempt: %v, %d bytes", err, len(again))
			}
		})
	}
}

// TestBrokenArrowChunk: chunks that are no Arrow, or not all of it, never end
// like whole ones.
func TestBrokenArrowChunk(t *testing.T) {
	good, err := base64.StdEncoding.DecodeString(arrowResult(t, 1000))
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	for i := 8; i < 64; i++ {
		flipped[i] ^= 0xff
	}
	for name, raw := range map[string][]byte{"cut": good[:len(good)/2], "no end": good[:len(good)-8], "nothing": {}, "no Arrow": []byte(`["planted"]`),
		"flipped": flipped, "a length of 2 GB": append([]byte{0xff, 0xff, 0xff, 0xff, 0xf0, 0xff, 0xff, 0x7f}, good...)} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.up.extra = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(raw) }
			r.up.setAnswer(func(seenQuery) (int, string) {
				i, j := strings.Index(customers, `"rowset":`), strings.Index(customers, `"total":3`)
				return 200, strings.Replace(customers[:i]+`"rowsetBase64":"",`+customers[j:], `"queryResultFormat":"json"`,
					`"queryResultFormat":"arrow","chunks":[{"url":"`+r.up.URL+`/storage/0","rowCount":1000,"uncompressedSize":80}]`, 1)
			})
			urls, headers := fetchable(t, r.query(r.login(), "", "select ID, EMAIL, SSN from customers"))
			resp, got, err := r.fetch(urls[0], headers, true)
			if name == "no end" && err == nil && resp.StatusCode == 200 && bytes.HasSuffix(got, []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}) {
				return // all batches were there: the broker wrote the end mark itself
			}
			if err == nil && resp.StatusCode == 200 {
				t.Errorf("%d bytes ended cleanly", len(got))
			}
			if bytes.Contains(got, []byte("planted")) || bytes.Contains(got, []byte("detnalp")) {
				t.Error("leaks")
			}
		})
	}
}

// TestQueryBomb: a query's body may be large, and no larger.
func TestQueryBomb(t *testing.T) {
	r := newRig(t)
	a := r.send("POST", "/queries/v1/query-request?requestId="+uuid.NewString(), r.login().token, gz(make([]byte, 80<<20)))
	wantRefusal(t, a, "000002", "JIT-2007")
	twice := gz(gz(queryBody("select 1")))
	wantRefusal(t, r.send("POST", "/queries/v1/query-request?requestId="+uuid.NewString(), r.login().token, twice), "000002", "JIT-2007")
	a = r.send("POST", "/queries/v1/query-request?requestId="+uuid.NewString(), r.login().token, queryBody("select 1"), func(q *http.Request) {
		q.Header.Set("Content-Encoding", "deflate")
	})
	wantRefusal(t, a, "000002", "JIT-2007")
}

// TestQueryContext: the opaque cache of drivers passes both ways, as it is.
func TestQueryContext(t *testing.T) {
	r := newRig(t)
	const sent = `{"entries":[{"id":0,"timestamp":12345678901234567890,"priority":0,"context":{"base64Data":"AAAA"}}]}`
	const back = `"queryContext":{"entries":[{"id":0,"timestamp":98765432109876543210,"priority":1,"context":"BBBB"}]}`
	r.up.setAnswer(func(seenQuery) (int, string) {
		return 200, strings.Replace(customers, `"version":1`, back+`,"version":1`, 1)
	})
	a := r.query(r.login(), "", "select ID, EMAIL, SSN from customers", `"queryContextDTO":`+sent)
	if !strings.Contains(r.up.seen()[0].Raw, `"queryContextDTO":`+sent) {
		t.Errorf("forwarded %s", r.up.seen()[0].Raw)
	}
	if !strings.Contains(a.Raw, back) {
		t.Errorf("got %s", a.Raw)
	}
}
