//go:build load

package approval

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// The load of TestLoad: sessions that are open, decisions a second, and for how
// long. Each decision is a held statement submitted by its session's broker and
// approved by a person, both over HTTP.
const (
	loadSessions = 1000
	loadRate     = 200
	loadTime     = 30 * time.Second
	loadWorkers  = 64
)

// TestLoad measures; it is run by `make load`, not by `make test`. Calls are made
// when they are due, whether the ones before have ended or not, and their time
// counts from then. Server and callers share the process and the machine.
func TestLoad(t *testing.T) {
	for name, url := range map[string]func(testing.TB) string{"sqlite": func(testing.TB) string { return "" }, "postgres": newPostgres} {
		t.Run(name, func(t *testing.T) { loadTest(t, newWorldOn(t, url(t), Limits{})) })
	}
}

func loadTest(t *testing.T, w *world) {
	w.run()
	ctx := t.Context()
	var open []session.Opened
	begun := time.Now()
	for range loadSessions {
		open = append(open, openSessionFor(t, w, localSide{w}, w.dave))
	}
	t.Logf("%d sessions opened in %s, one after the other", len(open), time.Since(begun).Round(time.Millisecond))
	web := &http.Client{Transport: &http.Transport{MaxIdleConns: loadWorkers, MaxIdleConnsPerHost: loadWorkers}}
	defer web.CloseIdleConnections()
	var reviewers []*Client
	for i := range 8 { // each below the limit of one caller
		p := w.bob
		p.Subject, p.Email = "reviewer"+strconv.Itoa(i), "reviewer"+strconv.Itoa(i)+"@example.com"
		reviewers = append(reviewers, NewClient(w.web.URL, loadToken{must[secret.Text](t)(tokens{w, p}.Token(ctx))}, web))
	}
	var (
		mu               sync.Mutex
		submits, decides []time.Duration
		errs             = map[string]int{}
		wg               sync.WaitGroup
		due              = make(chan int, loadRate*int(loadTime/time.Second))
		start            = time.Now()
	)
	note := func(list *[]time.Duration, from time.Time, err error) bool {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			errs[err.Error()]++
			return false
		}
		*list = append(*list, time.Since(from))
		return true
	}
	for range loadWorkers {
		wg.Go(func() {
			for i := range due {
				at := start.Add(time.Duration(i) * time.Second / loadRate)
				o := open[i%len(open)]
				b := NewClient(w.web.URL, nil, web).ForBroker(o.Session.ID, o.Token)
				sub := heldCase(o, fmt.Sprintf("DELETE FROM T WHERE ID = %d", i))
				r, err := b.Submit(ctx, sub)
				if !note(&submits, at, err) {
					continue
				}
				from := time.Now()
				_, err = reviewers[i%len(reviewers)].Decide(ctx, r.ID, approveIt(sub.Case.Digest()))
				note(&decides, from, err)
			}
		})
	}
	tick := time.NewTicker(time.Second / loadRate)
	for i := range cap(due) {
		<-tick.C
		due <- i
	}
	tick.Stop()
	close(due)
	wg.Wait()
	took := time.Since(start)
	t.Logf("%d decisions in %s: %.0f a second, on %d processors", len(decides), took.Round(time.Millisecond), float64(len(decides))/took.Seconds(), runtime.NumCPU())
	t.Logf("submit, from when it was due: p50 %s, p99 %s, longest %s", quantile(submits, 50), quantile(submits, 99), quantile(submits, 100))
	t.Logf("decide: p50 %s, p99 %s, longest %s", quantile(decides, 50), quantile(decides, 99), quantile(decides, 100))
	t.Logf("errors: %d %v; resident memory of server and callers: %s", len(errs), errs, residentMemory())
	if len(errs) > 0 || len(decides) != cap(due) {
		t.Errorf("%d of %d decisions were made, with errors %v", len(decides), cap(due), errs)
	}
}

// loadToken signs in once: signing is the identity provider's work.
type loadToken struct{ secret.Text }

func (f loadToken) Token(context.Context) (secret.Text, error) { return f.Text, nil }

func quantile(list []time.Duration, percent int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(len(list)-1, len(list)*percent/100)].Round(100 * time.Microsecond)
}

func residentMemory() string {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return "at most " + strings.TrimSpace(v)
		}
	}
	return "unknown"
}
