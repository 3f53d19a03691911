package broker

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/session"
)

// How long and how many outcomes are remembered, so that a repeat of a request
// id is answered, not run.
const (
	rememberFor   = 10 * time.Minute
	rememberMost  = 20000     // per login; beyond it the oldest finished ones go
	runningMost   = 256       // per login
	keepBodyBytes = 256 << 10 // a larger result is fetched again by id
	keepAllBytes  = 32 << 20  // per login; beyond it the oldest are fetched again
)

// The causes that end a statement's context.
var (
	errAborted   = errors.New("canceled by the agent")
	errLoginGone = errors.New("the login is closed")
	errWall      = errors.New("the time budget is spent")
)

// phase is where a statement stands.
type phase uint8

const (
	phaseQueued phase = iota // analysed, waiting for its turn or its decision
	phaseRunning
	phaseDone
)

// statement is one logical request of a driver, however often it is sent.
type statement struct {
	id       string // minted here: the recording's id and the provisional query id
	hash     [sha256.Size]byte
	req      snowflake.QueryRequest // of the statement's own goroutine, emptied at the end
	params   snowflake.Object       // of req, filtered
	async    bool                   // the driver asked for asyncExec
	describe bool                   // the driver asked for a description only
	atLogin  bool                   // a step of setting up a connection
	upID     string                 // the upstream request id
	arrived  time.Time
	cancel   context.CancelCauseFunc

	accepted chan struct{} // closed once an upstream query id is known
	done     chan struct{} // closed once out is set

	mu         sync.Mutex // guards what follows
	phase      phase
	queryID    string // upstream's
	finishedAt time.Time
	watchers   int       // requests parked on this statement
	watched    time.Time // when the last one left
	out        outcome
	plans      planSet
	parts      map[int][]chunkRef // of the SQL API: partitions after the first, by child
}

// outcome is how a statement ended: what every repeat of it is answered.
type outcome struct {
	refusal *refusal // the broker's own no
	success bool
	code    string // upstream's error code, for monitoring
	body    []byte // the envelope; nil if it is fetched again by query id
	gone    bool   // the session is over: 390111
}

// statementRef finds a statement by query id; child is the index of a
// statement of a multi-statement request, -1 for the request itself.
type statementRef struct {
	s     *statement
	child int
}

func newStatement(id string, req snowflake.QueryRequest) *statement {
	return &statement{id: id, req: req, async: req.Async, describe: req.DescribeOnly, arrived: time.Now(), watched: time.Now(), cancel: func(error) {},
		accepted: make(chan struct{}), done: make(chan struct{})}
}

// requestHash is what a repeat must equal: all that a driver can say about a
// statement, apart from clocks and counters.
func requestHash(q snowflake.QueryRequest) [sha256.Size]byte {
	q.Sequence, q.Submitted, q.QueryContext = 0, 0, nil
	return sha256.Sum256(append(q.Append(nil), q.BindStage...))
}

// admit finds the statement of a request id or starts a new one.
func (l *login) admit(requestID string, req snowflake.QueryRequest) (s *statement, fresh bool, ref *refusal) {
	hash := requestHash(req)
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.statements[requestID]; s != nil {
		// A resubmission names the request id alone (Node).
		if req.HasSQL && s.hash != hash {
			return nil, false, faultRequestID.refuse("this request id was used for another statement")
		}
		return s, false, nil
	}
	switch {
	case l.closed:
		return nil, false, faultGone.refuse("the login is closed")
	case !req.HasSQL:
		return nil, false, faultRequestID.refuse("there is no statement with this request id to send again")
	case len(l.statements)-len(l.finished) >= runningMost:
		return nil, false, faultBusy.refuse("this connection has too many statements running")
	}
	s = newStatement(uuid.NewString(), req)
	s.hash = hash
	l.statements[requestID] = s
	l.byID[s.id] = statementRef{s, -1}
	return s, true, nil
}

// know makes a statement findable by an upstream query id.
func (l *login) know(queryID string, ref statementRef) {
	if queryID == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, taken := l.byID[queryID]; !taken {
		l.byID[queryID] = ref
	}
}

// settled notes a finished statement for later forgetting.
func (l *login) settled(s *statement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished = append(l.finished, s)
	for l.kept > keepAllBytes && l.shed < len(l.finished)-1 {
		l.kept -= l.finished[l.shed].drop(0)
		l.shed++
	}
	if len(l.finished) > rememberMost {
		l.forget(rememberMost / 16) // a few at a time: it walks the tables
	}
}

// size is how much of the outcome is kept.
func (s *statement) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.out.body)
}

// drop lets go of a result larger than keep that Snowflake can be asked for
// again, under the same plan. It returns how much that was.
func (s *statement) drop(keep int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.out.body)
	if !s.out.success || s.queryID == "" || s.describe || n <= keep {
		return 0
	}
	s.out.body = nil
	return n
}

// forgetOld drops outcomes nobody can ask for any more. l.mu is held.
func (l *login) forgetOld(now time.Time) {
	n := 0
	for n < len(l.finished) && now.Sub(l.finished[n].finished()) > rememberFor {
		n++
	}
	l.forget(n)
}

// forget drops the n oldest finished statements. l.mu is held. It walks the
// tables: forgetting is rare and the tables are bounded.
func (l *login) forget(n int) {
	if n == 0 {
		return
	}
	old := make(map[*statement]bool, n)
	for _, s := range l.finished[:n] {
		old[s] = true
		l.kept -= s.size()
	}
	l.shed = max(0, l.shed-n)
	l.finished = append(l.finished[:0:0], l.finished[n:]...)
	for k, s := range l.statements {
		if old[s] {
			delete(l.statements, k)
		}
	}
	for k, ref := range l.byID {
		if old[ref.s] {
			delete(l.byID, k)
		}
	}
}

// keep accounts for n bytes of outcomes more, or fewer.
func (l *login) keep(n int) {
	l.mu.Lock()
	l.kept += n
	l.mu.Unlock()
}

// find looks a query id up among this login's own.
func (l *login) find(queryID string) (statementRef, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ref, ok := l.byID[queryID]
	return ref, ok
}

// upstreamSession is the upstream session as it is now.
func (l *login) upstreamSession() session.Upstream {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}

func (l *login) presentPlace() place {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.place
}

func (s *statement) finished() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.finishedAt
}

// park and leave bracket a request that waits for the statement.
func (s *statement) park() {
	s.mu.Lock()
	s.watchers++
	s.mu.Unlock()
}

func (s *statement) leave() {
	s.mu.Lock()
	s.watchers--
	s.watched = time.Now()
	s.mu.Unlock()
}

// abandoned reports that no driver has asked for the statement in a while.
func (s *statement) abandoned(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watchers == 0 && now.Sub(s.watched) > abandonAfter
}

func (s *statement) enter(p phase) {
	s.mu.Lock()
	s.phase = p
	s.mu.Unlock()
}

// accept notes the upstream query id once.
func (s *statement) accept(queryID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queryID == "" && queryID != "" {
		s.queryID = queryID
		close(s.accepted)
	}
}

// settle stores the outcome and wakes everyone.
func (s *statement) settle(out outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out, s.phase, s.finishedAt = out, phaseDone, time.Now()
	close(s.done)
}
