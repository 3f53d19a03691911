package cmd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

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

	SMTPURL          string   `yaml:"smtp_url"`
	SMTPPasswordFile string   `yaml:"smtp_password_file"`
	MailFrom         string   `yaml:"mail_from"`
	MailTo           []string `yaml:"mail_to"`

	RecordingsRetention string `yaml:"recordings_retention"`
	RecordingsLock      string `yaml:"recordings_lock"`

	SAMLMetadata        string `yaml:"saml_metadata"`
	SAMLGroupsAttribute string `yaml:"saml_groups_attribute"`
	SAMLEmailAttribute  string `yaml:"saml_email_attribute"`
	SAMLNameAttribute   string `yaml:"saml_name_attribute"`

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

func (o serverOptions) checkMachines() error {
	audiences := o.Audience
	if len(audiences) == 0 {
		audiences = []string{o.ClientID}
	}
	if err := approval.CheckMachines(o.machines(), o.Issuer, audiences, cmp.Or(o.AdminGroup, approval.DefaultAdminGroup)); err != nil {
		return usagef("identities: %w", err)
	}
	return nil
}

// serverSettings merges file, environment and flags, weakest first.
func (a *App) serverSettings(file string, flags serverOptions, changed func(string) bool) (serverOptions, error) {
	o, err := a.mergeServerSettings(file, flags, changed)
	if err != nil {
		return o, err
	}
	o = o.withSAML()
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
		if o, err = parseServerConfig(data); err != nil {
			return o, &Failure{Code: ExitUsage, What: "reading the server's config file " + file, Err: err, Fix: "Correct the line shown."}
		}
	}
	// A setting of the file is the flag and the variable of the same name, except
	// for lists of mappings, which only a file can hold.
	to, from := reflect.ValueOf(&o).Elem(), reflect.ValueOf(flags)
	for i := range to.NumField() {
		flag := flagOf(to.Type().Field(i))
		if flag == "" {
			continue
		}
		if text := a.Getenv(serverEnv(flag)); text != "" {
			if err := setFromText(to.Field(i), text); err != nil {
				return o, usagef("$%s: %w", serverEnv(flag), err)
			}
		}
		if changed(flag) {
			to.Field(i).Set(from.Field(i))
		}
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:8470"
	}
	if o.Data == "" {
		o.Data = filepath.Join(a.Paths.State, "server")
	}
	return o, nil
}

// parseServerConfig reads a config file; one that is empty sets nothing.
func parseServerConfig(data []byte) (o serverOptions, err error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return o, nil
	}
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&o); err != nil {
		return o, errors.New(yaml.FormatError(err, false, true))
	}
	var plain any
	if err := yaml.Unmarshal(data, &plain); err != nil {
		return o, errors.New(yaml.FormatError(err, false, true))
	}
	return o, sameKind("", plain, reflect.TypeOf(o))
}

// sameKind refuses what the YAML library would turn into another kind of value
// without a word, such as 1.5 into 1.
func sameKind(path string, v any, t reflect.Type) error {
	ok := true
	switch t.Kind() {
	case reflect.String:
		_, ok = v.(string)
	case reflect.Bool:
		_, ok = v.(bool)
	case reflect.Int:
		switch v.(type) {
		case int64, uint64, int:
		default:
			ok = false
		}
	case reflect.Slice:
		var list []any
		list, ok = v.([]any)
		for _, e := range list {
			if err := sameKind(path, e, t.Elem()); err != nil {
				return err
			}
		}
	case reflect.Map:
		fields, is := v.(map[string]any)
		ok = is
		for name, e := range fields {
			if err := sameKind(path+"."+name, e, t.Elem()); err != nil {
				return err
			}
		}
	case reflect.Struct:
		fields, is := v.(map[string]any)
		ok = is
		for i := range t.NumField() {
			name := t.Field(i).Tag.Get("yaml")
			if e, has := fields[name]; has {
				if err := sameKind(strings.TrimPrefix(path+"."+name, "."), e, t.Field(i).Type); err != nil {
					return err
				}
			}
		}
	default:
		panic("a setting of a kind that no file has: " + t.Kind().String()) // serverOptions has the kinds above
	}
	if !ok {
		return fmt.Errorf("%s: %v is not a %s", path, v, t.Kind())
	}
	return nil
}

