package cmd

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jit-access/jit/session/recording"
)

// The keys of the approval servers that cosign recordings are kept as SSH keeps
// host keys: one line "server key" each, written when a server is first used. A
// key that comes later is refused: whoever stands in a server's place could else
// have recordings cosigned by a key of their own. `jit recording verify` trusts
// the known keys by default.

func (a *App) witnessKeyFile() string { return filepath.Join(a.Paths.State, "witness-keys") }

// rememberWitness keeps a server's key, if it is the first of that server, and
// refuses another one, none where one is known, and one whose time is over.
func (a *App) rememberWitness(server, key string, now time.Time) error {
	if key != "" {
		if err := recording.CheckKey(key); err != nil {
			return fmt.Errorf("keeping the server's witness key: %w", err)
		}
	}
	lines, err := a.readWitnessKeys()
	if err != nil {
		return err
	}
	known := false
	for _, l := range lines {
		f := strings.Fields(l)
		if len(f) < 2 || f[0] != server {
			continue
		}
		if known = true; f[1] != key {
			continue
		}
		if err := recording.CheckWitnessKey(strings.Join(f[1:], " "), now); err != nil {
			return &Failure{What: "checking the server's witness key", Err: err, Fix: "Ask the server's administrator which key it has now, and put that into " + a.witnessKeyFile() + "."}
		}
		return nil
	}
	switch {
	case known && key == "":
		return &Failure{What: "checking the server's witness key", Err: errors.New("it cosigned recordings before, and does not any more"),
			Fix: "Ask the server's administrator. If that is meant, remove its lines from " + a.witnessKeyFile() + "."}
	case known:
		return &Failure{What: "checking the server's witness key", Err: errors.New("it is not the one that is known of this server: it was made anew, or another server stands in its place"),
			Fix: fmt.Sprintf("Compare %s with the key that the server's administrator tells you. If it is the same, add the line %q to %s.", key, server+" "+key, a.witnessKeyFile())}
	case key == "":
		return nil
	}
	return a.addWitnessKey(server + " " + key)
}

func (a *App) addWitnessKey(line string) error {
	if err := os.MkdirAll(a.Paths.State, 0o700); err != nil {
		return fmt.Errorf("keeping the server's witness key: %w", err)
	}
	f, err := os.OpenFile(a.witnessKeyFile(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keeping the server's witness key: %w", err)
	}
	_, err = fmt.Fprintln(f, line)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("keeping the server's witness key: %w", err)
	}
	return nil
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
