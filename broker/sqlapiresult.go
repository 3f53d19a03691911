package broker

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/jit-access/jit/broker/snowflake"
)

// timedOut is Snowflake's own answer to a statement that ran into its timeout.
const timedOut = "000630"

// answerAPI answers for a finished statement.
func (b *Broker) answerAPI(w http.ResponseWriter, r *http.Request, at apiStatement, partition int) {
	at.s.mu.Lock()
	out, parts := at.s.out, at.s.parts[at.child]
	at.s.mu.Unlock()
	created := at.s.arrived.UnixMilli()
	if partition > 0 && parts != nil {
		b.servePartition(w, r, at.handle, parts, partition)
		return
	}
	if out.success && (out.body == nil || at.child >= 0) {
		id := at.handle
		if at.child < 0 {
			at.s.mu.Lock()
			id = at.s.queryID
			at.s.mu.Unlock()
		}
		ctx, cancel := context.WithTimeout(r.Context(), b.poll)
		defer cancel()
		var running bool
		if out, running = b.readAgain(ctx, at.l, at.s, at.child, id); running {
			writeBody(w, http.StatusAccepted, at.underWay(false).Append(nil))
			return
		}
	}
	switch {
	case out.gone:
		writeAPIRefusal(w, faultGone.refuse("the session of the statement has ended"), created)
	case out.refusal != nil:
		writeAPIRefusal(w, out.refusal, created)
	case !out.success:
		writeAPIError(w, at, out.body)
	default:
		b.answerResultSet(w, r, at, out.body, partition)
	}
}

// writeAPIError relays Snowflake's own error, scrubbed already where it must be.
func writeAPIError(w http.ResponseWriter, at apiStatement, body []byte) {
	a := snowflake.StatementAnswer{Handle: at.handle, Created: at.s.arrived.UnixMilli()}
	if top, err := snowflake.ParseObject(body); err == nil {
		a.Code, _ = top.Text("code")
		a.Message, _ = top.Text("message")
		if data, err := snowflake.ParseObject(top.Get("data")); err == nil {
			a.SQLState, _ = data.Text("sqlState")
		}
	}
	status := http.StatusUnprocessableEntity
	if a.Code == timedOut {
		status = http.StatusRequestTimeout
	}
	writeBody(w, status, a.Append(nil))
}

// answerResultSet renders a result, masked already, in the SQL API's words.
func (b *Broker) answerResultSet(w http.ResponseWriter, r *http.Request, at apiStatement, body []byte, partition int) {
	set, parts, err := b.resultSet(at, body)
	if err != nil {
		b.log.Warn("a result cannot be rendered for the SQL API", "statement", at.s.id, "err", err)
		writeAPIRefusal(w, faultWithheld.refuse("the result cannot be written in the SQL API's form"), at.s.arrived.UnixMilli())
		return
	}
	set.RequestID = r.URL.Query().Get("requestId")
	at.s.mu.Lock()
	if at.s.parts == nil {
		at.s.parts = map[int][]chunkRef{}
	}
	at.s.parts[at.child] = parts
	at.s.mu.Unlock()
	if partition > 0 {
		b.servePartition(w, r, at.handle, parts, partition)
		return
	}
	writeLinks(w, at.handle, len(parts), 0)
	writeBody(w, http.StatusOK, set.Append(make([]byte, 0, len(body)+1024)))
	if n := at.s.drop(keepBodyBytes); n > 0 {
		at.l.keep(-n)
	}
}

// resultSet reads the envelope of a driver's result.
func (b *Broker) resultSet(at apiStatement, body []byte) (snowflake.ResultSet, []chunkRef, error) {
	set := snowflake.ResultSet{Handle: at.handle, Created: at.s.arrived.UnixMilli()}
	top, err := snowflake.ParseObject(body)
	if err != nil {
		return set, nil, err
	}
	data, err := snowflake.ParseObject(top.Get("data"))
	if err != nil {
		return set, nil, err
	}
	if ids, ok := data.Text("resultIds"); ok && at.child < 0 {
		set.Children = strings.Split(strings.ReplaceAll(ids, " ", ""), ",")
		set.Rows, set.Parts = 1, []snowflake.Partition{{Rows: 1}}
		set.RowType = []byte(`[{"name":"multiple statement execution","database":"","schema":"","table":"","type":"text","nullable":false,"length":16777216,"byteLength":16777216,"precision":null,"scale":null,"collation":null}]`)
		set.Data = append(append([]byte(`[[`), snowflake.Quote(snowflake.MessageBatch)...), `]]`...)
		return set, nil, nil
	}
	if data.Get("rowsetBase64") != nil {
		return set, nil, withheld("the result is not JSON")
	}
	set.RowType, set.Stats = data.Get("rowtype"), data.Get("stats")
	columns := []snowflake.Column{}
	if set.RowType != nil {
		if columns, err = snowflake.ParseRowType(set.RowType); err != nil {
			return set, nil, err
		}
	}
	set.Data = []byte("[]")
	var inline int64
	if raw := data.Get("rowset"); raw != nil {
		cells := snowflake.NewRowMasker(snowflake.SQLAPICells(columns, nil))
		if set.Data, inline, err = cells.MaskArray(make([]byte, 0, len(raw)+len(raw)/8), raw); err != nil {
			return set, nil, err
		}
	}
	set.Parts = []snowflake.Partition{{Rows: inline, Uncompressed: int64(len(set.Data))}}
	set.Rows = inline
	if n, ok := data.Int("total"); ok {
		set.Rows = n
	}
	parts, err := b.partitions(&set, data, columns)
	return set, parts, err
}

