package approval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/jit-access/jit/broker/credential"
	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/loopback"
	"github.com/jit-access/jit/session/secret"
)

// Connection is a Snowflake account and user that sessions are opened with.
// Its credential is not part of it: no call returns one.
type Connection struct {
	Name          string
	URL           string // base URL; empty on adding = from Account
	Account       string
	User          string
	Authenticator string   // kind of credential
	Roles         []string // roles that may be asked for; empty = only Role
	Role          string   // default role
	Warehouse     string   // defaults of a scope
	Database      string
	Schema        string
}

// NewCredential is the secret of a connection on its way in.
type NewCredential struct {
	Kind       string // a credential.Kind constant
	Material   secret.Text
	Passphrase secret.Text // of an encrypted private key
}

// sealedCredential is what is sealed of it.
type sealedCredential struct {
	Kind       string `json:"kind"`
	Material   string `json:"material"`
	Passphrase string `json:"passphrase,omitempty"`
}

func credentialPurpose(connection string) string { return "connection " + connection }

// connectionNames keeps names fit for URLs, terminals and files.
var connectionNames = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)

func (conn *Connection) check() error {
	bad := func(format string, args ...any) error { return session.Refuse(session.ErrInvalid, format, args...) }
	if !connectionNames.MatchString(conn.Name) {
		return bad("A connection's name has letters, digits, dot, underscore and hyphen only.")
	}
	if conn.Account == "" {
		return bad("The account is empty: give an account identifier such as myorg-myaccount.")
	}
	if conn.URL == "" {
		u, err := credential.BaseURL(conn.Account)
		if err != nil {
			return bad("%v.", err)
		}
		conn.URL = u
	}
	u, err := url.Parse(conn.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return bad("The URL must be https://HOST and nothing more.")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback.Host(u.Hostname())) {
		return bad("The URL must be https; plain http is for loopback only.")
	}
	conn.URL = u.Scheme + "://" + u.Host
	if conn.Role == "" && len(conn.Roles) == 1 {
		conn.Role = conn.Roles[0]
	}
	if conn.Role == "" {
		return bad("The connection needs a default role: without one Snowflake would choose the user's own.")
	}
	return nil
}

// allows reports whether role may be asked for.
func (conn *Connection) allows(role string) bool {
	return strings.EqualFold(role, conn.Role) ||
		slices.ContainsFunc(conn.Roles, func(r string) bool { return strings.EqualFold(r, role) })
}

// completeScope fills what a scope leaves open from the connection's defaults
// and refuses what the connection does not allow.
func (s *Store) completeScope(ctx context.Context, q querier, sc session.Scope) (session.Scope, error) {
	conn, err := loadConnection(ctx, q, sc.Connection)
	if errors.Is(err, session.ErrNotFound) {
		return sc, session.Refuse(session.ErrNotFound, "There is no connection %q. See jit connection list.", sc.Connection)
	}
	if err != nil {
		return sc, err
	}
	def := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	def(&sc.Role, conn.Role)
	def(&sc.Warehouse, conn.Warehouse)
	def(&sc.Database, conn.Database)
	def(&sc.Schema, conn.Schema)
	if !conn.allows(sc.Role) {
		return sc, session.Refuse(session.ErrForbidden, "The connection %q does not offer the role %s.", conn.Name, sc.Role)
	}
	switch {
	case sc.TTL < 0 || sc.TTL > s.cfg.Limits.MaxTTL:
		return sc, session.Refuse(session.ErrInvalid, "A session may last at most %s.", s.cfg.Limits.MaxTTL)
	case sc.TTL == 0:
		sc.TTL = s.cfg.Limits.DefaultTTL
	}
	return sc, nil
}

