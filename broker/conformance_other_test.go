package broker

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	sf "github.com/snowflakedb/gosnowflake/v2"

	"github.com/jit-access/jit/broker/snowflake/sandbox"
	jitsql "github.com/jit-access/jit/policy/sql"
)

// shippedAnalysis is the analyser outside tests.
var shippedAnalysis = jitsql.Analyze

// shipped drives the Go driver through the shipped rules; whatever waits for a
// person is told so at once.
func shipped(t *testing.T) *driven {
	return drive(t, sandbox.Options{}, func(c *Config) { c.Hold = time.Millisecond })
}

// neverRuns checks that each text is refused, or left to a person, and that
// nothing of it went upstream.
func (d *driven) neverRuns(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		_, err := d.db.ExecContext(sf.WithMultiStatement(context.Background(), 0), text)
		var sfErr *sf.SnowflakeError
		if !errors.As(err, &sfErr) || !strings.HasPrefix(sfErr.Message, "JIT-") || !strings.Contains(sfErr.Message, "It has NOT run.") {
			t.Errorf("%s: %v", text, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if e.Forwarded != nil {
			t.Errorf("a statement was forwarded")
		}
	}
}

var resultCases = []conformanceCase{
	{"A03", "stored results of others, by position or by a chain", func(t *testing.T) {
		shipped(t).neverRuns(t, "select * from table(result_scan(last_query_id()))", "select * from table(result_scan(last_query_id(-2)))",
			"select last_query_id(-2)",
			"show tables ->> select * from $1", "select EMAIL from CUSTOMERS ->> drop table CUSTOMERS")
	}},
	{"M03", "scripts: a person decides, or nobody", func(t *testing.T) {
		d := shipped(t)
		d.neverRuns(t, "execute immediate 'drop table CUSTOMERS'", "execute immediate $$drop table CUSTOMERS$$", "begin drop table CUSTOMERS; end",
			"declare x integer; begin drop table CUSTOMERS; end", "call SOMETHING()", "execute immediate from @s/x.sql")
		if _, err := rows(t, d.direct, t.Context(), "select 1 from CUSTOMERS limit 1"); err != nil {
			t.Error(err)
		}
	}},
	{"M04", "semicolons in texts and comments end nothing", func(t *testing.T) {
		d := shipped(t)
		got, err := rows(t, d.db, t.Context(), "select ';' as A, 'a;b' as B -- ;\n/* ; */")
		if err != nil || len(got) != 1 || got[0][0] != ";" || got[0][1] != "a;b" {
			t.Errorf("%v %v", got, err)
		}
	}},
	{"M04", "$$ quotes too", func(t *testing.T) { // the sandbox has no $$
		r := newRig(t)
		r.b.analyze = shippedAnalysis
		if a := r.query(r.login(), "", "select ';' , $$a;b$$ -- ;"); a.Raw == "" || len(r.up.seen()) != 1 || r.up.seen()[0].Parameters["MULTI_STATEMENT_COUNT"] != 1.0 {
			t.Errorf("forwarded %v", r.up.seen())
		}
	}},
	{"R03", "a mask of a number is NULL and keeps the type, described and run", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		const text = "select ID, EMAIL, SSN from customers"
		run := r.query(tk, "", text).data(t)["rowtype"].([]any)[2].(map[string]any)
		r.up.setAnswer(func(seenQuery) (int, string) {
			i, j := strings.Index(customers, `"rowset":`), strings.Index(customers, `"total":3`)
			return 200, customers[:i] + `"rowset":[],` + customers[j:]
		})
		described := r.query(tk, "", text, `"describeOnly":true`).data(t)["rowtype"].([]any)[2].(map[string]any)
		if toText(run) != toText(described) || run["type"] != "fixed" || run["nullable"] != true {
			t.Errorf("run %v, described %v", run, described)
		}
	}},
	{"R04 R05 R06 R08", "Arrow, inline", arrowInline},
	{"R05", "Arrow decimals, timestamps and others under a NULL mask leave no byte", func(t *testing.T) {
		const planted = 0x706c616e746564 // "planted"
		r := newRig(t)
		tk := r.login()
		for name, c := range map[string]struct {
			typ  arrow.DataType
			fill func(array.Builder)
		}{
			"decimal128": {&arrow.Decimal128Type{Precision: 38, Scale: 2}, func(b array.Builder) { b.(*array.Decimal128Builder).Append(decimal128.FromU64(planted)) }},
			"int64":      {arrow.PrimitiveTypes.Int64, func(b array.Builder) { b.(*array.Int64Builder).Append(planted) }},
			"binary":     {arrow.BinaryTypes.Binary, func(b array.Builder) { b.(*array.BinaryBuilder).Append([]byte("planted")) }},
			"timestamp": {arrow.StructOf(arrow.Field{Name: "epoch", Type: arrow.PrimitiveTypes.Int64}, arrow.Field{Name: "fraction", Type: arrow.PrimitiveTypes.Int32}),
				func(b array.Builder) {
					s := b.(*array.StructBuilder)
					s.Append(true)
					s.FieldBuilder(0).(*array.Int64Builder).Append(planted)
					s.FieldBuilder(1).(*array.Int32Builder).Append(5)
				}},
		} {
			r.up.setAnswer(func(seenQuery) (int, string) { return 200, arrowAnswer(arrowSSN(t, c.typ, c.fill)) })
			a := r.query(tk, "", "select ID, EMAIL, SSN from customers")
			if !a.Success {
				t.Errorf("%s: %.300s", name, a.Raw)
				continue
			}
			raw, err := base64.StdEncoding.DecodeString(a.data(t)["rowsetBase64"].(string))
			if err != nil || bytes.Contains(raw, []byte("planted")) || bytes.Contains(raw, []byte("detnalp")) {
				t.Errorf("%s: original bytes are left", name)
			}
			in, err := ipc.NewReader(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for in.Next() {
				rec := in.RecordBatch()
				n += int(rec.NumRows())
				if rec.Column(2).NullN() != int(rec.NumRows()) || !arrow.TypeEqual(rec.Column(2).DataType(), c.typ) || fmt.Sprint(rec.Column(0)) != "[0 1]" {
					t.Errorf("%s: %v", name, rec)
				}
			}
			in.Release()
			if n != 2 {
				t.Errorf("%s: %d rows", name, n)
			}
		}
	}},
	{"R07", "Arrow nobody reads one way: rewritten or withheld", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		for name, encoded := range map[string]string{
			"compressed": arrowStream(t, 3, ipc.WithLZ4()), "zstd": arrowStream(t, 3, ipc.WithZstd()), "dictionary": arrowDictionary(t), "nested": arrowNested(t),
		} {
			r.up.setAnswer(func(seenQuery) (int, string) { return 200, arrowAnswer(encoded) })
			a := r.query(tk, "", "select ID, EMAIL, SSN from customers")
			if a.Success {
				raw, err := base64.StdEncoding.DecodeString(a.data(t)["rowsetBase64"].(string))
				if err != nil || bytes.Contains(raw, []byte("planted")) || bytes.Contains(raw, []byte("detnalp")) {
					t.Errorf("%s leaks", name)
				}
				in, err := ipc.NewReader(bytes.NewReader(raw))
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				for in.Next() {
					if got := fmt.Sprint(in.RecordBatch()); strings.Contains(got, "planted") {
						t.Errorf("%s leaks %s", name, got)
					}
				}
				in.Release()
				continue
			}
			wantRefusal(t, a, "000603", "JIT-4002")
		}
	}},
	{"R10", "metadata of any kind", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		for _, kind := range []int{0x4400, 0x4401, 0x44ff, 0x4500, 0x4701} {
			body := strings.Replace(plainRow, `"statementTypeId":4096`, `"statementTypeId":`+strconv.Itoa(kind), 1)
			r.up.setAnswer(func(seenQuery) (int, string) { return 200, body })
			if a := r.query(tk, "", "show tables"); a.Raw != body {
				t.Errorf("%x: %s", kind, a.Raw)
			}
			// A query is not answered with metadata.
			wantRefusal(t, r.query(tk, "", "select 1"), "000603", "JIT-4002")
		}
	}},
	{"R11", "whatever is computed from a masked column", func(t *testing.T) {
		d := drive(t, sandbox.Options{Data: append(sandbox.SampleData(), "CREATE VIEW DEMO.PUBLIC.HARMLESS AS SELECT ID AS N, EMAIL AS CONTACT FROM DEMO.PUBLIC.CUSTOMERS")},
			func(c *Config) { c.Hold = time.Millisecond })
		for _, text := range []string{
			"select EMAIL as X from CUSTOMERS", "select substr(EMAIL, 1, 30) from CUSTOMERS", "select upper(EMAIL) || '' from CUSTOMERS", "select CONTACT from HARMLESS",
			"select X from (select EMAIL as X from CUSTOMERS)", "with C as (select EMAIL as E from CUSTOMERS) select E from C",
			"select '' union all select EMAIL from CUSTOMERS", "select coalesce(EMAIL, '') from CUSTOMERS", "select case when ID > 0 then EMAIL end from CUSTOMERS",
			"select min(EMAIL) from CUSTOMERS", "select * exclude (NAME) from CUSTOMERS", "select * from CUSTOMERS", "select lower(CONTACT) from HARMLESS",
		} {
			got, err := rows(t, d.db, t.Context(), text)
			var sfErr *sf.SnowflakeError
			if err != nil && !errors.As(err, &sfErr) {
				t.Errorf("%s: %v", text, err)
			}
			if s := strings.ToLower(fmt.Sprint(got)); strings.Contains(s, "ada.") || strings.Contains(s, "chloe.") {
				t.Errorf("%s shows %.200s", text, s)
			}
		}
	}},
	{"C05", "slow to the first byte", chunksSlow},
	{"C08", "cut in the middle", chunksCut},
	{"C09", "Arrow chunks of two widths", func(t *testing.T) {
		r := newRig(t)
		wide, narrow := arrowStream(t, 2), arrowNarrow(t)
		r.up.extra = func(w http.ResponseWriter, q *http.Request) {
			encoded := wide
			if strings.HasSuffix(q.URL.Path, "/0") {
				encoded = narrow
			}
			raw, _ := base64.StdEncoding.DecodeString(encoded)
			_, _ = w.Write(raw)
		}
		r.up.setAnswer(func(seenQuery) (int, string) {
			i, j := strings.Index(customers, `"rowset":`), strings.Index(customers, `"total":3`)
			s := strings.Replace(customers[:i]+`"rowsetBase64":"",`+customers[j:], `"queryResultFormat":"json"`, `"queryResultFormat":"arrow","chunks":[`+
				`{"url":"`+r.up.URL+`/storage/0","rowCount":2,"uncompressedSize":80},{"url":"`+r.up.URL+`/storage/1","rowCount":2,"uncompressedSize":80}]`, 1)
			return 200, s
		})
		a := r.query(r.login(), "", "select ID, EMAIL, SSN from customers")
		urls, headers := fetchable(t, a)
		for i, want := range []arrow.DataType{arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int64} {
			_, raw, err := r.fetch(urls[i], headers, true)
			if err != nil || bytes.Contains(raw, []byte("planted")) {
				t.Fatalf("%v, %d bytes", err, len(raw))
			}
			in, err := ipc.NewReader(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			if got := in.Schema().Field(0).Type; !arrow.TypeEqual(got, want) {
				t.Errorf("chunk %d: ID is %v, was %v", i, got, want)
			}
			for in.Next() {
				if id := fmt.Sprint(in.RecordBatch().Column(0)); id != "[0 1]" {
					t.Errorf("chunk %d: IDs %s", i, id)
				}
			}
			in.Release()
		}
	}},
	{"C10", "twenty at once", chunksInParallel},
}

