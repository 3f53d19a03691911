package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/jit-access/jit/broker/snowflake"
)

const (
	chunkTimeout  = 30 * time.Minute
	chunkAttempts = 4
	// firstByte is how long a driver waits for a chunk to begin: Python gives up
	// at 7 s.
	firstByte = 5 * time.Second
	parkFor   = time.Minute
)

// serveChunk streams one chunk, masked, in bounded memory. What goes wrong
// before the first byte is 403 or 503, which drivers retry; afterwards the
// connection is reset, so that no short body passes for a whole one.
func (b *Broker) serveChunk(w http.ResponseWriter, r *http.Request, name string) {
	ref, ok := b.chunks.get(name)
	given := r.Header.Get(chunkHeader)
	if !ok || keyOf(given) != ref.set.secret || b.over() != "" {
		writeBody(w, http.StatusForbidden, faultUnknownID.refuse("there is no such chunk").envelope())
		return
	}
	ref.set.l.touch()
	f := ref.set.take(ref.index)
	if f == nil {
		f = b.beginFetch(ref)
	}
	patience := time.NewTimer(b.firstByte)
	defer patience.Stop()
	select {
	case <-f.done:
	case <-r.Context().Done():
		ref.set.park(ref.index, f)
		return
	case <-patience.C:
		// Python gives up without a first byte; the next attempt finds the fetch.
		ref.set.park(ref.index, f)
		writeBody(w, http.StatusServiceUnavailable, faultUpstream.refuse("the storage is slow; ask again").envelope())
		return
	}
	defer f.cancel()
	if f.err != nil {
		b.log.Warn("fetching a chunk failed", "statement", ref.set.s.id, "chunk", ref.index, "err", f.err)
		writeBody(w, http.StatusForbidden, faultUpstream.refuse("the chunk could not be fetched").envelope())
		return
	}
	if err := b.streamChunk(w, r, ref, f.resp); err != nil {
		b.log.Warn("a chunk was cut", "statement", ref.set.s.id, "chunk", ref.index, "err", err)
		panic(http.ErrAbortHandler) // reset, never a clean end
	}
}

// fetching is a request to the storage. It can outlive the driver's request
// that began it, and is taken over by the next one for the same chunk.
type fetching struct {
	done   chan struct{} // closed once resp or err is set
	resp   *http.Response
	err    error
	cancel context.CancelFunc
	parked *time.Timer // while nobody has it
}

// beginFetch starts a fetch that ends when it is canceled, or with the session.
func (b *Broker) beginFetch(ref chunkRef) *fetching {
	ctx, cancel := context.WithTimeout(context.Background(), chunkTimeout)
	f := &fetching{done: make(chan struct{}), cancel: cancel}
	b.spawn(func(life context.Context) {
		unlink := context.AfterFunc(life, cancel)
		defer unlink()
		f.resp, f.err = b.fetchChunk(ctx, ref) //nolint:bodyclose // closed below, when ctx ends
		close(f.done)
		<-ctx.Done()
		if f.resp != nil {
			_ = f.resp.Body.Close() // the transfer is over either way
		}
	})
	return f
}

// park keeps a fetch for the driver's next attempt.
func (c *chunkSet) park(index int, f *fetching) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parked == nil {
		c.parked = map[int]*fetching{}
	}
	if c.parked[index] != nil {
		f.cancel()
		return
	}
	c.parked[index] = f
	f.parked = time.AfterFunc(parkFor, func() {
		if c.take(index) == f {
			f.cancel()
		}
	})
}

// take hands over the fetch that is kept for a chunk, nil if there is none.
func (c *chunkSet) take(index int) *fetching {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.parked[index]
	if f != nil {
		f.parked.Stop()
		delete(c.parked, index)
	}
	return f
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
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	plain = b.readAhead(ctx, plain)
	if !wantsGzip(r) {
		return maskChunk(out, plain, ref)
	}
	h.Set("Content-Encoding", "gzip")
	packed, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if err := maskChunk(packed, plain, ref); err != nil {
		return err // the stream stays without its end
	}
	return packed.Close()
}

// maskChunk rewrites a chunk to its end.
func maskChunk(out io.Writer, plain io.Reader, ref chunkRef) error {
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
	ok, said := accepts(r, "gzip")
	return ok && said
}

// wantsGzip reports that a client takes nothing but gzip. All drivers offer it,
// and none gains by it: the broker is on the same machine.
func wantsGzip(r *http.Request) bool {
	plain, said := accepts(r, "identity")
	if !said {
		plain, said = accepts(r, "*")
	}
	return said && !plain && acceptsGzip(r)
}

// accepts is what a request says of one content coding (RFC 9110, 12.5.3).
func accepts(r *http.Request, coding string) (ok, said bool) {
	for _, v := range r.Header.Values("Accept-Encoding") {
		for _, e := range strings.Split(v, ",") {
			name, q, _ := strings.Cut(strings.TrimSpace(e), ";")
			if strings.EqualFold(strings.TrimSpace(name), coding) {
				said = true
				weight, hasWeight := strings.CutPrefix(strings.ToLower(strings.ReplaceAll(q, " ", "")), "q=")
				n, err := strconv.ParseFloat(weight, 64)
				ok = ok || !hasWeight || err == nil && n > 0
			}
		}
	}
	return ok, said
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
