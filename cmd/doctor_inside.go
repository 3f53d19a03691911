package cmd

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/snowflakedb/gosnowflake/v2"
)

// insideChecks look at what an agent gets.
var insideChecks = []check{
	{"session", checkInside}, {"broker", checkBroker}, {"statement", checkStatement}, {"environment", checkEnvironment}, {"files", checkFiles},
}

func checkInside(_ context.Context, d *doctor) finding {
	id := d.a.Getenv("JIT_SESSION")
	if id == "" {
		d.refused = true
		return found(healthBad, "this does not run inside a session", "Run it as `jit exec --reason REASON -- jit doctor --inside`.")
	}
	return found(healthOK, id, "")
}

func checkBroker(ctx context.Context, d *doctor) finding {
	host, port := d.a.Getenv("SNOWFLAKE_HOST"), d.a.Getenv("SNOWFLAKE_PORT")
	if d.refused {
		return found(healthNone, "not asked", "")
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		d.refused = true
		return found(healthBad, fmt.Sprintf("$SNOWFLAKE_HOST is %q, which is not this machine", host), "Something between `jit exec` and this command changed the environment: pass it on as it is.")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		d.refused = true
		return found(healthBad, err.Error(), "The session has ended, or this runs where the machine's loopback address is another (a container): run it beside `jit exec`.")
	}
	_ = conn.Close()
	return found(healthOK, net.JoinHostPort(host, port), "")
}

// checkStatement logs in and runs a statement as a driver does; both are
// recorded, like everything else.
func checkStatement(ctx context.Context, d *doctor) finding {
	if d.refused {
		return found(healthNone, "not asked", "")
	}
	if err := gosnowflake.GetLogger().SetLogLevel("off"); err != nil {
		return found(healthBad, "quieting the driver's log: "+err.Error(), "")
	}
	db, err := sql.Open("snowflake", "autoConfig")
	if err != nil {
		return found(healthBad, err.Error(), "Pass on $SNOWFLAKE_HOME as `jit exec` sets it.")
	}
	defer db.Close() //nolint:errcheck // one statement
	var role sql.NullString
	if err := db.QueryRowContext(ctx, "SELECT CURRENT_ROLE()").Scan(&role); err != nil {
		return found(healthBad, err.Error(), "The message above is what an agent would see; it says what to do.")
	}
	return found(healthOK, "a driver can log in and read, as "+role.String, "")
}

// ownVariables are what `jit exec` sets of SNOWFLAKE_*.
var ownVariables = []string{
	"SNOWFLAKE_HOME", "SNOWFLAKE_DEFAULT_CONNECTION_NAME", "SNOWFLAKE_ACCOUNT", "SNOWFLAKE_USER", "SNOWFLAKE_HOST", "SNOWFLAKE_PORT",
	"SNOWFLAKE_PROTOCOL", "SNOWFLAKE_AUTHENTICATOR", "SNOWFLAKE_TOKEN", "SNOWFLAKE_PASSWORD", "SNOWFLAKE_DISABLE_PLATFORM_DETECTION",
	"SNOWFLAKE_DATABASE", "SNOWFLAKE_SCHEMA", "SNOWFLAKE_WAREHOUSE", "SNOWFLAKE_ROLE",
}

func checkEnvironment(_ context.Context, _ *doctor) finding {
	var strange []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "SNOWFLAKE_") && !slices.Contains(ownVariables, name) {
			strange = append(strange, name)
		}
	}
	if len(strange) > 0 {
		return found(healthWarn, "set beside jit's own: "+strings.Join(strange, ", "), "If one of them is a credential, remove it from what starts the agent.")
	}
	return found(healthOK, "only what jit sets", "")
}

// checkFiles looks for Snowflake credentials that a program of this user could
// read instead of asking the broker.
func checkFiles(_ context.Context, _ *doctor) finding {
	home, err := os.UserHomeDir()
	if err != nil {
		return found(healthNone, "there is no home folder", "")
	}
	var readable []string
	for _, at := range []string{
		".snowflake/connections.toml", ".snowflake/config.toml", ".config/snowflake/connections.toml", ".config/snowflake/config.toml",
		"Library/Application Support/snowflake/connections.toml", "Library/Application Support/snowflake/config.toml",
		".snowsql/config", ".dbt/profiles.yml",
	} {
		path := filepath.Join(home, filepath.FromSlash(at))
		if f, err := os.Open(path); err == nil { //nolint:gosec // a fixed list
			_ = f.Close()
			readable = append(readable, "~/"+at)
		}
	}
	if len(readable) > 0 {
		return found(healthWarn, "an agent can read "+strings.Join(readable, ", "), "Move credentials out of it, or run the agent where it cannot read it; see docs/THREAT-MODEL.md.")
	}
	return found(healthOK, "no other Snowflake configuration can be read", "")
}
