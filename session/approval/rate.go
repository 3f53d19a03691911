package approval

import (
	"sync"
	"time"
)

// rates limits how often each caller may call: a bucket of tokens each, which
// fills as time passes. A replica counts for itself.
type rates struct {
	per   float64 // tokens a second
	burst float64
	now   func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// maxBuckets is when full buckets, which say nothing, are thrown away.
const maxBuckets = 10_000

func newRates(perSecond int, now func() time.Time) *rates {
	return &rates{per: float64(perSecond), burst: 4 * float64(perSecond), now: now, buckets: map[string]*bucket{}}
}

// take spends a token of who. If there is none, it says when there will be.
func (r *rates) take(who string) (wait time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	b := r.buckets[who]
	if b == nil {
		if len(r.buckets) >= maxBuckets {
			r.sweep(now)
		}
		b = &bucket{left: r.burst, at: now}
		r.buckets[who] = b
	}
	r.fill(b, now)
	if b.left < 1 {
		return time.Duration((1 - b.left) / r.per * float64(time.Second)), false
	}
	b.left--
	return 0, true
}

func (r *rates) fill(b *bucket, now time.Time) {
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.left = min(r.burst, b.left+passed*r.per)
	}
	b.at = now
}

func (r *rates) sweep(now time.Time) {
	for who, b := range r.buckets {
		if r.fill(b, now); b.left >= r.burst {
			delete(r.buckets, who)
		}
	}
}
