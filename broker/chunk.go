package broker

import (
	"encoding/json"
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
	chunkHeader = "X-Jit-Chunk"
	chunksMost  = 100000 // per broker
)

// chunkSet is the chunks of one result.
type chunkSet struct {
	l        *login
	s        *statement
	queryID  string
	secret   digestKey
	rewrites []snowflake.Rewrite
	arrow    bool
	since    time.Time

	mu      sync.Mutex // guards what follows: refreshed when addresses expire
	urls    []string
	headers http.Header
	parked  map[int]*fetching // by index, without an owner
}

type chunkRef struct {
	set   *chunkSet
	index int
	rows  int64
	cells []snowflake.Rewrite // of the SQL API: how its cells differ, masks among them
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

// makeRoom drops, if n more do not fit, the chunks of results as old as those
// that are not remembered: reading the result again publishes them anew.
func (t *chunkTable) makeRoom(n int, now time.Time) {
	t.mu.Lock()
	full := len(t.refs)+n > chunksMost
	t.mu.Unlock()
	if full {
		t.forget(func(set *chunkSet) bool { return now.Sub(set.since) > rememberFor })
	}
}

// forget drops the chunks that gone says nobody can ask for any more.
func (t *chunkTable) forget(gone func(*chunkSet) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, ref := range t.refs {
		if gone(ref.set) {
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
	set := &chunkSet{l: l, s: s, queryID: id, secret: keyOf(token.Reveal()), rewrites: rewrites, urls: urls, headers: headers, since: time.Now()}
	b.chunks.makeRoom(len(list), set.since)
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
		if !b.chunks.put(name.Reveal(), chunkRef{set: set, index: i, rows: rows}) {
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
