package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	_ "gocloud.dev/blob/s3blob" // recordings in s3:// buckets

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session/approval"
)

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

With --recordings-retention, recordings are deleted when their time is over,
unless somebody holds them (jit audit hold). The certificate's files are read
again when they change, and at SIGHUP.

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
	c.AddCommand(newServerBackupCommand(a), newServerRestoreCommand(a), newServerPruneCommand(a), newServerReindexCommand(a),
		newServerCheckConfigCommand(a), newServerConfigSchemaCommand(a), newServerInstallKeyCommand(a), newServerRewrapCommand(a))
	registerServerFlags(c.Flags(), &file, &flags)
	return c
}

// registerServerFlags registers a flag for every setting that can be one.
func registerServerFlags(f *pflag.FlagSet, file *string, flags *serverOptions) {
	f.StringVar(file, "config", "", "config file (default $JIT_SERVER_CONFIG; none if that is empty)")
	f.StringVar(&flags.Listen, "listen", "", "address to listen on (default 127.0.0.1:8470)")
	f.StringVar(&flags.Data, "data", "", "data folder (default $XDG_STATE_HOME/jit/server)")
	f.StringVar(&flags.Issuer, "issuer", "", "OIDC issuer URL")
	f.StringVar(&flags.ClientID, "client-id", "", "OAuth client of jit at the issuer")
	f.StringSliceVar(&flags.Audience, "audience", nil, "audiences accepted in ID tokens (default the client id)")
	f.StringSliceVar(&flags.Scopes, "scopes", nil, "scopes that jit login asks for")
	f.StringVar(&flags.GroupsClaim, "groups-claim", "", `claim that lists a person's groups (default "groups")`)
	f.StringVar(&flags.AdminGroup, "admin-group", "", `group that manages connections and policy (default "jit-admins")`)
	f.StringVar(&flags.AuditorGroup, "auditor-group", "", `group that searches everybody's statements (default "jit-auditors")`)
	f.StringVar(&flags.SAMLMetadata, "saml-metadata", "", "metadata file of a SAML identity provider: people sign in there, instead of at --issuer")
	f.StringVar(&flags.SAMLGroupsAttribute, "saml-groups-attribute", "", `SAML attribute with a person's groups (default "groups")`)
	f.StringVar(&flags.SAMLEmailAttribute, "saml-email-attribute", "", `SAML attribute with a person's e-mail address (default "email")`)
	f.StringVar(&flags.SAMLNameAttribute, "saml-name-attribute", "", `SAML attribute with a person's name (default "name")`)
	f.StringSliceVar(&flags.WebhookAllow, "webhook-allow", nil, "networks that webhooks may reach although they are not public, such as 10.1.0.0/16")
	f.StringVar(&flags.SMTPURL, "smtp-url", "", "mail server, smtp://USER@HOST:PORT (STARTTLS) or smtps://USER@HOST:PORT, without a password (default no mail)")
	f.StringVar(&flags.SMTPPasswordFile, "smtp-password-file", "", "file with the password of the mail server's user")
	f.StringVar(&flags.MailFrom, "mail-from", "", "sender of mail")
	f.StringSliceVar(&flags.MailTo, "mail-to", nil, "whom to write to, ADDRESS or GROUP=ADDRESS for what that group decides")
	f.StringVar(&flags.MetricsListen, "metrics-listen", "", "address that answers Prometheus at /metrics, without sign-in: keep it private (default none)")
	f.IntVar(&flags.Rate, "rate", 0, "calls a second that one caller may make, negative for no limit (default 100)")
	f.StringVar(&flags.PublicURL, "public-url", "", "how clients reach the server; needed unless it listens on loopback")
	f.StringVar(&flags.TLSCert, "tls-cert", "", "certificate chain, PEM")
	f.StringVar(&flags.TLSKey, "tls-key", "", "private key file of the certificate, PEM")
	f.StringVar(&flags.Policy, "policy", "", "folder of the policy bundle to make active (default the last active one, at first the one shipped with jit)")
	f.StringVar(&flags.SecretsURL, "secrets-url", "", "keeper that seals credentials (default the key file in the data folder)")
	f.StringVar(&flags.Database, "database", "", "PostgreSQL URL, without a password (default a SQLite file in the data folder)")
	f.StringVar(&flags.Recordings, "recordings", "", "bucket URL of recordings, file:///… or s3://… (default a folder in the data folder)")
	f.StringVar(&flags.RecordingsRetention, "recordings-retention", "", "delete recordings so long after their session's end, such as 400d, unless they are held (default never)")
	f.StringVar(&flags.RecordingsLock, "recordings-lock", "", "have the S3 bucket keep every piece of a recording so long from everybody, such as 30d (default what the bucket says)")
	f.BoolVar(&flags.BehindProxy, "behind-proxy", false, "a proxy in front terminates TLS and checks the host name")
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
	retention, lock, err := o.spans()
	if err != nil {
		return err
	}
	mail, err := a.mailWithPassword(o)
	if err != nil {
		return err
	}
	store, err := approval.NewStore(approval.StoreConfig{Dir: o.Data, PublicURL: o.PublicURL, Mail: mail, Database: o.Database, RecordingsURL: o.Recordings, SecretsURL: o.SecretsURL, Policy: bundle, AdminGroup: o.AdminGroup, AuditorGroup: o.AuditorGroup, WebhookAllow: networks, Retention: retention, RecordingsLock: lock, Logger: logger})
	if err != nil {
		return &Failure{What: "opening " + o.Data, Err: err}
	}
	defer func() {
		if err := store.Close(); err != nil {
			logger.Error("closing the store failed", "error", err)
		}
	}()
	signIn, err := o.signIn(store, logger)
	if err != nil {
		return err
	}
	srv, err := approval.NewServer(approval.Config{
		Store: store, SignIn: signIn, Issuer: o.Issuer, ClientID: o.ClientID, Scopes: o.Scopes, Audiences: o.Audience, GroupsClaim: o.GroupsClaim,
		Machines: o.machines(), PublicURL: o.PublicURL, BehindProxy: o.BehindProxy, Rate: o.Rate, Version: Version, Logger: logger,
	})
	if err != nil {
		return &Failure{Code: ExitUsage, What: "configuring the server", Err: err}
	}
	ln, err := o.listener(ctx, logger)
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
