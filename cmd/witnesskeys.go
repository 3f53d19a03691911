package cmd

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jit-access/jit/session/recording"
)

// The keys of the approval servers that cosign recordings are kept as SSH keeps
// host keys: one line "server key" each, written when a server is first used
// and when it rotates its key. `jit recording verify` trusts them by default.

func (a *App) witnessKeyFile() string { return filepath.Join(a.Paths.State, "witness-keys") }

// rememberWitness adds a server's key. It reports whether another key of the
// same server was known before: a rotation, or another server in its place.
func (a *App) rememberWitness(server, key string) (changed bool, err error) {
	if key == "" {
		return false, nil
	}
	if err := recording.CheckKey(key); err != nil {
		return false, fmt.Errorf("keeping the server's witness key: %w", err)
	}
	known, err := a.readWitnessKeys()
	if err != nil {
		return false, err
	}
	isKnown := func(l string) bool { f := strings.Fields(l); return len(f) > 1 && f[0] == server && f[1] == key }
	if slices.ContainsFunc(known, isKnown) { // perhaps with a time, which stays
		return false, nil
	}
	line := server + " " + key
	changed = slices.ContainsFunc(known, func(l string) bool { return strings.HasPrefix(l, server+" ") })
	if err := os.MkdirAll(a.Paths.State, 0o700); err != nil {
		return changed, fmt.Errorf("keeping the server's witness key: %w", err)
	}
	f, err := os.OpenFile(a.witnessKeyFile(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return changed, fmt.Errorf("keeping the server's witness key: %w", err)
	}
	_, err = fmt.Fprintln(f, line)
	if err := errors.Join(err, f.Close()); err != nil {
		return changed, fmt.Errorf("keeping the server's witness key: %w", err)
	}
	return changed, nil
}

// witnessKeys are all known verifier keys, of every server, for
// recording.VerifyOptions.
func (a *App) witnessKeys() ([]string, error) {
	lines, err := a.readWitnessKeys()
	if err != nil {
		return nil, err
	}
	keys, err := recording.ParseWitnessKeys([]byte(strings.Join(lines, "\n")))
	if err != nil {
		return nil, fmt.Errorf("reading the known witness keys in %s: %w", a.witnessKeyFile(), err)
	}
	return keys, nil
}

func (a *App) readWitnessKeys() ([]string, error) {
	f, err := os.Open(a.witnessKeyFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the known witness keys: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	var lines []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if l := strings.TrimSpace(s.Text()); l != "" {
			lines = append(lines, l)
		}
	}
	return lines, nil
}
