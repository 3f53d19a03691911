//go:build e2e

package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// identityProvider is npm's oidc-provider, see testdata/node/op.mjs, behind a
// tap that remembers the tokens it gave out.
type identityProvider struct {
	issuer string
	tap    *tap
}

func (w *world) startIdentityProvider(ctx context.Context) (err error) {
	w.op, err = w.newIdentityProvider(ctx)
	return err
}

func (w *world) newIdentityProvider(ctx context.Context) (*identityProvider, error) {
	// The script imports its package from the folder it stands in.
	script := w.part("node/op.mjs")
	text, err := os.ReadFile(w.testdata("node/op.mjs"))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(script, text, 0o600); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	front, err := newTap(fmt.Sprintf("http://127.0.0.1:%d", port), false)
	if err != nil {
		return nil, err
	}
	op := &identityProvider{issuer: front.URL, tap: front}
	p, err := start("oidc-provider", plainEnv(w.dir, fmt.Sprintf("PORT=%d", port), "ISSUER="+op.issuer), nil, "node", script)
	if err != nil {
		return nil, err
	}
	return op, p.await(ctx, "sign of life", func() bool { return strings.Contains(p.log.String(), "op ready") })
}

// issued are the tokens the provider has given out: access, ID and refresh.
func (op *identityProvider) issued() []string {
	var all []string
	for _, c := range op.tap.matching(func(c call) bool { return c.Path == "/token" && c.Status == http.StatusOK }) {
		var answer struct {
			Access  string `json:"access_token"`
			ID      string `json:"id_token"`
			Refresh string `json:"refresh_token"`
		}
		if json.Unmarshal([]byte(c.Answer), &answer) == nil {
			all = append(all, answer.Access, answer.ID, answer.Refresh)
		}
	}
	return all
}

var xsrfField = regexp.MustCompile(`name="xsrf" value="([^"]*)"`)

// approve is what a person does in the browser: open the page, type the code,
// sign in as user, consent.
func (op *identityProvider) approve(ctx context.Context, page, code, user string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	visit := func(method, to string, form url.Values) (body, next string, err error) {
		req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(form.Encode()))
		if err != nil {
			return "", "", err
		}
		if method == http.MethodPost {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		res, err := browser.Do(req)
		if err != nil {
			return "", "", err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if loc := res.Header.Get("Location"); err == nil && loc != "" {
			at, perr := req.URL.Parse(loc)
			if perr != nil {
				return "", "", perr
			}
			next = at.String()
		}
		return string(text), next, err
	}
	html, _, err := visit(http.MethodGet, page, nil)
	if err != nil {
		return err
	}
	xsrf := xsrfField.FindStringSubmatch(html)
	if xsrf == nil {
		return fmt.Errorf("no code form at %s:\n%s", page, html)
	}
	html, next, err := visit(http.MethodPost, page, url.Values{"xsrf": {xsrf[1]}, "user_code": {code}, "confirm": {"yes"}})
	if err != nil {
		return err
	}
	if next == "" {
		return fmt.Errorf("the code %s was refused:\n%s", code, html)
	}
	for _, prompt := range []string{"login", "consent"} {
		if !strings.Contains(next, "/interaction/") {
			break
		}
		_, resume, err := visit(http.MethodPost, next, url.Values{"prompt": {prompt}, "login": {user}, "password": {"x"}})
		if err != nil {
			return err
		}
		if html, next, err = visit(http.MethodGet, resume, nil); err != nil {
			return err
		}
	}
	if strings.Contains(html, "error") && !strings.Contains(html, "success") {
		return fmt.Errorf("signing in as %s:\n%s", user, html)
	}
	return nil
}

// person is someone with a home and a keyring of their own, so that nobody's
// sign-in can serve anybody else.
type person struct {
	w    *world
	name string
	home string
	env  []string
}

func (w *world) startPeople(ctx context.Context) error {
	for name, into := range map[string]**person{"alice": &w.alice, "dora": &w.dora, "bob": &w.bob, "carol": &w.carol} {
		p, err := w.newPerson(ctx, name)
		if err != nil {
			return err
		}
		*into = p
	}
	return nil
}

// newPerson makes a home, a private D-Bus and an unlocked Secret Service on it.
func (w *world) newPerson(ctx context.Context, name string) (*person, error) {
	p := &person{w: w, name: name, home: filepath.Join(w.dir, "home-"+name)}
	for _, dir := range []string{"", "run", "tmp", "work", ".local/share/keyrings"} {
		if err := os.MkdirAll(filepath.Join(p.home, dir), 0o700); err != nil {
			return nil, err
		}
	}
	socket := filepath.Join(p.home, "run", "bus")
	p.env = plainEnv(p.home, "XDG_RUNTIME_DIR="+filepath.Join(p.home, "run"),
		"TMPDIR="+filepath.Join(p.home, "tmp"), "DBUS_SESSION_BUS_ADDRESS=unix:path="+socket)
	bus, err := start("dbus-daemon of "+name, p.env, nil, "dbus-daemon", "--session", "--nofork", "--address=unix:path="+socket)
	if err != nil {
		return nil, err
	}
	if err := bus.await(ctx, "socket", func() bool { _, err := os.Stat(socket); return err == nil }); err != nil {
		return nil, err
	}
	ring, err := start("gnome-keyring of "+name, p.env, strings.NewReader("test-password"),
		"gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets")
	if err != nil {
		return nil, err
	}
	return p, ring.await(ctx, "control socket", func() bool {
		_, err := os.Stat(filepath.Join(p.home, "run", "keyring", "control"))
		return err == nil
	})
}

// launch starts jit as this person, in a folder of their own.
func (p *person) launch(t *testing.T, args ...string) *running {
	t.Helper()
	return launch(t, p.env, filepath.Join(p.home, "work"), append([]string{p.w.jit}, args...)...)
}

// jit runs a command to its end, whatever that is.
func (p *person) jit(t *testing.T, args ...string) result {
	t.Helper()
	return p.launch(t, args...).wait()
}

// must runs a command that has to succeed.
func (p *person) must(t *testing.T, args ...string) result {
	t.Helper()
	r := p.jit(t, args...)
	if r.code != 0 {
		t.Fatalf("%s: jit %s: %s", p.name, strings.Join(args, " "), r)
	}
	return r
}

// with is the same person with more in the environment.
func (p *person) with(env ...string) *person {
	q := *p
	q.env = append(append([]string{}, p.env...), env...)
	return &q
}

var signInPrompt = regexp.MustCompile(`(?s)Open\s+(\S+).*Enter\s+(\S+)`)

// signIn runs `jit login` and plays the browser's half of it.
func (p *person) signIn(ctx context.Context, op *identityProvider, args ...string) error {
	login, err := start("jit login of "+p.name, p.env, nil, append([]string{p.w.jit, "login"}, args...)...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	if err := login.await(ctx, "code", func() bool { return signInPrompt.MatchString(login.log.String()) }); err != nil {
		return err
	}
	shown := signInPrompt.FindStringSubmatch(login.log.String())
	if err := op.approve(ctx, shown[1], shown[2], p.name); err != nil {
		return err
	}
	select {
	case <-login.done:
	case <-ctx.Done():
		return fmt.Errorf("jit login of %s goes on after the code was approved:\n%s", p.name, login.log)
	}
	if code := login.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("jit login of %s: exit %d:\n%s", p.name, code, login.log)
	}
	return nil
}
