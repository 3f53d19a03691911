package broker

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/session/recording"
	"github.com/jit-access/jit/session/secret"
)

// chunkPrefix is where the external chunks of results are served.
const chunkPrefix = "/jit/chunk/"

const (
	// chunkHeader carries the secret half of a chunk's address. Drivers replay
	// chunkHeaders with every fetch; the path alone, which logs keep, is not
	// enough.
	chunkHeader   = "X-Jit-Chunk"
	chunkTimeout  = 30 * time.Minute
	chunkAttempts = 4
	chunksMost    = 100000 // per broker
)

// chunkSet is the chunks of one result.
type chunkSet struct {
	l        *login
	s        *statement
	queryID  string
	secret   digestKey
	rewrites []snowflake.Rewrite
	arrow    bool

	mu      sync.Mutex // guards what follows: refreshed when addresses expire
	urls    []string
	headers http.Header
}

type chunkRef struct {
	set   *chunkSet
	index int
	rows  int64
}

// chunkTable finds chunks by the digest of their opaque names.
type chunkTable struct {
	mu   sync.Mutex
	refs map[digestKey]chunkRef
}

func (t *chunkTable) put(name string, ref chunkRef) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refs == nil {
		t.refs = map[digestKey]chunkRef{}
	}
	if len(t.refs) >= chunksMost {
		return false
	}
	t.refs[keyOf(name)] = ref
	return true
}

func (t *chunkTable) get(name string) (chunkRef, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ref, ok := t.refs[keyOf(name)]
	return ref, ok
}

// forget drops the chunks of a login.
func (t *chunkTable) forget(l *login) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, ref := range t.refs {
		if ref.set.l == l {
			delete(t.refs, k)
		}
	}
}

// upstreamChunks reads the chunk list and the headers it is fetched with.
func upstreamChunks(data snowflake.Object) (list []snowflake.Object, urls []string, headers http.Header, err error) {
	raws, err := snowflake.ParseArray(data.Get("chunks"))
	if err != nil {
		return nil, nil, nil, err
	}
	for _, raw := range raws {
		o, err := snowflake.ParseObject(raw)
		if err != nil {
			return nil, nil, nil, err
		}
		address, _ := o.Text("url")
		if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return nil, nil, nil, withheld("a chunk of the result has no address")
		}
		list, urls = append(list, o), append(urls, address)
	}
	headers = http.Header{}
	if raw := data.Get("chunkHeaders"); raw != nil {
		o, err := snowflake.ParseObject(raw)
		if err != nil {
			return nil, nil, nil, err
		}
		for _, m := range o {
			if v, ok := snowflake.Text(m.Raw); ok {
				headers.Set(m.Key, v)
			}
		}
	} else if key, ok := data.Text("qrmk"); ok {
		headers.Set("x-amz-server-side-encryption-customer-algorithm", "AES256")
		headers.Set("x-amz-server-side-encryption-customer-key", key)
	}
	return list, urls, headers, nil
}

