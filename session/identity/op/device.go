package op

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/jit-access/jit/session/secret"
)

// device is one pending sign-in.
type device struct {
	op.DeviceAuthorizationState
	userCode string
	polledAt time.Time
	attempts int  // wrong passwords typed for it
	redeemed bool // its tokens were issued
}

// maxAttempts is how many wrong passwords end a pending sign-in.
const maxAttempts = 5

// keepExpired is how long a finished sign-in is remembered, so that its client
// still learns how it ended.
const keepExpired = 10 * time.Minute

func (s *storage) StoreDeviceAuthorization(_ context.Context, clientID, deviceCode, userCode string, expires time.Time, scopes []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for code, d := range s.devices {
		if now.Sub(d.Expires) > keepExpired {
			delete(s.devices, code)
		} else if d.userCode == userCode {
			return op.ErrDuplicateUserCode
		}
	}
	granted := slices.DeleteFunc(slices.Clone(scopes), func(sc string) bool { return !slices.Contains(supportedScopes(), sc) })
	s.devices[secret.New(deviceCode).Digest()] = &device{
		userCode:                 userCode,
		DeviceAuthorizationState: op.DeviceAuthorizationState{ClientID: clientID, Scopes: granted, Expires: expires},
	}
	return nil
}

var errRedeemed = errors.New("the device code was already redeemed")

// GetDeviceAuthorizatonState (spelled so by the library) answers one poll. An
// approved code is handed out once; the library turns a deadline error into
// slow_down.
func (s *storage) GetDeviceAuthorizatonState(_ context.Context, clientID, deviceCode string) (*op.DeviceAuthorizationState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.devices[secret.New(deviceCode).Digest()]
	switch {
	case !ok || d.ClientID != clientID:
		return nil, ErrUnknownCode
	case d.redeemed:
		return nil, errRedeemed
	}
	now := time.Now()
	// Half an interval of grace: clients' timers and networks jitter.
	if !d.polledAt.IsZero() && now.Sub(d.polledAt) < s.poll/2 {
		return nil, fmt.Errorf("polled too soon: %w", context.DeadlineExceeded)
	}
	d.polledAt = now
	if d.Done {
		d.redeemed = true
	}
	state := d.DeviceAuthorizationState // a copy: the library appends to it
	return &state, nil
}

// settle approves or denies the sign-in under userCode as user.
func (s *storage) settle(userCode, user string, approve bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.open(userCode)
	if err != nil {
		return err
	}
	d.Done, d.Denied = approve, !approve
	d.Subject, d.AuthTime, d.AMR = user, time.Now(), []string{"pwd"}
	return nil
}

// authenticate settles the sign-in if the password is right, and counts it
// against the code if not. It says no more than that.
func (s *storage) authenticate(userCode, user string, password secret.Text, approve bool) error {
	s.mu.Lock()
	d, err := s.open(userCode)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	u, ok := s.users[user]
	right := u.Password.Equal(password) && ok && !u.Password.IsZero()
	if !right {
		d.attempts++
		d.Denied = d.attempts >= maxAttempts
	}
	s.mu.Unlock()
	if !right {
		return ErrUnknownUser
	}
	return s.settle(userCode, user, approve)
}

// open finds a sign-in that still waits. Codes are typed by people: case,
// spaces and the dash do not matter.
func (s *storage) open(userCode string) (*device, error) {
	want := normalise(userCode)
	for _, d := range s.devices {
		if normalise(d.userCode) != want {
			continue
		}
		switch {
		case d.Done || d.Denied:
			return nil, ErrSettledCode
		case time.Now().After(d.Expires):
			return nil, ErrExpiredCode
		}
		return d, nil
	}
	return nil, ErrUnknownCode
}

func normalise(code string) string {
	return strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(code))
}
