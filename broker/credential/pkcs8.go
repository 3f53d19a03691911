package credential

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // openssl and Snowflake's guide make such key files
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // PBKDF2's default function in existing key files
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/scrypt"

	"github.com/jit-access/jit/session/secret"
)

// EncryptedPrivateKeyInfo and PBES2 are those of RFC 8018, appendix A; the
// standard library reads only the plain form of PKCS #8.
type encryptedPrivateKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

type pbes2Params struct {
	Derivation pkix.AlgorithmIdentifier
	Encryption pkix.AlgorithmIdentifier
}

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

type scryptParams struct {
	Salt      []byte
	Cost      int
	BlockSize int
	Parallel  int
	KeyLength int `asn1:"optional"`
}

// maxScrypt bounds cost × block size × parallel of scrypt: 128 MiB of memory,
// eight times what openssl uses.
const maxScrypt = 1 << 20

// maxIterations bounds the work a key file can ask for.
const maxIterations = 1_000_000

// oid makes an identifier at its place of use, so that none is a package
// variable that could change.
func oid(arc ...int) asn1.ObjectIdentifier { return arc }

// prf returns the hash of a PBKDF2 pseudo-random function; none named is
// hmacWithSHA1.
func prf(id asn1.ObjectIdentifier) (func() hash.Hash, error) {
	switch {
	case len(id) == 0, id.Equal(oid(1, 2, 840, 113549, 2, 7)):
		return sha1.New, nil
	case id.Equal(oid(1, 2, 840, 113549, 2, 8)):
		return sha256.New224, nil
	case id.Equal(oid(1, 2, 840, 113549, 2, 9)):
		return sha256.New, nil
	case id.Equal(oid(1, 2, 840, 113549, 2, 10)):
		return sha512.New384, nil
	case id.Equal(oid(1, 2, 840, 113549, 2, 11)):
		return sha512.New, nil
	}
	return nil, fmt.Errorf("the private key is encrypted with an unknown PBKDF2 function (%v)", id)
}

// blockCipher returns the key length and constructor of a PBES2 cipher; all
// are in CBC mode.
func blockCipher(id asn1.ObjectIdentifier) (int, func([]byte) (cipher.Block, error), error) {
	switch {
	case id.Equal(oid(2, 16, 840, 1, 101, 3, 4, 1, 2)):
		return 16, aes.NewCipher, nil
	case id.Equal(oid(2, 16, 840, 1, 101, 3, 4, 1, 22)):
		return 24, aes.NewCipher, nil
	case id.Equal(oid(2, 16, 840, 1, 101, 3, 4, 1, 42)):
		return 32, aes.NewCipher, nil
	case id.Equal(oid(1, 2, 840, 113549, 3, 7)):
		return 24, des.NewTripleDESCipher, nil //nolint:gosec // reads old files, writes none
	}
	return 0, nil, fmt.Errorf("the private key is encrypted with an unsupported cipher (%v): convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc", id)
}

// stretch derives the key from the passphrase, by PBKDF2 or scrypt (RFC 7914 §7).
func stretch(by pkix.AlgorithmIdentifier, passphrase secret.Text, size int) ([]byte, error) {
	read := func(to any) error {
		if rest, err := asn1.Unmarshal(by.Parameters.FullBytes, to); err != nil || len(rest) != 0 {
			return errors.New("the encrypted private key is damaged")
		}
		return nil
	}
	switch {
	case by.Algorithm.Equal(oid(1, 2, 840, 113549, 1, 5, 12)):
		var kdf pbkdf2Params
		if err := read(&kdf); err != nil {
			return nil, err
		}
		if kdf.Iterations < 1 || kdf.Iterations > maxIterations {
			return nil, fmt.Errorf("the private key asks for %d PBKDF2 rounds: at most %d are accepted", kdf.Iterations, maxIterations)
		}
		newHash, err := prf(kdf.PRF.Algorithm)
		if err != nil {
			return nil, err
		}
		key, err := pbkdf2.Key(newHash, passphrase.Reveal(), kdf.Salt, kdf.Iterations, size)
		if err != nil {
			return nil, fmt.Errorf("deriving the key from the passphrase: %w", err)
		}
		return key, nil
	case by.Algorithm.Equal(oid(1, 3, 6, 1, 4, 1, 11591, 4, 11)):
		var kdf scryptParams
		if err := read(&kdf); err != nil {
			return nil, err
		}
		if kdf.Cost < 2 || kdf.BlockSize < 1 || kdf.Parallel < 1 || kdf.Parallel > maxScrypt || kdf.Cost > maxScrypt/kdf.BlockSize/kdf.Parallel {
			return nil, errors.New("the private key asks for more memory than is accepted (scrypt): convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc")
		}
		key, err := scrypt.Key([]byte(passphrase.Reveal()), kdf.Salt, kdf.Cost, kdf.BlockSize, kdf.Parallel, size)
		if err != nil {
			return nil, errors.New("the encrypted private key is damaged")
		}
		return key, nil
	}
	return nil, errors.New("the private key's passphrase is stretched by neither PBKDF2 nor scrypt: convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc")
}

// decryptPKCS8 opens a PBES2-encrypted PKCS #8 key. A wrong passphrase and a
// damaged file look alike and give the same error.
func decryptPKCS8(der []byte, passphrase secret.Text) ([]byte, error) {
	errDamaged := errors.New("the encrypted private key is damaged")
	var info encryptedPrivateKeyInfo
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) != 0 {
		return nil, errDamaged
	}
	if !info.Algorithm.Algorithm.Equal(oid(1, 2, 840, 113549, 1, 5, 13)) {
		return nil, errors.New("the private key is encrypted in an old form (not PBES2): convert it with openssl pkcs8 -topk8 -v2 aes-256-cbc")
	}
	var scheme pbes2Params
	if rest, err := asn1.Unmarshal(info.Algorithm.Parameters.FullBytes, &scheme); err != nil || len(rest) != 0 {
		return nil, errDamaged
	}
	size, newCipher, err := blockCipher(scheme.Encryption.Algorithm)
	if err != nil {
		return nil, err
	}
	var iv []byte
	if _, err := asn1.Unmarshal(scheme.Encryption.Parameters.FullBytes, &iv); err != nil {
		return nil, errDamaged
	}
	key, err := stretch(scheme.Derivation, passphrase, size)
	if err != nil {
		return nil, err
	}
	block, err := newCipher(key)
	if err != nil {
		return nil, errDamaged
	}
	n := block.BlockSize()
	if len(iv) != n || len(info.Data) == 0 || len(info.Data)%n != 0 {
		return nil, errDamaged
	}
	plain := make([]byte, len(info.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, info.Data)
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > n {
		return nil, errors.New("the private key could not be opened: the passphrase is wrong")
	}
	return plain[:len(plain)-pad], nil
}
