package approval

import (
	"context"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// Local is the store as one person sees it: session.Desk and session.Office
// without a network in between.
type Local struct {
	s *Store
	w Caller
}

var (
	_ session.Desk      = (*Local)(nil)
	_ session.Office    = (*Local)(nil)
	_ session.Desk      = (*LocalBroker)(nil)
	_ session.Upstreams = (*LocalBroker)(nil)
)

// As is the store for p. Who p is, groups included, is the caller's word.
func (s *Store) As(p session.Principal) *Local { return &Local{s, Caller{Principal: p}} }

// Submit implements session.Desk.
func (l *Local) Submit(ctx context.Context, sub session.Submission) (session.Request, error) {
	return l.s.submit(ctx, l.w, sub)
}

// Request implements session.Desk.
func (l *Local) Request(ctx context.Context, id string) (session.Request, error) {
	return l.s.request(ctx, l.w, id)
}

// Pending implements session.Desk.
func (l *Local) Pending(ctx context.Context, f session.Filter) ([]session.Request, error) {
	return l.s.pending(ctx, l.w, f)
}

// Decide implements session.Desk.
func (l *Local) Decide(ctx context.Context, id string, c session.Choice) (session.Request, error) {
	return l.s.decide(ctx, l.w, id, c)
}

// Withdraw implements session.Desk.
func (l *Local) Withdraw(ctx context.Context, id string) error { return l.s.withdraw(ctx, l.w, id) }

// Comment implements session.Desk.
func (l *Local) Comment(ctx context.Context, id, text string) (session.Request, error) {
	return l.s.comment(ctx, l.w, id, text)
}

// Redeem implements session.Desk.
func (l *Local) Redeem(ctx context.Context, id, digest string) (session.Decision, error) {
	return l.s.redeem(ctx, l.w, id, digest)
}

// Watch implements session.Desk.
func (l *Local) Watch(ctx context.Context, after int64) (<-chan session.Event, error) {
	return l.s.watch(ctx, l.w, after)
}

// Open implements session.Office.
func (l *Local) Open(ctx context.Context, grantID, recordingKey string) (session.Opened, error) {
	return l.s.openGrant(ctx, l.w, grantID, recordingKey)
}

// Session implements session.Office.
func (l *Local) Session(ctx context.Context, id string) (session.Session, error) {
	return l.s.session(ctx, l.w, id)
}

// Sessions implements session.Office.
func (l *Local) Sessions(ctx context.Context) ([]session.Session, error) {
	return l.s.sessions(ctx, l.w)
}

// Revoke implements session.Office.
func (l *Local) Revoke(ctx context.Context, id, reason string) error {
	return l.s.revoke(ctx, l.w, id, reason)
}

// Search finds recorded statements.
func (l *Local) Search(ctx context.Context, q Search) (Found, error) {
	return l.s.search(ctx, l.w, q)
}

// Connections lists what this person could ask for.
func (l *Local) Connections(ctx context.Context) ([]Connection, error) {
	return l.s.connections(ctx, l.w)
}

// AddConnection adds a connection; replace lets it take the place of another.
func (l *Local) AddConnection(ctx context.Context, conn Connection, nc NewCredential, replace bool) (Connection, error) {
	return l.s.addConnection(ctx, l.w, conn, nc, replace)
}

// RemoveConnection forgets a connection and its credential.
func (l *Local) RemoveConnection(ctx context.Context, name string) error {
	return l.s.removeConnection(ctx, l.w, name)
}

// TestConnection logs in and out once.
func (l *Local) TestConnection(ctx context.Context, name string) (ConnectionTest, error) {
	return l.s.testConnection(ctx, l.w, name)
}

// DryRunPolicy puts data in dry run, or with none ends it.
func (l *Local) DryRunPolicy(ctx context.Context, data []byte) (string, error) {
	return l.s.pushDryRun(ctx, l.w, data)
}

// PushPolicy makes data the active bundle and returns its digest.
func (l *Local) PushPolicy(ctx context.Context, data []byte) (string, error) {
	return l.s.pushPolicy(ctx, l.w, data)
}

// LocalBroker is the store as one session's broker sees it.
type LocalBroker struct {
	*Local
	id string
}

// AsBroker is the store for the broker that holds token.
func (s *Store) AsBroker(ctx context.Context, token secret.Text) (*LocalBroker, error) {
	w, err := s.brokerCaller(ctx, token)
	if err != nil {
		return nil, err
	}
	return &LocalBroker{&Local{s, w}, w.Session}, nil
}

// OpenUpstream implements session.Upstreams.
func (b *LocalBroker) OpenUpstream(ctx context.Context) (session.Upstream, error) {
	return b.s.openUpstream(ctx, b.w, b.id)
}

// RenewUpstream implements session.Upstreams.
func (b *LocalBroker) RenewUpstream(ctx context.Context, upstreamID string) (session.Upstream, error) {
	return b.s.renewUpstream(ctx, b.w, b.id, upstreamID)
}

// CloseUpstream implements session.Upstreams.
func (b *LocalBroker) CloseUpstream(ctx context.Context, upstreamID string) error {
	return b.s.closeUpstream(ctx, b.w, b.id, upstreamID)
}

// Close implements session.Upstreams.
func (b *LocalBroker) Close(ctx context.Context) error { return b.s.closeSession(ctx, b.w, b.id) }

// Cosign implements session.Upstreams.
func (b *LocalBroker) Cosign(ctx context.Context, checkpoint []byte) ([]byte, error) {
	return b.s.cosign(ctx, b.w, b.id, checkpoint)
}

// Upload implements session.Upstreams.
func (b *LocalBroker) Upload(ctx context.Context, file string, offset int64, data []byte) error {
	return b.s.upload(ctx, b.w, b.id, file, offset, data)
}
