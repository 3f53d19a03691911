package cmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"
	"golang.org/x/net/http/httpproxy"

	"github.com/jit-access/jit/session/secret"
)

// outsideChecks look at the machine of a person, in the order in which one
// thing needs another.
var outsideChecks = []check{
	{"config", checkConfig}, {"server", checkServer}, {"clock", checkClock}, {"issuer", checkIssuer}, {"keyring", checkKeyring},
	{"sign-in", checkSignIn}, {"ports", checkPorts}, {"proxy", checkProxy}, {"drivers", checkDrivers}, {"folders", checkFolders}, {"sessions", checkSessions},
}

func checkConfig(_ context.Context, d *doctor) finding {
	file := d.a.configFile()
	if d.cfgErr != nil {
		return badly(healthBad, "", d.cfgErr, "")
	}
	var err error
	if d.server, err = d.a.serverURL(d.cfg); err != nil {
		return badly(healthBad, "", err, "")
	}
	if _, err := os.Stat(file); err != nil {
		return found(healthWarn, "no config file at "+file, "Run `jit login --server URL`.")
	}
	return found(healthOK, file, "")
}

// page is a small answer of a server.
type page struct {
	code   int
	status string // "200 OK"
	date   string // the Date header
	body   []byte
}

// get reads a page; a server that redirects is not the one named.
func get(ctx context.Context, at string) (page, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return page{}, err
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end or given up
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxConfig))
	return page{resp.StatusCode, resp.Status, resp.Header.Get("Date"), body}, err
}

func checkServer(ctx context.Context, d *doctor) finding {
	if d.server == "" {
		return found(healthNone, "none is known", "Run `jit login --server URL`.")
	}
	begin := d.a.Now()
	answer, err := get(ctx, strings.TrimRight(d.server, "/")+"/readyz")
	if err != nil {
		d.refused = true
		return found(healthBad, shownURL(d.server)+" gives no answer: "+err.Error(), "Check the address, the network, and that the server runs.")
	}
	took := d.a.Now().Sub(begin)
	if at, err := http.ParseTime(answer.date); err == nil {
		d.skew, d.skewed = begin.Add(took/2).Sub(at), true
	}
	if answer.code != http.StatusOK {
		d.refused = true
		return found(healthBad, fmt.Sprintf("%s answers %s", shownURL(d.server), answer.status), "Look at the server's log; `jit server` says at /readyz what it lacks.")
	}
	return found(healthOK, fmt.Sprintf("%s answers in %s", shownURL(d.server), took.Round(time.Millisecond)), "")
}

// Sign-ins and sessions end by the clock.
const (
	skewWarn = 5 * time.Second // an HTTP date is a whole second, rounded down
	skewBad  = time.Minute
)

func checkClock(_ context.Context, d *doctor) finding {
	if !d.skewed {
		return found(healthNone, "the server did not say what time it is", "")
	}
	off := d.skew.Abs().Round(time.Second)
	way := "behind"
	if d.skew > 0 {
		way = "ahead of"
	}
	detail := fmt.Sprintf("%s %s the server's clock", off, way)
	const fix = "Turn on time synchronisation (NTP) on this machine."
	switch {
	case off >= skewBad:
		return found(healthBad, detail, fix)
	case off >= skewWarn:
		return found(healthWarn, detail, fix)
	}
	return found(healthOK, "agrees with the server's", "")
}

