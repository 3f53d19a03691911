package approval

import (
	"net"
	"net/http"
	"sync"
)

// freshConns are connections that have not sent a byte yet. Clients dial ahead
// of need; http.Server.Shutdown gives such a connection five seconds to speak,
// though nothing was asked on it that could get lost.
type freshConns struct {
	mu      sync.Mutex
	open    map[net.Conn]bool
	stopped bool
}

// track is http.Server's ConnState.
func (f *freshConns) track(c net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(f.open, c)
	case f.stopped:
		_ = c.Close()
	default:
		f.open[c] = true
	}
}

// close closes them all, and those that still come.
func (f *freshConns) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	for c := range f.open {
		_ = c.Close()
	}
}
