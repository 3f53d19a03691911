package recording

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"
)

const (
	uploadChunk = 512 << 10
	askTimeout  = 30 * time.Second // for one exchange with the server
)

// signedNote is a checkpoint that is on disk.
type signedNote struct {
	note  []byte
	size  int64 // events it covers
	bytes int64 // the same in bytes of events.jsonl
}

// delivery is what the Writer knows of the server's copy. It belongs to the
// delivery goroutine, and to Seal once that has stopped.
type delivery struct {
	cosigned  int64 // events the cosig covers
	sentHead  bool  // session.json is at the server
	sentBytes int64 // bytes of events.jsonl at the server
	down      bool  // the last exchange failed, and that was logged
}

// notaryLoop signs what the committer wrote, until ctx ends. It never waits for
// the server: that is deliveryLoop's part.
func (w *Writer) notaryLoop(ctx context.Context) {
	defer w.loops.Done()
	tick := time.NewTicker(w.opt.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := w.signCheckpoint(); err != nil {
			return // the Writer has failed, and said so
		}
		select {
		case w.send <- struct{}{}:
		default: // it is still busy with an earlier one, and takes the latest next
		}
	}
}

// deliveryLoop uploads what is signed and has it cosigned, until ctx ends. The
// server being away costs nothing but time: the next round starts where the
// last one stopped.
func (w *Writer) deliveryLoop(ctx context.Context) {
	defer w.loops.Done()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.send:
			w.report(ctx, w.deliver(ctx))
		}
	}
}

// report logs the first of several failures, and the first success after them.
func (w *Writer) report(ctx context.Context, err error) {
	d := &w.delivery
	switch {
	case err != nil && ctx.Err() == nil && !d.down:
		d.down = true
		w.log.Warn("recording not witnessed, will retry", "session_id", w.opt.Session.ID, "witnessed", d.cosigned, "error", err)
	case err == nil && d.down:
		d.down = false
		w.log.Info("recording witnessed again", "session_id", w.opt.Session.ID, "witnessed", d.cosigned)
	}
}

// signCheckpoint signs what is on disk, unless that is signed already. A
// checkpoint that cannot be written fails the Writer: the disk is full or gone.
// It is called by one goroutine at a time.
func (w *Writer) signCheckpoint() error {
	w.mu.Lock()
	t, size, signed, err := w.tree.clone(), w.size, w.signed.size, w.err
	w.mu.Unlock()
	if err != nil {
		return err
	}
	if t.size == signed {
		return nil
	}
	text := FormatCheckpoint(Checkpoint{Origin: Origin(w.opt.Session.ID), Size: t.size, Root: t.root()})
	msg, err := note.Sign(&note.Note{Text: text}, w.opt.Signer)
	if err == nil {
		err = replaceFile(w.dir, FileCheckpoint, msg)
	}
	if err != nil {
		return w.fail(fmt.Errorf("signing checkpoint: %w", err))
	}
	w.mu.Lock()
	w.signed = signedNote{msg, t.size, size}
	w.mu.Unlock()
	return nil
}

// fail makes err the sticky error, unless there is one.
func (w *Writer) fail(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failLocked(err)
}

func (w *Writer) failLocked(err error) error {
	if w.err == nil {
		w.err = fmt.Errorf("%w: %w", ErrFailed, err)
		w.log.Error("recording failed", "session_id", w.opt.Session.ID, "error", err)
		close(w.failed)
	}
	return w.err
}

// deliver brings the server up to the last checkpoint and has it cosigned.
func (w *Writer) deliver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	w.mu.Lock()
	cp := w.signed
	w.mu.Unlock()
	if err := w.upload(ctx, cp.bytes); err != nil {
		return fmt.Errorf("uploading: %w", err)
	}
	if w.opt.Witness == nil || w.delivery.cosigned == cp.size {
		return nil
	}
	cosigned, err := w.opt.Witness(ctx, cp.note)
	if err != nil {
		return fmt.Errorf("asking the witness: %w", err)
	}
	if err := w.checkCosigned(cp, cosigned); err != nil {
		return fmt.Errorf("reading the witness's answer: %w", err)
	}
	if err := replaceFile(w.dir, FileCosig, cosigned); err != nil {
		return w.fail(fmt.Errorf("keeping cosignature: %w", err))
	}
	w.delivery.cosigned = cp.size
	return nil
}

// checkCosigned accepts only the submitted note with a signature added; if the
// witness's key is known, its.
func (w *Writer) checkCosigned(cp signedNote, cosigned []byte) error {
	if !bytes.Equal(checkpointOf(cosigned), cp.note) {
		return errors.New("it is not the checkpoint that was submitted")
	}
	if w.opt.WitnessKey != "" {
		_, _, err := openCheckpoint(cosigned, w.opt.Session.ID, w.opt.VerifierKey, w.opt.WitnessKey)
		return err
	}
	v, err := newVerifier(w.opt.VerifierKey)
	if err != nil {
		return err
	}
	n, err := note.Open(cosigned, note.VerifierList(v))
	if err == nil && len(n.UnverifiedSigs) == 0 {
		err = errors.New("it is not cosigned")
	}
	return err
}

// upload sends the first size bytes of events.jsonl, as far as the server does
// not have them. The checkpoint itself goes to the witness only, which keeps
// what it cosigns.
func (w *Writer) upload(ctx context.Context, size int64) error {
	d := &w.delivery
	if w.opt.Upload == nil {
		return nil
	}
	if !d.sentHead {
		head, err := os.ReadFile(filepath.Join(w.dir, FileSession))
		if err == nil {
			err = w.opt.Upload(ctx, FileSession, 0, head)
		}
		if err != nil {
			return err
		}
		d.sentHead = true
	}
	buf := make([]byte, max(0, min(uploadChunk, size-d.sentBytes)))
	for d.sentBytes < size {
		part := buf[:min(int64(len(buf)), size-d.sentBytes)]
		if _, err := w.file.ReadAt(part, d.sentBytes); err != nil {
			return err
		}
		if err := w.opt.Upload(ctx, FileEvents, d.sentBytes, part); err != nil {
			return err
		}
		d.sentBytes += int64(len(part))
	}
	return nil
}