// arrowAnswer is the customers' result in Arrow.
func arrowAnswer(encoded string) string {
	i, j := strings.Index(customers, `"rowset":`), strings.Index(customers, `"total":3`)
	return strings.Replace(customers[:i]+`"rowsetBase64":"`+encoded+`",`+customers[j:], `"queryResultFormat":"json"`, `"queryResultFormat":"arrow"`, 1)
}

// arrowOf writes one batch of two rows with this e-mail column and ID type.
func arrowOf(t testing.TB, id, email arrow.DataType, fill func(array.Builder), opts ...ipc.Option) string {
	return arrowBatch(t, id, email, arrow.PrimitiveTypes.Int64, fill, func(b array.Builder) { b.(*array.Int64Builder).Append(0x706c616e746564) }, opts...)
}

// arrowSSN is one with this SSN column.
func arrowSSN(t testing.TB, ssn arrow.DataType, fill func(array.Builder)) string {
	return arrowBatch(t, arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String, ssn, func(b array.Builder) { b.(*array.StringBuilder).Append(plantedMail) }, fill)
}

func arrowBatch(t testing.TB, id, email, ssn arrow.DataType, fill, fillSSN func(array.Builder), opts ...ipc.Option) string {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "ID", Type: id, Metadata: arrow.NewMetadata([]string{"logicalType", "scale"}, []string{"FIXED", "0"})},
		{Name: "EMAIL", Type: email, Nullable: true, Metadata: arrow.NewMetadata([]string{"logicalType"}, []string{"TEXT"})},
		{Name: "SSN", Type: ssn, Nullable: true, Metadata: arrow.NewMetadata([]string{"logicalType"}, []string{"FIXED"})}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range 2 {
		switch ids := b.Field(0).(type) {
		case *array.Int8Builder:
			ids.Append(int8(i))
		case *array.Int64Builder:
			ids.Append(int64(i))
		}
		fill(b.Field(1))
		fillSSN(b.Field(2))
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, append(opts, ipc.WithSchema(schema))...)
	if err := errors.Join(w.Write(rec), w.Close()); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(buf.Bytes())
}

