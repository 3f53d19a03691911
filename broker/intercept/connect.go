package intercept

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jit-access/jit/session/secret"
)

// user is the user name in the proxy's URL; only the password means something.
const user = "jit"

const caughtPort = 443

func digest(s string) [32]byte { return sha256.Sum256([]byte(s)) }

// credential is the Proxy-Authorization of the token.
func credential(token secret.Text) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+token.Reveal()))
}

// serveProxy answers CONNECT and nothing else.
func (p *Proxy) serveProxy(w http.ResponseWriter, r *http.Request) {
	got := digest(r.Header.Get("Proxy-Authorization"))
	if subtle.ConstantTimeCompare(got[:], p.token[:]) != 1 {
		w.Header().Set("Proxy-Authenticate", `Basic realm="jit"`)
		say(w, http.StatusProxyAuthRequired, "jit: this proxy belongs to a session; HTTPS_PROXY of its command holds the password")
		return
	}
	if r.Method != http.MethodConnect {
		say(w, http.StatusMethodNotAllowed, "jit: this proxy is for https only (CONNECT)")
		return
	}
	host, port, err := splitTarget(r.RequestURI)
	if err != nil {
		say(w, http.StatusBadRequest, "jit: the target of a CONNECT is HOST:PORT")
		return
	}
	if Caught(host) {
		if port != caughtPort {
			p.cfg.Refused(r.Context(), fmt.Sprintf("CONNECT to port %d of %s", port, clip(host)))
			say(w, http.StatusForbidden, "jit: Snowflake is reached on port 443 only")
			return
		}
		p.catch(w, host)
		return
	}
	select {
	case p.tunnels <- struct{}{}:
		defer func() { <-p.tunnels }()
	default:
		say(w, http.StatusServiceUnavailable, "jit: too many connections through the proxy at once")
		return
	}
	p.tunnel(w, r, host, net.JoinHostPort(host, strconv.Itoa(port)))
}

func say(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Connection", "close")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n") //nolint:gosec // G705: plain text, and said to be; whoever asked may be gone
}

const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// hijack takes the connection over after the proxy's answer. What the client sent
// already is read first.
func hijack(w http.ResponseWriter) (net.Conn, error) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("taking over a connection: %w", err)
	}
	_ = conn.SetDeadline(time.Time{}) // the server's for headers
	if _, err := io.WriteString(conn, established); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("answering a CONNECT: %w", err)
	}
	if n := buffered.Reader.Buffered(); n > 0 {
		sent := make([]byte, n)
		_, _ = io.ReadFull(buffered.Reader, sent) // they are in memory
		return &readAhead{Conn: conn, sent: sent}, nil
	}
	return conn, nil
}

// readAhead is a connection some of whose bytes were read before.
type readAhead struct {
	net.Conn
	sent []byte
}

func (c *readAhead) Read(b []byte) (int, error) {
	if len(c.sent) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.sent)
	c.sent = c.sent[n:]
	return n, nil
}

// catch gives a connection to the server of caught ones.
func (p *Proxy) catch(w http.ResponseWriter, host string) {
	conn, err := hijack(w)
	if err != nil {
		p.log.Debug("a caught connection failed", "err", err)
		return
	}
	p.caught.put(tls.Server(&caughtConn{conn, host}, p.tlsConfig(host)))
}

// caughtConn remembers the host that its client named.
type caughtConn struct {
	net.Conn
	host string
}

type hostKey struct{}

func withHost(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		if under, ok := t.NetConn().(*caughtConn); ok {
			return context.WithValue(ctx, hostKey{}, under.host)
		}
	}
	return ctx
}

// serveCaught answers a request inside a caught connection, for the host of that
// connection alone.
func (p *Proxy) serveCaught(w http.ResponseWriter, r *http.Request) {
	host, ok := r.Context().Value(hostKey{}).(string)
	asked := canonicalHost(strings.TrimSuffix(r.Host, ":443"))
	if !ok || asked != host {
		p.cfg.Refused(r.Context(), fmt.Sprintf("Host %s in a connection to %s", clip(r.Host), host))
		say(w, http.StatusMisdirectedRequest, "jit: the Host header does not name the host of this connection")
		return
	}
	r.Host = p.cfg.Host
	p.cfg.Handler.ServeHTTP(w, r)
}

// queue is a listener of connections that others accepted.
type queue struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newQueue() *queue { return &queue{conns: make(chan net.Conn), done: make(chan struct{})} }

func (q *queue) put(c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.done:
		_ = c.Close()
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// Addr implements net.Listener; nobody dials it.
func (*queue) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// silent drops net/http's error log, which may quote what a client sent.
func silent() *log.Logger { return log.New(io.Discard, "", 0) }
