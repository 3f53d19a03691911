package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/jit-access/jit/session/secret"
)

// settleTimeout bounds what is carried through even if the caller leaves:
// using up a refresh token and storing its successor.
const settleTimeout = 30 * time.Second

// Token returns an ID token that is good for at least a few seconds. It is
// ErrSignIn if nobody is signed in, ErrUnreachable if the issuer is.
func (s *Source) Token(ctx context.Context) (secret.Text, error) {
	h, err := s.current(ctx)
	return h.token, err
}

// Person returns who is signed in; errors as Token.
func (s *Source) Person(ctx context.Context) (Person, error) {
	h, err := s.current(ctx)
	return h.person, err
}

func (s *Source) current(ctx context.Context) (held, error) {
	if err := s.take(ctx); err != nil {
		return held{}, err
	}
	defer s.give()
	now := time.Now()
	if now.Before(s.now.renew) {
		return s.now, nil
	}
	h, err := s.renew(ctx)
	if err == nil {
		return h, nil
	}
	const enough = 5 * time.Second
	if errors.Is(err, ErrUnreachable) && now.Add(enough).Before(s.now.person.Expires) {
		return s.now, nil // early renewal failed; the token in hand still holds
	}
	return held{}, err
}

// renew spends the refresh token on a new ID token.
func (s *Source) renew(ctx context.Context) (held, error) {
	is, err := s.discover(ctx)
	if err != nil {
		return held{}, err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return held{}, err
	}
	defer unlock()
	refresh, err := s.stored(ctx)
	if err != nil {
		return held{}, err
	}

	// Commit point: the issuer may replace the refresh token as it answers. A
	// crash before the successor is stored means signing in again, never a
	// second sign-in left behind; leaving early would do the same, so from here
	// on the caller's cancellation waits.
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	token, err := is.oauth.TokenSource(s.httpContext(settle), &oauth2.Token{RefreshToken: refresh.Reveal()}).Token()
	if err = answerError(settle, err); err != nil {
		var answer *AnswerError
		if errors.As(err, &answer) && answer.Code == "invalid_grant" {
			s.forget(settle)
			return held{}, fmt.Errorf("%w: the identity provider has ended the sign-in", ErrSignIn)
		}
		return held{}, fmt.Errorf("renewing the sign-in: %w", s.clientError(err))
	}
	h, err := s.accept(settle, is, token)
	if err != nil {
		return held{}, fmt.Errorf("renewing the sign-in: %w", err)
	}
	if next := secret.New(token.RefreshToken); !next.Equal(refresh) {
		if err := s.keep(settle, next); err != nil {
			// The person stays signed in for as long as this process lives.
			s.cfg.Logger.WarnContext(ctx, "renewed sign-in not stored", slog.Any("error", err))
		}
	}
	// Somebody else may have signed in on this machine meanwhile. What this
	// process began as one person it must not go on with as another.
	if was := s.now.person; was.Subject != "" && was.Subject != h.person.Subject {
		return held{}, fmt.Errorf("%w: %s has signed in here since; this command began as %s", ErrSignIn, h.person.Display(), was.Display())
	}
	s.now = h
	return h, nil
}

// stored returns the refresh token in use.
func (s *Source) stored(ctx context.Context) (secret.Text, error) {
	if !s.unstored.IsZero() {
		return s.unstored, nil
	}
	refresh, err := s.cfg.Store.Get(ctx, s.storeKey())
	if errors.Is(err, secret.ErrNotFound) {
		return secret.Text{}, ErrSignIn
	}
	if err != nil {
		return secret.Text{}, fmt.Errorf("reading the sign-in: %w", err)
	}
	return refresh, nil
}

// keep stores a refresh token, or holds it for this process and says why. Then
// its predecessor must go: another process that used it would look like a
// thief, and the issuer would end the sign-in for both.
func (s *Source) keep(ctx context.Context, refresh secret.Text) error {
	if err := s.cfg.Store.Set(ctx, s.storeKey(), refresh); err != nil {
		s.unstored = refresh
		return errors.Join(err, s.cfg.Store.Delete(ctx, s.storeKey()))
	}
	s.unstored = secret.Text{}
	return nil
}

// forget drops the sign-in, here and in the store; who it was stays known.
func (s *Source) forget(ctx context.Context) {
	who := s.now.person
	who.Expires = time.Time{}
	s.now, s.unstored = held{person: who}, secret.Text{}
	if err := s.cfg.Store.Delete(ctx, s.storeKey()); err != nil {
		s.cfg.Logger.WarnContext(ctx, "ended sign-in not deleted", slog.Any("error", err))
	}
}

// SignedIn is the outcome of SignIn.
type SignedIn struct {
	Person Person
	// Ends, if not empty, says for people why the sign-in ends with this
	// process (or, without a refresh token, with the ID token).
	Ends string
}

