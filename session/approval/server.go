package approval

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/sync/errgroup"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/identity/bridge"
	"github.com/jit-access/jit/session/loopback"
	"github.com/jit-access/jit/session/secret"
)

// Config is what a Server is made of. Store, Issuer and ClientID are needed.
type Config struct {
	Store       *Store
	Issuer      string            // OIDC issuer URL
	ClientID    string            // of jit at the issuer, for jit login
	Scopes      []string          // asked for at sign-in; default openid profile email groups offline_access
	Audiences   []string          // accepted in tokens; default ClientID
	GroupsClaim string            // default "groups"; with dots, the path to a nested claim
	Machines    []MachineIdentity // whose tokens are taken besides people's; the first that fits counts
	PublicURL   string            // how clients reach the server; its host is accepted besides loopback
	BehindProxy bool              // a proxy in front checks the Host header and terminates TLS
	Version     string            // of jit
	Rate        int               // calls a second of one caller, four times as many at once; default 100, < 0 = no limit
	// SignIn, if set, is the issuer: the server itself, for companies with SAML.
	// Its URL is Issuer.
	SignIn     *bridge.Bridge
	HTTPClient *http.Client
	Logger     *slog.Logger
}

// Server puts the HTTP API in front of a Store.
type Server struct {
	cfg      Config
	store    *Store
	ids      *identities
	log      *slog.Logger
	host     string // of PublicURL
	api      huma.API
	handler  http.Handler
	signIn   http.Handler  // of Config.SignIn
	stopping chan struct{} // closed by Serve: ends event streams
	streams  streams
	metrics  *metrics
	rates    *rates
}

// CheckMachines finds what is wrong with rules for machines, beside people whose
// tokens are of the given issuer and audiences.
func CheckMachines(machines []MachineIdentity, issuer string, audiences []string, adminGroup string) error {
	for _, m := range machines {
		var forPeople []string
		if m.Issuer == issuer {
			forPeople = audiences
		}
		if err := m.check(forPeople, adminGroup); err != nil {
			return err
		}
	}
	return nil
}

// NewServer makes a Server. It does no I/O; the issuer is discovered with the
// first token.
func NewServer(cfg Config) (*Server, error) {
	switch {
	case cfg.Store == nil:
		return nil, errors.New("making the approval server: there is no store")
	case cfg.Issuer == "" || cfg.ClientID == "":
		return nil, errors.New("making the approval server: issuer and client id of the identity provider are needed")
	}
	if err := checkIssuer(cfg.Issuer); err != nil {
		return nil, err
	}
	if len(cfg.Scopes) == 0 {
		cfg.Scopes = []string{"openid", "profile", "email", "groups", "offline_access"}
	}
	if len(cfg.Audiences) == 0 {
		cfg.Audiences = []string{cfg.ClientID}
	}
	if cfg.GroupsClaim == "" {
		cfg.GroupsClaim = "groups"
	}
	if err := CheckMachines(cfg.Machines, cfg.Issuer, cfg.Audiences, cfg.Store.cfg.AdminGroup); err != nil {
		return nil, fmt.Errorf("making the approval server: %w", err)
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = &http.Client{Timeout: 10 * time.Second}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg, store: cfg.Store, log: cfg.Logger, stopping: make(chan struct{}), streams: streams{n: map[string]int{}},
		ids: newIdentities(cfg),
	}
	s.metrics = newMetrics(cfg.Store)
	if cfg.Rate == 0 {
		cfg.Rate = defaultRate
	}
	if cfg.Rate > 0 {
		s.rates = newRates(cfg.Rate, cfg.Store.cfg.Now)
	}
	if cfg.PublicURL != "" {
		u, err := url.Parse(cfg.PublicURL)
		if err != nil || u.Host == "" {
			return nil, errors.New("making the approval server: the public URL must be https://HOST")
		}
		s.host = u.Hostname()
	}
	if cfg.SignIn != nil {
		s.signIn = cfg.SignIn.Handler()
	}
	s.handler = s.routes()
	return s, nil
}

func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback.Host(u.Hostname())) {
		return fmt.Errorf("making the approval server: the issuer %q must be an https URL (plain http is for loopback only)", issuer)
	}
	return nil
}

// Metrics answers Prometheus. It needs no token: serve it where only the
// scraper gets.
func (s *Server) Metrics() http.Handler { return s.metrics.handler(s.log) }

// Handler is the whole API. Store.Run must run beside it.
func (s *Server) Handler() http.Handler { return s.handler }

