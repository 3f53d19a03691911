package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"github.com/jit-access/jit/session/approval"
)

// Config is the user's config file, $XDG_CONFIG_HOME/jit/config.yaml. Nothing
// is ever read from the working directory: a repository is the agent's to write.
// The zero value is an empty file. config.schema.json describes the file.
type Config struct {
	Server     string   `yaml:"server,omitempty"`    // approval server URL
	Issuer     string   `yaml:"issuer,omitempty"`    // OIDC issuer, as the server said at login
	ClientID   string   `yaml:"client_id,omitempty"` // OIDC client
	Scopes     []string `yaml:"scopes,omitempty"`
	Connection string   `yaml:"connection,omitempty"` // default of `jit exec --connection`
	Identity   string   `yaml:"identity,omitempty"`   // where a machine's token comes from; no secret
	Title      string   `yaml:"title,omitempty"`      // "off": leave the terminal's title alone
	Profile    string   `yaml:"profile,omitempty"`    // default of `jit exec --profile`

	Profiles map[string]Profile `yaml:"profiles,omitempty"`
}

// titleOff is the value of title that leaves the terminal's title alone.
const titleOff = "off"

func (a *App) configFile() string {
	if f := a.Getenv("JIT_CONFIG"); f != "" {
		return f
	}
	return filepath.Join(a.Paths.Config, "config.yaml")
}

// loadConfig reads the config file; a missing one is the zero Config, an
// unknown key or a broken URL is an error that names the file.
func (a *App) loadConfig() (Config, error) {
	var c Config
	file := a.configFile()
	data, err := os.ReadFile(file) //nolint:gosec // the user's own config file
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, &Failure{What: "reading the config file", Err: err}
	}
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&c); err != nil && len(bytes.TrimSpace(data)) > 0 {
		return Config{}, &Failure{Code: ExitUsage, What: "reading the config file " + file,
			Err: errors.New(yaml.FormatError(err, false, true)), Fix: "Correct the line shown, or delete the file and run `jit login --server URL`."}
	}
	if err := c.check(); err != nil {
		return Config{}, &Failure{Code: ExitUsage, What: "reading the config file " + file, Err: err,
			Fix: "Correct it, or run `jit login --server URL` or `jit config set`."}
	}
	return c, nil
}

// check refuses values that cannot be meant.
func (c Config) check() error {
	if c.Server != "" {
		if err := approval.CheckURL(c.Server); err != nil {
			return fmt.Errorf("server %s: %w", shownURL(c.Server), err)
		}
	}
	if c.Title != "" && c.Title != titleOff && c.Title != "on" {
		return fmt.Errorf("title %q: it is on or off", c.Title)
	}
	for name, p := range c.Profiles {
		if !profileName(name) {
			return fmt.Errorf("profile %q: a name is made of letters, digits, - and _", name)
		}
		if err := p.check(); err != nil {
			return fmt.Errorf("profile %s: %w", name, err)
		}
	}
	return nil
}

// saveConfig replaces the config file atomically. Comments in it stay.
func (a *App) saveConfig(c Config) error {
	file := a.configFile()
	comments := yaml.CommentMap{}
	if old, err := os.ReadFile(file); err == nil {
		var was Config
		if err := yaml.UnmarshalWithOptions(old, &was, yaml.CommentToMap(comments)); err != nil {
			clear(comments) // it is being replaced because it cannot be read
		}
	}
	data, err := yaml.MarshalWithOptions(c, yaml.WithComment(comments))
	if err != nil {
		return fmt.Errorf("writing the config file: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("writing the config file: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".config-*")
	if err != nil {
		return fmt.Errorf("writing the config file: %w", err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // gone after the rename
	if _, err := tmp.Write(data); err != nil {
		return errors.Join(fmt.Errorf("writing the config file: %w", err), tmp.Close())
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("writing the config file: %w", err)
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return fmt.Errorf("writing the config file: %w", err)
	}
	return nil
}

// serverURL is the approval server: --server, $JIT_SERVER, the config file.
func (a *App) serverURL(c Config) (string, error) {
	for _, s := range []struct{ from, url string }{
		{"--server", a.server}, {"$JIT_SERVER", a.Getenv("JIT_SERVER")}, {"the config file", c.Server},
	} {
		if s.url == "" {
			continue
		}
		if err := approval.CheckURL(s.url); err != nil {
			return "", usagef("%s %s: %w", s.from, shownURL(s.url), err)
		}
		return s.url, nil
	}
	return "", &Failure{Code: ExitSignIn, What: "no approval server is known",
		Fix: "Run `jit login --server URL`, or `jit demo` to see jit without one."}
}

// shownURL is what an error may show of a URL that was given: never a password.
func shownURL(given string) string {
	u, err := url.Parse(given)
	switch {
	case err != nil:
		return "(not a URL)"
	case u.User != nil:
		return u.Redacted()
	default:
		return fmt.Sprintf("%q", given)
	}
}
