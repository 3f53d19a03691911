package intercept

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// rootFiles are where systems keep the certificates they trust, as one PEM file.
var rootFiles = [...]string{
	"/etc/ssl/certs/ca-certificates.crt",                // Debian, Arch, Alpine
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
	"/etc/pki/tls/certs/ca-bundle.crt",                  // older ones
	"/etc/ssl/ca-bundle.pem",                            // openSUSE
	"/etc/ssl/cert.pem",                                 // macOS, BSDs
	"/usr/local/etc/ssl/cert.pem",                       // FreeBSD
}

// ErrNoRoots means that the system keeps its certificates in none of the files
// that clients could be given.
var ErrNoRoots = errors.New("no file with the system's certificates was found")

// SystemRoots names the file of certificates that the system trusts.
func SystemRoots() (string, error) {
	for _, name := range rootFiles {
		if _, err := os.Stat(name); err == nil {
			return name, nil
		}
	}
	return "", ErrNoRoots
}

// Bundle is the certificates of a PEM file, and the authority's. An empty name
// stands for no file.
func (a *Authority) Bundle(file string) ([]byte, error) {
	if file == "" {
		return a.PEM(), nil
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading certificates: %s does not exist", file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading certificates: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("reading certificates: %s holds none in PEM", file)
	}
	return bytes.Join([][]byte{a.PEM(), data}, nil), nil
}
