package sandbox

import (
	"context"
	"crypto/rsa"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"

	"github.com/jit-access/jit/session/secret"
)

// User is who may log in, by any of the credentials that are set.
type User struct {
	Password  secret.Text
	PublicKey *rsa.PublicKey
	PAT       secret.Text // a programmatic access token
	// Roles are those the user may take; the first is the default. Empty:
	// SYSADMIN by default, and any other.
	Roles []string
}

// Options configure a Server. The zero value has no users: nobody can log in.
type Options struct {
	// Account that logins must name, without regard to case. Empty: SANDBOX.
	Account string
	// Users by login name, without regard to case.
	Users map[string]User
	// Data are statements run at the start. Nil: SampleData. An empty, non-nil
	// slice: no database at all.
	Data []string
	// Logger gets one line per statement, without its text. Nil: none.
	Logger *slog.Logger
	// ChunkRows is how many rows are sent inline and in each chunk of a larger
	// result. 0: every result is inline.
	ChunkRows int
	// ChunkLife is how long a chunk's URL is good for. 0: six hours.
	ChunkLife time.Duration
	// Arrow answers in Arrow unless a *_QUERY_RESULT_FORMAT parameter says JSON,
	// as Snowflake does for every driver but Node's. False: only if one says so.
	Arrow bool
	// SessionTTL and MasterTTL are the lives of the tokens. 0: 1 h and 4 h.
	SessionTTL, MasterTTL time.Duration
	// AnswerWithin is how long a request waits for its statement before it is
	// answered with "in progress". 0: 45 s, as Snowflake.
	AnswerWithin time.Duration
	// Script is asked about every statement before the engine. Nil: none.
	Script Script
	// Parameters replace the values of parameters a login is told, by name.
	Parameters map[string]string
}

// Execution is one statement the server ran (or described).
type Execution struct {
	SQL       string
	QueryID   string
	RequestID string
	QueryTag  string
	SessionID int64
	User      string
	Binds     int // rows of binds; 0 without binds
}

// Server is the sandbox. It is an http.Handler's owner, not a listener.
type Server struct {
	opt    Options
	log    *slog.Logger
	dir    string
	db     *sql.DB
	ctx    context.Context // ends with Close; statements outlive the request that began them
	cancel context.CancelFunc
	work   sync.WaitGroup

	schema sync.RWMutex
	cat    *catalog

	mu        sync.Mutex
	sessions  map[string]*session // by digest of the session token
	masters   map[string]*session // by digest of the master token
	results   map[string]*execution
	chunks    map[string]*chunk
	executed  []Execution
	described []Execution
	aborted   []string
	logins    int
	lastID    int64
	closed    bool
}

// New makes a Server with its data loaded. Close it.
func New(opt Options) (*Server, error) {
	if opt.Account == "" {
		opt.Account = "SANDBOX"
	}
	if opt.Data == nil {
		opt.Data = SampleData()
	}
	setDefault(&opt.SessionTTL, time.Hour)
	setDefault(&opt.MasterTTL, 4*time.Hour)
	setDefault(&opt.AnswerWithin, 45*time.Second)
	setDefault(&opt.ChunkLife, 6*time.Hour)
	users := make(map[string]User, len(opt.Users))
	for name, u := range opt.Users {
		users[strings.ToUpper(name)] = u
	}
	opt.Users = users
	log := opt.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	dir, err := os.MkdirTemp("", "jit-sandbox-")
	if err != nil {
		return nil, fmt.Errorf("making the sandbox's folder: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		opt: opt, log: log, dir: dir, ctx: ctx, cancel: cancel,
		db:       openEngine(filepath.Join(dir, "data.sqlite")),
		cat:      &catalog{databases: map[string]*database{}, now: time.Now},
		sessions: map[string]*session{}, masters: map[string]*session{},
		results: map[string]*execution{}, chunks: map[string]*chunk{},
		lastID: 4_503_599_627_370_000,
	}
	if err := s.load(opt.Data); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d <= 0 {
		*d = v
	}
}

// openEngine opens SQLite with the functions of Snowflake that it lacks, on a
// driver of its own.
func openEngine(file string) *sql.DB {
	d := &sqlite.Driver{}
	registerFunctions(d)
	d.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, _ string) error {
		guard, ok := conn.(sqlite.AuthorizerRegisterer)
		if !ok {
			return errors.New("the SQLite driver has no authorizer")
		}
		return guard.RegisterAuthorizer(authorize)
	})
	q := url.Values{"_dqs": {"0"}, "_journal_mode": {"WAL"}, "_synchronous": {"OFF"}, "_busy_timeout": {"10000"}}
	return sql.OpenDB(connector{d, file + "?" + q.Encode()})
}

// authorize keeps statements within the data: no other files, no settings.
func authorize(action sqlite.AuthorizerActionCode, _, _, _, _ string) sqlite.AuthorizerReturnCode {
	switch action {
	case sqlite.AuthAttach, sqlite.AuthDetach, sqlite.AuthPragma, sqlite.AuthCreateVTable, sqlite.AuthDropVTable,
		sqlite.AuthCreateTrigger, sqlite.AuthCreateTempTrigger:
		return sqlite.AuthorizerDeny
	}
	return sqlite.AuthorizerOK
}

type connector struct {
	driver *sqlite.Driver
	dsn    string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c connector) Driver() driver.Driver                        { return c.driver }

// load runs the data statements in a session of its own that is not counted.
func (s *Server) load(statements []string) error {
	sess, err := s.newSession("SANDBOX", "SYSADMIN")
	if err != nil {
		return err
	}
	defer sess.close()
	for _, text := range statements {
		if _, err := s.run(s.ctx, sess, text, nil, false); err != nil {
			return fmt.Errorf("loading the sandbox's data: %w in %.60q", err, text)
		}
	}
	return nil
}

// Close ends every session and removes the data.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	open := s.openSessions()
	s.mu.Unlock()
	s.cancel()
	s.work.Wait()
	for _, sess := range open {
		sess.close()
	}
	return errors.Join(s.db.Close(), os.RemoveAll(s.dir))
}

// Executed returns what was run, successfully or not, in order. Each statement of a multi-statement
// request counts by itself; repeats of a requestId and descriptions do not.
func (s *Server) Executed() []Execution {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.executed)
}

// Described returns what was described only (describeOnly), in order.
func (s *Server) Described() []Execution {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.described)
}

// Aborted returns the request and query ids of the abort requests, in order.
func (s *Server) Aborted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.aborted)
}

// OpenSessions returns the ids of the sessions that are open.
func (s *Server) OpenSessions() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := []int64{}
	for _, sess := range s.openSessions() {
		ids = append(ids, sess.id)
	}
	slices.Sort(ids)
	return ids
}

// Logins returns how many logins succeeded.
func (s *Server) Logins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins
}

// ExpireTokens makes every session token of now expired: the next use is
// answered with 390112 until the client renews.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sess := range s.sessions {
		sess.expire(time.Now())
	}
}

// openSessions lists the sessions once each; s.mu is held.
func (s *Server) openSessions() []*session {
	seen := map[*session]bool{}
	var open []*session
	for _, sess := range s.masters {
		if !seen[sess] {
			seen[sess] = true
			open = append(open, sess)
		}
	}
	return open
}
