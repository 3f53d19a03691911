// Package broker stands between an agent's Snowflake driver and Snowflake, on
// the loopback interface, for one session. It speaks the drivers' wire
// protocol, understands and rules on every statement, holds what needs a
// person, masks what comes back, and records all of it.
//
// Invariants:
//
//  1. Nothing is forwarded that is not in the route table, decoded strictly,
//     analysed, ruled on and recorded; what goes upstream is composed by the
//     broker, never copied from the driver's request.
//  2. A statement is forwarded only after its event is durable, and a result
//     leaves only after its event is durable. A failed append refuses.
//  3. What cannot be understood, decided, masked or verified is refused; the
//     answer is always HTTP 200 with an error drivers do not retry.
//  4. Snowflake's tokens never reach a driver. Drivers hold tokens minted here,
//     of which only digests are kept.
//  5. A logical request runs at most once: repeats of (login, request id)
//     attach to the first, refusals included.
//  6. When the session ends, by deadline, revocation or loss of access, every
//     call is refused at once and held statements are withdrawn.
//
// One exception to the order of events is deliberate: before a decision, some
// requests that compile and never run go upstream, and their answers stay in the
// broker: for the column names of the relations a statement names (see catalog),
// for the size of a query (see estimate), and for whether a query that names a
// column nothing has compiles at all (see columnMissing).
package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/policy/sql"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// Rules decides on statements. *policy.Bundle is the one used outside tests.
type Rules interface {
	Statement(policy.Input) policy.Ruling
	Digest() string
	// DetectColumn looks at the values themselves: the mask of the class a sample
	// of one column belongs to, the classes in clear left alone.
	DetectColumn(sample []string, clear ...string) (policy.ColumnMask, bool)
	// HideText and HideValue are a statement and a bound value as they may be
	// recorded: values of classes that can be recognised are left out.
	// compared are the classes whose values may stand in it, as Compared says.
	HideText(text string, compared ...string) string
	HideValue(value string, compared ...string) string
	Compared(statements []sql.Statement) []string
	// Keeping is what recordings keep of results.
	Keeping() policy.Keeping
}

// Config is what a Broker needs. Session, LeaseDigest, Upstreams, Desk, Policy
// and Record are required.
type Config struct {
	Session     session.Session
	LeaseDigest string // secret.Text.Digest of the lease
	Account     string // echoed to people; drivers may name any account
	Upstreams   session.Upstreams
	Desk        session.Desk
	Policy      Rules
	DryRun      Rules // evaluated beside Policy and only recorded; nil: none
	Subject     policy.Subject
	// Record appends an event and returns once it is durable. An error refuses
	// the operation the event is about.
	Record func(ctx context.Context, e recording.Event) (int64, error)
	// Hold is how long a driver is kept polling for a decision before the agent
	// is told that approval is pending; 0 means 75 s.
	Hold time.Duration
	// Wait bounds how long a pending request outlives the agent's waiting: then
	// it is withdrawn. 0 means as long as the request itself lives.
	Wait time.Duration
	// Ended is called once when the session ends while the broker serves, with the
	// reason for people; it must not block. nil: nobody is told.
	Ended     func(why string)
	Logger    *slog.Logger      // nil discards
	Transport http.RoundTripper // upstream; nil means a transport of its own
	MaxLogins int               // concurrent driver logins; 0 means 32
}

const (
	defaultHold      = 75 * time.Second
	defaultMaxLogins = 32
)

// errConfig reports a Config that cannot be used.
var errConfig = errors.New("broker: the configuration is incomplete")

// New checks cfg and makes a Broker. It opens nothing: Serve does.
func New(cfg Config) (*Broker, error) {
	lease, err := parseDigest(cfg.LeaseDigest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errConfig, err)
	}
	switch {
	case cfg.Session.ID == "":
		return nil, fmt.Errorf("%w: no session", errConfig)
	case cfg.Session.Deadline.IsZero():
		return nil, fmt.Errorf("%w: the session has no deadline", errConfig)
	case cfg.Upstreams == nil, cfg.Desk == nil, cfg.Policy == nil, cfg.Record == nil:
		return nil, fmt.Errorf("%w: Upstreams, Desk, Policy and Record are required", errConfig)
	case cfg.Policy.Keeping().Rows == policy.RowsFull:
		return nil, fmt.Errorf("%w: the policy wants all rows of results recorded, and this version records samples only", errConfig)
	}
	if cfg.Hold <= 0 {
		cfg.Hold = defaultHold
	}
	if cfg.MaxLogins <= 0 {
		cfg.MaxLogins = defaultMaxLogins
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return assemble(cfg, lease)
}

// Serve answers drivers on ln, which must be a loopback listener, until ctx
// ends. Then every held statement is withdrawn, every upstream session this
// broker opened is closed, and all goroutines have stopped when it returns.
// It returns nil if ctx ended it.
func (b *Broker) Serve(ctx context.Context, ln net.Listener) error {
	return b.serve(ctx, ln)
}

// Ready is closed once Serve has begun: from then on ServeHTTP may be called by
// others than the broker's own listener.
func (b *Broker) Ready() <-chan struct{} { return b.ready }

// Host is the Host header that requests must have. It is known once Ready is closed.
func (b *Broker) Host() string { return b.host }

// randomKey draws a key that lives as long as the broker.
func randomKey() ([]byte, error) {
	k := make([]byte, tokenBytes)
	if _, err := rand.Read(k); err != nil {
		return nil, fmt.Errorf("drawing a key: %w", err)
	}
	return k, nil
}
