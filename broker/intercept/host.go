package intercept

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// domains are caught, and all names below them: accounts, their regions and
// clouds, and the names of private links (ACCOUNT.privatelink.…).
var domains = [...]string{"snowflakecomputing.com", "snowflakecomputing.cn"}

// Caught reports whether a host, in canonical form, is answered by the broker.
func Caught(host string) bool {
	for _, d := range domains {
		if below(host, d) {
			return true
		}
	}
	return false
}

func below(host, domain string) bool {
	return host == domain || strings.HasSuffix(host, "."+domain)
}

// canonicalHost is a host name in lower case without its final dot. What is no
// host name or address stays what it is, and is refused by splitTarget.
func canonicalHost(host string) string {
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

var errTarget = errors.New("not HOST:PORT")

// splitTarget reads the target of a CONNECT: a DNS name of ASCII letters, digits,
// hyphens, underscores and dots, or an IP address, and a port.
func splitTarget(target string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(target)
	if err != nil {
		return "", 0, errTarget
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 || strconv.Itoa(port) != text {
		return "", 0, errTarget
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String(), port, nil
	}
	host = canonicalHost(host)
	if len(host) == 0 || len(host) > 253 {
		return "", 0, errTarget
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return "", 0, errTarget
		}
		for _, c := range []byte(label) {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return "", 0, errTarget
			}
		}
	}
	return host, port, nil
}

// metadata services that are not link-local.
var metadata = [...]netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // AWS, over IPv6
	netip.MustParseAddr("100.100.100.200"), // Alibaba Cloud
	netip.MustParseAddr("168.63.129.16"),   // Azure
}

// translated are the addresses that stand for IPv4 ones behind a NAT64 gateway
// (RFC 6052).
var translated = netip.MustParsePrefix("64:ff9b::/96")

// reserved reports whether no tunnel leads to ip: this machine, its links, and
// metadata services.
func reserved(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if all := ip.As16(); ip.Is6() && translated.Contains(ip) {
		ip = netip.AddrFrom4([4]byte(all[12:]))
	}
	for _, m := range metadata {
		if ip == m {
			return true
		}
	}
	return ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsInterfaceLocalMulticast()
}

// own reports whether ip is one of this machine's other addresses. If they cannot
// be told, each may be.
func own(ip netip.Addr) bool {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	ip = ip.Unmap().WithZone("")
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap().WithZone("") == ip {
			return true
		}
	}
	return false
}

// reservedName is reserved for a host that somebody else will resolve.
func reservedName(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return reserved(ip)
	}
	// A number that is no address is one to some resolvers: 2130706433, 127.1.
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64)
	return err == nil || below(host, "localhost") || host == "metadata.google.internal"
}

// NoProxy drops what would lead caught hosts past the proxy from a NO_PROXY
// value; the proxy itself honours what the parent had.
func NoProxy(value string) string {
	var kept []string
	for entry := range strings.SplitSeq(value, ",") {
		entry = strings.TrimSpace(entry)
		name := strings.ToLower(entry)
		if h, _, err := net.SplitHostPort(name); err == nil {
			name = h
		}
		name = strings.Trim(strings.TrimPrefix(name, "*"), ".")
		covers := strings.Trim(entry, "*. ") == ""
		for _, d := range domains {
			covers = covers || below(name, d) || below(d, name)
		}
		if !covers {
			kept = append(kept, entry)
		}
	}
	return strings.Join(kept, ",")
}

// clip shortens what a client sent, for people, and shows nothing that could
// move a cursor.
func clip(s string) string {
	out := strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
	if len(out) > 60 {
		out = out[:60] + "..."
	}
	return out
}