func checkIssuer(ctx context.Context, d *doctor) finding {
	if d.issuer = d.cfg.Issuer; d.issuer == "" {
		if d.server == "" || d.refused {
			return found(healthNone, "none is known", "Run `jit login --server URL`.")
		}
		told, err := fetchSignInConfig(ctx, d.server)
		if err != nil {
			return badly(healthBad, "asking the server for it", err, "Look at the server's log.")
		}
		d.issuer = told.Issuer
	}
	answer, err := get(ctx, strings.TrimRight(d.issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return found(healthBad, shownURL(d.issuer)+" gives no answer: "+err.Error(), "Check the network and the proxy; the issuer must be reachable from here.")
	}
	var doc struct {
		Issuer string `json:"issuer"`
		Device string `json:"device_authorization_endpoint"`
	}
	if err := json.Unmarshal(answer.body, &doc); answer.code != http.StatusOK || err != nil {
		return found(healthBad, shownURL(d.issuer)+" has no OpenID configuration ("+answer.status+")", "Check the issuer that the server is told (`jit server --issuer`).")
	}
	switch {
	case doc.Issuer != d.issuer:
		return found(healthBad, fmt.Sprintf("%s calls itself %s", shownURL(d.issuer), doc.Issuer), "Give `jit server --issuer` the name that the provider uses, to the last slash.")
	case doc.Device == "":
		return found(healthBad, shownURL(d.issuer)+" offers no device flow", "Allow the device authorization grant for jit's client at the identity provider.")
	}
	return found(healthOK, shownURL(d.issuer), "")
}

func checkKeyring(ctx context.Context, d *doctor) finding {
	backend, err := secret.ParseBackend(d.a.Getenv("JIT_SECRETS"))
	if err != nil {
		return found(healthBad, "$JIT_SECRETS: "+err.Error(), "Unset it, or use one of those.")
	}
	store, notice, err := secret.Open(ctx, secret.Options{Backend: backend, File: filepath.Join(d.a.Paths.State, "secrets.age"), Logger: d.a.Logger})
	if err != nil {
		return badly(healthBad, "", err, "See `jit help keyring`.")
	}
	switch b := store.Backend(); b {
	case secret.BackendKeyring:
		return found(healthOK, "the platform's keyring answers", "")
	case backend:
		return found(healthOK, "sign-ins are kept in: "+string(b), "")
	}
	return found(healthWarn, notice, "Unlock or install a keyring (`jit help keyring`).")
}

func checkSignIn(ctx context.Context, d *doctor) finding {
	if d.server == "" || d.refused {
		return found(healthNone, "not asked: the server is not there", "")
	}
	quiet := quietApp(d.a)
	client, _, err := quiet.client(ctx)
	if err != nil {
		return badly(healthBad, "", err, "Run `jit login`.")
	}
	who, admin, err := client.Whoami(ctx)
	if err != nil {
		return badly(healthBad, "", err, "Run `jit login`.")
	}
	detail := who.Display() + inGroups(who.Groups)
	if admin {
		detail += ", administrator"
	}
	return found(healthOK, detail, "")
}

func checkPorts(ctx context.Context, _ *doctor) finding {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return found(healthBad, "the broker cannot listen on 127.0.0.1: "+err.Error(), "Allow programs to listen on the loopback address.")
	}
	defer l.Close() //nolint:errcheck // nothing was sent
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return found(healthBad, "127.0.0.1 cannot be reached: "+err.Error(), "A firewall on this machine blocks the loopback address: allow it.")
	}
	_ = conn.Close()
	return found(healthOK, "a broker can listen on 127.0.0.1 and be reached", "")
}

func checkProxy(_ context.Context, d *doctor) finding {
	var cfg httpproxy.Config
	for _, v := range []struct {
		to   *string
		name string
	}{{&cfg.HTTPProxy, "HTTP_PROXY"}, {&cfg.HTTPSProxy, "HTTPS_PROXY"}, {&cfg.NoProxy, "NO_PROXY"}} {
		*v.to = cmp.Or(d.a.Getenv(v.name), d.a.Getenv(strings.ToLower(v.name)))
	}
	if cfg.HTTPProxy == "" && cfg.HTTPSProxy == "" {
		return found(healthOK, "none", "")
	}
	for name, v := range map[string]string{"HTTP_PROXY": cfg.HTTPProxy, "HTTPS_PROXY": cfg.HTTPSProxy} {
		if v == "" {
			continue
		}
		if u, err := url.Parse(v); err != nil || u.Host == "" {
			return found(healthBad, "$"+name+" is not a URL with a host", "Write it as http://proxy.example.com:3128.")
		}
	}
	return found(healthOK, shownURL(cmp.Or(cfg.HTTPSProxy, cfg.HTTPProxy))+"; `jit exec` keeps it away from the broker", "")
}

