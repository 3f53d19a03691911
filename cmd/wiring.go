package cmd

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
	"github.com/pelletier/go-toml/v2"
)

// wiring points every Snowflake client in a child at the broker, by files and
// environment only: nothing in the user's home or repository is edited.
type wiring struct {
	dir    string            // 0700, removed by close
	parent []string          // the environment jit was started with, scrubbed
	vars   map[string]string // what the child has beside or instead of it
	user   string
}

// wire writes the connection files, to a new folder in in, and computes the child's environment from
// parent, which may hold real Snowflake credentials: those are dropped.
func wire(in string, parent []string, addr *net.TCPAddr, lease secret.Text, s session.Session, account string) (_ *wiring, err error) {
	if err := os.MkdirAll(in, 0o700); err != nil {
		return nil, fmt.Errorf("making the agent's SNOWFLAKE_HOME: %w", err)
	}
	dir, err := os.MkdirTemp(in, "jit-")
	if err != nil {
		return nil, fmt.Errorf("making the agent's SNOWFLAKE_HOME: %w", err)
	}
	w := &wiring{dir: dir, parent: scrub(parent), user: s.Principal.Display()}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	c := connection{
		Account: account, User: w.user, Host: addr.IP.String(), Port: strconv.Itoa(addr.Port), Protocol: "http",
		Authenticator: "PROGRAMMATIC_ACCESS_TOKEN", Token: lease.Reveal(),
		Database: s.Scope.Database, Schema: s.Scope.Schema, Warehouse: s.Scope.Warehouse, Role: s.Scope.Role,
	}
	if err := w.writeConnections(c); err != nil {
		return nil, err
	}
	about, err := w.writeContext(s)
	if err != nil {
		return nil, err
	}
	profiles, err := w.writeProfiles(c, os.Getenv)
	if err != nil {
		return nil, err
	}
	w.vars = map[string]string{
		"SNOWFLAKE_HOME": dir, "SNOWFLAKE_DEFAULT_CONNECTION_NAME": "default",
		"SNOWFLAKE_ACCOUNT": c.Account, "SNOWFLAKE_USER": c.User,
		"SNOWFLAKE_HOST": c.Host, "SNOWFLAKE_PORT": c.Port, "SNOWFLAKE_PROTOCOL": c.Protocol,
		"SNOWFLAKE_AUTHENTICATOR": c.Authenticator,
		// The lease, not a credential: it opens this broker only, until the
		// session ends, and the agent is meant to have it.
		"SNOWFLAKE_TOKEN": c.Token, "SNOWFLAKE_PASSWORD": c.Token,
		"SNOWFLAKE_DISABLE_PLATFORM_DETECTION":  "true",
		"SF_TELEMETRY_DISABLE_CONNECTION_SHAPE": "true",
		"JIT_SESSION":                           s.ID,
		"JIT_CONTEXT_FILE":                      about,
	}
	for name, v := range map[string]string{
		"SNOWFLAKE_DATABASE": c.Database, "SNOWFLAKE_SCHEMA": c.Schema, "SNOWFLAKE_WAREHOUSE": c.Warehouse, "SNOWFLAKE_ROLE": c.Role,
		"DBT_PROFILES_DIR": profiles,
	} {
		if v != "" {
			w.vars[name] = v
		}
	}
	w.noProxy(func(parents string) string { return parents })
	return w, nil
}

// environ is the child's environment.
func (w *wiring) environ() []string {
	env := make([]string, 0, len(w.parent)+len(w.vars))
	for _, e := range w.parent {
		name, _, _ := strings.Cut(e, "=")
		if _, ours := w.vars[name]; !ours {
			env = append(env, e)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.vars)) {
		env = append(env, name+"="+w.vars[name])
	}
	return env
}

// getenv reads the parent's environment: the first of the names that is set.
func (w *wiring) getenv(names ...string) string {
	for _, name := range names {
		for _, e := range slices.Backward(w.parent) {
			if v, ok := strings.CutPrefix(e, name+"="); ok && v != "" {
				return v
			}
		}
	}
	return ""
}

// noProxy makes every client reach the broker directly, whatever proxy the
// environment names, and keeps what the parent's NO_PROXY lists, as keep has it.
func (w *wiring) noProxy(keep func(parents string) string) {
	for name, other := range map[string]string{"NO_PROXY": "no_proxy", "no_proxy": "NO_PROXY"} {
		w.vars[name] = strings.TrimSuffix("127.0.0.1,localhost,"+keep(w.getenv(name, other)), ",")
	}
}

// close removes the files.
func (w *wiring) close() error {
	if err := os.RemoveAll(w.dir); err != nil {
		return fmt.Errorf("removing the agent's SNOWFLAKE_HOME: %w", err)
	}
	return nil
}

// connection is one table of connections.toml, as the drivers read it. The
// port is a string: gosnowflake refuses a number.
type connection struct {
	Account       string `toml:"account"`
	User          string `toml:"user"`
	Host          string `toml:"host"`
	Port          string `toml:"port"`
	Protocol      string `toml:"protocol"`
	Authenticator string `toml:"authenticator"`
	Token         string `toml:"token"`
	Database      string `toml:"database,omitempty"`
	Schema        string `toml:"schema,omitempty"`
	Warehouse     string `toml:"warehouse,omitempty"`
	Role          string `toml:"role,omitempty"`
}

