package broker

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/jit-access/jit/session/secret"
)

// tokenBytes is the entropy of leases, broker tokens and chunk capabilities:
// 256 bits, twice what the protocol's opaque tokens need.
const tokenBytes = 32

// leasePrefix lets people and secret scanners recognise a lease.
const leasePrefix = "jit_lease_"

// NewLease makes the bearer token an agent presents to its broker. The caller
// hands the lease to the agent and keeps only its Digest.
func NewLease() (secret.Text, error) {
	t, err := newToken()
	if err != nil {
		return secret.Text{}, err
	}
	return secret.New(leasePrefix + t.Reveal()), nil
}

// newToken returns a fresh random token of URL-safe characters.
func newToken() (secret.Text, error) {
	var b [tokenBytes]byte
	if _, err := rand.Read(b[:]); err != nil {
		return secret.Text{}, fmt.Errorf("drawing a random token: %w", err)
	}
	return secret.New(base64.RawURLEncoding.EncodeToString(b[:])), nil
}

// digestKey is the SHA-256 of a token: what maps are keyed by, so that neither
// a lookup's timing nor a memory dump gives the token away.
type digestKey [sha256.Size]byte

func keyOf(token string) digestKey { return sha256.Sum256([]byte(token)) }

// leaseMatches compares a presented lease with the kept digest in constant
// time. Surrounding ASCII white space is dropped: drivers read token files
// without trimming the last newline.
func leaseMatches(presented string, want digestKey) bool {
	got := keyOf(strings.Trim(presented, " \t\r\n"))
	return presented != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// parseDigest reads the hex form of secret.Text.Digest.
func parseDigest(s string) (digestKey, error) {
	var k digestKey
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(k) {
		return k, fmt.Errorf("the lease digest is not %d hex bytes", len(k))
	}
	copy(k[:], raw)
	return k, nil
}
