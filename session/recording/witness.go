package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/jit-access/jit/session/secret"
)

// How a server uses a Witness. It stores the uploaded bytes of events.jsonl and,
// per session, one opaque state. When a checkpoint comes in, in one transaction:
//
//	state   := what was stored for the session, nil the first time
//	offset, _ := recording.WitnessOffset(state)
//	next, cosigned, err := witness.Observe(recording.Observation{
//		State: state, SessionID: id, SessionKey: key, // the key of Office.Open
//		Checkpoint: body, Events: stored bytes of events.jsonl from offset, Now: now,
//	})
//	on success store next and cosigned, answer cosigned
//
// The Writer uploads the bytes that a checkpoint covers before it submits the
// checkpoint. errors.Is(err, ErrIncomplete) means bytes are still missing (ask
// again after the upload); errors.As(err, *TamperError) means the checkpoint
// does not extend what was seen: refuse it, keep the old state, raise an alarm.

// ErrIncomplete means the witness was given fewer events than the checkpoint covers.
var ErrIncomplete = errors.New("not all events of the checkpoint are here yet")

// Witness cosigns checkpoints of recordings it has recomputed. It keeps no
// state of its own and is safe for concurrent use.
type Witness struct {
	key  cosignatureKey
	vkey string
}

// NewWitness makes a witness of a signer key that NewWitnessKey returned.
func NewWitness(skey secret.Text) (*Witness, error) {
	k, err := parseCosignatureKey(skey)
	if err != nil {
		return nil, err
	}
	return &Witness{key: k, vkey: k.verifierKey()}, nil
}

// Key is the witness's verifier key, for Opened.WitnessKey and for auditors.
func (w *Witness) Key() string { return w.vkey }

// Observation is one checkpoint that a witness is asked to cosign.
type Observation struct {
	State      []byte // what Observe last returned for this session; nil the first time
	SessionID  string
	SessionKey string    // the session's verifier key, as registered when it was opened
	Checkpoint []byte    // the signed note
	Events     io.Reader // the bytes of events.jsonl from WitnessOffset(State) on; more than needed is fine
	Now        time.Time
	// Recovery accepts, once, a checkpoint that another key signed over a
	// session.ended event with RecoveredFacts: the session's writer died. The
	// caller has checked that whoever sends it may speak for the session.
	Recovery bool
}

// witnessState is the stored form of what a witness saw of one recording.
type witnessState struct {
	Session string      `json:"session"`
	Key     string      `json:"key"`
	Size    int64       `json:"size"`
	Offset  int64       `json:"offset"`
	Last    tlog.Hash   `json:"last"` // leaf hash of the last event
	Peaks   []tlog.Hash `json:"peaks"`
	Ended   bool        `json:"ended"`
	Sealer  string      `json:"sealer,omitempty"` // the recovery key that signed the end
}

// WitnessOffset is the position in events.jsonl from which Observe must be
// given bytes; 0 for a nil state.
func WitnessOffset(state []byte) (int64, error) {
	s, err := parseWitnessState(state)
	return s.Offset, err
}

// WitnessSize is the number of events that state covers, and whether the last
// one ended the session; 0 for a nil state.
func WitnessSize(state []byte) (size int64, ended bool, err error) {
	s, err := parseWitnessState(state)
	return s.Size, s.Ended, err
}

func parseWitnessState(state []byte) (witnessState, error) {
	var s witnessState
	if len(state) == 0 {
		return s, nil
	}
	d := json.NewDecoder(bytes.NewReader(state))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return witnessState{}, fmt.Errorf("reading witness state: %w", err)
	}
	t := tree{s.Size, s.Peaks}
	if err := t.check(); err != nil {
		return witnessState{}, fmt.Errorf("reading witness state: %w", err)
	}
	return s, nil
}

// Observe recomputes the tree over the events it is given on top of what it
// saw before, and cosigns the checkpoint if the session key signed it and its
// root is the one computed. A checkpoint of the size already seen is cosigned
// again; a smaller or different one is a *TamperError.
func (w *Witness) Observe(o Observation) (state, cosigned []byte, err error) {
	s, err := parseWitnessState(o.State)
	if err != nil {
		return nil, nil, err
	}
	if s.Size > 0 && (s.Session != o.SessionID || s.Key != o.SessionKey) {
		return nil, nil, errors.New("the witness state belongs to another session or key")
	}
	text, size, err := checkpointClaim(o.Checkpoint, o.SessionID)
	if err != nil {
		return nil, nil, tampered(FileCheckpoint, -1, "%v", err)
	}
	if size < s.Size {
		return nil, nil, tampered(FileCheckpoint, size, "it covers %d events; %d were seen before", size, s.Size)
	}
	if s.Ended && size > s.Size {
		return nil, nil, tampered(FileEvents, s.Size, "it comes after the end that was cosigned")
	}

	scan := newScanner(o.Events, s.Offset, &tree{s.Size, s.Peaks}, s.Last)
	scan.rebase = s.Size == 0 // the first event's prev is the hash of session.json, which a reader checks
	for scan.tree.size < size {
		line, _, err := scan.next()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errTorn):
			return nil, nil, fmt.Errorf("witnessing event %d of %d: %w", scan.tree.size, size, ErrIncomplete)
		case err != nil:
			return nil, nil, err
		}
		if err := s.see(line, scan.tree.size-1, o.Recovery); err != nil {
			return nil, nil, err
		}
	}

	signer := o.SessionKey
	if s.Sealer != "" {
		signer = s.Sealer
	}
	cp, n, err := openCheckpoint(o.Checkpoint, o.SessionID, signer)
	if err != nil {
		return nil, nil, tampered(FileCheckpoint, -1, "%v", err)
	}
	if cp.Root != scan.tree.root() {
		return nil, nil, tampered(FileCheckpoint, size, "its root is not that of the %d events received", size)
	}
	if cosigned, err = note.Sign(&note.Note{Text: text, Sigs: n.Sigs}, w.key.signer(o.Now)); err != nil {
		return nil, nil, fmt.Errorf("cosigning checkpoint: %w", err)
	}
	state, err = json.Marshal(witnessState{
		Session: o.SessionID, Key: o.SessionKey, Size: size, Offset: scan.offset,
		Last: scan.last, Peaks: scan.tree.peaks, Ended: s.Ended, Sealer: s.Sealer,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("writing witness state: %w", err)
	}
	return state, cosigned, nil
}

// see takes only what a reader will read, with texts that the line commits to, and
// keeps session.ended the last event: only a recovery may follow it, and only if
// the caller allows one.
func (s *witnessState) see(line []byte, seq int64, recovery bool) error {
	e, err := ParseEvent(line)
	switch {
	case err != nil:
		return tampered(FileEvents, seq, "%v", err)
	case slices.ContainsFunc(e.openings, opening.redacted):
		return tampered(FileEvents, seq, "a text is missing")
	case e.Kind != KindSessionEnded && s.Ended:
		return tampered(FileEvents, seq, "it comes after session.ended")
	case e.Kind != KindSessionEnded:
		return nil
	case e.Recovered == nil && s.Ended:
		return tampered(FileEvents, seq, "it comes after session.ended")
	case e.Recovered == nil:
		s.Ended = true
		return nil
	case !recovery:
		return tampered(FileEvents, seq, "the session was sealed by another key than its own")
	case e.Recovered.Key == "":
		return tampered(FileEvents, seq, "the recovery names no key")
	}
	s.Ended, s.Sealer = true, e.Recovered.Key
	return nil
}