// publishChunks replaces the addresses of a result's chunks by the broker's
// own, and the storage keys by a secret of the broker's own. Order, count and
// row counts stay.
func (b *Broker) publishChunks(l *login, s *statement, child int, data *snowflake.Object, rewrites []snowflake.Rewrite, facts *recording.ResultFacts) error {
	list, urls, headers, err := upstreamChunks(*data)
	if err != nil {
		return err
	}
	format, _ := data.Text("queryResultFormat")
	id, _ := data.Text("queryId")
	token, err := newToken()
	if err != nil {
		return err
	}
	set := &chunkSet{l: l, s: s, queryID: id, secret: keyOf(token.Reveal()), rewrites: rewrites, urls: urls, headers: headers}
	switch strings.ToLower(format) {
	case "json", "":
	case "arrow":
		set.arrow = true
	default:
		return withheld("the result's format is not known")
	}
	masked := int64(0)
	for _, r := range rewrites {
		if r.Text != nil {
			masked++
		}
	}
	out := []byte{'['}
	for i, o := range list {
		name, err := newToken()
		if err != nil {
			return err
		}
		rows, ok := o.Int("rowCount")
		if !ok || rows <= 0 {
			return withheld("a chunk of the result has no row count")
		}
		if size, ok := o.Int("uncompressedSize"); ok {
			facts.Bytes += size
			if masked > 0 && !set.arrow { // JDBC sizes its buffer from this
				grown := size + masked*rows*(4*maskGrowth+2) + 64
				o.Set("uncompressedSize", strconv.AppendInt(nil, min(grown, 1<<31-1), 10))
			}
		}
		if !b.chunks.put(name.Reveal(), chunkRef{set, i, rows}) {
			return withheld("too many chunks are being kept; fetch or close earlier results")
		}
		o.Set("url", snowflake.Quote("http://"+l.host+chunkPrefix+name.Reveal()))
		if i > 0 {
			out = append(out, ',')
		}
		out = o.Append(out)
	}
	facts.Chunks = len(list)
	data.Set("chunks", append(out, ']'))
	data.Set("chunkHeaders", chunkSecret(token))
	return nil
}

func chunkSecret(t secret.Text) json.RawMessage {
	return snowflake.Object{{Key: chunkHeader, Raw: snowflake.Quote(t.Reveal())}}.Append(nil)
}

// serveChunk streams one chunk, masked, in bounded memory. What goes wrong
// before the first byte is 403, which drivers retry; afterwards the connection
// is reset, so that no short body passes for a whole one.
func (b *Broker) serveChunk(w http.ResponseWriter, r *http.Request, name string) {
	ref, ok := b.chunks.get(name)
	given := r.Header.Get(chunkHeader)
	if !ok || keyOf(given) != ref.set.secret || b.over() != "" {
		writeBody(w, http.StatusForbidden, faultUnknownID.refuse("there is no such chunk").envelope())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), chunkTimeout)
	defer cancel()
	stop := b.untilEnd(cancel)
	defer stop()
	resp, err := b.fetchChunk(ctx, ref)
	if err != nil {
		b.log.Warn("fetching a chunk failed", "statement", ref.set.s.id, "chunk", ref.index, "err", err)
		writeBody(w, http.StatusForbidden, faultUpstream.refuse("the chunk could not be fetched").envelope())
		return
	}
	defer func() { _ = resp.Body.Close() }()
	ref.set.l.touch()
	if err := b.streamChunk(w, r, ref, resp); err != nil {
		b.log.Warn("a chunk was cut", "statement", ref.set.s.id, "chunk", ref.index, "err", err)
		panic(http.ErrAbortHandler) // reset, never a clean end
	}
}

// untilEnd cancels a transfer when the session ends.
func (b *Broker) untilEnd(cancel context.CancelFunc) (stop func()) {
	done := make(chan struct{})
	b.spawn(func(life context.Context) {
		select {
		case <-life.Done():
			cancel()
		case <-done:
		}
	})
	return func() { close(done) }
}

