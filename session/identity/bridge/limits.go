package bridge

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// What strangers may take is limited by where they come from, so that one of
// them does not keep everybody out, and then for all together.
const (
	maxCodes       = 10_000 // open at once
	maxCodesFrom   = 200
	wrongPerMin    = 600 // user codes that nobody was given
	wrongFrom      = 30
	maxLogins      = 10_000 // sign-in pages under way
	maxLoginsTo    = 5      // for one code
	maxCountedFrom = 10_000 // addresses that guesses are counted for
)

// guesses counts the wrong codes of one minute.
type guesses struct {
	since time.Time
	all   int
	from  map[string]int
}

// over reports whether whoever asks from an address may not guess any more. own
// is whether the code that they have was asked for from that address: it is no
// guess then, and the limit for all is not theirs.
func (g *guesses) over(now time.Time, from string, own bool) bool {
	if g.from == nil || now.Sub(g.since) >= time.Minute {
		*g = guesses{since: now, from: map[string]int{}}
	}
	return g.from[from] >= wrongFrom || g.all >= wrongPerMin && !own
}

func (g *guesses) wrong(from string) {
	g.all++
	if len(g.from) < maxCountedFrom {
		g.from[from]++
	}
}

// address is where a request comes from: with a proxy in front, what that added
// last to X-Forwarded-For. What stands before it is what the client says.
func (b *Bridge) address(r *http.Request) string {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	if all := r.Header.Values("X-Forwarded-For"); b.cfg.BehindProxy && len(all) > 0 {
		list := strings.Split(all[len(all)-1], ",")
		if a, err := netip.ParseAddr(strings.TrimSpace(list[len(list)-1])); err == nil {
			from = a.Unmap().WithZone("").String()
		}
	}
	return from
}

// place is what is counted together: an address, or the IPv6 network of one
// customer, who has 2^64 addresses.
func place(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Unmap().Is4() {
		return address
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return p.String()
}

// full reports whether one more code may not be given to an address. The caller
// holds mu.
func (b *Bridge) full(from string) bool {
	n := 0
	for _, c := range b.codes {
		if place(c.from) == place(from) {
			n++
		}
	}
	return n >= maxCodesFrom || len(b.codes) >= maxCodes
}
