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
)

// formatV1 is the only format there is. A reader refuses any other.
const formatV1 = "jit recording v1"

// header is session.json: one canonical JSON line with its newline.
type header struct {
	Format  string       `json:"format"`
	Session SessionFacts `json:"session"`
	Key     string       `json:"key"`               // the session's verifier key
	Witness string       `json:"witness,omitempty"` // the witness's verifier key, as the server named it
}

func formatHeader(h header) ([]byte, error) {
	b, err := marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", FileSession, err)
	}
	return append(b, '\n'), nil
}

func parseHeader(data []byte) (header, error) {
	var h header
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil {
		return header{}, fmt.Errorf("decoding: %w", err)
	}
	if h.Format != formatV1 {
		return header{}, fmt.Errorf("format %q is not %q; a newer jit may read it", h.Format, formatV1)
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
