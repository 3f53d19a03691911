package approval

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
)

// cluster is three replicas of the server on one database.
type cluster struct {
	*world
	replicas []*httptest.Server
	stores   []*Store
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	w := newWorldOn(t, newPostgres(t), Limits{})
	c := &cluster{world: w, replicas: []*httptest.Server{w.web}, stores: []*Store{w.store}}
	for range 2 {
		w.open(Limits{})
		web := httptest.NewServer(w.server.Handler())
		t.Cleanup(web.Close)
		c.replicas, c.stores = append(c.replicas, web), append(c.stores, w.store)
	}
	return c
}

func (c *cluster) at(replica int, p session.Principal) *Client {
	return NewClient(c.replicas[replica%len(c.replicas)].URL, tokens{c.world, p}, nil)
}

// Whatever replica deciders ask, exactly one decision has effect, and openers
// and redeemers are no different.
func TestReplicasDecideOnce(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	for round := range 5 {
		r := must[session.Request](t)(c.at(round, c.alice).Submit(ctx, sessionSubmission()))
		var (
			wg  sync.WaitGroup
			mu  sync.Mutex
			won []session.Choice
		)
		for i := range 6 {
			wg.Go(func() {
				who := []session.Principal{c.bob, c.carol}[i/3]
				choice := session.Choice{Outcome: session.OutcomeApprove, Reason: fmt.Sprint(i)}
				if i%2 == 1 {
					choice.Outcome = session.OutcomeDeny
				}
				_, err := c.at(i, who).Decide(ctx, r.ID, choice)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won = append(won, choice)
				case !errors.Is(err, session.ErrConflict):
					t.Errorf("deciding: %v", err)
				}
			})
		}
		wg.Wait()
		got := must[session.Request](t)(c.at(round+1, c.alice).Request(ctx, r.ID))
		if len(won) != 1 || len(got.Decisions) != 1 || got.Decisions[0].Reason != won[0].Reason {
			t.Fatalf("%d decisions were acknowledged, %d are kept", len(won), len(got.Decisions))
		}
		if got.State != session.StateApproved {
			continue
		}
		var opened int
		_, vkey := recordingKey(t)
		for i := range 3 {
			wg.Go(func() {
				_, err := c.at(i, c.alice).Open(ctx, got.GrantID, vkey)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					opened++
				} else if !errors.Is(err, session.ErrConflict) {
					t.Errorf("opening: %v", err)
				}
			})
		}
		wg.Wait()
		if opened != 1 {
			t.Fatalf("the grant was opened %d times", opened)
		}
	}
}

// A statement never stays behind, waiting, in a session that ended elsewhere.
func TestReplicasEndWhatWaits(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	for round := range 5 {
		o := openSessionFor(t, c.world, localSide{c.world}, c.dave)
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				b := NewClient(c.replicas[i%3].URL, nil, nil).ForBroker(o.Session.ID, o.Token)
				_, err := b.Submit(ctx, heldCase(o, fmt.Sprintf("DELETE FROM T WHERE ID = %d", i)))
				if err != nil && !errors.Is(err, session.ErrRevoked) {
					t.Errorf("submitting: %v", err)
				}
			})
		}
		wg.Go(func() {
			if err := c.at(round, c.bob).Revoke(ctx, o.Session.ID, "incident"); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		for _, r := range must[[]session.Request](t)(c.at(round+1, c.dave).Pending(ctx, session.Filter{SessionID: o.Session.ID, All: true})) {
			if !r.State.Ended() {
				t.Fatalf("request %s is %s in a session that was revoked", r.ID, r.State)
			}
		}
	}
}

