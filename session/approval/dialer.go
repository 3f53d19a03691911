package approval

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// publicDialer connects to public addresses only, and to networks that the
// operator allows. The address is checked when it is dialled, after name
// resolution: a name that resolves to something else the second time gains
// nothing.
type publicDialer struct{ allow []netip.Prefix }

var errPrivateAddress = errors.New("the address is not public")

// special are networks beyond those that package netip knows, where an address
// is not, or may stand for one that is not, a public host's.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, broadcast
	netip.MustParsePrefix("64:ff9b::/96"),    // NAT64
	netip.MustParsePrefix("64:ff9b:1::/48"),  // NAT64, local
	netip.MustParsePrefix("2001::/32"),       // Teredo
	netip.MustParsePrefix("2002::/16"),       // 6to4
	netip.MustParsePrefix("::/96"),           // IPv4-compatible
	netip.MustParsePrefix("fec0::/10"),       // site-local
	netip.MustParsePrefix("100::/64"),        // discard
	netip.MustParsePrefix("::ffff:0:0:0/96"), // translated IPv4
}

func (d *publicDialer) check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	for _, p := range d.allow {
		if p.Contains(addr) {
			return nil
		}
	}
	if !addr.IsGlobalUnicast() || addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() {
		return errPrivateAddress
	}
	for _, p := range special {
		if p.Contains(addr) {
			return errPrivateAddress
		}
	}
	return nil
}

// checkHost refuses early what is an address, and a private one, by its looks.
func (d *publicDialer) checkHost(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		return d.check(addr)
	}
	return nil
}

// allowsPlain reports whether host is an address that the operator allows:
// there, and only there, a webhook may go without TLS.
func (d *publicDialer) allowsPlain(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, p := range d.allow {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

func (d *publicDialer) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return errPrivateAddress
	}
	return d.check(ap.Addr())
}

// client calls webhooks: no proxy, no redirects, nothing kept of the answer.
func (d *publicDialer) client() *http.Client {
	nd := &net.Dialer{Timeout: 10 * time.Second, Control: d.control}
	return &http.Client{
		Timeout:       15 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: nd.DialContext, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 15 * time.Second,
			IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true, DisableCompression: true,
		},
	}
}
