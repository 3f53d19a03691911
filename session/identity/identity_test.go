package identity_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/jit-access/jit/session/identity"
	"github.com/jit-access/jit/session/identity/op"
	"github.com/jit-access/jit/session/secret"
)

const (
	tokenPath  = "/oauth/token"
	revokePath = "/revoke"
)

func TestSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		store := newLasting()
		s := w.source(store, nil)
		var shown identity.Prompt
		got, err := s.SignIn(t.Context(), func(ctx context.Context, p identity.Prompt) error {
			shown = p
			return w.approving("bob", 7*time.Second)(ctx, p)
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(shown.UserCode) != 9 || shown.URL != issuerURL+"/device" || !strings.Contains(shown.CompleteURL, shown.UserCode) || shown.Expires.IsZero() {
			t.Errorf("prompt %+v", shown)
		}
		if got.Ends != "" {
			t.Errorf("the sign-in does not last: %s", got.Ends)
		}
		p := got.Person
		if p.Issuer != issuerURL || p.Subject != "bob" || p.Email != "bob@example.test" || p.Name != "Bob Approver" || !slices.Equal(p.Groups, []string{"approvers", "jit-admins"}) {
			t.Errorf("person %+v", p)
		}

		// The token is one that an API verifies with go-oidc.
		raw, err := s.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx := oidc.ClientContext(t.Context(), &http.Client{Transport: w.wire})
		provider, err := oidc.NewProvider(ctx, issuerURL)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := provider.Verifier(&oidc.Config{ClientID: op.DefaultClientID}).Verify(ctx, raw.Reveal()); err != nil {
			t.Errorf("the API would refuse the token: %v", err)
		}

		// Another process finds the sign-in in the store.
		if p, err := w.source(store, nil).Person(t.Context()); err != nil || p.Subject != "bob" {
			t.Errorf("the next process: %+v, %v", p, err)
		}
	})
}

func TestSignInFails(t *testing.T) {
	for _, tc := range []struct {
		name   string
		person func(ctx context.Context, w *world, p identity.Prompt) error
		want   error
		after  time.Duration // at most
	}{
		{"refused", func(ctx context.Context, w *world, p identity.Prompt) error {
			return w.op.Deny(ctx, p.UserCode, "alice")
		}, identity.ErrRefused, 2 * time.Second},
		{"nobody came", func(context.Context, *world, identity.Prompt) error { return nil }, identity.ErrExpired, 2 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(o *op.Options) { o.DeviceLifetime = 2 * time.Minute })
				s := w.source(newLasting(), nil)
				start := time.Now()
				_, err := s.SignIn(t.Context(), func(ctx context.Context, p identity.Prompt) error { return tc.person(ctx, w, p) })
				if !errors.Is(err, tc.want) {
					t.Errorf("error %v, want %v", err, tc.want)
				}
				if d := time.Since(start); d > tc.after+time.Second {
					t.Errorf("it took %v, want at most %v", d, tc.after)
				}
				if _, err := s.Token(t.Context()); !errors.Is(err, identity.ErrSignIn) {
					t.Errorf("Token afterwards: %v, want ErrSignIn", err)
				}
			})
		})
	}
}

func TestSignInCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		_, err := w.source(newLasting(), nil).SignIn(ctx, func(context.Context, identity.Prompt) error {
			time.AfterFunc(3*time.Second, cancel)
			return nil
		})
		if !errors.Is(err, context.Canceled) || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestPollSurvivesTheNetwork holds that a sign-in outlasts every kind of
// outage, and that it asks less often meanwhile.
func TestPollSurvivesTheNetwork(t *testing.T) {
	answer := func(status int, contentType, body string) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Status: http.StatusText(status), Request: r,
				Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body))}, nil
		}
	}
	for name, fault := range map[string]func(*http.Request) (*http.Response, error){
		"connection refused": func(*http.Request) (*http.Response, error) { return nil, errNetwork },
		"bad gateway":        answer(502, "text/html", "<h1>Bad gateway</h1>"),
		"server error":       answer(500, "application/json", `{"error":"server_error"}`),
		"too many requests":  answer(429, "text/plain", "later"),
		"captive portal":     answer(200, "text/html", "<html>Welcome to the airport</html>"),
		"hangs": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				var troubles, recoveries int
				s := w.source(newLasting(), func(c *identity.Config) {
					c.OnTrouble = func(err error) {
						if err != nil {
							troubles++
						} else {
							recoveries++
						}
					}
				})
				_, err := s.SignIn(t.Context(), func(ctx context.Context, p identity.Prompt) error {
					w.wire.setFault(func(r *http.Request) (*http.Response, error) {
						if r.URL.Path != tokenPath {
							return nil, nil
						}
						return fault(r)
					})
					time.AfterFunc(4*time.Minute, func() { w.wire.setFault(nil) })
					return w.approving("alice", 5*time.Minute)(ctx, p)
				})
				if err != nil {
					t.Fatalf("the outage ended the sign-in: %v", err)
				}
				if troubles == 0 || troubles > 20 || recoveries != 1 {
					t.Errorf("told of trouble %d times, of recovery %d times", troubles, recoveries)
				}
			})
		})
	}
}

func TestPollSlowsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		var polls []time.Time
		start := time.Now()
		_, err := w.source(newLasting(), nil).SignIn(t.Context(), func(ctx context.Context, p identity.Prompt) error {
			w.wire.setFault(func(r *http.Request) (*http.Response, error) {
				if r.URL.Path != tokenPath {
					return nil, nil
				}
				polls = append(polls, time.Now())
				if len(polls) <= 2 {
					rec := httptest.NewRecorder()
					rec.Header().Set("Content-Type", "application/json")
					rec.WriteHeader(400)
					_, _ = rec.WriteString(`{"error":"slow_down"}`)
					return rec.Result(), nil
				}
				return nil, nil
			})
			return w.approving("alice", 30*time.Second)(ctx, p)
		})
		if err != nil {
			t.Fatal(err)
		}
		// Interval 1 s, then +5 s for each slow_down, for good (RFC 8628 §3.5).
		want := []time.Duration{1, 7, 18, 29, 40}
		for i, p := range polls {
			if got := p.Sub(start); i >= len(want) || got != want[i]*time.Second {
				t.Errorf("poll %d at %v, want the pattern %v", i, got, want)
			}
		}
	})
}

func TestIssuerUnusable(t *testing.T) {
	serve := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, body)
		}
	}
	document := func(device string) string {
		return fmt.Sprintf(`{"issuer":%q,"token_endpoint":"%[1]s/t","jwks_uri":"%[1]s/k"%s}`, issuerURL, device)
	}
	for name, tc := range map[string]struct {
		handler http.Handler
		want    error
		says    string
	}{
		"another issuer":     {serve(`{"issuer":"https://evil.example"}`), identity.ErrIssuer, "calls itself"},
		"no device endpoint": {serve(document("")), identity.ErrIssuer, "no device sign-in"},
		"plain http device endpoint": {serve(document(`,"device_authorization_endpoint":"http://idp.example/d"`)),
			identity.ErrIssuer, "must use https"},
		"not an OIDC server": {http.NotFoundHandler(), identity.ErrIssuer, "no OpenID Connect discovery document"},
		"a web page":         {serve("<html>secret-body</html>"), identity.ErrIssuer, "no OpenID Connect discovery document"},
		"endless":            {serve(`{"issuer":"` + strings.Repeat("x", 2<<20)), identity.ErrIssuer, "no OpenID Connect discovery document"},
		"redirect to plain http": {http.RedirectHandler("http://idp.example/", http.StatusFound),
			identity.ErrUnreachable, "must use https"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := identity.New(identity.Config{Issuer: issuerURL, ClientID: "x", Store: secret.NewMemory(),
				HTTP: &http.Client{Transport: &inProcess{handler: tc.handler, requests: map[string]int{}}}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.SignIn(t.Context(), func(context.Context, identity.Prompt) error { return errors.New("a code was shown") })
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "secret-body") {
				t.Errorf("error %v, want %v saying %q", err, tc.want, tc.says)
			}
		})
	}

	t.Run("unreachable", func(t *testing.T) {
		w := newWorld(t, nil)
		w.wire.setFault(func(*http.Request) (*http.Response, error) { return nil, errNetwork })
		_, err := w.source(newLasting(), nil).SignIn(t.Context(), nil)
		if !errors.Is(err, identity.ErrUnreachable) || !errors.Is(err, errNetwork) {
			t.Errorf("error %v, want ErrUnreachable", err)
		}
	})
	t.Run("unknown client", func(t *testing.T) {
		w := newWorld(t, nil)
		s := w.source(newLasting(), func(c *identity.Config) { c.ClientID = "other" })
		if _, err := s.SignIn(t.Context(), nil); !errors.Is(err, identity.ErrIssuer) || !strings.Contains(err.Error(), `client "other"`) {
			t.Errorf("error %v, want one that names the client", err)
		}
	})
	for _, bad := range []string{"", "idp.example", "http://idp.example", "ftp://idp.example", "https://u:p@idp.example"} {
		if _, err := identity.New(identity.Config{Issuer: bad, ClientID: "x", Store: secret.NewMemory()}); !errors.Is(err, identity.ErrIssuer) {
			t.Errorf("issuer %q: %v, want ErrIssuer", bad, err)
		}
	}
}

func TestConfidentialClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *op.Options) {
			o.Clients = []op.Client{{ID: "web", Secret: secret.New("client secret & more")}}
		})
		with := func(s string) func(*identity.Config) {
			return func(c *identity.Config) { c.ClientID, c.ClientSecret = "web", secret.New(s) }
		}
		store := newLasting()
		s := w.source(store, with("client secret & more"))
		if _, err := s.SignIn(t.Context(), w.approving("alice", 0)); err != nil {
			t.Fatal(err)
		}
		if err := w.source(store, with("client secret & more")).SignOut(t.Context()); err != nil {
			t.Errorf("SignOut: %v", err)
		}
		if _, err := w.source(newLasting(), with("wrong")).SignIn(t.Context(), w.approving("alice", 0)); !errors.Is(err, identity.ErrIssuer) {
			t.Errorf("wrong secret: %v, want ErrIssuer", err)
		}
	})
}

func TestTokenRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *op.Options) { o.IDTokenLifetime = 10 * time.Minute })
		s := w.source(newLasting(), nil)
		if _, err := s.SignIn(t.Context(), w.approving("alice", 0)); err != nil {
			t.Fatal(err)
		}
		first, _ := s.Token(t.Context())
		asked := w.wire.count(tokenPath)
		if again, _ := s.Token(t.Context()); !again.Equal(first) || w.wire.count(tokenPath) != asked {
			t.Error("a token that holds was renewed")
		}
		time.Sleep(9*time.Minute + 30*time.Second)
		second, err := s.Token(t.Context())
		if err != nil || second.Equal(first) {
			t.Errorf("a token about to end was not renewed: %v", err)
		}

		// Late in its life, an issuer that is down does not matter yet; then it does.
		time.Sleep(9*time.Minute + 30*time.Second)
		w.wire.setFault(func(*http.Request) (*http.Response, error) { return nil, errNetwork })
		if got, err := s.Token(t.Context()); err != nil || !got.Equal(second) {
			t.Errorf("with the issuer down and the token still good: %v", err)
		}
		time.Sleep(time.Minute)
		if _, err := s.Token(t.Context()); !errors.Is(err, identity.ErrUnreachable) || errors.Is(err, identity.ErrSignIn) {
			t.Errorf("with the issuer down: %v, want ErrUnreachable", err)
		}
		w.wire.setFault(nil)
		if _, err := s.Token(t.Context()); err != nil {
			t.Errorf("after the outage: %v", err)
		}
	})
}

// TestRefreshRace lets many processes renew at once against an issuer that
// ends the sign-in when a refresh token is used twice.
func TestRefreshRace(t *testing.T) {
	w := newWorld(t, nil)
	store, dir := newLasting(), t.TempDir()
	shared := func(c *identity.Config) { c.LockDir = dir }
	if _, err := w.source(store, shared).SignIn(t.Context(), w.approving("alice", 0)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 16 {
		s := w.source(store, shared)
		wg.Go(func() {
			if _, err := s.Token(t.Context()); err != nil {
				t.Errorf("Token: %v", err)
			}
		})
	}
	wg.Wait()
	if _, err := w.source(store, shared).Token(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestStolenRefreshToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		store := newLasting()
		if _, err := w.source(store, nil).SignIn(t.Context(), w.approving("alice", 0)); err != nil {
			t.Fatal(err)
		}
		key := "refresh " + issuerURL + " " + op.DefaultClientID
		stolen, err := store.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.source(store, nil).Token(t.Context()); err != nil {
			t.Fatal(err)
		}

		thief := newLasting()
		_ = thief.Set(t.Context(), key, stolen)
		if _, err := w.source(thief, nil).Token(t.Context()); !errors.Is(err, identity.ErrSignIn) {
			t.Errorf("the thief got: %v, want ErrSignIn", err)
		}
		// The issuer ends the whole family; the rightful owner is told to sign
		// in again, and the dead token is gone from the store.
		if _, err := w.source(store, nil).Token(t.Context()); !errors.Is(err, identity.ErrSignIn) {
			t.Errorf("the owner got: %v, want ErrSignIn", err)
		}
		if _, err := store.Get(t.Context(), key); !errors.Is(err, secret.ErrNotFound) {
			t.Errorf("the dead token is still stored: %v", err)
		}
	})
}

