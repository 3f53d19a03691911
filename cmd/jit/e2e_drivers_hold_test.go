//go:build e2e

package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// holdFor is how long every client's statement is held: longer than the 45 s
// after which Snowflake, and jit, answer a driver "in progress", and than the
// 60 s of the shortest read timeout of a driver.
func holdFor() time.Duration {
	if update || os.Getenv("JIT_TEST_LONG") == "1" {
		return 3 * time.Minute
	}
	return 65 * time.Second
}

// The cases of a long hold and of canceling, in the words of
// docs/compatibility.md.
const (
	caseLongHold   = "held for long"
	caseCancelHeld = "canceled while held"
	caseCancelRun  = "canceled while running"
)

// waitingClient is a client in TestDrivers' long hold.
type waitingClient struct {
	client
	t                     *testing.T
	e                     *execution
	steps                 []step
	held, withdrawn, slow string // statements: held for long, canceled while held, canceled while running
	cancelHeld, cancelRun string // the files that make the client cancel
	request               string
	since                 time.Time
}

// testHeld holds a statement of every client for long, all at the same time;
// then each cancels a held statement and a running one, and goes on.
func testHeld(t *testing.T, clients []client, report *compatibility) {
	up, hold := shared.scripted(t), holdFor()
	var all []*waitingClient
	for _, c := range clients {
		report.expect(c, caseLongHold, caseCancelHeld, caseCancelRun)
		w := &waitingClient{client: c, t: t, held: scratch(), withdrawn: scratch(), slow: "select * from slow limit " + mark()}
		if c.name == "dbt" { // it shows what a query gives; this one is held for its predicate
			w.held, w.withdrawn = heldRead(), heldRead()
		}
		w.cancelHeld, w.cancelRun = filepath.Join(t.TempDir(), "held"), filepath.Join(t.TempDir(), "run")
		steps := []step{{SQL: w.held}, {SQL: w.withdrawn, CancelFile: w.cancelHeld}, {SQL: w.slow, CancelFile: w.cancelRun}}
		if c.stays { // the table says no
			steps = steps[:1]
		}
		w.steps = append(steps, step{SQL: "select * from typed_core_" + c.formats()[0]})
		w.e = shared.alice.execFor(t, hold+8*limit, up, []string{"--hold", "15m"}, c.agent, w.steps...)
		all = append(all, w)
	}
	for _, w := range all {
		w.request, w.since = w.awaitRequest(w.held), time.Now()
	}
	for _, w := range all {
		time.Sleep(time.Until(w.since.Add(hold)))
		if seen := outcomes(t, w.e.soFar()); len(seen) != 0 || up.tap.ran(w.held) != 0 {
			t.Errorf("%s: an answer, or a run, before the approval: %v", w.name, seen)
		}
		shared.bob.must(t, "approve", w.request)
	}
	for _, w := range all {
		t.Run(w.name, func(t *testing.T) {
			note := func(name string, test func(*testing.T)) {
				passed := t.Run(name, func(t *testing.T) {
					w.t = t
					test(t)
				})
				w.t = t
				report.note(w.client, "", name, passed)
			}
			note(caseLongHold, func(t *testing.T) { w.testLong(t, up, hold) })
			if !w.stays {
				note(caseCancelHeld, func(t *testing.T) { w.testCancelHeld(t, up) })
				note(caseCancelRun, func(t *testing.T) { w.testCancelRun(t) })
			}
			if r := w.e.wait(); r.code != 0 || len(outcomes(t, r)) != len(w.steps) || outcomes(t, r)[len(w.steps)-1].Error != nil {
				t.Errorf("the client does not go on: %s", r)
			}
		})
	}
}

// heldRead is a query that is held: its predicate reads a classified column.
func heldRead() string { return "select id from customers where ssn is not null limit " + mark() }

// awaitRequest waits until a statement is held and returns its request.
func (w *waitingClient) awaitRequest(sql string) (id string) {
	w.t.Helper()
	w.awaitLong("a request for "+sql, func() bool {
		statement := ""
		for _, ev := range w.e.events(w.t) {
			switch {
			case ev.Kind == "statement" && strings.Contains(strings.ToLower(ev.SQL.Text), strings.ToLower(sql)):
				statement = ev.SQL.Text
			case ev.Kind == "request" && statement != "":
				id = ev.Request.ID
			}
		}
		return id != ""
	})
	return id
}

// answer is the outcome of a step, once it is there.
func (w *waitingClient) answer(step int) outcome {
	w.t.Helper()
	w.awaitLong(fmt.Sprintf("an answer to step %d", step), func() bool { return len(outcomes(w.t, w.e.soFar())) > step })
	return outcomes(w.t, w.e.soFar())[step]
}

func (w *waitingClient) awaitLong(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(4 * limit); !sessionOpen.MatchString(w.e.stderr.String()) || !ok(); time.Sleep(100 * time.Millisecond) {
		select {
		case <-w.e.done:
			if ok() {
				return
			}
			w.t.Fatalf("%s ended before %s: %s", w.name, what, w.e.wait())
		default:
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: no %s: %s", w.name, what, w.e.soFar())
		}
	}
}

func (w *waitingClient) testLong(t *testing.T, up *upstream, hold time.Duration) {
	o := w.answer(0)
	if o.Error != nil {
		t.Errorf("after the hold: %s\n%s", o, w.e.soFar())
	}
	if took := time.Duration(o.MS) * time.Millisecond; took < hold {
		t.Errorf("it took %s, and was held for %s", took, hold)
	}
	if n := up.tap.ran(w.held); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

func (w *waitingClient) testCancelHeld(t *testing.T, up *upstream) {
	id := w.awaitRequest(w.withdrawn)
	touch(t, w.cancelHeld)
	if o := w.answer(1); o.Error == nil {
		t.Errorf("the canceled statement succeeded: %s", o)
	}
	if r := shared.bob.jit(t, "approve", id); r.code == 0 {
		t.Errorf("the canceled request could still be approved: %s", r)
	}
	if n := up.tap.ran(w.withdrawn); n != 0 {
		t.Errorf("the canceled statement ran %d times", n)
	}
}

func (w *waitingClient) testCancelRun(t *testing.T) {
	var request, query string
	w.awaitLong("a run of "+w.slow, func() bool {
		for _, x := range scriptedUpstream.server.Executed() {
			if strings.EqualFold(x.SQL, w.slow) {
				request, query = x.RequestID, x.QueryID
			}
		}
		return request != ""
	})
	touch(t, w.cancelRun)
	if o := w.answer(2); o.Error == nil {
		t.Errorf("the canceled statement succeeded: %s", o)
	}
	w.awaitLong("an abort upstream", func() bool {
		aborted := scriptedUpstream.server.Aborted()
		return slices.Contains(aborted, request) || slices.Contains(aborted, query)
	})
}
