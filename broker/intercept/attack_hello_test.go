package intercept

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

// helloOf is the first message of a TLS client that asks for name.
func helloOf(t *testing.T, name string) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close() //nolint:errcheck // test
	go func() {
		_ = tls.Client(theirs, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake() //nolint:gosec // only its hello is of interest
		_ = theirs.Close()
	}()
	_ = ours.SetDeadline(time.Now().Add(patient))
	head := make([]byte, 5)
	if _, err := io.ReadFull(ours, head); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(ours, rest); err != nil {
		t.Fatal(err)
	}
	return append(head, rest...)
}

// TestAttackHelloThatOnlyOthersUnderstand names a caught host in hellos that Go's
// TLS server refuses to read, for a final dot or a name said twice, and that
// other servers answer. None of it goes up a tunnel to another host.
func TestAttackHelloThatOnlyOthersUnderstand(t *testing.T) {
	dotted := bytes.Replace(helloOf(t, account+"x"), []byte(account+"x"), []byte(account+"."), 1)
	if !bytes.Contains(dotted, []byte(account+".")) {
		t.Fatal("the hello does not hold the name")
	}
	cut := helloOf(t, account)
	cut[len(cut)-1]++ // the last extension's
	cut[5+3]--        // the message ends before its record
	for what, hello := range map[string][]byte{"a final dot": dotted, "a length that lies": cut} {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan []byte, 1)
		go func() {
			c, err := ln.Accept()
			if err != nil {
				got <- nil
				return
			}
			all, _ := io.ReadAll(c)
			_ = c.Close()
			got <- all
		}()
		via, _ := parentProxy(t, ln.Addr().String())
		r := newRig(t, func(*url.URL) (*url.URL, error) { return via, nil })
		c, _, _ := r.connect(connectTo("203.0.113.7:443"))
		if _, err := c.Write(hello); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("%s: the connection stayed open: %v", what, err)
		}
		_ = c.Close() // had the hello gone through, the tunnel would stand
		if all := <-got; len(all) > 0 {
			t.Errorf("%s: %d bytes of the hello went through", what, len(all))
		}
		if !strings.Contains(r.notes(), "client hello") {
			t.Errorf("%s: nobody was told: %q", what, r.notes())
		}
		_ = ln.Close()
	}
}

// TestAttackThisMachineByItsOtherAddresses reaches for services of this machine by
// the addresses that are neither loopback nor a link's, and by a NAT64 prefix.
func TestAttackThisMachineByItsOtherAddresses(t *testing.T) {
	r := newRig(t, nil)
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			t.Fatal(err)
		}
		if !own(p.Addr()) {
			t.Errorf("%s is not known as this machine's", p.Addr())
		}
		target := net.JoinHostPort(p.Addr().String(), "9")
		if _, res, body := r.connect(connectTo(target)); res.StatusCode != 403 {
			t.Errorf("%s: %s %s", target, res.Status, body)
		}
	}
	for text, want := range map[string]bool{"64:ff9b::7f00:1": true, "64:ff9b::a9fe:a9fe": true, "64:ff9b::5db8:d822": false} {
		if got := reserved(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if own(netip.MustParseAddr("203.0.113.7")) {
		t.Error("a stranger's address passes for this machine's")
	}
}
