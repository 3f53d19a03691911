package cmd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	_ "gocloud.dev/blob/s3blob" // recordings in s3:// buckets

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session/approval"
	"github.com/jit-access/jit/session/loopback"
)

// serverOptions say how `jit server` runs. The config file has the same names.
type serverOptions struct {
	Listen        string   `yaml:"listen"`
	Data          string   `yaml:"data"`
	Issuer        string   `yaml:"issuer"`
	ClientID      string   `yaml:"client_id"`
	Audience      []string `yaml:"audience"`
	Scopes        []string `yaml:"scopes"`
	GroupsClaim   string   `yaml:"groups_claim"`
	AdminGroup    string   `yaml:"admin_group"`
	PublicURL     string   `yaml:"public_url"`
	TLSCert       string   `yaml:"tls_cert"`
	TLSKey        string   `yaml:"tls_key"`
	Policy        string   `yaml:"policy"`
	SecretsURL    string   `yaml:"secrets_url"`
	BehindProxy   bool     `yaml:"behind_proxy"`
	MetricsListen string   `yaml:"metrics_listen"`
	Rate          int      `yaml:"rate"`
	WebhookAllow  []string `yaml:"webhook_allow"`
	AuditorGroup  string   `yaml:"auditor_group"`
	Database      string   `yaml:"database"`
	Recordings    string   `yaml:"recordings"`

	Identities []machineIdentity `yaml:"identities"` // of machines; config file only
}

// machineIdentity is an approval.MachineIdentity in the config file.
type machineIdentity struct {
	Name     string            `yaml:"name"`
	Issuer   string            `yaml:"issuer"`
	Audience string            `yaml:"audience"`
	Match    map[string]string `yaml:"match"`
	Groups   []string          `yaml:"groups"`
}

func (o serverOptions) machines() []approval.MachineIdentity {
	var out []approval.MachineIdentity
	for _, m := range o.Identities {
		out = append(out, approval.MachineIdentity(m))
	}
	return out
}