func (w *wiring) writeConnections(c connection) error {
	data, err := toml.Marshal(struct {
		Default connection `toml:"default"`
		JIT     connection `toml:"jit"`
	}{c, c})
	if err != nil {
		return fmt.Errorf("writing connections.toml: %w", err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "connections.toml"), data, 0o600); err != nil {
		return fmt.Errorf("writing connections.toml: %w", err)
	}
	return nil
}

// dbtOutput is one target of a dbt profile. The lease is its password:
// dbt-snowflake passes a token on only for OAuth and JWT.
type dbtOutput struct {
	Type      string `yaml:"type"`
	Account   string `yaml:"account"`
	User      string `yaml:"user"`
	Password  string `yaml:"password"`
	Host      string `yaml:"host"`
	Port      int    `yaml:"port"`
	Protocol  string `yaml:"protocol"`
	Database  string `yaml:"database"`
	Schema    string `yaml:"schema"`
	Warehouse string `yaml:"warehouse,omitempty"`
	Role      string `yaml:"role,omitempty"`
	Threads   int    `yaml:"threads"`
}

type dbtProfile struct {
	Target  string               `yaml:"target"`
	Outputs map[string]dbtOutput `yaml:"outputs"`
}

// writeProfiles lays a profiles.yml over the one dbt would use: the same
// profile and target names, every output pointing at the broker, nothing of
// the original's credentials. It returns the folder, or "" where no dbt
// project or profile is found.
func (w *wiring) writeProfiles(c connection, getenv func(string) string) (string, error) {
	port, err := strconv.Atoi(c.Port)
	if err != nil {
		return "", fmt.Errorf("writing profiles.yml: %w", err)
	}
	names := dbtProfileNames(getenv)
	if len(names) == 0 {
		return "", nil
	}
	out := dbtOutput{Type: "snowflake", Account: c.Account, User: c.User, Password: c.Token, Host: c.Host, Port: port, Protocol: c.Protocol,
		Database: c.Database, Schema: c.Schema, Warehouse: c.Warehouse, Role: c.Role, Threads: 4}
	profiles := make(map[string]dbtProfile, len(names))
	for name, targets := range names {
		p := dbtProfile{Target: targets[0], Outputs: make(map[string]dbtOutput, len(targets))}
		for _, t := range targets {
			p.Outputs[t] = out
		}
		profiles[name] = p
	}
	data, err := yaml.Marshal(profiles)
	if err != nil {
		return "", fmt.Errorf("writing profiles.yml: %w", err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "profiles.yml"), data, 0o600); err != nil {
		return "", fmt.Errorf("writing profiles.yml: %w", err)
	}
	return w.dir, nil
}

// dbtProfileNames finds profile name → target names (default first) where dbt
// looks: DBT_PROFILES_DIR, the working directory, ~/.dbt, and the profile that
// dbt_project.yml names. Files that cannot be read or parsed are dbt's to
// complain about: they only mean there is nothing to overlay.
func dbtProfileNames(getenv func(string) string) map[string][]string {
	names := map[string][]string{}
	var project struct {
		Profile string `yaml:"profile"`
	}
	if readYAML("dbt_project.yml", &project) && project.Profile != "" {
		names[project.Profile] = []string{"dev"}
	}
	home, _ := os.UserHomeDir() // "" joins to a relative path that does not exist
	for _, dir := range []string{getenv("DBT_PROFILES_DIR"), ".", filepath.Join(home, ".dbt")} {
		var file map[string]struct {
			Target  string `yaml:"target"`
			Outputs map[string]struct {
				Type string `yaml:"type"`
			} `yaml:"outputs"`
		}
		if dir == "" || !readYAML(filepath.Join(dir, "profiles.yml"), &file) {
			continue
		}
		for name, p := range file {
			targets := []string{}
			for t, o := range p.Outputs {
				if o.Type != "snowflake" {
					continue
				}
				if t == p.Target {
					targets = append([]string{t}, targets...)
				} else {
					targets = append(targets, t)
				}
			}
			if len(targets) > 0 {
				names[name] = targets
			}
		}
		break
	}
	return names
}

func readYAML(file string, into any) bool {
	data, err := os.ReadFile(file) //nolint:gosec // the files dbt itself reads
	return err == nil && yaml.Unmarshal(data, into) == nil
}

// credentialPrefixes are the environment variables that carry, or point to,
// Snowflake access of the user's own. All of them go, so that an agent cannot
// use them by accident; jit then sets its own.
var credentialPrefixes = []string{"SNOWFLAKE_", "SNOWSQL_", "SF_", "DBT_ENV_SECRET_SNOWFLAKE", "JIT_"}

// harmless are settings under those prefixes that only change how a driver
// behaves on this machine.
var harmless = []string{"SF_DISABLE_", "SNOWFLAKE_DISABLE_", "SF_OCSP_", "SF_TELEMETRY_"}

func hasPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// scrub drops Snowflake settings and credentials from an environment.
func scrub(env []string) []string {
	kept := make([]string, 0, len(env))
	for _, e := range env {
		if name, _, _ := strings.Cut(e, "="); !scrubbed(name) {
			kept = append(kept, e)
		}
	}
	return kept
}

func scrubbed(name string) bool {
	name = strings.ToUpper(name)
	return name == "DBT_PROFILES_DIR" || hasPrefix(name, credentialPrefixes) && !hasPrefix(name, harmless)
}
