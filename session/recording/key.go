package recording

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/mod/sumdb/note"

	"github.com/jit-access/jit/session/secret"
)

// NewKey makes a session's signing key. name is the key's name in signatures: a
// word without spaces or '+'. skey stays in memory; vkey is what Office.Open
// registers.
func NewKey(name string) (skey secret.Text, vkey string, err error) {
	if !validKeyName(name) {
		return secret.Text{}, "", fmt.Errorf("key name %q: use a word without spaces or '+'", name)
	}
	s, v, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return secret.Text{}, "", fmt.Errorf("generating recording key: %w", err)
	}
	return secret.New(s), v, nil
}

// NewSigner makes a signer of a key that NewKey returned.
func NewSigner(skey secret.Text) (note.Signer, error) {
	s, err := note.NewSigner(skey.Reveal())
	if err != nil {
		return nil, fmt.Errorf("reading recording key: %w", err)
	}
	return s, nil
}

func validKeyName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r == '+' || unicode.IsSpace(r) || unicode.IsControl(r)
	})
}

// Witness keys are the timestamped Ed25519 keys of C2SP tlog-cosignature. A
// cosignature is 8 bytes of big-endian Unix seconds and the Ed25519 signature
// of "cosignature/v1\ntime <seconds>\n" and the note text.
const (
	algCosignature = 0x04
	cosigSize      = 8 + ed25519.SignatureSize
	skeyPrefix     = "PRIVATE+KEY+"
)

// NewWitnessKey makes a witness's key pair, in the encodings NewWitness and
// VerifyOptions read.
func NewWitnessKey(name string) (skey secret.Text, vkey string, err error) {
	if !validKeyName(name) {
		return secret.Text{}, "", fmt.Errorf("key name %q: use a word without spaces or '+'", name)
	}
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return secret.Text{}, "", fmt.Errorf("generating witness key: %w", err)
	}
	k := cosignatureKey{name: name, priv: priv}
	raw := append([]byte{algCosignature}, priv.Seed()...)
	s := fmt.Sprintf("%s%s+%08x+%s", skeyPrefix, name, k.hash(), base64.StdEncoding.EncodeToString(raw))
	return secret.New(s), k.verifierKey(), nil
}

type cosignatureKey struct {
	name string
	priv ed25519.PrivateKey
}

func parseCosignatureKey(skey secret.Text) (cosignatureKey, error) {
	bad := errors.New("reading witness key: it is not one that NewWitnessKey made")
	name, hash, raw, err := splitKey(strings.TrimPrefix(skey.Reveal(), skeyPrefix))
	if err != nil || !strings.HasPrefix(skey.Reveal(), skeyPrefix) || len(raw) != ed25519.SeedSize {
		return cosignatureKey{}, bad
	}
	k := cosignatureKey{name: name, priv: ed25519.NewKeyFromSeed(raw)}
	if k.hash() != hash {
		return cosignatureKey{}, bad
	}
	return k, nil
}

// splitKey reads name+hash+base64(algorithm, key) of a cosignature key.
func splitKey(s string) (name string, hash uint32, raw []byte, err error) {
	parts := strings.SplitN(s, "+", 3)
	if len(parts) != 3 || !validKeyName(parts[0]) || len(parts[1]) != 8 {
		return "", 0, nil, errors.New("malformed key")
	}
	h, err := strconv.ParseUint(parts[1], 16, 32)
	if err != nil {
		return "", 0, nil, errors.New("malformed key hash")
	}
	raw, err = base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(raw) == 0 || raw[0] != algCosignature {
		return "", 0, nil, errors.New("not a cosignature key")
	}
	return parts[0], uint32(h), raw[1:], nil
}

func cosignatureHash(name string, pub ed25519.PublicKey) uint32 {
	h := sha256.New()
	h.Write([]byte(name + "\n"))
	h.Write([]byte{algCosignature})
	h.Write(pub)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

func (k cosignatureKey) public() ed25519.PublicKey { return k.priv.Public().(ed25519.PublicKey) }
func (k cosignatureKey) hash() uint32              { return cosignatureHash(k.name, k.public()) }

func (k cosignatureKey) verifierKey() string {
	raw := append([]byte{algCosignature}, k.public()...)
	return fmt.Sprintf("%s+%08x+%s", k.name, k.hash(), base64.StdEncoding.EncodeToString(raw))
}

// signer signs as of now.
func (k cosignatureKey) signer(now time.Time) note.Signer { return cosigner{k, now.Unix()} }

type cosigner struct {
	cosignatureKey
	at int64
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash() }

func (c cosigner) Sign(msg []byte) ([]byte, error) {
	if c.at < 0 {
		return nil, errors.New("cosigning: the time is before 1970")
	}
	sig := binary.BigEndian.AppendUint64(nil, uint64(c.at))
	return append(sig, ed25519.Sign(c.priv, cosignedMessage(uint64(c.at), msg))...), nil
}

func cosignedMessage(at uint64, msg []byte) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", at), msg...)
}

// newVerifier reads a verifier key of either kind: a session's or a witness's.
func newVerifier(vkey string) (note.Verifier, error) {
	name, hash, pub, err := splitKey(vkey)
	if err != nil { // not a cosignature key: an Ed25519 note key, or nothing
		v, err := note.NewVerifier(vkey)
		if err != nil {
			return nil, fmt.Errorf("reading verifier key: %w", err)
		}
		return v, nil
	}
	if len(pub) != ed25519.PublicKeySize || cosignatureHash(name, pub) != hash {
		return nil, errors.New("reading verifier key: malformed cosignature key")
	}
	return cosignatureVerifier{name, hash, pub}, nil
}

type cosignatureVerifier struct {
	name string
	hash uint32
	pub  ed25519.PublicKey
}

func (v cosignatureVerifier) Name() string    { return v.name }
func (v cosignatureVerifier) KeyHash() uint32 { return v.hash }

func (v cosignatureVerifier) Verify(msg, sig []byte) bool {
	if len(sig) != cosigSize {
		return false
	}
	at := binary.BigEndian.Uint64(sig)
	return at < 1<<62 && ed25519.Verify(v.pub, cosignedMessage(at, msg), sig[8:])
}

// CheckKey reports whether vkey is a verifier key, of a session or a witness.
func CheckKey(vkey string) error {
	_, err := newVerifier(vkey)
	return err
}
