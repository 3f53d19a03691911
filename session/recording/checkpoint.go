package recording

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is what a session key signs: the log named Origin had this root
// when it had Size events.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   tlog.Hash
}

// Origin is the name of a session's log in its checkpoints.
func Origin(sessionID string) string { return "jit/recording/" + sessionID }

// FormatCheckpoint writes the note text of a C2SP tlog-checkpoint: origin, size
// and root, each on a line.
func FormatCheckpoint(c Checkpoint) string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root)
}

// ParseCheckpoint reads what FormatCheckpoint wrote and nothing else: extension
// lines are refused, since nothing here would check them.
func ParseCheckpoint(text string) (Checkpoint, error) {
	bad := errors.New("malformed checkpoint")
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] == "" || lines[3] != "" {
		return Checkpoint{}, bad
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 1 {
		return Checkpoint{}, bad
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return Checkpoint{}, bad
	}
	c := Checkpoint{Origin: lines[0], Size: size, Root: root}
	if FormatCheckpoint(c) != text {
		return Checkpoint{}, bad
	}
	return c, nil
}

// checkpointOf is the checkpoint within a cosigned note: all but the witness's
// signature line.
func checkpointOf(cosigned []byte) []byte {
	text, sigs, ok := bytes.Cut(cosigned, []byte("\n\n"))
	first, _, more := bytes.Cut(sigs, []byte("\n"))
	if !ok || !more {
		return cosigned // malformed, and refused as such
	}
	return bytes.Join([][]byte{text, []byte("\n\n"), first, []byte("\n")}, nil)
}

// checkpointClaim reads what a note says before anyone verified that it is
// true. Its size only tells how far to read.
func checkpointClaim(msg []byte, sessionID string) (text string, size int64, err error) {
	var unverified *note.UnverifiedNoteError
	if _, err := note.Open(msg, nil); !errors.As(err, &unverified) {
		return "", 0, errors.New("malformed note")
	}
	c, err := ParseCheckpoint(unverified.Note.Text)
	if err != nil {
		return "", 0, err
	}
	if c.Origin != Origin(sessionID) {
		return "", 0, fmt.Errorf("it is the checkpoint of %q", c.Origin)
	}
	return unverified.Note.Text, c.Size, nil
}

// openCheckpoint verifies a note and reads its checkpoint. Exactly the given
// keys must have signed it, in that order, and the bytes must be the ones
// note.Sign writes.
func openCheckpoint(msg []byte, sessionID string, vkeys ...string) (Checkpoint, *note.Note, error) {
	vs := make([]note.Verifier, len(vkeys))
	for i, k := range vkeys {
		v, err := newVerifier(k)
		if err != nil {
			return Checkpoint{}, nil, err
		}
		vs[i] = v
	}
	n, err := note.Open(msg, note.VerifierList(vs...))
	if err != nil {
		return Checkpoint{}, nil, err
	}
	if len(n.UnverifiedSigs) > 0 || len(n.Sigs) != len(vs) {
		return Checkpoint{}, nil, fmt.Errorf("it has %d signatures of known keys and %d of others", len(n.Sigs), len(n.UnverifiedSigs))
	}
	for i, s := range n.Sigs {
		if s.Name != vs[i].Name() || s.Hash != vs[i].KeyHash() {
			return Checkpoint{}, nil, errors.New("its signatures are not in order")
		}
		raw, err := base64.StdEncoding.DecodeString(s.Base64)
		if err != nil || base64.StdEncoding.EncodeToString(raw) != s.Base64 {
			return Checkpoint{}, nil, errors.New("a signature is not in canonical form")
		}
	}
	again, err := note.Sign(n)
	if err != nil || !bytes.Equal(again, msg) {
		return Checkpoint{}, nil, errors.New("not in canonical form")
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	if c.Origin != Origin(sessionID) {
		return Checkpoint{}, nil, fmt.Errorf("it is the checkpoint of %q", c.Origin)
	}
	return c, n, nil
}

// cosignedAt reads the time of a verified cosignature; zero for a signature
// that carries none.
func cosignedAt(s note.Signature) time.Time {
	raw, err := base64.StdEncoding.DecodeString(s.Base64)
	if err != nil || len(raw) != 4+cosigSize {
		return time.Time{}
	}
	return time.Unix(int64(binary.BigEndian.Uint64(raw[4:])), 0).UTC()
}