// drivers are the clients whose version a person can ask for, and the first
// version that is tested with jit.
var drivers = []struct {
	name, since string
	command     []string
}{
	{"snowflake-connector-python", "v4.0.0", []string{"python3", "-c", "import importlib.metadata as m; print(m.version('snowflake-connector-python'))"}},
	{"snow", "v3.0.0", []string{"snow", "--version"}},
	{"dbt-snowflake", "v1.9.0", []string{"python3", "-c", "import importlib.metadata as m; print(m.version('dbt-snowflake'))"}},
	{"snowflake-sdk", "v2.0.0", []string{"node", "-p", "require('snowflake-sdk/package.json').version"}},
}

func checkDrivers(ctx context.Context, _ *doctor) finding {
	var seen, old []string
	for _, dr := range drivers {
		path, err := exec.LookPath(dr.command[0])
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, path, dr.command[1:]...).Output() //nolint:gosec // the list above
		if err != nil {
			continue // not installed
		}
		fields := strings.Fields(string(out))
		if len(fields) == 0 {
			continue
		}
		version := fields[len(fields)-1]
		seen = append(seen, dr.name+" "+version)
		if v := "v" + version; semver.IsValid(v) && semver.Compare(v, dr.since) < 0 {
			old = append(old, fmt.Sprintf("%s %s is older than %s", dr.name, version, strings.TrimPrefix(dr.since, "v")))
		}
	}
	switch {
	case len(old) > 0:
		return found(healthWarn, strings.Join(old, "; "), "Upgrade it; docs/compatibility.md names the versions that are tested.")
	case len(seen) == 0:
		return found(healthNone, "none found on the PATH; drivers inside projects are not looked for", "")
	}
	return found(healthOK, strings.Join(seen, ", "), "")
}

func checkFolders(_ context.Context, d *doctor) finding {
	if runtime.GOOS == "windows" {
		return found(healthNone, "access to folders is not looked at on Windows", "")
	}
	var open []string
	for _, dir := range []string{d.a.Paths.Config, d.a.Paths.State, d.a.Paths.Recordings()} {
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o077 != 0 {
			open = append(open, dir)
		}
	}
	if len(open) == 0 {
		return found(healthOK, "closed to others", "")
	}
	f := found(healthBad, "others on this machine can read "+strings.Join(open, ", "), "chmod 700 "+strings.Join(open, " "))
	f.repair = func(context.Context) error {
		var errs []error
		for _, dir := range open {
			errs = append(errs, os.Chmod(dir, 0o700)) //nolint:gosec // a folder
		}
		return errors.Join(errs...)
	}
	return f
}

func checkSessions(_ context.Context, d *doctor) finding {
	rows, err := d.a.recordingRows()
	if err != nil {
		return badly(healthBad, "", err, "")
	}
	running, err := d.a.statusOf("")
	if err != nil {
		return badly(healthBad, "looking at running sessions", err, "")
	}
	left := 0
	for _, r := range rows {
		runs := slices.ContainsFunc(running, func(s runningSession) bool { return s.Session == r.ID })
		if (r.State == stateUnsealed || r.State == stateUnwitnessed) && !runs {
			left++
		}
	}
	if left == 0 {
		return found(healthOK, fmt.Sprintf("%d running, %d recordings, nothing left behind", len(running), len(rows)), "")
	}
	f := found(healthWarn, plural(left, "recording is", "recordings are")+" not sealed, or not wholly at the server", "Run `jit recording seal`, or `jit doctor --fix`.")
	f.repair = func(ctx context.Context) error {
		s, err := quietApp(d.a).newSealer(ctx, d.server == "" || d.refused)
		if err != nil {
			return err
		}
		return s.all(ctx)
	}
	return f
}
