package broker

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

var maskCases = []conformanceCase{
	{"R01 R02 Q13", "only the masked cells differ", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		const text = "select ID, EMAIL, SSN from customers"
		a := r.query(tk, "", text)
		want := strings.NewReplacer(`"planted-ada@example.com"`, `"‹masked:pii.email›"`, `"planted-\"grace\"\n@example.com"`, `"‹masked:pii.email›"`,
			`"987654321"`, "null", `"987654322"`, "null").Replace(customers)
		rows := func(s string) string {
			i, j := strings.Index(s, `"rowset":`), strings.Index(s, `"total"`)
			return s[i:j]
		}
		if strings.TrimRight(rows(a.Raw), ",\n") != strings.TrimRight(rows(want), ",\n") {
			t.Errorf("rows %s\nwant %s", rows(a.Raw), rows(want))
		}
		for _, kept := range []string{`"smkId":92233720368547758079`, `"unknownKey":{"kept":[1.0,1e2]}`, `"value":2147483647`} {
			if !strings.Contains(a.Raw, kept) {
				t.Errorf("%s is lost", kept)
			}
		}
	}},
	{"Q15", "describeOnly has the same rowtype and no rows", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		const text = "select ID, EMAIL, SSN from customers"
		run := r.query(tk, "", text)
		r.up.setAnswer(func(q seenQuery) (int, string) {
			if !q.Describe {
				return 200, customers
			}
			i, j := strings.Index(customers, `"rowset":`), strings.Index(customers, `"total":3`)
			return 200, customers[:i] + `"rowset":[],` + customers[j:]
		})
		describe := r.query(tk, "", text, `"describeOnly":true`)
		if a, b := toText(describe.data(t)["rowtype"]), toText(run.data(t)["rowtype"]); a != b || !strings.Contains(a, `"nullable":true`) {
			t.Errorf("described %s\nran %s", a, b)
		}
		r.up.setAnswer(func(q seenQuery) (int, string) { return 200, customers })
	}},
	{"Q15", "describing a held statement asks nobody", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		n := len(r.desk.order)
		wantRefusal(t, r.query(tk, "", "drop table t", `"describeOnly":true`), "003001", "JIT-2001")
		if len(r.desk.order) != n {
			t.Error("a request was filed")
		}
	}},
	{"R08", "the result is not the one that was judged", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		const text = "select ID, EMAIL, SSN from customers"
		for name, change := range map[string][2]string{
			"another name":        {`"name":"EMAIL"`, `"name":"PHONE"`},
			"another table":       {`"table":"CUSTOMERS","nullable":true`, `"table":"SALARIES","nullable":true`},
			"another kind":        {`"statementTypeId":4096`, `"statementTypeId":12544`},
			"a cell too many":     {`["1","planted-ada@example.com","987654321"]`, `["1","planted-ada@example.com","987654321","x"]`},
			"a cell too few":      {`["1","planted-ada@example.com","987654321"]`, `["1","planted-ada@example.com"]`},
			"a bare number":       {`["1",`, `[1,`},
			"a nested cell":       {`["1",`, `[["1"],`},
			"duplicate keys":      {`"rowset":`, `"rowset":[],"rowset":`},
			"rows twice":          {`"rowset":`, `"rowsetBase64":"AAAA","rowset":`},
			"not UTF-8":           {"planted-ada", "planted-\xff"},
			"a format of its own": {`"queryResultFormat":"json"`, `"queryResultFormat":"parquet"`},
			"rows that are text":  {`"rowset":[`, `"rowset":"planted","x":[`},
			"storage of a stage":  {`"version":1`, `"stageInfo":{"creds":{}}`},
		} {
			t.Run(name, func(t *testing.T) {
				r.up.setAnswer(func(q seenQuery) (int, string) { return 200, strings.Replace(customers, change[0], change[1], 1) })
				a := r.query(tk, "", text)
				if a.Success || a.code() != "000603" || strings.Contains(a.Raw, "planted") {
					t.Errorf("got %s", a.Raw)
				}
			})
		}
	}},
	{"R09", "DML is not masked", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		body := `{"data":{"rowtype":[{"name":"number of rows inserted","type":"fixed","nullable":false,"scale":0,"precision":19}],"rowset":[["3"]],"total":1,"returned":1,"queryId":"01c0ffee-0000-0000-0000-000000000009","statementTypeId":12544,"queryResultFormat":"json"},"code":null,"message":null,"success":true}`
		r.up.setAnswer(func(q seenQuery) (int, string) { return 200, body })
		if a := r.query(tk, "", "insert into t values (1)"); a.Raw != body {
			t.Errorf("got %s", a.Raw)
		}
	}},
	{"R12", "error texts", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		const text = "select ID, EMAIL, SSN from customers"
		failed := `{"data":{"errorCode":"100038","sqlState":"22018","queryId":"01c0ffee-0000-0000-0000-00000000000e","line":1,"detail":"planted-value"},"code":"100038","message":"Numeric value 'planted-value' is not recognized","success":false}`
		r.up.setAnswer(func(q seenQuery) (int, string) { return 200, failed })
		a := r.query(tk, "", text)
		if a.code() != "100038" || strings.Contains(a.Raw, "planted") || a.data(t)["sqlState"] != "22018" || a.data(t)["queryId"] != "01c0ffee-0000-0000-0000-00000000000e" {
			t.Errorf("got %s", a.Raw)
		}
		if a := r.query(tk, "", "select 1"); a.Raw != failed {
			t.Errorf("an error without classed data changed: %s", a.Raw)
		}
	}},
}