func newServerCommand(a *App) *cobra.Command {
	var (
		flags serverOptions
		file  string
	)
	c := &cobra.Command{
		Use:   "server",
		Short: "Run the approval server",
		Long: `Run the approval server.

It keeps the Snowflake credentials, takes requests, lets people decide on them,
and logs in to Snowflake for approved sessions. People sign in at your identity
provider (--issuer); nobody gets in without it.

Every setting can stand in a config file (--config, YAML), in the environment
(JIT_SERVER_ and the flag's name in capitals, such as JIT_SERVER_LISTEN), or in
a flag; flags win over the environment, and that over the file.

The data folder holds the database, the recordings and sealing.key, which seals
the credentials: back it up, and keep it apart from the database's backup.

With --database postgres://… several servers share one PostgreSQL and behave as
one. They also share --secrets-url (or copies of sealing.key) and --recordings.`,
		Example: `  jit server --issuer https://idp.example.com --client-id jit-cli
  jit server --config /etc/jit/server.yaml
  jit server --listen :8443 --tls-cert cert.pem --tls-key key.pem --public-url https://jit.example.com:8443 \
      --issuer https://idp.example.com --client-id jit-cli --policy ./policy`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, err := a.serverSettings(file, flags, c.Flags().Changed)
			if err != nil {
				return err
			}
			return a.serve(c.Context(), o)
		},
	}
	c.AddCommand(newServerBackupCommand(a), newServerRestoreCommand(a))
	f := c.Flags()
	f.StringVar(&file, "config", "", "config file (default $JIT_SERVER_CONFIG; none if that is empty)")
	f.StringVar(&flags.Listen, "listen", "", "address to listen on (default 127.0.0.1:8470)")
	f.StringVar(&flags.Data, "data", "", "data folder (default $XDG_STATE_HOME/jit/server)")
	f.StringVar(&flags.Issuer, "issuer", "", "OIDC issuer URL")
	f.StringVar(&flags.ClientID, "client-id", "", "OAuth client of jit at the issuer")
	f.StringSliceVar(&flags.Audience, "audience", nil, "audiences accepted in ID tokens (default the client id)")
	f.StringSliceVar(&flags.Scopes, "scopes", nil, "scopes that jit login asks for")
	f.StringVar(&flags.GroupsClaim, "groups-claim", "", `claim that lists a person's groups (default "groups")`)
	f.StringVar(&flags.AdminGroup, "admin-group", "", `group that manages connections and policy (default "jit-admins")`)
	f.StringVar(&flags.AuditorGroup, "auditor-group", "", `group that searches everybody's statements (default "jit-auditors")`)
	f.StringSliceVar(&flags.WebhookAllow, "webhook-allow", nil, "networks that webhooks may reach although they are not public, such as 10.1.0.0/16")
	f.StringVar(&flags.MetricsListen, "metrics-listen", "", "address that answers Prometheus at /metrics, without sign-in: keep it private (default none)")
	f.IntVar(&flags.Rate, "rate", 0, "calls a second that one caller may make, negative for no limit (default 100)")
	f.StringVar(&flags.PublicURL, "public-url", "", "how clients reach the server; needed unless it listens on loopback")
	f.StringVar(&flags.TLSCert, "tls-cert", "", "certificate chain, PEM")
	f.StringVar(&flags.TLSKey, "tls-key", "", "private key file of the certificate, PEM")
	f.StringVar(&flags.Policy, "policy", "", "folder of the policy bundle to make active (default the last active one, at first the one shipped with jit)")
	f.StringVar(&flags.SecretsURL, "secrets-url", "", "keeper that seals credentials (default the key file in the data folder)")
	f.StringVar(&flags.Database, "database", "", "PostgreSQL URL, without a password (default a SQLite file in the data folder)")
	f.StringVar(&flags.Recordings, "recordings", "", "bucket URL of recordings, file:///… or s3://… (default a folder in the data folder)")
	f.BoolVar(&flags.BehindProxy, "behind-proxy", false, "a proxy in front terminates TLS and checks the host name")
	return c
}

// serverSettings merges file, environment and flags, weakest first.
func (a *App) serverSettings(file string, flags serverOptions, changed func(string) bool) (serverOptions, error) {
	o, err := a.mergeServerSettings(file, flags, changed)
	if err != nil {
		return o, err
	}
	return o, o.check()
}

