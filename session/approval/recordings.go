package approval

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"gocloud.dev/blob"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
	"github.com/jit-access/jit/session/secret"
)

// recordingFiles are the only names a broker may upload to: a name is looked
// up here, never joined into a path. Checkpoints come by Cosign alone, redactions
// are made of copies, and encrypted rows no writer makes yet.
var recordingFiles = []string{recording.FileSession, recording.FileEvents, recording.FileTerminal}

// maxUpload bounds one piece of a recording file.
const maxUpload = 4 << 20

// keyWitness names the server's witness key in sealed_keys.
const keyWitness = "witness"

// loadWitness opens the server's witness key, made once and kept sealed.
func (s *Store) loadWitness(ctx context.Context) error {
	skey, vkey, err := recording.NewWitnessKey("jit-approval")
	if err != nil {
		return fmt.Errorf("making the witness key: %w", err)
	}
	err = s.checkAndRecord(ctx, systemCaller, "witness.create", vkey, func(ctx context.Context, c *change) error {
		fresh, err := s.seal(ctx, c, keyWitness, skey.Reveal())
		if err != nil {
			return err
		}
		err = c.exactlyOne(ctx, `INSERT INTO sealed_keys (name, sealed, public) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING`, keyWitness, fresh, vkey)
		if errors.Is(err, session.ErrConflict) {
			c.quiet = true
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	var (
		sealed []byte
		text   string
	)
	if err := s.db.read.QueryRowContext(ctx, `SELECT sealed FROM sealed_keys WHERE name = $1`, keyWitness).Scan(&sealed); err != nil {
		return fmt.Errorf("reading the witness key: %w", err)
	}
	if err := s.unseal(ctx, keyWitness, sealed, &text); err != nil {
		return fmt.Errorf("%w: is the sealing key the one this database was made with?", err)
	}
	s.witness, err = recording.NewWitness(secret.New(text))
	return err
}

// recordable refuses a recording that is closed for good. A session's broker
// may complete it for a while after the session's end, whatever ended it. So
// may the session's principal, once it has ended: the broker's token died with
// its process, and what it left on disk should still get here.
func (s *Store) recordable(ctx context.Context, c *change, sessionID string) error {
	ses, err := s.lockSession(ctx, c, sessionID)
	if err != nil {
		return err
	}
	var ended int64
	if err := c.QueryRowContext(ctx, `SELECT ended_at FROM sessions WHERE id = $1`, sessionID).Scan(&ended); err != nil {
		return err
	}
	switch {
	case !c.who.isBroker() && (ses.Principal.ID() != c.who.Principal.ID() || ended == 0):
		return session.Refuse(session.ErrForbidden, "Only the session's own broker can do this; its principal can once it has ended.")
	case ses.Phase == session.PhaseSealed:
		return session.Refuse(session.ErrConflict, "The recording is sealed.")
	case ended != 0 && c.now.After(fromMicros(ended).Add(s.cfg.Limits.UploadGrace)):
		return session.Refuse(session.ErrExpired, "The session ended too long ago.")
	}
	return s.deleted(ctx, c, sessionID)
}

// upload appends to a recording file, see session.Upstreams. The bytes are in
// the bucket before the transaction commits; a crash in between leaves a blob
// that no row names, and the broker sends the piece again.
func (s *Store) upload(ctx context.Context, w Caller, sessionID, file string, offset int64, data []byte) error {
	return s.checkAndRecord(ctx, w, "recording.upload", sessionID, func(ctx context.Context, c *change) error {
		c.note("file", file)
		if err := s.recordable(ctx, c, sessionID); err != nil {
			return err
		}
		switch {
		case !slices.Contains(recordingFiles, file):
			return session.Refuse(session.ErrInvalid, "The server keeps no such file of a recording; it keeps %s.", strings.Join(recordingFiles, ", "))
		case len(data) > maxUpload:
			return session.Refuse(session.ErrInvalid, "A piece of a recording has at most %d bytes.", maxUpload)
		case offset < 0:
			return session.Refuse(session.ErrInvalid, "The offset is negative.")
		}
		size, err := fileSize(ctx, c, sessionID, file)
		if err != nil {
			return err
		}
		if offset > size {
			return s.hole(ctx, c, sessionID, file, size, offset)
		}
		if overlap := min(size-offset, int64(len(data))); overlap > 0 {
			if err := s.sameBytes(ctx, c, sessionID, file, offset, data[:overlap]); err != nil {
				return err
			}
			data, offset = data[overlap:], offset+overlap
		}
		if len(data) == 0 {
			c.quiet = true
			return nil
		}
		if size+int64(len(data)) > s.cfg.Limits.MaxBytes {
			return session.Refuse(session.ErrCapacity, "A recording file has at most %d bytes.", s.cfg.Limits.MaxBytes)
		}
		sum := sha256.Sum256(data)
		key := pieceKey(sessionID, file, offset, sum)
		if err := s.storePiece(ctx, key, data, sum); err != nil {
			return fmt.Errorf("storing a piece of %s: %w", file, err)
		}
		c.note("range", strconv.FormatInt(offset, 10)+"+"+strconv.Itoa(len(data)))
		c.note("sha256", hex.EncodeToString(sum[:]))
		_, err = c.ExecContext(ctx, `INSERT INTO recording_segments (session_id, file, start, length, blob_key) VALUES ($1, $2, $3, $4, $5)`,
			sessionID, file, offset, len(data), key)
		return err
	})
}

// hole refuses a piece that starts after the end of what is stored. If the bucket
// has pieces from after that end, the database once knew more than now.
func (s *Store) hole(ctx context.Context, c *change, sessionID, file string, size, offset int64) error {
	after := ""
	for it := s.blobs.List(&blob.ListOptions{Prefix: path.Join(sessionID, file) + "/"}); after == ""; {
		obj, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return session.Refuse(session.ErrConflict, "The file has %d bytes; the piece starts at %d.", size, offset)
		}
		if err != nil {
			return fmt.Errorf("looking for pieces of %s: %w", file, err)
		}
		if start := pieceStart(obj.Key); start >= size {
			after = obj.Key
		}
	}
	c.note("went_back", after)
	s.log.ErrorContext(ctx, "the database is older than the recordings it has: was an older backup restored?", "session", sessionID, "file", file, "size", size, "piece", after)
	return session.Refuse(session.ErrConflict, "The server knows %d bytes of the file and had more: an older backup was restored there. Send the file from its beginning.", size)
}

func fileSize(ctx context.Context, q querier, sessionID, file string) (int64, error) {
	var size int64
	err := q.QueryRowContext(ctx, `SELECT COALESCE(MAX(start + length), 0) FROM recording_segments WHERE session_id = $1 AND file = $2`, sessionID, file).Scan(&size)
	return size, err
}

// sameBytes refuses to change what is stored.
func (s *Store) sameBytes(ctx context.Context, q querier, sessionID, file string, offset int64, data []byte) error {
	r, err := s.readFile(ctx, q, sessionID, file, offset)
	if err != nil {
		return err
	}
	stored := make([]byte, len(data))
	if _, err := io.ReadFull(r, stored); err != nil {
		return fmt.Errorf("reading back %s: %w", file, err)
	}
	if !bytes.Equal(stored, data) {
		return session.Refuse(session.ErrConflict, "The bytes at %d are stored already, and they are different.", offset)
	}
	return nil
}

// cosign lets the witness look at a checkpoint, see recording.Witness. A
// checkpoint that rewrites or shortens what was seen is refused, and that
// refusal is in the audit.
func (s *Store) cosign(ctx context.Context, w Caller, sessionID string, checkpoint []byte) ([]byte, error) {
	var cosigned []byte
	err := s.checkAndRecord(ctx, w, "recording.cosign", sessionID, func(ctx context.Context, c *change) error {
		if err := s.recordable(ctx, c, sessionID); err != nil {
			return err
		}
		var (
			state []byte
			key   string
		)
		err := c.QueryRowContext(ctx, `SELECT state FROM witnesses WHERE session_id = $1`, sessionID).Scan(&state)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err := c.QueryRowContext(ctx, `SELECT recording_key FROM sessions WHERE id = $1`, sessionID).Scan(&key); err != nil {
			return err
		}
		offset, err := recording.WitnessOffset(state)
		if err != nil {
			return err
		}
		events, err := s.readFile(ctx, c, sessionID, recording.FileEvents, offset)
		if err != nil {
			return err
		}
		var next []byte
		next, cosigned, err = s.witness.Observe(recording.Observation{
			State: state, SessionID: sessionID, SessionKey: key, Checkpoint: checkpoint, Events: events, Now: c.now,
			Recovery: !w.isBroker(),
		})
		if err != nil {
			return witnessError(c, err)
		}
		seen, err := recording.WitnessOffset(next)
		if err != nil {
			return err
		}
		fresh, err := s.readFile(ctx, c, sessionID, recording.FileEvents, offset)
		if err != nil {
			return err
		}
		if err := s.indexStatements(ctx, c, sessionID, io.LimitReader(fresh, seen-offset)); err != nil {
			return err
		}
		size, ended, err := recording.WitnessSize(next)
		if err != nil {
			return err
		}
		c.note("size", strconv.FormatInt(size, 10))
		if _, err := c.ExecContext(ctx, `INSERT INTO witnesses (session_id, size, state, cosigned) VALUES ($1, $2, $3, $4)
			ON CONFLICT (session_id) DO UPDATE SET size = excluded.size, state = excluded.state, cosigned = excluded.cosigned`, sessionID, size, next, cosigned); err != nil {
			return err
		}
		if !ended {
			return nil
		}
		return sealIfClosed(ctx, c, sessionID)
	})
	return cosigned, err
}

func witnessError(c *change, err error) error {
	var tamper *recording.TamperError
	switch {
	case errors.Is(err, recording.ErrIncomplete):
		return session.Refuse(session.ErrConflict, "Not all events of the checkpoint are uploaded yet.")
	case errors.As(err, &tamper):
		c.note("tamper", tamper.Error())
		return session.Refuse(session.ErrInvalid, "The checkpoint does not extend the recording that was seen: %s.", tamper.Why)
	default:
		return err
	}
}

// sealIfClosed moves a closed session, whose last event the witness has seen,
// to sealed. A session that was revoked or expired stays so, for the record of
// why; its recording is complete all the same.
func sealIfClosed(ctx context.Context, c *change, sessionID string) error {
	_, err := c.ExecContext(ctx, `UPDATE sessions SET phase = 'sealed' WHERE id = $1 AND phase = 'closed'`, sessionID)
	return err
}

// recordingEnded reports whether the witness has seen the session's last event.
func recordingEnded(ctx context.Context, q querier, sessionID string) (bool, error) {
	var state []byte
	err := q.QueryRowContext(ctx, `SELECT state FROM witnesses WHERE session_id = $1`, sessionID).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, ended, err := recording.WitnessSize(state)
	return ended, err
}

// RecordingFile is one file of a stored recording.
type RecordingFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// recordingFilesOf lists what is stored of a session's recording, for those
// who may see the session.
func (s *Store) recordingFilesOf(ctx context.Context, w Caller, sessionID string) ([]RecordingFile, error) {
	if _, err := s.session(ctx, w, sessionID); err != nil {
		return nil, err
	}
	var out []RecordingFile
	for _, name := range recordingFiles {
		size, err := fileSize(ctx, s.db.read, sessionID, name)
		if err != nil {
			return nil, err
		}
		if size > 0 {
			out = append(out, RecordingFile{name, size})
		}
	}
	cosigned, err := cosignedOf(ctx, s.db.read, sessionID)
	if err != nil {
		return nil, err
	}
	if len(cosigned) > 0 {
		out = append(out, RecordingFile{recording.FileCosig, int64(len(cosigned))})
	}
	return out, nil
}

// cosignedOf is the last checkpoint with the witness's signature; nil if there
// is none.
func cosignedOf(ctx context.Context, q querier, sessionID string) ([]byte, error) {
	var b []byte
	err := q.QueryRowContext(ctx, `SELECT cosigned FROM witnesses WHERE session_id = $1`, sessionID).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return b, err
}

// openRecording reads one stored file. Reading who did what is itself audited.
func (s *Store) openRecording(ctx context.Context, w Caller, sessionID, file string) (io.Reader, error) {
	err := s.checkAndRecord(ctx, w, "recording.read", sessionID, func(ctx context.Context, c *change) error {
		c.note("file", file)
		ses, err := s.lockSession(ctx, c, sessionID)
		if err != nil {
			return err
		}
		return s.mayRead(ctx, c, w, ses)
	})
	if err != nil {
		return nil, err
	}
	if file == recording.FileCosig || file == recording.FileCheckpoint {
		// The cosigned note is the checkpoint with one more signature.
		b, err := cosignedOf(ctx, s.db.read, sessionID)
		if err == nil && len(b) == 0 {
			err = session.ErrNotFound
		}
		return bytes.NewReader(b), err
	}
	if !slices.Contains(recordingFiles, file) {
		return nil, session.ErrNotFound
	}
	size, err := fileSize(ctx, s.db.read, sessionID, file)
	if err == nil && size == 0 {
		err = orElse(s.deleted(ctx, s.db.read, sessionID), session.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return s.readFile(ctx, s.db.read, sessionID, file, 0)
}
