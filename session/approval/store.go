package approval

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gocloud.dev/blob"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session/recording"
)

// Limits bound what one request, session or server may take. A zero field
// means its default.
type Limits struct {
	RequestTTL  time.Duration // a request not decided by then expires; default 15 min
	GrantTTL    time.Duration // a grant not opened by then expires; default 15 min
	DefaultTTL  time.Duration // of a session that names none; default 1 h
	MaxTTL      time.Duration // of a session, whatever the policy says; default 7 days
	FirstUse    time.Duration // a session not used by then expires; default 8 h
	WindowReuse time.Duration // of ReuseWindow; default 15 min
	MaxLogins   int           // upstream sessions per session at once; default 64
	MaxPending  int           // pending requests per principal; default 256
	MaxBytes    int64         // of one recording file; default 4 GiB
	UploadGrace time.Duration // a recording may be completed after the session's end; default 24 h
}

func (l Limits) withDefaults() Limits {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&l.RequestTTL, 15*time.Minute)
	set(&l.GrantTTL, 15*time.Minute)
	set(&l.DefaultTTL, time.Hour)
	set(&l.MaxTTL, 7*24*time.Hour)
	set(&l.FirstUse, 8*time.Hour)
	set(&l.WindowReuse, 15*time.Minute)
	set(&l.UploadGrace, 24*time.Hour)
	if l.MaxLogins <= 0 {
		l.MaxLogins = 64
	}
	if l.MaxPending <= 0 {
		l.MaxPending = 256
	}
	if l.MaxBytes <= 0 {
		l.MaxBytes = 4 << 30
	}
	return l
}

// StoreConfig is what a Store is made of. Dir is needed.
type StoreConfig struct {
	Dir        string // database, sealing key and recordings; made with mode 0700
	SecretsURL string // gocloud.dev/secrets keeper; empty = a key file in Dir
	// Database is a PostgreSQL URL, postgres://…; empty = a SQLite file in Dir.
	// Replicas on one database also share the secrets keeper and RecordingsURL.
	Database      string
	RecordingsURL string // gocloud.dev/blob bucket; empty = a folder in Dir
	// RecordingsLock is how long an S3 bucket with object lock keeps each piece of
	// a recording from everybody; 0 = what the bucket's own default says.
	RecordingsLock time.Duration
	// Retention is how long recordings are kept after their session's end; 0 = for
	// ever. What is under a hold is kept.
	Retention time.Duration
	// Existing opens only a database that has this jit's schema, and changes
	// nothing of it: for commands that run beside a server.
	Existing bool
	// Policy becomes the active bundle. nil: the one that was active stays, at
	// the first start policy.Default().
	Policy       *policy.Bundle
	AuditorGroup string       // may search what everybody ran; default "jit-auditors"
	AdminGroup   string       // may manage connections and policy; default "jit-admins"
	Snowflake    *http.Client // for upstream calls; nil = a client of its own
	// WebhookAllow are networks that webhooks may reach although they are not public.
	WebhookAllow []netip.Prefix
	PublicURL    string // of the server, for links in messages; empty: no links
	Mail         Mail
	Limits       Limits
	Now          func() time.Time // nil = time.Now
	Logger       *slog.Logger     // nil = discard
}

// DefaultAdminGroup may manage connections and policy.
const DefaultAdminGroup = "jit-admins"

// Store holds the data and the rules of the approval server. It is safe for
// concurrent use.
type Store struct {
	db       databases
	keeper   *sealer
	blobs    *blob.Bucket
	witness  *recording.Witness
	cfg      StoreConfig
	log      *slog.Logger
	hc       *http.Client
	notifier *notifier
	closing  chan struct{} // poked when upstream sessions wait to be closed
	sending  chan struct{} // poked when messages wait to be sent
	mail     *mailer       // nil: nobody is written to
	dialer   *publicDialer
	hooks    *http.Client // for webhooks
	unlisten func()       // ends listening on PostgreSQL, if the store does

	// What makes recordings durable in a folder; tests let the disk fail.
	syncFile func(*os.File) error
	syncDir  func(dir string) error

	mu      sync.Mutex
	bundles map[string]*policy.Bundle // by digest; immutable values
}

