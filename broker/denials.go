package broker

import (
	"sync"
	"time"

	"github.com/jit-access/jit/session"
)

const (
	// denialLife is how long a reviewer's no answers the same case.
	denialLife  = 10 * time.Minute
	denialsMost = 1024
)

// denials are the cases reviewers said no to a short while ago. The same case
// sent again gets the same answer, and nobody is asked again: an agent that
// retries must not wear reviewers down. A case is text, binds, context, policy
// and meaning, so that anything a reviewer could see differently asks anew.
// The zero value is empty.
type denials struct {
	mu   sync.Mutex
	list map[string]denial // by digest
}

type denial struct {
	req   session.Request // as it was denied
	kase  session.Case
	until time.Time
}

func (d *denials) put(digest string, kase session.Case, req session.Request, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.list == nil || len(d.list) >= denialsMost {
		d.list = map[string]denial{}
	}
	d.list[digest] = denial{req, kase, now.Add(denialLife)}
}

// get returns the denied request of a case with this digest and these facts.
func (d *denials) get(digest string, kase session.Case, now time.Time) (denial, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	no, ok := d.list[digest]
	if ok && !now.Before(no.until) {
		delete(d.list, digest)
		return denial{}, false
	}
	return no, ok && sameFacts(no.kase, kase)
}
