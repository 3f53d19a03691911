package cmd

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/pelletier/go-toml/v2"
	"github.com/snowflakedb/gosnowflake/v2"
	"github.com/spf13/cobra"
)

// mcpOptions are the flags of `jit mcp`. Those of the session it opens count
// only outside of one.
type mcpOptions struct {
	Connection string
	Reason     string
	TTL        time.Duration
}

func newMCPCommand(a *App) *cobra.Command {
	var o mcpOptions
	c := &cobra.Command{
		Use:   "mcp",
		Short: "Serve a session's Snowflake as MCP tools",
		Long: `Serve Snowflake to an agent as tools of the Model Context Protocol, on standard
input and output: query, describe, list_tables and request_status.

Inside a session (an agent under jit exec starts it) it uses that session. Outside
of one it opens a session of its own when a tool is first called, as jit exec does:
the reason is --reason or, if the client can ask its user, what they answer.
Approval is never asked for there: reviewers decide with jit review.

Statements go through the session's broker like those of any driver: what is held,
refused, masked and recorded is the same. It is one connection, so that USE and
temporary tables last; statements run one after the other.

Exit codes: 0 when the client closes it, 1 if it cannot serve.`,
		Example: `  jit exec --reason "churn report" -- claude      # whose MCP entry is: jit mcp
  jit mcp --reason "churn report"                 # opens a session of its own
  jit agent init claude                           # the entry, ready to paste`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.mcp(c.Context(), o) },
	}
	f := c.Flags()
	f.StringVar(&o.Connection, "connection", "", "connection of a session of its own (default: as jit exec)")
	f.StringVar(&o.Reason, "reason", "", "why, for a session of its own; reviewers read it and the recording keeps it")
	f.DurationVar(&o.TTL, "ttl", defaultTTL, "how long a session of its own lasts, from first use")
	return c
}

// mcp serves until the client closes standard input.
func (a *App) mcp(ctx context.Context, o mcpOptions) error {
	if err := gosnowflake.GetLogger().SetLogLevel("off"); err != nil {
		return &Failure{What: "quieting the driver's log", Err: err}
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "jit", Title: "Snowflake through jit", Version: Version},
		&mcp.ServerOptions{Instructions: a.instructions(), Logger: a.Logger})
	in := io.NopCloser(a.In)
	c, err := leasedConnection(a.Getenv("SNOWFLAKE_HOME"))
	switch {
	case err == nil:
		s, err := openMCPSession(c)
		if err != nil {
			return err
		}
		defer s.db.Close() //nolint:errcheck // the process ends
		s.register(server)
	case requestName.MatchString(a.Getenv("JIT_SESSION")): // an agent may pass on "$JIT_SESSION" itself
		return &Failure{What: "finding the broker of session " + a.Getenv("JIT_SESSION"), Err: err,
			Fix: "Have the agent pass on $SNOWFLAKE_HOME as `jit exec` set it; `jit agent init` writes such an entry."}
	default:
		f := newMCPFront(a, o)
		defer f.close()
		f.register(server)
		in = io.NopCloser(untilEnd{a.In, f.leave})
	}
	err = server.Run(ctx, &mcp.IOTransport{Reader: in, Writer: nopCloser{a.Out}})
	if err != nil && !errors.Is(err, io.EOF) && ctx.Err() == nil {
		return &Failure{What: "serving MCP", Err: err}
	}
	return nil
}

// instructions are the session's briefing, or the one that is true of every
// session.
func (a *App) instructions() string {
	file := a.Getenv("JIT_CONTEXT_FILE")
	if text, err := os.ReadFile(file); err == nil && strings.HasPrefix(string(text), briefing) { //nolint:gosec // as jit exec set it
		return string(text)
	}
	return briefing
}

// untilEnd says when its reader has ended.
type untilEnd struct {
	io.Reader
	ended func()
}

func (u untilEnd) Read(b []byte) (int, error) {
	n, err := u.Reader.Read(b)
	if err != nil {
		u.ended()
	}
	return n, err //nolint:wrapcheck // a reader's error
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// mcpSession is the session that the tools use.
type mcpSession struct {
	db    *sql.DB
	base  string // of the broker, as http://host:port
	lease string
	beat  time.Duration // between progress notifications
}

const (
	mcpBeat     = 2 * time.Second
	brokerLogin = 30 * time.Second
)

// openMCPSession makes the tools' connection to the broker.
func openMCPSession(c connection) (*mcpSession, error) {
	port, err := strconv.Atoi(c.Port)
	if err != nil {
		return nil, &Failure{What: "finding the session's broker", Err: err}
	}
	// Some clients start their servers with little of the environment.
	if err := os.Setenv("SNOWFLAKE_DISABLE_PLATFORM_DETECTION", "true"); err != nil {
		return nil, &Failure{What: "setting up the driver", Err: err}
	}
	db := sql.OpenDB(gosnowflake.NewConnector(gosnowflake.SnowflakeDriver{}, gosnowflake.Config{
		Account: c.Account, User: c.User, Host: c.Host, Port: port, Protocol: c.Protocol,
		Authenticator: gosnowflake.AuthTypePat, Token: c.Token,
		Database: c.Database, Schema: c.Schema, Warehouse: c.Warehouse, Role: c.Role,
		Application: "jit_mcp", LoginTimeout: brokerLogin, //nolint:staticcheck // there is no other way yet
	}))
	db.SetMaxOpenConns(1) // USE and temporary tables belong to a connection
	return &mcpSession{db: db, base: "http://" + net.JoinHostPort(c.Host, c.Port), lease: c.Token, beat: mcpBeat}, nil
}

// leasedConnection reads the connection file that `jit exec` wrote. It takes a
// lease of a broker on this machine and nothing else: a Snowflake connection of
// the user's own must not become the agent's.
func leasedConnection(home string) (connection, error) {
	if home == "" {
		return connection{}, errors.New("$SNOWFLAKE_HOME is not set")
	}
	data, err := os.ReadFile(filepath.Join(home, "connections.toml")) //nolint:gosec // where every driver looks
	if err != nil {
		return connection{}, fmt.Errorf("reading the connection file of the session: %w", err)
	}
	var file struct {
		JIT connection `toml:"jit"`
	}
	if err := toml.Unmarshal(data, &file); err != nil {
		return connection{}, errors.New("the connection file in $SNOWFLAKE_HOME is not one that `jit exec` wrote")
	}
	c := file.JIT
	ip := net.ParseIP(c.Host)
	if !strings.HasPrefix(c.Token, "jit_lease_") || ip == nil || !ip.IsLoopback() || c.Protocol != "http" {
		return connection{}, errors.New("the connection in $SNOWFLAKE_HOME is not that of a jit session")
	}
	return c, nil
}
