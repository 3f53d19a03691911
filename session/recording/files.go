package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The files of a recording.
const (
	FileSession    = "session.json"
	FileEvents     = "events.jsonl"
	FileCheckpoint = "checkpoint"
	FileCosig      = "cosig"
	FileRedactions = "redactions.jsonl"
	FileTerminal   = "terminal.cast"
	FileRows       = "rows.age"
)

// formatV2 is the only format there is. A reader refuses any other.
const formatV2 = "jit recording v2"

// header is session.json: one canonical JSON line with its newline. The reason
// is its only text.
type header struct {
	Format  string       `json:"format"`
	Session SessionFacts `json:"session"`
	Key     string       `json:"key"`               // the session's verifier key
	Witness string       `json:"witness,omitempty"` // the witness's verifier key, as the server named it

	openings []opening
}

func formatHeader(h header) ([]byte, error) {
	e := Event{Session: &h.Session, openings: h.openings}
	sealed, openings, err := e.seal()
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", FileSession, err)
	}
	h.Session = *sealed.Session
	b, err := marshal(h)
	if err == nil {
		b, err = appendTexts(b, openings)
	}
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", FileSession, err)
	}
	return append(b, '\n'), nil
}

func parseHeader(data []byte) (header, error) {
	h, err := decodeHeader(data)
	if err != nil {
		return header{}, fmt.Errorf("decoding: %w", err)
	}
	if h.Format != formatV2 {
		return header{}, fmt.Errorf("format %q is not %q; another version of jit may read it", h.Format, formatV2)
	}
	e := Event{Session: &h.Session}
	if err := e.unseal(h.openings); err != nil {
		return header{}, err
	}
	again, err := formatHeader(h)
	if err != nil {
		return header{}, err
	}
	if !bytes.Equal(again, data) {
		return header{}, errors.New("not in canonical form")
	}
	if h.Session.ID == "" {
		return header{}, errors.New("it names no session")
	}
	return h, nil
}

// decodeHeader leaves commitments where they stand.
func decodeHeader(data []byte) (h header, err error) {
	committed, texts, ok := splitTexts(data)
	if ok {
		if h.openings, err = parseTexts(bytes.TrimSuffix(texts, []byte{'\n'})); err != nil {
			return header{}, err
		}
		committed = append(committed[:len(committed):len(committed)], '}')
	}
	d := json.NewDecoder(bytes.NewReader(committed))
	d.DisallowUnknownFields()
	err = d.Decode(&h)
	return h, err
}

// replaceFile puts data at dir/name so that a crash leaves the old content or
// the new, never a part.
func replaceFile(dir, name string, data []byte) error {
	tmp := filepath.Join(dir, "."+name+".new")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, filepath.Join(dir, name))
	}
	if err == nil {
		err = syncDir(dir)
	}
	return err
}

// SessionID reads whose recording is in dir, before anything is verified.
func SessionID(dir string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, FileSession))
	if err != nil {
		return "", fmt.Errorf("reading the session of a recording: %w", err)
	}
	h, err := parseHeader(data)
	if err != nil {
		return "", tampered(FileSession, -1, "%v", err)
	}
	return h.Session.ID, nil
}