// flagOf is the flag of a field; empty if it has none.
func flagOf(f reflect.StructField) string {
	switch f.Type.Kind() {
	case reflect.String, reflect.Bool, reflect.Int:
	case reflect.Slice:
		if f.Type.Elem().Kind() != reflect.String {
			return ""
		}
	default:
		return ""
	}
	return flagName(f.Tag.Get("yaml"))
}

func flagName(setting string) string { return strings.ReplaceAll(setting, "_", "-") }

// setFromText sets a field that has a flag.
func setFromText(v reflect.Value, text string) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New(strconv.Quote(text) + " is neither true nor false")
		}
		v.SetBool(b)
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return errors.New(strconv.Quote(text) + " is not a number")
		}
		v.SetInt(int64(n))
	case reflect.Slice:
		v.Set(reflect.ValueOf(strings.Split(text, ",")))
	default:
		panic("a setting of a kind that no flag has: " + v.Kind().String()) // flagOf names the kinds
	}
	return nil
}

func serverEnv(flag string) string {
	return "JIT_SERVER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// check refuses what would be unsafe or cannot work.
func (o serverOptions) check() error {
	if err := o.checkSAML(); err != nil {
		return err
	}
	if o.Issuer == "" || o.ClientID == "" {
		return usagef("--issuer and --client-id are needed: they say who may sign in")
	}
	if (o.TLSCert == "") != (o.TLSKey == "") {
		return usagef("--tls-cert and --tls-key belong together")
	}
	if err := checkKeeperURL("--secrets-url", o.SecretsURL); err != nil {
		return err
	}
	if err := o.checkMachines(); err != nil {
		return err
	}
	if err := o.checkDatabase(); err != nil {
		return err
	}
	if _, err := o.networks(); err != nil {
		return err
	}
	if _, err := o.mail(); err != nil {
		return err
	}
	if _, _, err := o.spans(); err != nil {
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

// leastRetention is how long a recording may still be completed after its
// session's end.
const leastRetention = 24 * time.Hour

// spans are how long recordings are kept, and how long a bucket locks them; zero
// for what is not set.
func (o serverOptions) spans() (retention, lock time.Duration, err error) {
	if retention, err = parseSpan(o.RecordingsRetention); err != nil {
		return 0, 0, usagef("--recordings-retention %q: %w", o.RecordingsRetention, err)
	}
	if lock, err = parseSpan(o.RecordingsLock); err != nil {
		return 0, 0, usagef("--recordings-lock %q: %w", o.RecordingsLock, err)
	}
	switch {
	case retention > 0 && retention <= leastRetention:
		return 0, 0, usagef("--recordings-retention %q must be more than a day: so long a recording may still be completed", o.RecordingsRetention)
	case retention > 0 && lock > retention:
		return 0, 0, usagef("--recordings-lock %s is longer than --recordings-retention %s: nothing could be deleted in time", o.RecordingsLock, o.RecordingsRetention)
	case lock > 0 && !strings.HasPrefix(o.Recordings, "s3://"):
		return 0, 0, usagef("--recordings-lock needs --recordings s3://…, a bucket with object lock")
	}
	return retention, lock, nil
}

// spanPattern is what parseSpan reads, for the schema of the config file.
const spanPattern = `^([1-9][0-9]{0,4}(d|h))?$`

// parseSpan reads days or hours, 400d or 36h; zero for "".
func parseSpan(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	unit := map[byte]time.Duration{'d': 24 * time.Hour, 'h': time.Hour}[text[len(text)-1]]
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 32)
	if err != nil || unit == 0 || n == 0 || n > 99999 || text[0] == '0' {
		return 0, errors.New("it must be days or hours, such as 400d or 36h")
	}
	return time.Duration(n) * unit, nil
}
