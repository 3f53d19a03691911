//go:build e2e

package main_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/jit-access/jit/broker/snowflake/sandbox"
	"github.com/jit-access/jit/session/secret"
)

// The scripted upstream is jit's sandbox with answers of this suite: all of
// Snowflake's types, large results in external chunks, errors, and statements
// that do not end. No emulator that others wrote has these, so it is no
// independent evidence of how Snowflake answers; WIRE's shapes are its source.

// scriptOf answers a read of the tables that are named in its pattern.
//
//	typed_<group>_<format>  the types of a group
//	large_<format>          200,000 rows in chunks; plain_large_<format> lacks the classified column
//	broken_<code>_<state>   a failure
//	slow                    no answer until it is canceled
func scriptOf(n int) sandbox.Script {
	tables := map[string]func() *sandbox.Answer{}
	for group, types := range map[string][]typed{
		"core": coreTypes(), "classed": classedTypes(), "far": farTypes(), "vector": vectorTypes(),
		"structured": structuredTypes(), "decfloat": decfloatTypes(),
	} {
		for format, in := range map[string]func(string, []typed) *sandbox.Answer{"JSON": inJSON, "ARROW": inArrow} {
			name := strings.ToUpper("TYPED_" + group + "_" + format)
			tables[name] = sync.OnceValue(func() *sandbox.Answer { return in(name, types) })
		}
	}
	described := map[string]json.RawMessage{} // making the large ones takes longer than jit waits for a description
	for _, format := range []string{"JSON", "ARROW"} {
		for prefix, classed := range map[string]bool{"LARGE_": true, "PLAIN_LARGE_": false} {
			name := prefix + format
			described[name] = rowType(name, largeColumns(0, classed))
			tables[name] = sync.OnceValue(func() *sandbox.Answer { return large(name, n, classed, format == "ARROW") })
		}
	}
	return func(ctx context.Context, sql string, describe bool) (*sandbox.Answer, error) {
		found := readOf.FindStringSubmatch(sql)
		if found == nil {
			return nil, nil
		}
		name := strings.ToUpper(found[1])
		if columns := described[name]; describe && columns != nil {
			return &sandbox.Answer{RowType: columns, IsArrow: strings.HasSuffix(name, "ARROW")}, nil
		}
		if table, ok := tables[name]; ok {
			return table(), nil
		}
		one := inJSON(name, []typed{idColumn(1)})
		if describe {
			return one, nil
		}
		if failure := failureOf.FindStringSubmatch(name); failure != nil {
			return nil, &sandbox.Failure{Code: failure[1], SQLState: failure[2], Message: "Scripted failure " + failure[1]}
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
}

var (
	readOf    = regexp.MustCompile(`(?is)^\s*select\b.*\bfrom\s+(?:app\.public\.)?((?:typed|large|plain_large|broken)_\w+|slow)\b`)
	failureOf = regexp.MustCompile(`^BROKEN_(\d{6})_(\w{5})$`)
)

// The large result: how many rows, how many of them inline, and how many in
// each chunk.
const (
	largeRows   = 200_000
	largeInline = 500
	largeChunk  = 25_000
)

// largeColumns are the columns of the large result; EMAIL is classified.
func largeColumns(n int, classed bool) []typed {
	columns := []typed{
		fixedColumn("ID", 38, 0, arrow.PrimitiveTypes.Int32),
		textColumn("WORD"),
		fixedColumn("AMOUNT", 12, 2, arrow.PrimitiveTypes.Int64),
		column("YES", "boolean", arrow.FixedWidthTypes.Boolean),
		clockColumn("AT", "timestamp_ntz", 3, arrow.PrimitiveTypes.Int64),
		textColumn("NOTE"),
	}
	if classed {
		columns = append(columns, textColumn("EMAIL"))
	}
	for i := range n {
		note := null
		if i%3 != 0 {
			note = fmt.Sprintf("Straße %d, \"zitiert\" \\", i)
		}
		cells := []string{fmt.Sprint(i), fmt.Sprintf("größer %d 漢", i*7919), fmt.Sprintf("%d.%02d", i, i%100),
			fmt.Sprint(i % 2), fmt.Sprintf("%d.%03d", 1_700_000_000+i, i%1000), note, fmt.Sprintf("person%d@example.com", i)}
		for c := range columns {
			columns[c].cells = append(columns[c].cells, cells[c])
		}
	}
	return columns
}

// large is a result of n rows: some inline, the rest in chunks.
func large(table string, n int, classed, inArrow bool) *sandbox.Answer {
	columns := largeColumns(n, classed)
	a := &sandbox.Answer{RowType: rowType(table, columns), Rows: n, IsArrow: inArrow}
	first := part(columns, 0, min(largeInline, n), inArrow)
	if inArrow {
		a.Arrow = first
	} else {
		a.RowSet = append(append([]byte("["), first...), ']')
	}
	for from := largeInline; from < n; from += largeChunk {
		to := min(from+largeChunk, n)
		plain := part(columns, from, to, inArrow)
		var packed bytes.Buffer
		z := must(gzip.NewWriterLevel(&packed, gzip.BestSpeed))
		_, _ = z.Write(plain) // to memory
		_ = z.Close()
		a.Parts = append(a.Parts, sandbox.Part{Rows: to - from, Plain: len(plain), Gzip: packed.Bytes()})
	}
	return a
}

// part is rows from..to: an IPC stream, or JSON rows without outer brackets.
func part(columns []typed, from, to int, inArrow bool) []byte {
	if inArrow {
		return arrowStream(columns, from, to)
	}
	var b bytes.Buffer
	row := make([]*string, len(columns))
	for i := from; i < to; i++ {
		for c := range columns {
			row[c] = &columns[c].cells[i]
			if *row[c] == null {
				row[c] = nil
			}
		}
		if i > from {
			b.WriteByte(',')
		}
		b.Write(must(json.Marshal(row)))
	}
	return b.Bytes()
}

var scriptedUpstream struct {
	once   sync.Once
	server *sandbox.Server
	up     *upstream
	err    error
}

// scripted is the scripted upstream. Its array binding threshold is
// Snowflake's, above which drivers would stage the values.
func (w *world) scripted(t *testing.T) *upstream {
	t.Helper()
	scriptedUpstream.once.Do(func() {
		s, err := sandbox.New(sandbox.Options{
			Account: account,
			Users: map[string]sandbox.User{
				upstreamUser: {Password: secret.New(upstreamPassword), Roles: []string{"ANALYST"}},
				directUser:   {Password: secret.New(directPassword), Roles: []string{"ANALYST"}},
			},
			Data:       append(append([]string{"create database app", "create warehouse wh"}, seed...), bulkTables(w.clients(t))...),
			Script:     scriptOf(largeRows),
			Parameters: map[string]string{"CLIENT_STAGE_ARRAY_BINDING_THRESHOLD": "65280"},
		})
		if err != nil {
			scriptedUpstream.err = err
			return
		}
		scriptedUpstream.server = s
		up, err := newUpstream("scripted", httptest.NewServer(s.Handler()).URL)
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), limit/3)
			defer cancel()
			err = w.bob.connect(ctx, up.name, up.tap.URL)
		}
		scriptedUpstream.up, scriptedUpstream.err = up, err
	})
	if scriptedUpstream.err != nil {
		t.Fatal(scriptedUpstream.err)
	}
	return scriptedUpstream.up
}

// bulkTables makes a table per client for its array binds.
func bulkTables(clients []client) []string {
	tables := make([]string, len(clients))
	for i, c := range clients {
		tables[i] = "create table app.public." + c.bulkTable() + " (id number(38,0), note varchar)"
	}
	return tables
}
