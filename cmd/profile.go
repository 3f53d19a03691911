package cmd

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Profile is a named set of defaults for `jit exec`. A flag wins over it, it wins
// over the config file's connection. The zero value sets nothing.
type Profile struct {
	Connection     string `yaml:"connection,omitempty"`
	Role           string `yaml:"role,omitempty"`
	Warehouse      string `yaml:"warehouse,omitempty"`
	Database       string `yaml:"database,omitempty"`
	Schema         string `yaml:"schema,omitempty"`
	TTL            string `yaml:"ttl,omitempty"`  // a duration, as in 30m
	Hold           string `yaml:"hold,omitempty"` // likewise
	Reason         string `yaml:"reason,omitempty"`
	Intercept      bool   `yaml:"intercept,omitempty"`
	RecordTerminal bool   `yaml:"record_terminal,omitempty"`
}

// profileField is one member of a Profile as text: what a flag, the config file
// and `jit config` call it.
type profileField struct {
	name string // in the file; the flag has hyphens
	text func(*Profile) *string
	flag func(*Profile) *bool
	into func(*execOptions) any // *string, *time.Duration or *bool
}

var profileFields = []profileField{
	{name: "connection", text: func(p *Profile) *string { return &p.Connection }, into: func(o *execOptions) any { return &o.Connection }},
	{name: "role", text: func(p *Profile) *string { return &p.Role }, into: func(o *execOptions) any { return &o.Role }},
	{name: "warehouse", text: func(p *Profile) *string { return &p.Warehouse }, into: func(o *execOptions) any { return &o.Warehouse }},
	{name: "database", text: func(p *Profile) *string { return &p.Database }, into: func(o *execOptions) any { return &o.Database }},
	{name: "schema", text: func(p *Profile) *string { return &p.Schema }, into: func(o *execOptions) any { return &o.Schema }},
	{name: "ttl", text: func(p *Profile) *string { return &p.TTL }, into: func(o *execOptions) any { return &o.TTL }},
	{name: "hold", text: func(p *Profile) *string { return &p.Hold }, into: func(o *execOptions) any { return &o.Hold }},
	{name: "reason", text: func(p *Profile) *string { return &p.Reason }, into: func(o *execOptions) any { return &o.Reason }},
	{name: "intercept", flag: func(p *Profile) *bool { return &p.Intercept }, into: func(o *execOptions) any { return &o.Intercept }},
	{name: "record_terminal", flag: func(p *Profile) *bool { return &p.RecordTerminal }, into: func(o *execOptions) any { return &o.RecordTerminal }},
}

// get is a field as text; empty if it is not set.
func (f profileField) get(p Profile) string {
	if f.text != nil {
		return *f.text(&p)
	}
	if *f.flag(&p) {
		return "true"
	}
	return ""
}

// set reads a field from text; empty unsets it.
func (f profileField) set(p *Profile, value string) error {
	if f.flag != nil {
		on, err := strconv.ParseBool(value)
		if value != "" && err != nil {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		*f.flag(p) = on
		return nil
	}
	*f.text(p) = value
	return f.check(*p)
}

// check refuses a value that `jit exec` would refuse.
func (f profileField) check(p Profile) error {
	var o execOptions
	if _, ok := f.into(&o).(*time.Duration); !ok || f.get(p) == "" {
		return nil
	}
	if d, err := time.ParseDuration(f.get(p)); err != nil || d <= 0 {
		return fmt.Errorf("%q is no duration above 0, like 30m or 8h", f.get(p))
	}
	return nil
}

// check refuses a profile that `jit exec` could not use.
func (p Profile) check() error {
	for _, f := range profileFields {
		if err := f.check(p); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// use lays a profile below the flags that were given.
func (o *execOptions) use(p Profile, given func(flag string) bool) error {
	for _, f := range profileFields {
		value := f.get(p)
		if value == "" || given(strings.ReplaceAll(f.name, "_", "-")) {
			continue
		}
		switch to := f.into(o).(type) {
		case *string:
			*to = value
		case *bool:
			*to = true
		case *time.Duration:
			d, err := time.ParseDuration(value)
			if err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			*to = d
		}
	}
	return nil
}

// profileName is a word that can stand in a key of `jit config`.
func profileName(name string) bool {
	return name != "" && plainName(strings.ReplaceAll(name, "-", "_"))
}

// findProfile is the profile to use: the named one, $JIT_PROFILE, the config
// file's default, or none.
func (a *App) findProfile(cfg Config, name string) (Profile, error) {
	for _, s := range []struct{ from, name string }{{"--profile", name}, {"$JIT_PROFILE", a.Getenv("JIT_PROFILE")}, {"profile in " + a.configFile(), cfg.Profile}} {
		if s.name == "" {
			continue
		}
		p, ok := cfg.Profiles[s.name]
		if !ok {
			known := "there is none"
			if len(cfg.Profiles) > 0 {
				known = "there is " + strings.Join(slices.Sorted(maps.Keys(cfg.Profiles)), ", ")
			}
			return p, usagef("%s: %w", s.from, errors.New("no profile "+strconv.Quote(s.name)+" in "+a.configFile()+"; "+known))
		}
		return p, nil
	}
	return Profile{}, nil
}

// settle lays the profile, the environment and the config file below the flags.
func (a *App) settle(cfg Config, o *execOptions) error {
	if o.Request == "" {
		p, err := a.findProfile(cfg, o.Profile)
		if err != nil {
			return err
		}
		if o.Connection == "" {
			o.Connection = a.Getenv("JIT_CONNECTION")
		}
		settled := func(flag string) bool {
			return o.given != nil && o.given(flag) || flag == "connection" && o.Connection != "" || flag == "ttl" && o.Emergency
		}
		if o.Emergency && !(o.given != nil && o.given("ttl")) {
			o.TTL = emergencyTTL
		}
		if err := o.use(p, settled); err != nil {
			return usagef("profile: %w", err)
		}
		if o.Connection == "" {
			o.Connection = cfg.Connection
		}
	}
	return o.check()
}