// partitions finds the external chunks of a result under the names they were
// published by. They are read with the masks they were published with.
func (b *Broker) partitions(set *snowflake.ResultSet, data snowflake.Object, columns []snowflake.Column) ([]chunkRef, error) {
	if data.Get("chunks") == nil {
		return nil, nil
	}
	list, err := snowflake.ParseArray(data.Get("chunks"))
	if err != nil {
		return nil, err
	}
	var parts []chunkRef
	for _, raw := range list {
		o, err := snowflake.ParseObject(raw)
		if err != nil {
			return nil, err
		}
		address, _ := o.Text("url")
		u, err := url.Parse(address)
		if err != nil {
			return nil, err
		}
		name, _ := strings.CutPrefix(u.Path, chunkPrefix)
		ref, ok := b.chunks.get(name)
		if !ok || ref.set.arrow {
			return nil, withheld("a chunk of the result is not there, or not JSON")
		}
		p := snowflake.Partition{Rows: ref.rows}
		p.Uncompressed, _ = o.Int("uncompressedSize")
		p.Compressed, _ = o.Int("compressedSize")
		set.Parts, parts = append(set.Parts, p), append(parts, ref)
	}
	if len(parts) > 0 {
		cells := snowflake.SQLAPICells(columns, parts[0].set.rewrites)
		if len(cells) > 0 && snowflake.Keeps(cells) { // in its frame a chunk must be rows: they are read
			cells[0].Text = func(dst, value []byte) []byte { return append(dst, value...) }
		}
		for i := range parts {
			parts[i].cells = cells
		}
	}
	return parts, nil
}

// servePartition streams one of the external chunks as {"data":[…]}, in bounded
// memory. What goes wrong after the first byte resets the connection.
func (b *Broker) servePartition(w http.ResponseWriter, r *http.Request, handle string, parts []chunkRef, partition int) {
	if partition > len(parts) {
		ref := faultUnknownID.refuse("the result has no such partition")
		writeAPIRefusal(w, ref, 0)
		return
	}
	ref := parts[partition-1]
	f := ref.set.take(ref.index)
	if f == nil {
		f = b.beginFetch(ref)
	}
	patience := time.NewTimer(b.poll)
	defer patience.Stop()
	select {
	case <-f.done:
	case <-r.Context().Done():
		ref.set.park(ref.index, f)
		return
	case <-patience.C:
		ref.set.park(ref.index, f) // the next attempt finds it
		writePartitionFault(w, "the storage is slow; ask again")
		return
	}
	defer f.cancel()
	if f.err != nil {
		b.log.Warn("fetching a partition failed", "statement", ref.set.s.id, "partition", partition, "err", f.err)
		writePartitionFault(w, "the partition could not be fetched; ask again")
		return
	}
	writeLinks(w, handle, len(parts), partition)
	p := newPartitionWriter(w, r)
	// The chunk is rewritten by its masks and into the SQL API's cells at once.
	view := ref
	view.set = &chunkSet{l: ref.set.l, s: ref.set.s, queryID: ref.set.queryID, rewrites: ref.cells, since: ref.set.since}
	err := p.begin()
	if err == nil {
		plain := r.Clone(r.Context())
		plain.Header.Set("Accept-Encoding", "identity") // rows are wanted, not their compressed form
		err = b.streamChunk(p, plain, view, f.resp)
	}
	if err == nil {
		err = p.end()
	}
	if err != nil {
		b.log.Warn("a partition was cut", "statement", ref.set.s.id, "partition", partition, "err", err)
		panic(http.ErrAbortHandler) // reset, never a clean end
	}
}

// writePartitionFault says that a partition is not there now. Nothing runs for
// asking again.
func writePartitionFault(w http.ResponseWriter, why string) {
	ref := faultUpstream.refuse(why)
	ref.ran, ref.next = nothingRun, "ask for the partition again."
	writeBody(w, http.StatusServiceUnavailable, apiRefusal(ref, 0))
}

// partitionWriter puts rows into their frame and, if the client takes it, gzip.
type partitionWriter struct {
	http.ResponseWriter // for its deadlines
	headers             http.Header
	out                 io.Writer
	zip                 *gzip.Writer
}

func newPartitionWriter(w http.ResponseWriter, r *http.Request) *partitionWriter {
	p := &partitionWriter{ResponseWriter: w, headers: http.Header{}, out: w}
	h := w.Header()
	h.Set("Content-Type", snowflake.ContentType)
	h.Set("Cache-Control", "no-store")
	if acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		p.zip = gzip.NewWriter(w)
		p.out = p.zip
	}
	return p
}

// Header takes what would describe the chunk itself, and drops it.
func (p *partitionWriter) Header() http.Header { return p.headers }

// Unwrap lets http.ResponseController reach the connection's deadlines.
func (p *partitionWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *partitionWriter) Write(b []byte) (int, error) { return p.out.Write(b) }

func (p *partitionWriter) begin() error {
	_, err := io.WriteString(p.out, `{"data":[`)
	return err
}

func (p *partitionWriter) end() error {
	if _, err := io.WriteString(p.out, "]}"); err != nil {
		return err
	}
	if p.zip != nil {
		return p.zip.Close()
	}
	return nil
}

// writeLinks names the partitions as Snowflake does.
func writeLinks(w http.ResponseWriter, handle string, external, at int) {
	link := func(partition int, rel string) string {
		return "<" + snowflake.StatementPath(handle) + "?partition=" + strconv.Itoa(partition) + `>; rel="` + rel + `"`
	}
	list := []string{link(0, "first")}
	if at > 0 {
		list = append(list, link(at-1, "prev"))
	}
	if at < external {
		list = append(list, link(at+1, "next"))
	}
	w.Header().Set("Link", strings.Join(append(list, link(external, "last")), ", "))
}