// Every event reaches the watchers on every replica, in one order, also one
// that was away.
func TestReplicasShareEvents(t *testing.T) {
	c := newCluster(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := must[int64](t)(c.store.lastEvent(ctx))
	var watches []<-chan session.Event
	for i := range c.replicas {
		watches = append(watches, must[<-chan session.Event](t)(c.at(i, c.bob).Watch(ctx, -1)))
	}
	const n = 24
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := c.at(i, c.alice).Submit(ctx, sessionSubmission()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// This one comes back with the position it had, to another replica.
	watches = append(watches, must[<-chan session.Event](t)(c.at(1, c.bob).Watch(ctx, start+n/2)))
	var seen [][]int64
	for i, events := range watches {
		want := n
		if i == len(c.replicas) {
			want = n / 2
		}
		var ids []int64
		for len(ids) < want {
			select {
			case e := <-events:
				ids = append(ids, e.ID)
			case <-time.After(20 * time.Second):
				t.Fatalf("watcher %d saw %d events of %d", i, len(ids), want)
			}
		}
		seen = append(seen, ids)
	}
	for i, ids := range seen {
		if want := seen[0][n-len(ids):]; !slices.Equal(ids, want) || !slices.IsSorted(ids) {
			t.Errorf("watcher %d saw %v, want %v", i, ids, want)
		}
	}
}

// A replica that lost its connections to the database listens again, and tells
// its watchers what they missed.
func TestReplicaListensAgain(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	events := must[<-chan session.Event](t)(c.at(0, c.bob).Watch(ctx, -1))
	if _, err := c.stores[1].db.write.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`); err != nil {
		t.Fatal(err)
	}
	r := must[session.Request](t)(c.at(1, c.alice).Submit(ctx, sessionSubmission()))
	select {
	case e := <-events:
		if e.RequestID != r.ID {
			t.Errorf("saw %+v", e)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the event was lost")
	}
}

// replicaEnv makes the test binary a replica: see runReplica.
const replicaEnv = "JIT_TEST_REPLICA"

type replicaSettings struct{ Dir, Database, Issuer, Recordings string }

// runReplica serves until it is killed. It prints its URL.
func runReplica(text string) int {
	var set replicaSettings
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return 2
	}
	store, err := NewStore(StoreConfig{Dir: set.Dir, Database: set.Database, RecordingsURL: set.Recordings, Policy: policy.Default()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	server, err := NewServer(Config{Store: store, Issuer: set.Issuer, ClientID: clientID})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fmt.Println(httptest.NewServer(server.Handler()).URL)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // ends with the parent
	return 0
}

// A replica is killed while it answers: what it acknowledged is there, whole;
// what it did not is there whole or not at all; the others go on.
func TestKilledReplicaLosesNothing(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	child, url := startReplica(t, replicaSettings{Dir: c.dir, Database: c.url, Issuer: c.idp.URL})
	doomed := NewClient(url, tokens{c.world, c.alice}, &http.Client{Transport: &http.Transport{}})
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		acked []string
		kill  = make(chan struct{})
		once  sync.Once
	)
	for range 8 {
		wg.Go(func() {
			for range 100 {
				r, err := doomed.Submit(ctx, sessionSubmission())
				if err != nil {
					return // it is dead
				}
				mu.Lock()
				acked = append(acked, r.ID)
				if len(acked) == 20 {
					once.Do(func() { close(kill) })
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-kill:
	case <-time.After(60 * time.Second):
		t.Error("the replica did not answer")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	wg.Wait()
	for _, id := range acked {
		r := must[session.Request](t)(c.at(1, c.bob).Request(ctx, id))
		if r.State != session.StatePending {
			t.Errorf("request %s is %s", id, r.State)
		}
	}
	var requests, events, audits int
	if err := c.store.db.read.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM requests),
		(SELECT COUNT(*) FROM events e JOIN requests r ON r.id = e.request_id WHERE e.kind = $1),
		(SELECT COUNT(*) FROM audit a JOIN requests r ON r.id = a.target WHERE a.action = 'request.submit' AND a.outcome = 'done')`,
		string(session.EventRequestSubmitted)).Scan(&requests, &events, &audits); err != nil {
		t.Fatal(err)
	}
	if requests < len(acked) || events != requests || audits != requests {
		t.Errorf("%d acknowledged; kept: %d requests, %d events, %d audit rows", len(acked), requests, events, audits)
	}
	must[session.Request](t)(c.at(2, c.bob).Decide(ctx, acked[0], approveIt("")))
}
