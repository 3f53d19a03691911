package cmd

import "net/netip"

// isLoopback reports whether host is this machine by literal address or by the
// one name that always means it.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
