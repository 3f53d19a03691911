package recording

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// loader holds what is known while a recording is verified.
type loader struct {
	*Reader
	opt        VerifyOptions
	checkpoint []byte
	cosig      []byte
	tree       tree
	torn       int64
	roots      map[int64]tlog.Hash // at the sizes the notes claim
	ended      int64               // first session.ended, or math.MaxInt64
	recovered  *RecoveredFacts     // of the last event
}

func load(fsys fs.FS, opt VerifyOptions) (*loader, error) {
	l := &loader{Reader: &Reader{}, opt: opt, roots: map[int64]tlog.Hash{}, ended: math.MaxInt64}
	// Order matters if the session is still being written: each file covers at
	// most what the next one holds.
	var err error
	if l.cosig, err = readNote(fsys, FileCosig); err != nil {
		return nil, err
	}
	if opt.Cosig != nil {
		l.cosig = opt.Cosig
	}
	if l.checkpoint, err = readNote(fsys, FileCheckpoint); err != nil {
		return nil, err
	}
	head, err := fs.ReadFile(fsys, FileSession)
	if err != nil {
		return nil, err
	}
	if l.file, l.closer, err = openEvents(fsys); err != nil {
		return nil, err
	}
	err = l.verify(head)
	if err == nil {
		err = l.verifyRedactions(fsys)
	}
	if err == nil && !opt.Lazy {
		err = l.verifyTexts()
	}
	if err != nil {
		return nil, errors.Join(err, l.closer.Close())
	}
	return l, nil
}

// verifyTexts looks at every text of the log. That lines are canonical is seen
// when they are read.
func (l *loader) verifyTexts() error {
	var buf []byte
	for seq := range int64(len(l.leaves)) {
		_, left, err := l.read(seq, &buf, decodeEvent)
		if err != nil {
			return err
		}
		l.report.Left += int64(left)
	}
	return nil
}

// verifyRedactions reads what was taken out, and looks at session.json; events
// are looked at as they are read.
func (l *loader) verifyRedactions(fsys fs.FS) error {
	if err := l.loadRedactions(fsys); err != nil {
		return err
	}
	e := Event{Session: &l.head.Session, openings: l.head.openings}
	left, err := l.redacted.check(FileSession, HeaderSeq, &e)
	l.head.Session, l.head.openings = *e.Session, e.openings
	l.report.Session, l.report.Left = l.head.Session, int64(left)
	return err
}

func (l *loader) verify(head []byte) error {
	var err error
	if l.head, err = parseHeader(head); err != nil {
		return tampered(FileSession, -1, "%v", err)
	}
	if l.opt.SessionKey != "" && l.opt.SessionKey != l.head.Key {
		return tampered(FileSession, -1, "its key is not the session's")
	}
	if l.checkpoint == nil && l.cosig != nil {
		l.checkpoint = checkpointOf(l.cosig) // a witness's copy has no other
	}
	if l.checkpoint == nil {
		return l.withoutCheckpoint()
	}
	if err := l.claim(FileCheckpoint, l.checkpoint); err != nil {
		return err
	}
	if l.cosig != nil {
		if err := l.claim(FileCosig, l.cosig); err != nil {
			return err
		}
	}
	if err := l.scan(leafHash(head)); err != nil {
		return err
	}
	cosigned, err := l.verifyCosig()
	if err != nil {
		return err
	}
	if err := l.verifyCheckpoint(cosigned); err != nil {
		return err
	}
	return l.verifyEnd(cosigned)
}

// withoutCheckpoint tells a recording whose Create was cut short, and which
// holds nothing anybody was told of, from one that lost its checkpoint.
func (l *loader) withoutCheckpoint() error {
	start := make([]byte, MaxEvent)
	n, err := l.file.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if end := bytes.IndexByte(start[:n], '\n'); n < MaxEvent && (end < 0 || end == n-1) {
		return ErrEmpty
	}
	return tampered(FileCheckpoint, -1, "there is none")
}

// claim notes at which size a note needs the root.
func (l *loader) claim(name string, msg []byte) error {
	_, size, err := checkpointClaim(msg, l.head.Session.ID)
	if err != nil {
		return tampered(name, -1, "%v", err)
	}
	l.roots[size] = tlog.Hash{}
	return nil
}

