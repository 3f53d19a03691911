package sandbox

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jit-access/jit/session/secret"
)

// session is one Snowflake session. It keeps one connection to the engine, so
// that transactions are its own, and runs one statement at a time on it.
type session struct {
	id     int64
	user   string
	client string // CLIENT_APP_ID
	server *Server
	conn   *sql.Conn
	turn   chan struct{}   // holds one token: who has it uses conn
	ctx    context.Context // ends with the session; its statements outlive their requests
	cancel context.CancelFunc

	closing sync.Once

	mu            sync.Mutex
	place         place
	role          string
	warehouse     string
	params        map[string]string // upper-case name → text
	requests      map[string]*execution
	lastQuery     string
	tx            bool
	token         string // digests of the tokens in force
	master        string
	tokenExpires  time.Time
	masterExpires time.Time
}

func (s *Server) newSession(user, role string) (*session, error) {
	conn, err := s.db.Conn(s.ctx)
	if err != nil {
		return nil, fmt.Errorf("opening the engine: %w", err)
	}
	s.mu.Lock()
	s.lastID++
	id := s.lastID
	s.mu.Unlock()
	sess := &session{id: id, user: user, role: role, server: s, conn: conn, turn: make(chan struct{}, 1),
		params: map[string]string{}, requests: map[string]*execution{}}
	sess.ctx, sess.cancel = context.WithCancel(s.ctx)
	return sess, nil
}

// close ends what the session runs and gives its connection back. The turn is
// never handed on: nothing runs in a closed session.
func (sess *session) close() {
	sess.closing.Do(func() {
		sess.cancel()
		sess.turn <- struct{}{} // after the statement that is running
		_, _ = sess.conn.ExecContext(context.Background(), "ROLLBACK")
		_ = sess.conn.Close()
	})
}

// newTokens makes a pair of tokens for sess and forgets its old ones; s.mu is
// not held.
func (s *Server) newTokens(sess *session) (token, master secret.Text) {
	token, master = secret.New("ver:3-s-"+rand.Text()+rand.Text()), secret.New("ver:3-m-"+rand.Text()+rand.Text())
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	sess.mu.Lock()
	defer sess.mu.Unlock()
	delete(s.sessions, sess.token)
	delete(s.masters, sess.master)
	sess.token, sess.master = token.Digest(), master.Digest()
	sess.tokenExpires, sess.masterExpires = now.Add(s.opt.SessionTTL), now.Add(s.opt.MasterTTL)
	s.sessions[sess.token] = sess
	s.masters[sess.master] = sess
	return token, master
}

// forget drops sess from the server.
func (s *Server) forget(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess.mu.Lock()
	defer sess.mu.Unlock()
	delete(s.sessions, sess.token)
	delete(s.masters, sess.master)
}

func (sess *session) expire(at time.Time) {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	sess.tokenExpires = at
}

func (sess *session) current() place {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	return sess.place
}

// facts are the session's current objects.
func (sess *session) facts() (at place, warehouse, role string) {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	return sess.place, sess.warehouse, sess.role
}

// param returns a session parameter as text.
func (sess *session) param(name string) (string, bool) {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	v, ok := sess.params[name]
	return v, ok
}

func (sess *session) setParam(name, value string) {
	sess.mu.Lock()
	defer sess.mu.Unlock()
	if value == "" {
		delete(sess.params, name)
		return
	}
	sess.params[name] = value
}

// functions gives the values of the functions that ask about the session, as
// SQL literals.
func (sess *session) functions(name string) (string, bool) {
	at, warehouse, role := sess.facts()
	orNull := func(s string) (string, bool) {
		if s == "" {
			return "NULL", true
		}
		return literal(s), true
	}
	now := time.Now().UTC()
	switch name {
	case "CURRENT_USER":
		return orNull(sess.user)
	case "CURRENT_ROLE":
		return orNull(role)
	case "CURRENT_DATABASE":
		return orNull(at.database)
	case "CURRENT_SCHEMA":
		return orNull(at.schema)
	case "CURRENT_WAREHOUSE":
		return orNull(warehouse)
	case "CURRENT_ACCOUNT", "CURRENT_ACCOUNT_NAME":
		return literal(strings.ToUpper(sess.server.opt.Account)), true
	case "CURRENT_SESSION":
		return literal(strconv.FormatInt(sess.id, 10)), true
	case "CURRENT_VERSION":
		return literal(version), true
	case "CURRENT_REGION":
		return literal("SANDBOX_LOCAL"), true
	case "CURRENT_CLIENT":
		return orNull(sess.client)
	case "LAST_QUERY_ID":
		sess.mu.Lock()
		defer sess.mu.Unlock()
		return orNull(sess.lastQuery)
	case "CURRENT_TIMESTAMP", "LOCALTIMESTAMP", "SYSDATE", "GETDATE", "SYSTIMESTAMP":
		return literal(now.Format(formTimestamp)), true
	case "CURRENT_DATE":
		return literal(now.Format(formDate)), true
	case "CURRENT_TIME", "LOCALTIME":
		return literal(now.Format(formTime)), true
	}
	return "", false
}