type connectionDoc struct {
	Name          string   `json:"name" maxLength:"64"`
	URL           string   `json:"url,omitempty" doc:"base URL; empty: from the account"`
	Account       string   `json:"account" maxLength:"255"`
	User          string   `json:"user,omitempty" maxLength:"255"`
	Authenticator string   `json:"authenticator,omitempty" doc:"kind of credential"`
	Roles         []string `json:"roles,omitempty" maxItems:"256"`
	Role          string   `json:"role,omitempty" maxLength:"255"`
	Warehouse     string   `json:"warehouse,omitempty" maxLength:"255"`
	Database      string   `json:"database,omitempty" maxLength:"255"`
	Schema        string   `json:"schema,omitempty" maxLength:"255"`
}

func loadConnection(ctx context.Context, q querier, name string) (Connection, error) {
	var doc string
	if err := q.QueryRowContext(ctx, `SELECT doc FROM connections WHERE name = $1`, name).Scan(&doc); err != nil {
		return Connection{}, orNotFound(err)
	}
	var d connectionDoc
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		return Connection{}, fmt.Errorf("reading connection %s: %w", name, err)
	}
	return Connection(d), nil
}

// loadCredential opens a connection's credential for one login.
func (s *Store) loadCredential(ctx context.Context, q querier, name string) (Connection, credential.Credential, error) {
	conn, err := loadConnection(ctx, q, name)
	if errors.Is(err, session.ErrNotFound) {
		return Connection{}, nil, session.Refuse(session.ErrNotFound, "The connection %q is gone.", name)
	}
	if err != nil {
		return Connection{}, nil, err
	}
	var sealed []byte
	if err := q.QueryRowContext(ctx, `SELECT credential FROM connections WHERE name = $1`, name).Scan(&sealed); err != nil {
		return Connection{}, nil, orNotFound(err)
	}
	var sc sealedCredential
	if err := s.unseal(ctx, credentialPurpose(name), sealed, &sc); err != nil {
		return Connection{}, nil, err
	}
	cred, err := credential.Parse(sc.Kind, secret.New(sc.Material), secret.New(sc.Passphrase))
	if err != nil {
		return Connection{}, nil, fmt.Errorf("reading the credential of %s: %w", name, err)
	}
	return conn, cred, nil
}

// addConnection adds or, with replace, changes a connection; admins only.
func (s *Store) addConnection(ctx context.Context, w Caller, conn Connection, nc NewCredential, replace bool) (Connection, error) {
	err := s.checkAndRecord(ctx, w, "connection.add", conn.Name, func(ctx context.Context, c *change) error {
		if err := s.admin(w); err != nil {
			return err
		}
		conn.Authenticator = nc.Kind
		if err := conn.check(); err != nil {
			return err
		}
		if _, err := credential.Parse(nc.Kind, nc.Material, nc.Passphrase); err != nil {
			return session.Refuse(session.ErrInvalid, "%v", err) // package credential puts no secret into its errors
		}
		sealed, err := s.seal(ctx, c, credentialPurpose(conn.Name), sealedCredential{nc.Kind, nc.Material.Reveal(), nc.Passphrase.Reveal()})
		if err != nil {
			return err
		}
		doc, err := json.Marshal(connectionDoc(conn))
		if err != nil {
			return fmt.Errorf("writing connection: %w", err)
		}
		c.note("account", conn.Account)
		c.note("user", conn.User)
		c.note("authenticator", nc.Kind)
		conflict := `DO NOTHING`
		if replace {
			conflict = `DO UPDATE SET doc = excluded.doc, credential = excluded.credential`
		}
		err = c.exactlyOne(ctx, `INSERT INTO connections (name, doc, credential, created_at, created_by) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) `+conflict,
			conn.Name, string(doc), sealed, micros(c.now), w.Principal.ID())
		if errors.Is(err, session.ErrConflict) {
			return session.Refuse(session.ErrConflict, "There is a connection %q already. Remove it first, or replace it.", conn.Name)
		}
		return err
	})
	return conn, err
}