// TestLeavingWhileRenewing cancels the caller as the issuer rotates the token:
// the successor must still be stored.
func TestLeavingWhileRenewing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		store := newLasting()
		if _, err := w.source(store, nil).SignIn(t.Context(), w.approving("alice", 0)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		w.wire.setFault(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == tokenPath {
				cancel()
				w.wire.setFault(nil)
			}
			return nil, nil
		})
		_, _ = w.source(store, nil).Token(ctx)
		if _, err := w.source(store, nil).Token(t.Context()); err != nil {
			t.Errorf("the sign-in was lost: %v", err)
		}
	})
}

func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		store := newLasting()
		store.failSet = true
		s := w.source(store, nil)
		got, err := s.SignIn(t.Context(), w.approving("alice", 0))
		if err != nil || !strings.Contains(got.Ends, secret.ErrTimeout.Error()) {
			t.Fatalf("SignIn: %+v, %v; want a sign-in that says why it will not last", got, err)
		}
		for range 3 { // each renewal rotates, and none can be stored
			time.Sleep(time.Hour)
			if _, err := s.Token(t.Context()); err != nil {
				t.Fatalf("within the process: %v", err)
			}
		}
		if _, err := w.source(store, nil).Token(t.Context()); !errors.Is(err, identity.ErrSignIn) {
			t.Errorf("the next process: %v, want ErrSignIn", err)
		}
	})
}

// TestStoreFailsLater lets a renewed token go unstored: the process that has it
// goes on, and no other one may present the token it replaced.
func TestStoreFailsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		store := newLasting()
		s := w.source(store, nil)
		if _, err := s.SignIn(t.Context(), w.approving("alice", 0)); err != nil {
			t.Fatal(err)
		}
		store.failSet = true
		time.Sleep(time.Hour)
		if _, err := s.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.source(store, nil).Token(t.Context()); !errors.Is(err, identity.ErrSignIn) {
			t.Errorf("another process: %v, want ErrSignIn", err)
		}
		time.Sleep(time.Hour)
		if _, err := s.Token(t.Context()); err != nil {
			t.Errorf("the process that holds the sign-in lost it: %v", err)
		}
	})
}

func TestEnsureSignedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		s := w.source(secret.NewMemory(), func(c *identity.Config) { c.LockDir = "" })
		got, err := s.EnsureSignedIn(t.Context(), w.approving("alice", 0))
		if err != nil || got.Person.Subject != "alice" || got.Ends == "" {
			t.Fatalf("%+v, %v; want alice, told that it ends with the process", got, err)
		}
		time.Sleep(time.Hour)
		never := func(context.Context, identity.Prompt) error { return errors.New("asked again") }
		if _, err := s.EnsureSignedIn(t.Context(), never); err != nil {
			t.Errorf("an hour later: %v", err)
		}
		w.wire.setFault(func(*http.Request) (*http.Response, error) { return nil, errNetwork })
		time.Sleep(time.Hour)
		if _, err := s.EnsureSignedIn(t.Context(), never); !errors.Is(err, identity.ErrUnreachable) {
			t.Errorf("with the issuer down: %v, want ErrUnreachable and no new sign-in", err)
		}
	})
}

func TestSignOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		store := newLasting()
		s := w.source(store, nil)
		if err := s.SignOut(t.Context()); !errors.Is(err, identity.ErrSignIn) {
			t.Errorf("SignOut of nobody: %v, want ErrSignIn", err)
		}
		if _, err := s.SignIn(t.Context(), w.approving("alice", 0)); err != nil {
			t.Fatal(err)
		}
		key := "refresh " + issuerURL + " " + op.DefaultClientID
		copied, _ := store.Get(t.Context(), key)
		if err := s.SignOut(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Token(t.Context()); !errors.Is(err, identity.ErrSignIn) {
			t.Errorf("Token after SignOut: %v, want ErrSignIn", err)
		}
		_ = store.Set(t.Context(), key, copied)
		if _, err := w.source(store, nil).Token(t.Context()); !errors.Is(err, identity.ErrSignIn) {
			t.Errorf("a copied refresh token outlived SignOut: %v", err)
		}
	})
}

func TestSignOutOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		store := newLasting()
		s := w.source(store, nil)
		if _, err := s.SignIn(t.Context(), w.approving("alice", 0)); err != nil {
			t.Fatal(err)
		}
		w.wire.setFault(func(*http.Request) (*http.Response, error) { return nil, errNetwork })
		if err := s.SignOut(t.Context()); !errors.Is(err, identity.ErrUnreachable) || !strings.Contains(err.Error(), "signed out here") {
			t.Errorf("SignOut: %v, want to hear what was done and what not", err)
		}
		w.wire.setFault(nil)
		if _, err := w.source(store, nil).Token(t.Context()); !errors.Is(err, identity.ErrSignIn) {
			t.Errorf("still signed in: %v", err)
		}
	})
}

func TestSigningInAgainEndsTheOldSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		s := w.source(newLasting(), nil)
		for _, user := range []string{"alice", "bob"} {
			if _, err := s.SignIn(t.Context(), w.approving(user, 0)); err != nil {
				t.Fatal(err)
			}
		}
		if p, err := s.Person(t.Context()); err != nil || p.Subject != "bob" {
			t.Errorf("%+v, %v", p, err)
		}
		if w.wire.count(revokePath) != 1 {
			t.Errorf("the old sign-in was revoked %d times, want once", w.wire.count(revokePath))
		}
	})
}

// TestAnotherPersonSignsIn keeps a process that alice started from turning
// into bob's when he signs in on the same machine.
func TestAnotherPersonSignsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		store := newLasting()
		alices, bobs := w.source(store, nil), w.source(store, nil)
		if _, err := alices.SignIn(t.Context(), w.approving("alice", 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := bobs.SignIn(t.Context(), w.approving("bob", 0)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			time.Sleep(time.Hour)
			if _, err := alices.Token(t.Context()); !errors.Is(err, identity.ErrSignIn) {
				t.Errorf("the process of alice got a token of bob: %v", err)
			}
			if p, err := bobs.Person(t.Context()); err != nil || p.Subject != "bob" {
				t.Errorf("bob is %+v, %v", p, err)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) { // the same, after the issuer ended alice's sign-in
		w := newWorld(t, func(o *op.Options) { o.RefreshLifetime = time.Hour })
		store := newLasting()
		alices := w.source(store, nil)
		if _, err := alices.SignIn(t.Context(), w.approving("alice", 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := alices.Token(t.Context()); !errors.Is(err, identity.ErrSignIn) {
			t.Errorf("alice: %v, want ErrSignIn", err)
		}
		if _, err := w.source(store, nil).SignIn(t.Context(), w.approving("bob", 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := alices.Token(t.Context()); !errors.Is(err, identity.ErrSignIn) {
			t.Errorf("the process of alice got a token of bob: %v", err)
		}
	})
}

// TestNoSecretInErrors plants a token in every answer and looks for it in what
// is reported.
func TestNoSecretInErrors(t *testing.T) {
	const planted = "PLANTED-refresh-token"
	synctest.Test(t, func(t *testing.T) {
		for _, status := range []int{200, 400, 401, 404, 500} {
			w := newWorld(t, nil)
			store := newLasting()
			_ = store.Set(t.Context(), "refresh "+issuerURL+" "+op.DefaultClientID, secret.New(planted))
			w.wire.setFault(func(r *http.Request) (*http.Response, error) {
				if r.URL.Path != tokenPath {
					return nil, nil
				}
				rec := httptest.NewRecorder()
				rec.Header().Set("Content-Type", "application/json")
				rec.WriteHeader(status)
				_, _ = rec.WriteString(`{"refresh_token":"` + planted + `","access_token":"` + planted + `","id_token":"` + planted + `"}`)
				return rec.Result(), nil
			})
			_, err := w.source(store, nil).Token(t.Context())
			if err == nil || strings.Contains(err.Error(), planted) {
				t.Errorf("status %d: %v", status, err)
			}
		}
	})
}
