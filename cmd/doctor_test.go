package cmd

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var quotedSnowflake = regexp.MustCompile(`"(SNOWFLAKE_[A-Z_]*[A-Z])"?[:=]`)

// examine runs the doctor as --json does and returns its findings by check.
func (tm *seat) examine(want ExitCode, args ...string) map[string]finding {
	tm.t.Helper()
	out, _ := tm.run(want, append([]string{"doctor", "--json"}, args...)...)
	var all []finding
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		tm.t.Fatalf("%v in\n%s", err, out)
	}
	by := map[string]finding{}
	for _, f := range all {
		by[f.Check] = f
	}
	return by
}

func TestDoctorFindsNothingWrong(t *testing.T) {
	o := newOffice(t)
	alice := o.signIn("alice")
	by := alice.examine(ExitOK)
	for _, c := range outsideChecks {
		f, ok := by[c.name]
		if !ok {
			t.Errorf("%s was not checked", c.name)
		}
		if f.State == "bad" {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
	for name, want := range map[string]string{
		"server": "answers", "clock": "agrees", "issuer": o.provider.issuer, "sign-in": "alice@example.test", "ports": "127.0.0.1", "folders": "closed",
	} {
		if f := by[name]; f.State != "ok" || !strings.Contains(f.Detail, want) {
			t.Errorf("%s: %+v, want ok with %q", name, f, want)
		}
	}
	out, _ := alice.run(ExitOK, "doctor")
	if !strings.Contains(out, "✓ sign-in") {
		t.Errorf("it prints\n%s", out)
	}
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	o := newOffice(t)
	alice := o.signIn("alice")
	for name, tc := range map[string]struct {
		check, says, fix string
		spoil            func(t *testing.T, tm *seat)
	}{
		"the clock is wrong": {"clock", "ahead of", "NTP", func(_ *testing.T, tm *seat) {
			tm.Now = func() time.Time { return time.Now().Add(10 * time.Minute) }
		}},
		"the server is gone": {"server", "gives no answer", "network", func(t *testing.T, tm *seat) {
			gone := httptest.NewServer(http.NotFoundHandler())
			gone.Close()
			tm.server = gone.URL
		}},
		"another server": {"server", "404", "readyz", func(t *testing.T, tm *seat) {
			other := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(other.Close)
			tm.server = other.URL
		}},
		"the issuer is no issuer": {"issuer", "no OpenID configuration", "issuer", func(t *testing.T, tm *seat) {
			other := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(other.Close)
			changeConfig(t, tm.App, func(c *Config) { c.Issuer = other.URL })
		}},
		"the issuer has another name": {"issuer", "calls itself", "last slash", func(t *testing.T, tm *seat) {
			changeConfig(t, tm.App, func(c *Config) { c.Issuer += "/" })
		}},
		"a broken config file": {"config", "colour", "Correct", func(t *testing.T, tm *seat) {
			if err := os.WriteFile(tm.configFile(), []byte("colour: red\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		"a folder is open": {"folders", "can read", "chmod", func(t *testing.T, tm *seat) {
			if err := os.MkdirAll(tm.Paths.State, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(tm.Paths.State, 0o755); err != nil { //nolint:gosec // what is looked for
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			app := seat{t: t, out: alice.out, err: alice.err}
			app.App = quietApp(alice.App)
			app.App.Out, app.App.Err = alice.App.Out, alice.App.Err
			before, err := os.ReadFile(alice.configFile())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := os.WriteFile(alice.configFile(), before, 0o600); err != nil {
					t.Error(err)
				}
			})
			tc.spoil(t, &app)
			f := app.examine(ExitError)[tc.check]
			if f.State != "bad" || !strings.Contains(f.Detail, tc.says) || !strings.Contains(f.Fix, tc.fix) {
				t.Errorf("%s: %+v, want bad with %q and %q", tc.check, f, tc.says, tc.fix)
			}
			if tc.check == "folders" {
				if f := app.examine(ExitOK, "--fix")[tc.check]; f.State != "ok" || !f.Fixed {
					t.Errorf("after --fix: %+v", f)
				}
			}
		})
	}
}

func changeConfig(t *testing.T, a *App, edit func(*Config)) {
	t.Helper()
	c, err := a.loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	edit(&c)
	if err := a.saveConfig(c); err != nil {
		t.Fatal(err)
	}
}

// Nobody is asked anything and nobody is signed in by looking.
func TestDoctorAsksNothing(t *testing.T) {
	o := newOffice(t)
	a, out, errs := signInApp(t, func(string) { t.Error("the doctor started a sign-in") })
	a.server = o.url
	tm := &seat{a, t, out, errs}
	if f := tm.examine(ExitError)["sign-in"]; f.State != "bad" || !strings.Contains(f.Fix, "jit login") {
		t.Errorf("sign-in: %+v", f)
	}
}

func TestDoctorInsideNeedsASession(t *testing.T) {
	o := newOffice(t)
	alice := o.signIn("alice")
	by := alice.examine(ExitError, "--inside")
	if f := by["session"]; f.State != "bad" || !strings.Contains(f.Fix, "jit exec") {
		t.Errorf("session: %+v", f)
	}
	if f := by["statement"]; f.State != "none" {
		t.Errorf("a statement was tried: %+v", f)
	}
}

// The list of what jit sets is the one of the wiring: a variable added there is
// not reported as strange.
func TestDoctorKnowsTheWiring(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		src, err := os.ReadFile(f) //nolint:gosec // this package's own files
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, "_test.go") || strings.HasPrefix(f, "doctor") {
			continue
		}
		for _, m := range quotedSnowflake.FindAllSubmatch(src, -1) {
			n++
			if name := string(m[1]); !slices.Contains(ownVariables, name) {
				t.Errorf("%s sets %s, which the doctor does not know", f, name)
			}
		}
	}
	if n < 8 {
		t.Errorf("found only %d variables", n)
	}
}