// removeConnection forgets a connection and its credential; sessions that run
// on it go on until their end.
func (s *Store) removeConnection(ctx context.Context, w Caller, name string) error {
	return s.checkAndRecord(ctx, w, "connection.remove", name, func(ctx context.Context, c *change) error {
		if err := s.admin(w); err != nil {
			return err
		}
		err := c.exactlyOne(ctx, `DELETE FROM connections WHERE name = $1`, name)
		if errors.Is(err, session.ErrConflict) {
			return session.Refuse(session.ErrNotFound, "There is no connection %q.", name)
		}
		return err
	})
}

// testConnection logs in and out once, and says what Snowflake said.
func (s *Store) testConnection(ctx context.Context, w Caller, name string) (ConnectionTest, error) {
	var (
		conn Connection
		cred credential.Credential
	)
	err := s.checkAndRecord(ctx, w, "connection.test", name, func(ctx context.Context, c *change) (err error) {
		if err := s.admin(w); err != nil {
			return err
		}
		conn, cred, err = s.loadCredential(ctx, c, name)
		return err
	})
	if err != nil {
		return ConnectionTest{}, err
	}
	if cred, err = s.exchanged(ctx, name, cred); err != nil {
		return ConnectionTest{}, err
	}
	return s.tryLogin(ctx, conn, cred)
}

// tryLogin logs in and out with a connection's defaults.
func (s *Store) tryLogin(ctx context.Context, conn Connection, cred credential.Credential) (ConnectionTest, error) {
	cs, err := credential.Login(ctx, s.hc, conn.URL, credential.Params{
		Account: conn.Account, User: conn.User, Role: conn.Role, Warehouse: conn.Warehouse, Database: conn.Database, Schema: conn.Schema,
		SessionParameters: map[string]string{"QUERY_TAG": `{"jit_connection_test":true}`},
	}, cred)
	if err != nil {
		return ConnectionTest{}, upstreamError(err)
	}
	if err := credential.Close(context.WithoutCancel(ctx), s.hc, conn.URL, cs.Token); err != nil {
		return ConnectionTest{}, upstreamError(err)
	}
	return ConnectionTest{Role: cs.Info.Role, Warehouse: cs.Info.Warehouse, Database: cs.Info.Database, Schema: cs.Info.Schema, ServerVersion: cs.ServerVersion}, nil
}

// ConnectionTest is what a successful test login answered.
type ConnectionTest struct {
	Role          string `json:"role,omitempty"`
	Warehouse     string `json:"warehouse,omitempty"`
	Database      string `json:"database,omitempty"`
	Schema        string `json:"schema,omitempty"`
	ServerVersion string `json:"server_version,omitempty"`
}

// connections lists what w could ask for: admins see all of a connection, and
// others those that the policy would not deny them, without account and user.
func (s *Store) connections(ctx context.Context, w Caller) ([]Connection, error) {
	if err := w.signedIn(); err != nil {
		return nil, err
	}
	rows, err := s.db.read.QueryContext(ctx, `SELECT name FROM connections ORDER BY name`)
	if err != nil {
		return nil, err
	}
	names, err := scanStrings(rows)
	if err != nil {
		return nil, err
	}
	b, err := s.activeBundle(ctx, s.db.read)
	if err != nil {
		return nil, err
	}
	var out []Connection
	for _, name := range names {
		conn, err := loadConnection(ctx, s.db.read, name)
		if errors.Is(err, session.ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if !s.isAdmin(w) {
			sc, err := s.completeScope(ctx, s.db.read, session.Scope{Connection: name})
			if err != nil {
				continue
			}
			if v := b.Open(subject(w.Principal, session.Agent{}), setting(sc), sc.TTL).Verdict; v != policy.Allow && v != policy.Hold {
				continue
			}
			conn.URL, conn.Account, conn.User, conn.Authenticator = "", "", "", ""
		}
		out = append(out, conn)
	}
	return out, nil
}
