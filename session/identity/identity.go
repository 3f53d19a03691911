// Package identity signs a person in at an OpenID Connect issuer with the
// device authorization grant and keeps them signed in.
//
// Invariants:
//
//  1. The ID token, which is what the approval server accepts, lives in memory
//     only. The refresh token lives in a secret.Store only.
//  2. Every token is verified (issuer, audience, signature, expiry) before it
//     is used or its refresh token stored.
//  3. Processes take a file lock around reading, renewing and storing the
//     refresh token, so that an issuer that rotates it never sees one twice.
//  4. Every URL of the issuer is https, or http on this machine; a request that
//     carries a secret is never redirected.
//  5. A network error while a person signs in never ends the sign-in before
//     the code does.
//
// Protocol: OpenID Connect Core and Discovery 1.0; RFC 8628 (device grant);
// RFC 6749 §6 (refresh); RFC 7009 (revocation).
package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/jit-access/jit/session/secret"
)

// The errors of this package. Each is wrapped with what happened.
var (
	// ErrSignIn means nobody is signed in, or the issuer has ended it.
	ErrSignIn = errors.New("not signed in")
	// ErrRefused means the person, or the issuer for them, refused the sign-in.
	ErrRefused = errors.New("the sign-in was refused")
	// ErrExpired means nobody entered the code in time.
	ErrExpired = errors.New("the code expired before it was used")
	// ErrIssuer means the issuer is not one that jit can sign in at.
	ErrIssuer = errors.New("unusable identity provider")
	// ErrUnreachable means the issuer gave no usable answer.
	ErrUnreachable = errors.New("the identity provider is unreachable")
)

// DefaultScopes returns what is asked for unless Config says otherwise. Of
// these, only what the issuer says it supports is sent.
func DefaultScopes() []string {
	return []string{"openid", "profile", "email", "groups", "offline_access"}
}

// Config says where and as which client to sign in.
type Config struct {
	Issuer       string
	ClientID     string
	ClientSecret secret.Text // zero for a public client
	Scopes       []string    // empty: DefaultScopes
	Store        secret.Store
	// LockDir is the folder of the lock shared by all processes that use Store.
	// It may be empty only for a memory store.
	LockDir string
	HTTP    *http.Client // nil: a client with timeouts
	Logger  *slog.Logger
	// OnTrouble, if set, is told of a network error that a sign-in waits out,
	// and nil once the issuer answers again.
	OnTrouble func(error)
}

// Prompt is what a person needs to sign in on any device.
type Prompt struct {
	UserCode    string
	URL         string
	CompleteURL string // with the code in it; may be empty
	Expires     time.Time
}

// PromptFunc shows a Prompt. It returns at once: polling begins when it has.
// Its context ends when the code is no longer of use.
type PromptFunc func(ctx context.Context, p Prompt) error

// Person is who the issuer says is signed in, and for how long the present
// proof of it holds.
type Person struct {
	Issuer  string
	Subject string
	Email   string
	Name    string
	Groups  []string
	Expires time.Time // of the ID token; it is renewed as needed
}

// Display is what people read: the e-mail if known, else the name, else the subject.
func (p Person) Display() string {
	switch {
	case p.Email != "":
		return p.Email
	case p.Name != "":
		return p.Name
	}
	return p.Subject
}

// Source is a signed-in person, or one who may sign in. It is safe for
// concurrent use.
type Source struct {
	cfg Config

	// turn holds one token: who has it may use the fields below. A channel,
	// not a mutex, so that waiting ends with its context.
	turn   chan struct{}
	issuer *issuer // nil until discovered
	now    held
	// unstored is a refresh token the store would not take; it serves this
	// process.
	unstored secret.Text
}

// held is the ID token in memory. The zero value holds none.
type held struct {
	token  secret.Text
	person Person
	renew  time.Time // from when on to ask for a new one
}

// New makes a Source. It does no I/O; the issuer is first asked when needed.
func New(cfg Config) (*Source, error) {
	if cfg.ClientID == "" {
		return nil, fmt.Errorf("%w: no client id is set", ErrIssuer)
	}
	if err := checkURL(cfg.Issuer); err != nil {
		return nil, fmt.Errorf("%w: issuer %w", ErrIssuer, err)
	}
	if cfg.Store == nil {
		return nil, errors.New("identity: no store for the refresh token")
	}
	if cfg.LockDir == "" && cfg.Store.Backend() != secret.BackendMemory {
		return nil, errors.New("identity: a store that outlives the process needs a lock folder")
	}
	if len(cfg.Scopes) == 0 {
		cfg.Scopes = DefaultScopes()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.OnTrouble == nil {
		cfg.OnTrouble = func(error) {}
	}
	cfg.HTTP = guardedClient(cfg.HTTP)
	return &Source{cfg: cfg, turn: make(chan struct{}, 1)}, nil
}

// Backend says where the refresh token is kept.
func (s *Source) Backend() secret.Backend { return s.cfg.Store.Backend() }

func (s *Source) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Source) give() { <-s.turn }

// storeKey names the refresh token of one client at one issuer.
func (s *Source) storeKey() string { return "refresh " + s.cfg.Issuer + " " + s.cfg.ClientID }
