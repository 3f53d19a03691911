// Package loopback says which host names are this machine, for every rule that
// allows plain http or an open listener there and nowhere else.
package loopback

import (
	"net/netip"
	"strings"
)

// Host reports whether host, without a port and brackets, is this machine: a
// literal loopback address, or "localhost", which RFC 6761 reserves. No name is
// resolved, so that no resolver can widen the answer.
func Host(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