var chunkCases = []conformanceCase{
	{"C01", "no way to the storage is left", func(t *testing.T) {
		g := newChunkRig(t)
		r := g.r
		a := g.a
		urls := g.urls
		for _, s := range []string{"SSE-C-KEY", "storage", "Signature", "planted-"} {
			if strings.Contains(a.Raw, s) {
				t.Errorf("%s in %s", s, a.Raw)
			}
		}
		for _, u := range urls {
			if !strings.HasPrefix(u, r.url+"/jit/chunk/") {
				t.Errorf("address %s", u)
			}
		}
		if len(urls) != 3 {
			t.Errorf("%d chunks", len(urls))
		}
	}},
	{"C02 C03", "fetched, with gzip and without", func(t *testing.T) {
		g := newChunkRig(t)
		for _, zipped := range []bool{true, false} {
			resp, body, err := g.r.fetch(g.urls[0], g.headers, zipped)
			want := `["10","‹masked:pii.email›",null],["11",null,null]`
			if err != nil || resp.StatusCode != 200 || string(body) != want || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") || resp.Header.Get("Content-Encoding") != "" {
				t.Errorf("gzip %v: %v %v %q", zipped, resp, err, body)
			}
		}
	}},
	{"C04", "without the secret, altered, after delete", func(t *testing.T) {
		g := newChunkRig(t)
		r := g.r
		urls := g.urls
		headers := g.headers
		for name, c := range map[string]struct {
			url     string
			headers map[string]string
		}{"no header": {urls[0], nil}, "altered": {urls[0] + "A", headers}, "another header": {urls[0], map[string]string{chunkHeader: "x"}}} {
			resp, body, err := r.fetch(c.url, c.headers, true)
			if err != nil || resp.StatusCode < 400 || bytes.Contains(body, []byte("masked")) {
				t.Errorf("%s: %v %s", name, resp, body)
			}
		}
	}},
	{"C06", "expired addresses are refreshed", func(t *testing.T) {
		g := newChunkRig(t)
		r := g.r
		urls := g.urls
		headers := g.headers
		status := &g.status
		seen := &g.seen
		r.up.mu.Lock()
		r.up.results["01c0ffee-0000-0000-0000-000000000001"] = strings.ReplaceAll(chunked(r, 3, storageHeaders), "/storage/", "/storage/fresh-")
		r.up.mu.Unlock()
		status.Store(403)
		resp, body, err := r.fetch(urls[1], headers, true)
		if _, ok := seen.Load("/storage/fresh-1"); err != nil || resp.StatusCode != 200 || !strings.Contains(string(body), "masked") || !ok {
			t.Errorf("%v %v %s", resp, err, body)
		}
	}},
	{"C06", "a driver asks for the result again: as many chunks, other addresses", func(t *testing.T) {
		g := newChunkRig(t)
		id := g.a.data(t)["queryId"].(string)
		g.r.up.mu.Lock()
		g.r.up.results[id] = chunked(g.r, 3, storageHeaders)
		g.r.up.mu.Unlock()
		g.r.b.dropIdle(time.Now()) // nothing is old
		for l := range g.r.b.logins {
			for _, s := range l.finished {
				s.drop(0) // as a large result is
			}
		}
		again := g.r.send("GET", "/queries/"+id+"/result?disableOfflineChunks=false", g.tk.token, nil)
		urls, headers := fetchable(t, again)
		if len(urls) != len(g.urls) {
			t.Fatalf("%d chunks, %d before", len(urls), len(g.urls))
		}
		for i := range urls {
			if urls[i] == g.urls[i] {
				t.Error("an address was given out twice")
			}
			if _, body, err := g.r.fetch(urls[i], headers, true); err != nil || !strings.Contains(string(body), "masked") || strings.Contains(string(body), "planted") {
				t.Errorf("%v %s", err, body)
			}
		}
	}},
	{"C07", "the announced size leaves room for masks", func(t *testing.T) {
		g := newChunkRig(t)
		r := g.r
		a := g.a
		urls := g.urls
		headers := g.headers
		c := a.data(t)["chunks"].([]any)[0].(map[string]any)
		_, body, _ := r.fetch(urls[0], headers, true)
		var size int
		_, _ = fmt.Sscan(toText(c["uncompressedSize"]), &size)
		if size < len(body)+64 {
			t.Errorf("announced %d, sent %d", size, len(body))
		}
	}},
	{"C04", "after the login is closed", func(t *testing.T) {
		g := newChunkRig(t)
		r := g.r
		tk := g.tk
		urls := g.urls
		headers := g.headers
		r.send("POST", "/session?delete=true", tk.token, nil)
		resp, _, err := r.fetch(urls[0], headers, true)
		if err != nil || resp.StatusCode != 403 {
			t.Errorf("%v %v", resp, err)
		}
	}},
}
