package credential

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/jit-access/jit/session/secret"
)

// jwtLife is how long a login JWT is good for. Snowflake takes at most an hour;
// one login needs far less.
const jwtLife = 2 * time.Minute

// minKeyBits is the smallest RSA key Snowflake registers for a user.
const minKeyBits = 2048

// KeyPair is an RSA private key whose public half is registered with a
// Snowflake user (ALTER USER … SET RSA_PUBLIC_KEY).
type KeyPair struct {
	held
	key         *rsa.PrivateKey
	fingerprint string
}

// ParseKeyPair reads an RSA private key in PEM: PKCS #8 plain ("PRIVATE KEY"),
// PKCS #8 encrypted ("ENCRYPTED PRIVATE KEY", opened by passphrase), or the
// older PKCS #1 ("RSA PRIVATE KEY", unencrypted).
func ParseKeyPair(material, passphrase secret.Text) (*KeyPair, error) {
	block, _ := pem.Decode([]byte(material.Reveal()))
	if block == nil {
		return nil, errors.New("the private key is not PEM: it must begin with -----BEGIN PRIVATE KEY----- or -----BEGIN ENCRYPTED PRIVATE KEY-----")
	}
	key, err := parseKey(block, passphrase)
	if err != nil {
		return nil, err
	}
	if n := key.N.BitLen(); n < minKeyBits {
		return nil, fmt.Errorf("the private key has %d bits: Snowflake needs an RSA key of at least %d", n, minKeyBits)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	sum := sha256.Sum256(public)
	return &KeyPair{
		held:        held{KindKeyPair, material},
		key:         key,
		fingerprint: "SHA256:" + base64.StdEncoding.EncodeToString(sum[:]),
	}, nil
}

func parseKey(block *pem.Block, passphrase secret.Text) (*rsa.PrivateKey, error) {
	der := block.Bytes
	switch block.Type {
	case "RSA PRIVATE KEY":
		if block.Headers["DEK-Info"] != "" {
			return nil, errors.New("the private key is encrypted in the old PKCS #1 form: convert it with openssl pkcs8 -topk8")
		}
		key, err := x509.ParsePKCS1PrivateKey(der)
		if err != nil {
			return nil, errors.New("the RSA private key is damaged")
		}
		return key, nil
	case "ENCRYPTED PRIVATE KEY":
		if passphrase.IsZero() {
			return nil, errors.New("the private key is encrypted: give its passphrase")
		}
		var err error
		if der, err = decryptPKCS8(der, passphrase); err != nil {
			return nil, err
		}
	case "PRIVATE KEY":
	case "PUBLIC KEY", "RSA PUBLIC KEY":
		return nil, errors.New("this is the public key: the login needs the private one")
	default:
		return nil, fmt.Errorf("the PEM holds %q: an RSA private key is needed", block.Type)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		// The parser's own text may quote bytes of the key.
		return nil, errors.New("the private key is damaged, or the passphrase is wrong")
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the private key is a %T: Snowflake's key-pair login takes RSA only", parsed)
	}
	return key, nil
}

// Fingerprint is the public key's fingerprint as Snowflake shows it in
// DESCRIBE USER (RSA_PUBLIC_KEY_FP). It is not a secret.
func (k *KeyPair) Fingerprint() string { return k.fingerprint }

// PublicKey is the public half, in the one-line form ALTER USER … SET
// RSA_PUBLIC_KEY takes.
func (k *KeyPair) PublicKey() string {
	public, err := x509.MarshalPKIXPublicKey(k.key.Public())
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(public)
}

// proof signs a login JWT. The claims are those of Snowflake's key-pair
// documentation; account and user are upper case, the account without region.
func (k *KeyPair) proof(account, user string, now time.Time) (proof, error) {
	if user == "" {
		return proof{}, errors.New("a key-pair login needs a user")
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: k.key},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return proof{}, fmt.Errorf("preparing the login JWT: %w", err)
	}
	subject := accountName(account) + "." + strings.ToUpper(user)
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer:   subject + "." + k.fingerprint,
		Subject:  subject,
		IssuedAt: jwt.NewNumericDate(now),
		Expiry:   jwt.NewNumericDate(now.Add(jwtLife)),
	}).Serialize()
	if err != nil {
		return proof{}, fmt.Errorf("signing the login JWT: %w", err)
	}
	return proof{authenticator: "SNOWFLAKE_JWT", token: secret.New(token)}, nil
}