// scan hashes every line.
func (l *loader) scan(first tlog.Hash) error {
	s := newScanner(io.NewSectionReader(l.file, 0, math.MaxInt64), 0, &l.tree, first)
	l.offsets = append(l.offsets, 0)
	for {
		line, rest, err := s.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errTorn):
			l.torn = s.torn
			return nil
		case err != nil:
			return err
		}
		l.leaves = append(l.leaves, s.last)
		l.offsets = append(l.offsets, s.offset)
		if _, ok := l.roots[l.tree.size]; ok {
			l.roots[l.tree.size] = l.tree.root()
		}
		if err := l.see(line, kindOf(rest)); err != nil {
			return err
		}
	}
}

// see keeps session.ended the last event: only a recovery may follow it.
func (l *loader) see(line []byte, kind Kind) error {
	seq := l.tree.size - 1
	if (seq == 0) != (kind == KindSessionOpened) {
		return tampered(FileEvents, seq, "session.opened stands at the beginning and nowhere else")
	}
	if kind != KindSessionEnded {
		if l.ended < seq {
			return tampered(FileEvents, seq, "it comes after session.ended")
		}
		return nil
	}
	e, err := ParseEvent(line)
	if err != nil {
		return tampered(FileEvents, seq, "%v", err)
	}
	if l.ended < seq && e.Recovered == nil {
		return tampered(FileEvents, seq, "it comes after session.ended")
	}
	l.recovered, l.ended = e.Recovered, min(l.ended, seq)
	return nil
}

// open verifies a note's signatures and that the log had its root.
func (l *loader) open(name string, msg []byte, keys ...string) (Checkpoint, error) {
	c, _, err := openCheckpoint(msg, l.head.Session.ID, keys...)
	if err != nil {
		return c, tampered(name, -1, "%v", err)
	}
	return c, l.holds(name, c)
}

// holds reports whether the log, when it had that size, had that root.
func (l *loader) holds(name string, c Checkpoint) error {
	if c.Size > l.tree.size {
		return tampered(FileEvents, l.tree.size, "it is missing: %s covers %d events", name, c.Size)
	}
	if l.rootAt(c.Size) != c.Root {
		te := tampered(FileEvents, 0, "the events do not have the root that %s signs for %d of them", name, c.Size)
		te.Until = c.Size - 1
		return te
	}
	return nil
}

func (l *loader) rootAt(size int64) tlog.Hash {
	if h, ok := l.roots[size]; ok {
		return h
	}
	var t tree
	for _, leaf := range l.leaves[:size] {
		t.add(leaf)
	}
	return t.root()
}

// verifyCheckpoint finds which key had to sign the checkpoint, and checks it.
func (l *loader) verifyCheckpoint(cosigned int64) error {
	key, signed, err := l.sealer()
	if err != nil {
		return err
	}
	c, err := l.open(FileCheckpoint, l.checkpoint, key)
	if err != nil {
		var te *TamperError
		if errors.As(err, &te) && te.Segment == FileEvents && te.Until > 0 {
			te.Event = cosigned // what the witness covers is not what changed
		}
		return err
	}
	if c.Size < cosigned {
		return tampered(FileCheckpoint, c.Size, "it covers %d events; the witness had %d", c.Size, cosigned)
	}
	r := &l.report
	r.Events, r.Root, r.Signed, r.Recovered = c.Size, c.Root, c.Size, key != l.head.Key
	if r.Recovered {
		r.Signed = signed
	}
	return nil
}

// sealer is the key of the final checkpoint: the session's, unless a later run
// sealed the recording; then also how much the session's key had signed. While
// such a run is at work its event is there and its checkpoint is not: the
// session key's own stands.
func (l *loader) sealer() (key string, signed int64, err error) {
	if l.recovered == nil {
		return l.head.Key, 0, nil
	}
	if _, _, err := openCheckpoint(l.checkpoint, l.head.Session.ID, l.recovered.Key); err != nil {
		return l.head.Key, 0, nil // and if that key did not sign it either, it fails
	}
	last := l.tree.size - 1
	c, err := l.open(FileCheckpoint, []byte(l.recovered.Checkpoint), l.head.Key)
	if err != nil {
		return "", 0, tampered(FileEvents, last, "the checkpoint it was recovered from: %v", err)
	}
	if c.Size > l.ended {
		return "", 0, tampered(FileEvents, last, "it recovers a session that was sealed")
	}
	return l.recovered.Key, c.Size, nil
}