// fetchChunk asks cloud storage, refreshing expired addresses.
func (b *Broker) fetchChunk(ctx context.Context, ref chunkRef) (*http.Response, error) {
	var last error
	for attempt := range chunkAttempts {
		if attempt > 0 {
			select {
			case <-time.After(100 * time.Millisecond << attempt):
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		ref.set.mu.Lock()
		address, headers := ref.set.urls[ref.index], ref.set.headers.Clone()
		ref.set.mu.Unlock()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, errors.New("a chunk has an address that cannot be used")
		}
		req.Header = headers
		req.Header.Set("Accept-Encoding", "gzip") // no transparent inflation: unmasked chunks pass as they are
		resp, err := b.upstream.Do(req)
		if err != nil {
			last = errors.New("the storage did not answer") // err quotes the signed address
			continue
		}
		if resp.StatusCode == http.StatusOK {
			return resp, nil
		}
		_ = resp.Body.Close()
		last = fmt.Errorf("%w: storage status %d", errUpstream, resp.StatusCode)
		if resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusUnauthorized {
			if err := b.refreshChunks(ctx, ref.set); err != nil {
				return nil, err
			}
		}
	}
	return nil, last
}

// refreshChunks asks Snowflake for fresh addresses. The count may not change.
func (b *Broker) refreshChunks(ctx context.Context, set *chunkSet) error {
	rep, err := b.fetchResult(ctx, set.l, set.queryID)
	if err != nil {
		return err
	}
	if !rep.success {
		return fmt.Errorf("%w: refreshing chunk addresses", errUpstream)
	}
	_, urls, headers, err := upstreamChunks(rep.data)
	if err != nil {
		return err
	}
	set.mu.Lock()
	defer set.mu.Unlock()
	if len(urls) != len(set.urls) {
		return fmt.Errorf("%w: the number of chunks changed", errUpstream)
	}
	set.urls, set.headers = urls, headers
	return nil
}

// streamChunk writes the body: as it came if nothing is masked, else inflated
// and rewritten row by row or batch by batch.
func (b *Broker) streamChunk(w http.ResponseWriter, r *http.Request, ref chunkRef, resp *http.Response) error {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if ref.set.arrow {
		h.Set("Content-Type", "application/octet-stream")
	}
	h.Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	// The server's read deadline would end the request's context in mid-transfer.
	_ = control.SetReadDeadline(time.Time{}) // a connection without deadlines needs none
	body := bufio.NewReaderSize(resp.Body, 64<<10)
	magic, _ := body.Peek(2) // a shorter body is no gzip
	zipped := len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b
	out := &deadlineWriter{w: w, control: control}
	if snowflake.Keeps(ref.set.rewrites) && (!zipped || acceptsGzip(r)) {
		if zipped {
			h.Set("Content-Encoding", "gzip")
		}
		if resp.ContentLength >= 0 {
			h.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
		}
		_, err := io.CopyBuffer(out, struct{ io.Reader }{body}, make([]byte, 64<<10))
		return err
	}
	var plain io.Reader = body
	if zipped {
		z, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		plain = z
	}
	if snowflake.Keeps(ref.set.rewrites) {
		_, err := io.Copy(out, plain)
		return err
	}
	var rows int64
	var err error
	if ref.set.arrow {
		rows, err = snowflake.MaskArrow(out, plain, ref.set.rewrites)
		if err == nil {
			_, err = io.Copy(io.Discard, plain) // the checksum stands at the end
		}
	} else {
		rows, err = snowflake.NewRowMasker(ref.set.rewrites).MaskStream(out, plain)
	}
	if err != nil {
		return err
	}
	if rows != ref.rows {
		return fmt.Errorf("%w: the chunk has %d rows and %d were announced", errUpstream, rows, ref.rows)
	}
	return nil
}

func acceptsGzip(r *http.Request) bool {
	for _, v := range r.Header.Values("Accept-Encoding") {
		for _, e := range strings.Split(v, ",") {
			name, q, _ := strings.Cut(strings.TrimSpace(e), ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") && strings.ReplaceAll(q, " ", "") != "q=0" {
				return true
			}
		}
	}
	return false
}

// deadlineWriter gives every write its own time: a chunk may take long, a
// reader that stands still may not. Small writes are flushed, because Python
// gives up after seven seconds without a byte.
type deadlineWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	flushed time.Time
}

func (d *deadlineWriter) Write(p []byte) (int, error) {
	_ = d.control.SetWriteDeadline(time.Now().Add(answerTimeout)) // a writer without deadlines keeps the server's
	n, err := d.w.Write(p)
	if err == nil && time.Since(d.flushed) > time.Second {
		d.flushed = time.Now()
		err = d.control.Flush()
	}
	return n, err
}