func (a *App) mergeServerSettings(file string, flags serverOptions, changed func(string) bool) (serverOptions, error) {
	var o serverOptions
	if file == "" {
		file = a.Getenv("JIT_SERVER_CONFIG")
	}
	if file != "" {
		data, err := os.ReadFile(file) //nolint:gosec // the operator's own config file
		if err != nil {
			return o, &Failure{Code: ExitUsage, What: "reading the server's config file", Err: err}
		}
		if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&o); err != nil && len(bytes.TrimSpace(data)) > 0 {
			return o, &Failure{Code: ExitUsage, What: "reading the server's config file " + file, Err: errors.New(yaml.FormatError(err, false, true)), Fix: "Correct the line shown."}
		}
	}
	for _, s := range []struct {
		flag     string
		to, from *string
	}{
		{"listen", &o.Listen, &flags.Listen}, {"data", &o.Data, &flags.Data}, {"issuer", &o.Issuer, &flags.Issuer},
		{"client-id", &o.ClientID, &flags.ClientID}, {"groups-claim", &o.GroupsClaim, &flags.GroupsClaim},
		{"admin-group", &o.AdminGroup, &flags.AdminGroup}, {"public-url", &o.PublicURL, &flags.PublicURL},
		{"tls-cert", &o.TLSCert, &flags.TLSCert}, {"tls-key", &o.TLSKey, &flags.TLSKey},
		{"policy", &o.Policy, &flags.Policy}, {"secrets-url", &o.SecretsURL, &flags.SecretsURL},
		{"database", &o.Database, &flags.Database}, {"recordings", &o.Recordings, &flags.Recordings},
		{"metrics-listen", &o.MetricsListen, &flags.MetricsListen},
		{"auditor-group", &o.AuditorGroup, &flags.AuditorGroup},
	} {
		if v := a.Getenv(serverEnv(s.flag)); v != "" {
			*s.to = v
		}
		if changed(s.flag) {
			*s.to = *s.from
		}
	}
	for _, s := range []struct {
		flag     string
		to, from *[]string
	}{{"audience", &o.Audience, &flags.Audience}, {"scopes", &o.Scopes, &flags.Scopes}, {"webhook-allow", &o.WebhookAllow, &flags.WebhookAllow}} {
		if v := a.Getenv(serverEnv(s.flag)); v != "" {
			*s.to = strings.Split(v, ",")
		}
		if changed(s.flag) {
			*s.to = *s.from
		}
	}
	if v := a.Getenv(serverEnv("behind-proxy")); v != "" {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return o, usagef("$%s: %q is neither true nor false", serverEnv("behind-proxy"), v)
		}
		o.BehindProxy = b
	}
	if changed("behind-proxy") {
		o.BehindProxy = flags.BehindProxy
	}
	if v := a.Getenv(serverEnv("rate")); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			return o, usagef("$%s: %q is not a number", serverEnv("rate"), v)
		}
		o.Rate = n
	}
	if changed("rate") {
		o.Rate = flags.Rate
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:8470"
	}
	if o.Data == "" {
		o.Data = filepath.Join(a.Paths.State, "server")
	}
	return o, nil
}

func serverEnv(flag string) string {
	return "JIT_SERVER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// check refuses what would be unsafe or cannot work.
func (o serverOptions) check() error {
	if o.Issuer == "" || o.ClientID == "" {
		return usagef("--issuer and --client-id are needed: they say who may sign in")
	}
	if (o.TLSCert == "") != (o.TLSKey == "") {
		return usagef("--tls-cert and --tls-key belong together")
	}
	if strings.HasPrefix(o.SecretsURL, "base64key:") {
		return usagef("--secrets-url: a base64key URL shows the key to everyone who can list processes; leave it empty to use the key file of the data folder")
	}
	if err := o.checkDatabase(); err != nil {
		return err
	}
	if _, err := o.networks(); err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return usagef("--listen %q must be HOST:PORT or :PORT", o.Listen)
	}
	if loopback.Host(host) {
		return nil
	}
	if o.TLSCert == "" && !o.BehindProxy {
		return usagef("--listen %s is reachable from other machines: give --tls-cert and --tls-key, or --behind-proxy if a proxy in front terminates TLS", o.Listen)
	}
	if o.PublicURL == "" && !o.BehindProxy {
		return usagef("--public-url is needed with --listen %s: requests for other names are refused", o.Listen)
	}
	return nil
}

// networks are those that webhooks may reach although they are not public.
func (o serverOptions) networks() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range o.WebhookAllow {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, usagef("--webhook-allow %q must be a network such as 10.1.0.0/16", text)
		}
		out = append(out, p)
	}
	return out, nil
}

func (o serverOptions) checkDatabase() error {
	if o.Database != "" && approval.DatabaseHasPassword(o.Database) {
		return usagef("--database: a password in the URL shows in process lists and logs; put it into a password file and name that: postgres://USER@HOST/NAME?passfile=/etc/jit/pgpass")
	}
	return nil
}

// issuerPatience is how long the server waits at start for its identity
// provider, which often starts beside it.
const issuerPatience = 5 * time.Second

