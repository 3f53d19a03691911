package replay

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/jit-access/jit/session/recording"
)

// errCast means that the file with the terminal is not the one that was recorded.
var errCast = errors.New("it is not what was recorded")

// exportAsciicast writes the recorded terminal, once it is known to be the one
// that the log tells of. Its markers are the ids of statements.
func (r *Recording) exportAsciicast(w io.Writer) error {
	data, err := r.readTerminal()
	if err != nil {
		return err
	}
	_, err = io.Copy(w, bytes.NewReader(data))
	return err
}

// readTerminal reads the recorded terminal, unless it was redacted: the file may
// still be there if that was cut short.
func (r *Recording) readTerminal() ([]byte, error) {
	facts, err := r.terminal()
	if err != nil {
		return nil, err
	}
	for _, red := range r.Report().Redactions {
		if slices.Contains(red.Files, recording.FileTerminal) {
			return nil, fmt.Errorf("%w: it was taken out", ErrNoTerminal)
		}
	}
	data, err := os.ReadFile(filepath.Join(r.dir, recording.FileTerminal))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing; it is not kept here", ErrNoTerminal, recording.FileTerminal)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the terminal: %w", err)
	}
	sum := sha256.Sum256(data)
	if int64(len(data)) != facts.Bytes || base64.StdEncoding.EncodeToString(sum[:]) != facts.SHA256 {
		return nil, fmt.Errorf("reading %s: %w", recording.FileTerminal, errCast)
	}
	return data, nil
}

// terminal is what the log says of the recorded terminal. It is said at the end.
func (r *Recording) terminal() (recording.TerminalFacts, error) {
	if r.dir == "" {
		return recording.TerminalFacts{}, ErrNoTerminal
	}
	for seq := r.len() - 1; seq >= 0; seq-- {
		e, err := r.event(seq)
		if err != nil {
			return recording.TerminalFacts{}, err
		}
		if e.Terminal != nil && e.Terminal.File == recording.FileTerminal {
			return *e.Terminal, nil
		}
		if e.Kind == recording.KindAgentStarted {
			break // before it there was nothing to show
		}
	}
	return recording.TerminalFacts{}, ErrNoTerminal
}