// SignIn runs the device grant: prompt shows the code, the person enters it on
// any device. Errors: ErrRefused, ErrExpired, ErrIssuer, ErrUnreachable, or
// those of ctx and prompt.
func (s *Source) SignIn(ctx context.Context, prompt PromptFunc) (SignedIn, error) {
	if err := s.take(ctx); err != nil {
		return SignedIn{}, err
	}
	defer s.give()
	return s.signIn(ctx, prompt)
}

func (s *Source) signIn(ctx context.Context, prompt PromptFunc) (SignedIn, error) {
	is, err := s.discover(ctx)
	if err != nil {
		return SignedIn{}, err
	}
	d, err := s.begin(ctx, is)
	if err != nil {
		return SignedIn{}, fmt.Errorf("starting the sign-in: %w", err)
	}
	waiting, answered := context.WithCancel(ctx)
	defer answered()
	if err := prompt(waiting, d.prompt); err != nil {
		return SignedIn{}, fmt.Errorf("showing the code: %w", err)
	}
	token, err := s.poll(ctx, is, d)
	answered()
	if err != nil {
		return SignedIn{}, fmt.Errorf("waiting for the sign-in: %w", err)
	}
	// As in renew: what the issuer has handed out is stored even if the caller
	// leaves now.
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	h, err := s.accept(settle, is, token)
	if err != nil {
		return SignedIn{}, err
	}
	unlock, err := s.lock(settle)
	if err != nil {
		return SignedIn{}, err
	}
	defer unlock()
	out := SignedIn{Person: h.person}
	previous, previousErr := s.stored(settle)
	switch {
	case token.RefreshToken == "":
		s.forget(settle)
		out.Ends = "the identity provider gave no refresh token; allow client " + s.cfg.ClientID + " the offline_access scope"
	default:
		if err := s.keep(settle, secret.New(token.RefreshToken)); err != nil {
			out.Ends = err.Error()
		} else if s.Backend() == secret.BackendMemory {
			out.Ends = "there is nowhere to keep it: no usable keyring, and no secrets file"
		}
	}
	s.now = h
	if previousErr == nil {
		if err := s.revoke(settle, is, previous); err != nil {
			s.cfg.Logger.WarnContext(ctx, "replaced sign-in not revoked", slog.Any("error", err))
		}
	}
	return out, nil
}

// EnsureSignedIn returns who is signed in, signing them in if nobody is. It is
// what a command calls that cannot send its user off to sign in first.
func (s *Source) EnsureSignedIn(ctx context.Context, prompt PromptFunc) (SignedIn, error) {
	person, err := s.Person(ctx)
	if errors.Is(err, ErrSignIn) {
		return s.SignIn(ctx, prompt)
	}
	return SignedIn{Person: person}, err
}

// SignOut forgets the sign-in here, and ends it at the issuer if that offers
// it. What is here is deleted even if the issuer cannot be told; then the error
// is ErrUnreachable. It is ErrSignIn if nobody was signed in.
func (s *Source) SignOut(ctx context.Context) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.give()
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	refresh, err := s.stored(ctx)
	if err != nil {
		return err
	}
	s.now, s.unstored = held{}, secret.Text{}
	if err := s.cfg.Store.Delete(ctx, s.storeKey()); err != nil {
		return fmt.Errorf("deleting the sign-in: %w", err)
	}
	is, err := s.discover(ctx)
	if err != nil {
		return fmt.Errorf("signed out here, but the sign-in at %s could not be ended: %w", s.cfg.Issuer, err)
	}
	if err := s.revoke(ctx, is, refresh); err != nil {
		return fmt.Errorf("signed out here, but the sign-in at %s could not be ended: %w", s.cfg.Issuer, err)
	}
	return nil
}

// revoke ends a refresh token at the issuer (RFC 7009). An issuer without a
// revocation endpoint lets it run out.
func (s *Source) revoke(ctx context.Context, is *issuer, refresh secret.Text) error {
	if is.revocation == "" {
		return nil
	}
	form := url.Values{"token": {refresh.Reveal()}, "token_type_hint": {"refresh_token"}}
	transport := s.cfg.HTTP.Transport
	switch {
	case s.cfg.ClientSecret.IsZero():
		form.Set("client_id", s.cfg.ClientID)
	case is.oauth.Endpoint.AuthStyle == oauth2.AuthStyleInHeader:
		transport = basicAuth{transport, s.cfg.ClientID, s.cfg.ClientSecret}
	default:
		form.Set("client_id", s.cfg.ClientID)
		form.Set("client_secret", s.cfg.ClientSecret.Reveal())
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, is.revocation, strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("%w: its revocation endpoint is not a URL", ErrIssuer)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	hc := *s.cfg.HTTP
	hc.Transport = transport
	resp, err := hc.Do(r)
	if err != nil {
		return answerError(ctx, err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is read from it
	if resp.StatusCode >= http.StatusMultipleChoices {
		return &AnswerError{Status: resp.StatusCode}
	}
	return nil
}