// NewStore opens, or creates, the store in cfg.Dir.
func NewStore(cfg StoreConfig) (*Store, error) {
	if cfg.Dir == "" {
		return nil, errors.New("opening the store: there is no data folder")
	}
	if cfg.AdminGroup == "" {
		cfg.AdminGroup = DefaultAdminGroup
	}
	if cfg.AuditorGroup == "" {
		cfg.AuditorGroup = DefaultAuditorGroup
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Retention > 0 && cfg.Retention <= cfg.Limits.UploadGrace {
		return nil, fmt.Errorf("opening the store: recordings must be kept for longer than %s after their session's end, while they may still be completed", cfg.Limits.UploadGrace)
	}
	s := &Store{
		cfg: cfg, log: cfg.Logger, hc: cfg.Snowflake,
		notifier: newNotifier(),
		closing:  make(chan struct{}, 1),
		bundles:  map[string]*policy.Bundle{},
		sending:  make(chan struct{}, 1),
		dialer:   &publicDialer{allow: cfg.WebhookAllow},
		syncFile: (*os.File).Sync, syncDir: syncDir,
	}
	s.hooks = s.dialer.client()
	var err error
	if s.mail, err = newMailer(cfg.Mail); err != nil {
		return nil, err
	}
	if s.hc == nil {
		s.hc = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second, IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true,
		}}
	}
	if err := s.open(context.Background()); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	dir := s.cfg.Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	if fi, err := os.Stat(dir); err == nil {
		if advice := openFolder(dir, fi); advice != "" {
			s.log.WarnContext(ctx, "the data folder is open to others", "advice", advice)
		}
	}
	var err error
	if s.keeper, err = openSealer(ctx, dir, s.cfg.SecretsURL); err != nil {
		return err
	}
	if s.blobs, err = openBucket(ctx, dir, s.cfg.RecordingsURL); err != nil {
		return err
	}
	if err := checkLock(ctx, s.blobs, s.cfg.RecordingsURL, s.cfg.RecordingsLock); err != nil {
		return err
	}
	schema := migrate
	if s.cfg.Existing {
		schema = current
	}
	if s.db, err = openDatabase(ctx, dir, s.cfg.Database, schema); err != nil {
		return err
	}
	if s.keeper.generation, err = keeperGeneration(ctx, s.db.read); err != nil {
		return err
	}
	if !s.cfg.Existing {
		if err := s.start(ctx); err != nil {
			return err
		}
	}
	if err := s.loadWitness(ctx); err != nil {
		return err
	}
	if s.db.postgres() {
		s.listen()
	}
	return nil
}

// databaseFile is the SQLite database in the data folder.
const databaseFile = "jit.db"

func openDatabase(ctx context.Context, dir, databaseURL string, schema prepare) (databases, error) {
	switch {
	case databaseURL == "":
		return openSQLite(ctx, filepath.Join(dir, databaseFile), schema)
	case isPostgres(databaseURL):
		return openPostgres(ctx, databaseURL, schema)
	default:
		return databases{}, errors.New("opening the database: its URL must be postgres://HOST/NAME, or empty for a SQLite file in the data folder")
	}
}

// listen hears of other replicas' commits until Close.
func (s *Store) listen() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.unlisten = func() {
		cancel()
		<-done
	}
	go func() { // ends with ctx
		defer close(done)
		listen(ctx, s.db.listen, s.notifier, s.log)
	}()
}

// Close releases the store. Sessions stay as they are: another process, or the
// next one, goes on with them.
func (s *Store) Close() error {
	var errs []error
	s.hooks.CloseIdleConnections()
	if s.unlisten != nil {
		s.unlisten()
	}
	if s.db.write != nil {
		errs = append(errs, s.db.Close())
	}
	if s.blobs != nil {
		errs = append(errs, s.blobs.Close())
	}
	if s.keeper != nil {
		errs = append(errs, s.keeper.Close())
	}
	return errors.Join(errs...)
}

// now is the store's clock, in the resolution that storage keeps.
func (s *Store) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// newID returns prefix and 128 random bits. Ids are not secrets, but they must
// not be guessable either.
func newID(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	return prefix + "_" + base64.RawURLEncoding.EncodeToString(b[:])
}

// querier is a transaction or a read handle.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}
