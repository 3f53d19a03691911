package intercept

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

var errPeeked = errors.New("intercept: the hello has been read")

// peekHello reads the first message of a TLS client and returns what was read and
// the server name in it, empty if it has none. A message that is not understood
// here may be by another server, one that takes a name with a final dot for example.
func peekHello(ctx context.Context, r io.Reader) (read []byte, name string, understood bool) {
	var seen bytes.Buffer
	srv := tls.Server(readOnly{io.TeeReader(r, &seen)}, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			name, understood = hello.ServerName, true
			return nil, errPeeked
		},
	})
	_ = srv.HandshakeContext(ctx) // it fails, by errPeeked or because there is no hello
	return seen.Bytes(), name, understood
}

// readOnly is a connection that only reads; what is written to it is dropped.
type readOnly struct{ io.Reader }

func (readOnly) Write(b []byte) (int, error)      { return len(b), nil }
func (readOnly) Close() error                     { return nil }
func (readOnly) LocalAddr() net.Addr              { return nil }
func (readOnly) RemoteAddr() net.Addr             { return nil }
func (readOnly) SetDeadline(time.Time) error      { return nil }
func (readOnly) SetReadDeadline(time.Time) error  { return nil }
func (readOnly) SetWriteDeadline(time.Time) error { return nil }
