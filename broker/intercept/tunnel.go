package intercept

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"golang.org/x/net/proxy"
)

var errReserved = errors.New("this proxy leads to no address of this machine or its links")

// tunnel connects the client with a host that is none of the broker's.
func (p *Proxy) tunnel(w http.ResponseWriter, r *http.Request, host, target string) {
	if reservedName(host) {
		say(w, http.StatusForbidden, "jit: "+errReserved.Error()+"; connect to it directly")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), dialTimeout)
	up, err := p.dial(ctx, target)
	cancel()
	if err != nil {
		p.log.Debug("a tunnel could not be opened", "err", err)
		if errors.Is(err, errReserved) {
			say(w, http.StatusForbidden, "jit: "+errReserved.Error()+"; connect to it directly")
			return
		}
		say(w, http.StatusBadGateway, "jit: could not connect to "+target)
		return
	}
	conn, err := hijack(w)
	if err != nil {
		_ = up.Close()
		return
	}
	if !p.track(conn, up) {
		return
	}
	defer p.untrack(conn, up)
	answered := make(chan struct{})
	go func() { // ends when either side is closed
		defer close(answered)
		_, _ = io.Copy(conn, up) // a tunnel ends when it ends
		closeWrite(conn)
	}()
	if p.screen(r.Context(), conn, up) {
		closeWrite(up)
		<-answered
	}
}

// screen copies what the client sends, unless it begins a TLS connection to a
// caught host (the client found its address otherwise and named that) or one whose
// host cannot be told.
func (p *Proxy) screen(ctx context.Context, conn, up net.Conn) (ok bool) {
	var sent [1]byte
	if _, err := io.ReadFull(conn, sent[:]); err != nil {
		return true // nothing was sent; the other direction may go on
	}
	read := io.MultiReader(bytes.NewReader(sent[:]), conn)
	first := sent[:]
	if sent[0] == 0x16 { // a TLS handshake
		hello, name, understood := peekHello(ctx, read)
		if !understood {
			p.cfg.Refused(ctx, "a TLS connection that begins with no plain client hello")
			return false
		}
		if host := canonicalHost(name); Caught(host) {
			p.cfg.Refused(ctx, "TLS server name "+clip(host)+" in a connection to another host")
			return false
		}
		first = hello
	}
	if _, err := up.Write(first); err != nil {
		return false
	}
	_, err := io.Copy(up, conn)
	return err == nil
}

// dial connects to target as the parent of the child would have.
func (p *Proxy) dial(ctx context.Context, target string) (net.Conn, error) {
	via, err := p.cfg.Parent(&url.URL{Scheme: "https", Host: target})
	if err != nil {
		return nil, fmt.Errorf("reading the parent's proxy: %w", err)
	}
	if via == nil {
		d := &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
			// Checked where it is dialled: a name may resolve to anything, twice.
			a, err := netip.ParseAddrPort(address)
			if err != nil || reserved(a.Addr()) || own(a.Addr()) {
				return errReserved
			}
			return nil
		}}
		return d.DialContext(ctx, "tcp", target)
	}
	return dialVia(ctx, via, target)
}

// CheckParent refuses a parent's proxy that tunnels could not go through.
func CheckParent(via *url.URL) error {
	switch via.Scheme {
	case "http", "https", "socks5", "socks5h":
		return nil
	}
	return fmt.Errorf("proxies of kind %q cannot be used; http, https, socks5 and socks5h can", via.Scheme)
}

func dialVia(ctx context.Context, via *url.URL, target string) (net.Conn, error) {
	direct := &net.Dialer{}
	switch via.Scheme {
	case "socks5", "socks5h":
		d, err := proxy.FromURL(via, direct)
		if err != nil {
			return nil, fmt.Errorf("using the parent's proxy: %w", err)
		}
		c, ok := d.(proxy.ContextDialer)
		if !ok {
			return nil, errors.New("using the parent's proxy: it cannot be interrupted")
		}
		return c.DialContext(ctx, "tcp", target)
	case "http", "https":
	default:
		return nil, CheckParent(via)
	}
	port := via.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[via.Scheme]
	}
	conn, err := direct.DialContext(ctx, "tcp", net.JoinHostPort(via.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("connecting to the parent's proxy: %w", err)
	}
	if via.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: via.Hostname(), MinVersion: tls.VersionTLS12})
	}
	through, err := askThrough(ctx, conn, via, target)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return through, nil
}

// askThrough sends the parent's proxy a CONNECT of its own.
func askThrough(ctx context.Context, conn net.Conn, via *url.URL, target string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target, Header: http.Header{}}
	if via.User != nil {
		password, _ := via.User.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(via.User.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return nil, fmt.Errorf("asking the parent's proxy: %w", err)
	}
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, req) //nolint:bodyclose // the answer to a CONNECT has no body; what follows is the tunnel
	if err != nil {
		return nil, fmt.Errorf("asking the parent's proxy: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking the parent's proxy: it answered %d", res.StatusCode)
	}
	if n := r.Buffered(); n > 0 {
		sent := make([]byte, n)
		_, _ = io.ReadFull(r, sent) // they are in memory
		return &readAhead{Conn: conn, sent: sent}, nil
	}
	return conn, nil
}

// track notes connections that Serve must close; false if it has ended.
func (p *Proxy) track(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.ended {
			_ = c.Close()
			continue
		}
		p.open[c] = struct{}{}
	}
	return !p.ended
}

func (p *Proxy) untrack(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // a tunnel ends as a whole
		delete(p.open, c)
	}
}

// closeTunnels ends all tunnels and waits until their goroutines are gone.
func (p *Proxy) closeTunnels() {
	p.mu.Lock()
	p.ended = true
	for c := range p.open {
		_ = c.Close()
	}
	p.mu.Unlock()
	for range maxTunnels {
		p.tunnels <- struct{}{}
	}
}

// closeWrite tells the other side that nothing follows.
func closeWrite(c net.Conn) {
	if r, ok := c.(*readAhead); ok {
		c = r.Conn
	}
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite() // the connection may be gone
		return
	}
	_ = c.Close()
}