// serve runs the server until ctx ends.
func (a *App) serve(ctx context.Context, o serverOptions) error {
	level := slog.LevelInfo
	if a.verbose {
		level = slog.LevelDebug
	}
	logger := slog.New(slog.NewJSONHandler(a.Err, &slog.HandlerOptions{Level: level}))
	var bundle *policy.Bundle // nil: the active one stays
	if o.Policy != "" {
		b, err := policy.Load(os.DirFS(o.Policy))
		if err != nil {
			return &Failure{What: "loading the policy of " + o.Policy, Err: err, Fix: "Run `jit policy check " + o.Policy + "`."}
		}
		bundle = b
	}
	networks, err := o.networks()
	if err != nil {
		return err
	}
	store, err := approval.NewStore(approval.StoreConfig{Dir: o.Data, Database: o.Database, RecordingsURL: o.Recordings, SecretsURL: o.SecretsURL, Policy: bundle, AdminGroup: o.AdminGroup, AuditorGroup: o.AuditorGroup, WebhookAllow: networks, Logger: logger})
	if err != nil {
		return &Failure{What: "opening " + o.Data, Err: err}
	}
	defer func() {
		if err := store.Close(); err != nil {
			logger.Error("closing the store failed", "error", err)
		}
	}()
	srv, err := approval.NewServer(approval.Config{
		Store: store, Issuer: o.Issuer, ClientID: o.ClientID, Scopes: o.Scopes, Audiences: o.Audience, GroupsClaim: o.GroupsClaim,
		Machines: o.machines(), PublicURL: o.PublicURL, BehindProxy: o.BehindProxy, Rate: o.Rate, Version: Version, Logger: logger,
	})
	if err != nil {
		return &Failure{Code: ExitUsage, What: "configuring the server", Err: err}
	}
	ln, err := o.listener(ctx)
	if err != nil {
		return &Failure{What: "listening on " + o.Listen, Err: err}
	}
	if err := waitForIssuer(ctx, srv); err != nil {
		return &Failure{What: "finding the identity provider", Err: errors.Join(err, ln.Close()), Fix: "Check --issuer: its /.well-known/openid-configuration must be reachable from here."}
	}
	stopMetrics, err := o.serveMetrics(ctx, srv, logger)
	if err != nil {
		return &Failure{What: "listening on " + o.MetricsListen, Err: errors.Join(err, ln.Close())}
	}
	defer stopMetrics()
	a.say("The approval server listens on %s; people sign in at %s. Ctrl-C stops it.", o.url(ln), o.Issuer)
	if err := srv.Serve(ctx, ln); err != nil {
		return &Failure{What: "running the server", Err: err}
	}
	return nil
}

// serveMetrics answers Prometheus on an address of its own, if there is one.
func (o serverOptions) serveMetrics(ctx context.Context, srv *approval.Server, logger *slog.Logger) (stop func(), err error) {
	if o.MetricsListen == "" {
		return func() {}, nil
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", o.MetricsListen)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", srv.Metrics())
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
	done := make(chan struct{})
	go func() { // ends with web.Close
		defer close(done)
		if err := web.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("serving metrics failed", "error", err)
		}
	}()
	logger.Info("metrics", "address", ln.Addr().String())
	return func() {
		if err := web.Close(); err != nil {
			logger.Warn("closing the metrics listener failed", "error", err)
		}
		<-done
	}, nil
}

func waitForIssuer(ctx context.Context, srv *approval.Server) error {
	ctx, cancel := context.WithTimeout(ctx, issuerPatience)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := srv.CheckIssuer(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err // an attempt cut short says less than the one before
		}
		select {
		case <-ctx.Done():
			return last
		case <-tick.C:
		}
	}
}

func (o serverOptions) listener(ctx context.Context) (net.Listener, error) {
	var cert tls.Certificate
	if o.TLSCert != "" {
		var err error
		if cert, err = tls.LoadX509KeyPair(o.TLSCert, o.TLSKey); err != nil {
			return nil, err
		}
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil || o.TLSCert == "" {
		return ln, err
	}
	return tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}), nil
}

func (o serverOptions) url(ln net.Listener) string {
	if o.PublicURL != "" {
		return o.PublicURL
	}
	scheme := "http"
	if o.TLSCert != "" {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%s", scheme, ln.Addr())
}
