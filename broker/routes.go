package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/session/recording"
)

// Limits of the listener.
const (
	headerTimeout  = 10 * time.Second
	bodyTimeout    = 60 * time.Second
	answerTimeout  = 2 * time.Minute // a long poll and a slow reader
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	maxSmallBody   = 1 << 20 // every endpoint but the query one
)

// ErrNotLoopback refuses to serve where others could connect.
var ErrNotLoopback = errors.New("the broker listens on loopback addresses only")

// handler answers one route. id is the variable path segment, if any.
type handler func(b *Broker, w http.ResponseWriter, r *http.Request, id string)

// route is one row of the table of what is served. Everything else is refused.
type route struct {
	method         string
	prefix, suffix string // the id stands between them; no suffix and no trailing slash = exact path
	variable       bool
	handle         handler
}

var routes = [...]route{
	{http.MethodPost, snowflake.PathLogin, "", false, (*Broker).serveLogin},
	{http.MethodPost, snowflake.PathRenew, "", false, (*Broker).serveRenew},
	{http.MethodPost, snowflake.PathHeartbeat, "", false, (*Broker).serveHeartbeat},
	{http.MethodPost, snowflake.PathSession, "", false, (*Broker).serveDelete},
	{http.MethodPost, snowflake.PathQuery, "", false, (*Broker).serveQuery},
	{http.MethodPost, snowflake.PathAbort, "", false, (*Broker).serveAbort},
	{http.MethodPost, snowflake.PathTelemetry, "", false, (*Broker).serveTelemetry},
	{http.MethodPost, snowflake.PathTelemetry + "/sessionless", "", false, (*Broker).serveTelemetry},
	{http.MethodPost, "/session/authenticator-request", "", false, (*Broker).serveAuthenticator},
	{http.MethodPost, "/queries/", "/abort-request", true, (*Broker).serveAbortByID},
	{http.MethodGet, "/queries/", "/result", true, (*Broker).serveResult},
	{http.MethodGet, "/monitoring/queries/", "", true, (*Broker).serveMonitoring},
	{http.MethodGet, doubledSlash, "", true, (*Broker).serveMonitoring},
	{http.MethodGet, chunkPrefix, "", true, (*Broker).serveChunk},
	{http.MethodPost, snowflake.PathStatements, "", false, (*Broker).serveSubmit},
	{http.MethodGet, snowflake.PathStatements + "/", "", true, (*Broker).serveHandle},
	{http.MethodPost, snowflake.PathStatements + "/", "/cancel", true, (*Broker).serveCancel},
	{http.MethodGet, PathRequests, "", true, (*Broker).serveRequest},
}

// doubledSlash is how the Python connector 5.2 spells the monitoring path; the
// only doubled slash that is let through, to this one route.
const doubledSlash = "/monitoring/queries//"

// match returns the variable segment if path is this route's.
func (t route) match(path string) (string, bool) {
	if !t.variable {
		return "", path == t.prefix
	}
	id, ok := strings.CutPrefix(path, t.prefix)
	if !ok {
		return "", false
	}
	if id, ok = strings.CutSuffix(id, t.suffix); !ok || !plainSegment(id) {
		return "", false
	}
	return id, true
}

// plainSegment accepts the characters of UUIDs and base64url, nothing a path
// cleaner or decoder would change.
func plainSegment(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// names are the Host values a listener answers to.
type names map[string]bool

func listenerNames(addr net.Addr) (names, error) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() {
		return nil, fmt.Errorf("%w: not %v", ErrNotLoopback, addr)
	}
	port := strconv.Itoa(tcp.Port)
	ip, _ := netip.AddrFromSlice(tcp.IP)
	return names{
		net.JoinHostPort(ip.Unmap().String(), port): true,
		net.JoinHostPort("localhost", port):         true,
	}, nil
}

// ServeHTTP checks the request line and finds the route.
func (b *Broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if why := b.refuseLine(r); why != "" {
		b.refuseRoute(w, r, why)
		return
	}
	for _, t := range routes {
		if id, ok := t.match(r.URL.Path); ok {
			if r.Method != t.method {
				b.refuseRoute(w, r, "method")
				return
			}
			t.handle(b, w, r, id)
			return
		}
	}
	b.refuseRoute(w, r, "path")
}

// refuseLine names what is wrong with the request line or the headers that
// identify the caller; empty if nothing is.
func (b *Broker) refuseLine(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	switch {
	case r.ProtoMajor != 1 || r.ProtoMinor != 1:
		return "http version"
	case r.Method == http.MethodConnect, !strings.HasPrefix(path, "/"):
		return "request form" // proxy requests, OPTIONS *
	case strings.ContainsAny(path, "%\\;") || strings.Contains(strings.TrimPrefix(path, doubledSlash), "//") || strings.Contains(path, "/."):
		return "path form"
	case r.URL.Path != path:
		return "path form"
	case !b.names[strings.ToLower(r.Host)]:
		return "host" // another name for this address: DNS rebinding
	case r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "":
		return "origin" // a browser
	case r.Header.Get("Upgrade") != "":
		return "upgrade"
	}
	return ""
}

// refuseRoute answers what is not served, and records it.
func (b *Broker) refuseRoute(w http.ResponseWriter, r *http.Request, why string) {
	b.NoteRefused(r.Context(), why+": "+clip(r.Method+" "+r.URL.Path, 200))
	if strings.HasPrefix(r.URL.Path, sqlAPIFamily) {
		status := http.StatusNotFound
		if why == "method" {
			status = http.StatusMethodNotAllowed
		}
		refuseAPI(w, status)
		return
	}
	body := faultRoute.refuse("this endpoint is not served").envelope()
	writeBody(w, http.StatusNotFound, body)
}

// NoteRefused records what was refused without being a statement, within a rate,
// so that a scan cannot fill the recording.
func (b *Broker) NoteRefused(ctx context.Context, note string) {
	if n, ok := b.protocolRate.take(time.Now()); ok {
		if n > 0 {
			note += fmt.Sprintf(" (and %d more before it)", n)
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
		defer cancel()
		if _, err := b.cfg.Record(ctx, recording.Event{Kind: recording.KindProtocol, Note: oneLine(note)}); err != nil {
			b.log.Error("recording a refused request failed", "err", err)
		}
	}
	b.log.Warn("refused a request outside the route table")
}

// writeAnswer writes an envelope. What has a meaning is always HTTP 200:
// drivers retry or give up on other codes without reading the body.
func writeAnswer(w http.ResponseWriter, body []byte) { writeBody(w, http.StatusOK, body) }

func writeBody(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = []string{snowflake.ContentType}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h["Cache-Control"] = []string{"no-store"}
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // G705: JSON with its type, for drivers; a driver that has gone asks again
}

// readSmall reads a body that is never large.
func readSmall(r *http.Request) ([]byte, error) {
	return snowflake.ReadBody(r.Body, r.Header.Get("Content-Encoding"), maxSmallBody)
}

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