// verifyCosig checks the witness's note, if there is one and its key is known,
// and returns how many events it covers.
func (l *loader) verifyCosig() (int64, error) {
	texts := l.opt.WitnessKeys
	if len(texts) == 0 && l.head.Witness != "" {
		texts = []string{l.head.Witness}
	}
	keys := make([]validKey, len(texts))
	for i, text := range texts {
		var err error
		if keys[i], err = parseValidKey(text); err != nil {
			return 0, tampered(FileCosig, -1, "%v", err)
		}
	}
	if l.cosig == nil {
		if len(l.opt.WitnessKeys) > 0 {
			return 0, tampered(FileCosig, -1, "there is none, so nothing shows that the witness ever saw this recording")
		}
		return 0, nil
	}
	signers := []string{l.head.Key}
	if l.recovered != nil {
		signers = append(signers, l.recovered.Key)
	}
	var firstErr error
	for _, signer := range signers {
		for _, key := range keys {
			c, err := l.open(FileCosig, l.cosig, signer, key.key)
			var te *TamperError
			switch {
			case err == nil:
				return c.Size, l.addCosignature(key, signer)
			case errors.As(err, &te) && te.Segment == FileEvents:
				return 0, err // the signatures are right; the events are not
			case firstErr == nil:
				firstErr = err
			}
		}
	}
	if len(keys) == 0 {
		// Nobody to check it against; it must at least be of these events.
		return l.openUnknownCosig(signers)
	}
	return 0, firstErr
}

// openUnknownCosig checks a cosig whose witness is not known as far as the
// session's own signature goes.
func (l *loader) openUnknownCosig(signers []string) (int64, error) {
	vs := make([]note.Verifier, len(signers))
	for i, s := range signers {
		v, err := newVerifier(s)
		if err != nil {
			return 0, tampered(FileCosig, -1, "%v", err)
		}
		vs[i] = v
	}
	n, err := note.Open(l.cosig, note.VerifierList(vs...))
	if err != nil {
		return 0, tampered(FileCosig, -1, "%v", err)
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return 0, tampered(FileCosig, -1, "%v", err)
	}
	return c.Size, l.holds(FileCosig, c)
}

func (l *loader) addCosignature(key validKey, signer string) error {
	c, n, err := openCheckpoint(l.cosig, l.head.Session.ID, signer, key.key)
	if err != nil {
		return tampered(FileCosig, -1, "%v", err)
	}
	at := cosignedAt(n.Sigs[1])
	if err := key.check(at); err != nil {
		return tampered(FileCosig, -1, "it was cosigned out of time: %v", err)
	}
	l.report.Cosigned = append(l.report.Cosigned, Cosignature{Name: n.Sigs[1].Name, Key: key.key, Size: c.Size, At: at})
	l.report.Trusted = len(l.opt.WitnessKeys) > 0 // its keys are all there were
	return nil
}

// verifyEnd decides whether the recording is sealed, and that nothing follows
// its seal.
func (l *loader) verifyEnd(cosigned int64) error {
	r := &l.report
	r.Session, r.Key = l.head.Session, l.head.Key
	r.Size = l.offsets[r.Events]
	r.Tail, r.Torn = l.tree.size-r.Events, l.torn
	r.Sealed = l.ended < r.Events
	if r.Sealed && (r.Tail > 0 || r.Torn > 0) {
		return tampered(FileEvents, r.Events, "it was added after the recording was sealed")
	}
	if len(r.Cosigned) == 0 {
		cosigned = 0
	}
	r.Unwitnessed = r.Events + r.Tail - cosigned
	r.Trusted = r.Trusted || l.opt.SessionKey != "" && !r.Recovered
	return nil
}