const plantedMail = "planted-planted-planted-planted-planted@example.com"

func arrowStream(t testing.TB, _ int, opts ...ipc.Option) string {
	return arrowOf(t, arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String, func(b array.Builder) { b.(*array.StringBuilder).Append(plantedMail) }, opts...)
}

func arrowNarrow(t testing.TB) string {
	return arrowOf(t, arrow.PrimitiveTypes.Int8, arrow.BinaryTypes.String, func(b array.Builder) { b.(*array.StringBuilder).Append(plantedMail) })
}

func arrowDictionary(t testing.TB) string {
	return arrowOf(t, arrow.PrimitiveTypes.Int64, &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String},
		func(b array.Builder) { _ = b.(*array.BinaryDictionaryBuilder).AppendString(plantedMail) })
}

func arrowNested(t testing.TB) string {
	return arrowOf(t, arrow.PrimitiveTypes.Int64, arrow.StructOf(arrow.Field{Name: "a", Type: arrow.BinaryTypes.String}), func(b array.Builder) {
		s := b.(*array.StructBuilder)
		s.Append(true)
		s.FieldBuilder(0).(*array.StringBuilder).Append(plantedMail)
	})
}

var otherCases = []conformanceCase{
	{"Q14", "every answer is drivers' JSON", answersAreDriversJSON},
	{"P01 P02", "PUT and GET are not served, and no storage credentials come through", func(t *testing.T) {
		shipped(t).neverRuns(t, "put file:///tmp/x @~", "get @~/x file:///tmp/", "PUT 'file:///tmp/x' '@SYSTEM$BIND/1' overwrite=true", "remove @~/x")
		// Were a rule to allow one, its answer would still be withheld.
		r := newRig(t, func(c *Config) { c.Policy = anything{} })
		r.b.analyze = shippedAnalysis
		r.up.setAnswer(func(seenQuery) (int, string) {
			return 200, strings.Replace(plainRow, `"version":1`, "", 1)[:len(plainRow)-len(`},"code":null,"message":null,"success":true}`)] +
				`,"stageInfo":{"creds":{"AWS_KEY_ID":"planted"}}},"code":null,"message":null,"success":true}`
		})
		if a := r.query(r.login(), "", "put file:///tmp/x @~"); a.Success || strings.Contains(a.Raw, "planted") || strings.Contains(a.Raw, "stageInfo") {
			t.Errorf("got %s", a.Raw)
		}
	}},
	{"P03", "100,000 bound rows travel inline", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		values := make([]string, 100000)
		for i := range values {
			values[i] = "row " + strconv.Itoa(i)
		}
		binds, _ := json.Marshal(map[string]any{"1": map[string]any{"type": "TEXT", "value": values}})
		if a := r.query(tk, "", "insert into t values (?)", `"bindings":`+string(binds)); !a.Success {
			t.Fatalf("got %.300s", a.Raw)
		}
		var got map[string]struct{ Value []string }
		if err := json.Unmarshal(r.up.seen()[0].Bindings, &got); err != nil || len(got["1"].Value) != len(values) || got["1"].Value[99999] != "row 99999" {
			t.Errorf("%d values arrived: %v", len(got["1"].Value), err)
		}
		wantRefusal(t, r.query(tk, "", "insert into t values (?)", `"bindStage":"@SYSTEM$BIND/x"`), "000002", "JIT-2003")
	}},
	{"P04", "data that leaves by a stage", func(t *testing.T) {
		shipped(t).neverRuns(t, "copy into @~ from CUSTOMERS", "copy into 's3://bucket/x' from CUSTOMERS", "select get_presigned_url(@s, 'x')", "select $1 from @s",
			"create stage S url='s3://bucket/x'", "copy files into @s from @r")
	}},
	{"T01 T03 T04", "other endpoints, browsers, proxies and smuggling", routesClosed},
	{"T02", "the SQL API is evaluated in full", func(t *testing.T) {
		r := newRig(t)
		if a := r.rest("POST", statements, body{"statement": "select ID, EMAIL, SSN from customers"}); a.Status != 200 || strings.Contains(a.Raw, "planted") {
			t.Errorf("got %d %s", a.Status, a.Raw)
		}
		wantAPI(t, r.rest("POST", statements, body{"statement": "grant x"}), 422, "JIT-2001")
		for _, path := range r.up.paths {
			if path != "/queries/v1/query-request" {
				t.Errorf("%s was forwarded", path)
			}
		}
	}},
	{"T04", "two requests in one", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		host := strings.TrimPrefix(r.url, "http://")
		hidden := "POST /queries/v1/query-request?requestId=smuggled HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: Snowflake Token=\"" + tk.token +
			"\"\r\nContent-Length: 22\r\n\r\n" + `{"sqlText":"select 1"}`
		for name, head := range map[string]string{
			"length and chunked": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "two lengths": "Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
			"odd chunked": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "space before colon": "Content-Length : 0\r\n\r\n", "folded": "X: a\r\n Content-Length: 9\r\n\r\n",
			"bare feed": "X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		} {
			got := rawRequest(t, host, "POST /telemetry/send HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n"+head+hidden)
			if n := strings.Count(got, "HTTP/1.1 "); n != 1 {
				t.Errorf("%s: %d answers: %q", name, n, got)
			}
		}
		if len(r.up.seen()) != 0 {
			t.Error("a hidden request ran")
		}
	}},
	{"T05", "credentials that would outlive the session", func(t *testing.T) {
		shipped(t).neverRuns(t, "alter user ALICE add programmatic access token X", "alter user ALICE set rsa_public_key='x'", "alter user ALICE set password='x'",
			"create user EVE", "create security integration X type=oauth", "alter user add pat X")
	}},
	{"D02", "the listener is loopback and plain HTTP, to nobody else", func(t *testing.T) {
		r := newRig(t)
		host := strings.TrimPrefix(r.url, "http://")
		if c, err := tls.Dial("tcp", host, &tls.Config{InsecureSkipVerify: true}); err == nil { //nolint:gosec // there must be none to verify
			_ = c.Close()
			t.Error("it speaks TLS")
		}
		ln, err := net.Listen("tcp", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		b, err := New(r.b.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Serve(t.Context(), ln); !errors.Is(err, ErrNotLoopback) {
			t.Errorf("it serves others: %v", err)
		}
	}},
	{"D04", "nothing secret in logs, recordings and errors", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		answers := []answer{r.query(tk, "", "select ID, EMAIL, SSN from customers"), r.query(tk, "", "grant x"), r.query(tk, "", "frobnicate"),
			r.loginWith(r.fields(map[string]any{"TOKEN": "wrong"}), "")}
		r.up.setAnswer(func(seenQuery) (int, string) {
			return 200, `{"data":{"sqlState":"22018"},"code":"100038","message":"Numeric value 'planted-x' is not recognized","success":false}`
		})
		answers = append(answers, r.query(tk, "", "select ID, EMAIL, SSN from customers"))
		r.up.setAnswer(func(seenQuery) (int, string) { return 404, "planted-page upstream-secret-1" })
		r.rest("POST", statements, body{"statement": "select 1"})
		for _, a := range answers {
			for _, s := range []string{"planted-", "upstream-secret", r.lease.Reveal()} {
				if strings.Contains(a.Raw, s) {
					t.Errorf("%s in %s", s, a.Raw)
				}
			}
		}
		for _, s := range []string{tk.token, tk.master} {
			if strings.Contains(r.logs.String(), s) {
				t.Error("a token is in the log")
			}
		}
		r.noSecrets()
	}},
}
