package cmd

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// certificate is the server's certificate as its files have it now. A renewed
// one is served to new connections; those that are open keep theirs. Files that
// do not go together, as while they are being replaced, leave the old one.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
	seen    [2]fileState
	looked  time.Time
}

// fileState tells whether a file is another than before.
type fileState struct {
	size     int64
	modified time.Time
}

// lookEvery is how often a handshake looks at the files.
const lookEvery = time.Second

func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, now: time.Now}
	return c, c.load()
}

func (c *certificate) states() (out [2]fileState, err error) {
	for i, file := range []string{c.certFile, c.keyFile} {
		fi, err := os.Stat(file)
		if err != nil {
			return out, err
		}
		out[i] = fileState{fi.Size(), fi.ModTime()}
	}
	return out, nil
}

// load reads the files; its caller holds mu, or is alone.
func (c *certificate) load() error {
	seen, err := c.states()
	if err != nil {
		return err
	}
	c.seen = seen // also if they are wrong: then they are looked at when they change
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current = &pair
	return nil
}

// get is tls.Config's GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= lookEvery {
		c.looked = now
		if seen, err := c.states(); err != nil || seen != c.seen {
			c.reload()
		}
	}
	return c.current, nil
}

// reload takes what the files have, or says why not; its caller holds mu.
func (c *certificate) reload() {
	if err := c.load(); err != nil {
		c.log.Error("the certificate's files cannot be used; the old one stays", "cert", c.certFile, "key", c.keyFile, "error", err)
		return
	}
	c.log.Info("another certificate is used from now on", "cert", c.certFile, "expires", c.current.Leaf.NotAfter)
}

// onHangup reloads at every SIGHUP until ctx ends.
func (c *certificate) onHangup(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() { // ends with ctx
		defer signal.Stop(hangup)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangup:
				c.mu.Lock()
				c.reload()
				c.mu.Unlock()
			}
		}
	}()
}

func (o serverOptions) listener(ctx context.Context, log *slog.Logger) (net.Listener, error) {
	var cert *certificate
	if o.TLSCert != "" {
		var err error
		if cert, err = newCertificate(o.TLSCert, o.TLSKey, log); err != nil {
			return nil, err
		}
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil || cert == nil {
		return ln, err
	}
	cert.onHangup(ctx)
	return tls.NewListener(ln, &tls.Config{GetCertificate: cert.get, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}), nil
}