// The limits of connections. Streams and slow answers extend the write limit.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 60 * time.Second
	writeTimeout      = 3 * time.Minute // an upstream login may take its time
	idleTimeout       = 2 * time.Minute
	shutdownTimeout   = 5 * time.Second
)

// Serve answers on ln and does the store's background work until ctx ends, then
// finishes what is being answered. TLS, if any, is ln's.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	fresh := freshConns{open: map[net.Conn]bool{}}
	srv := &http.Server{
		Handler: s.handler, ConnState: fresh.track, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var g errgroup.Group
	g.Go(func() error { return s.store.Run(work) })
	g.Go(func() error {
		defer stopWork() // a listener that fails takes the rest down
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-work.Done():
			return nil
		}
		close(s.stopping)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		fresh.close()
		if err := srv.Shutdown(end); err != nil {
			// Whoever is cut off has no answer yet; what was answered is durable.
			s.log.WarnContext(ctx, "calls still running at the end were cut off", "error", errors.Join(err, srv.Close()))
		}
		last, stop := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer stop()
		if err := s.store.closeQueued(last); err != nil {
			s.log.WarnContext(ctx, "upstream sessions are left for the next process to close", "error", err)
		}
		return nil
	})
	return g.Wait()
}

// caller is what authentication found out.
type caller struct {
	Caller
	until time.Time // when the token ends; zero for a broker
}

type callerKey struct{}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// authenticate lets nobody past without a token, before anything of the body
// is read.
func (s *Server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := s.identify(r)
		if err != nil {
			s.log.InfoContext(r.Context(), "caller refused", "path", r.URL.Path, "error", err)
			w.Header().Set("WWW-Authenticate", `Bearer realm="jit"`)
			s.writeProblem(w, r, err)
			return
		}
		if err := s.pace(w, c); err != nil {
			s.writeProblem(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

// defaultRate is far above what people and brokers do, and far below what
// would keep others out.
const defaultRate = 100

// pace refuses a caller that calls too often.
func (s *Server) pace(w http.ResponseWriter, c caller) error {
	if s.rates == nil {
		return nil
	}
	wait, ok := s.rates.take(c.Principal.ID() + " " + c.Session)
	if ok {
		return nil
	}
	s.metrics.limited.Inc()
	seconds := int(wait.Seconds()) + 1
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	return session.Refuse(session.ErrCapacity, "You call too often. Try again in %d s.", seconds)
}

func (s *Server) identify(r *http.Request) (caller, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" || len(r.Header.Values("Authorization")) != 1 {
		return caller{}, session.ErrSignIn
	}
	if strings.HasPrefix(token, brokerTokenPrefix) {
		w, err := s.store.brokerCaller(r.Context(), secret.New(token))
		return caller{Caller: w}, err
	}
	who, err := s.ids.verify(r.Context(), token)
	if err != nil {
		return caller{}, err
	}
	if err := s.store.sawPrincipal(r.Context(), who.principal); err != nil {
		return caller{}, err
	}
	return caller{Caller: Caller{Principal: who.principal, Workload: who.workload}, until: who.until}, nil
}

// guard refuses what a browser on a rebound name would send, and sets the
// headers of every answer.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		if !s.cfg.BehindProxy && !s.hostAllowed(r.Host) {
			s.writeProblem(w, r, session.Refuse(session.ErrForbidden, "The server is not known by this name. Use its public URL."))
			return
		}
		if s.cfg.SignIn != nil && slices.Contains(bridge.Paths(), r.URL.Path) {
			s.signIn.ServeHTTP(w, r) // the part for browsers, which has rules of its own
			return
		}
		if r.Header.Get("Origin") != "" {
			s.writeProblem(w, r, session.Refuse(session.ErrForbidden, "The API is not for browsers."))
			return
		}
		if !plainText(r.URL.Path) || !plainQuery(r.URL) {
			s.writeProblem(w, r, session.ErrNotFound) // no name or id is like that, and databases choke on it
			return
		}
		next.ServeHTTP(w, r)
	})
}

func plainText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func plainQuery(u *url.URL) bool {
	text, err := url.QueryUnescape(u.RawQuery)
	return err != nil || plainText(text) // what is no query is refused later, with words
}

func (s *Server) hostAllowed(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	return loopback.Host(host) || s.host != "" && strings.EqualFold(host, s.host)
}

// CheckIssuer discovers the identity provider now rather than with the first
// token, for those who want to know at start.
func (s *Server) CheckIssuer(ctx context.Context) error {
	_, err := s.ids.people.discovered(ctx)
	return err
}
