package recording

import (
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

// notary is what the Writer knows of its checkpoints and of the server's copy.
type notary struct {
	signed    int64  // events the checkpoint covers
	bytes     int64  // the same in bytes of events.jsonl
	note      []byte // the checkpoint
	cosigned  int64  // events the cosig covers
	sentHead  bool   // session.json is at the server
	sentBytes int64  // bytes of events.jsonl at the server
	down      bool   // the last exchange failed, and that was logged
}

// notaryLoop signs, uploads and has cosigned what the committer wrote, until
// ctx ends. The server being away costs nothing but time: the next round
// starts where the last one stopped.
func (w *Writer) notaryLoop(ctx context.Context) {
	defer close(w.notaryDone)
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
		w.report(ctx, w.deliver(ctx))
	}
}

// report logs the first of several failures, and the first success after them.
func (w *Writer) report(ctx context.Context, err error) {
	n := &w.notary
	switch {
	case err != nil && ctx.Err() == nil && !n.down:
		n.down = true
		w.log.Warn("recording not witnessed, will retry", "session_id", w.opt.Session.ID,
			"unwitnessed", n.signed-n.cosigned, "error", err)
	case err == nil && n.down:
		n.down = false
		w.log.Info("recording witnessed again", "session_id", w.opt.Session.ID, "events", n.signed)
	}
}

// signCheckpoint signs what is on disk, unless that is signed already. A
// checkpoint that cannot be written fails the Writer: the disk is full or gone.
func (w *Writer) signCheckpoint() error {
	w.mu.Lock()
	t, size, err := w.tree.clone(), w.size, w.err
	w.mu.Unlock()
	if err != nil {
		return err
	}
	n := &w.notary
	if t.size == n.signed {
		return nil
	}
	text := FormatCheckpoint(Checkpoint{Origin: Origin(w.opt.Session.ID), Size: t.size, Root: t.root()})
	signed, err := note.Sign(&note.Note{Text: text}, w.opt.Signer)
	if err == nil {
		err = replaceFile(w.dir, FileCheckpoint, signed)
	}
	if err != nil {
		return w.fail(fmt.Errorf("signing checkpoint: %w", err))
	}
	n.note, n.signed, n.bytes = signed, t.size, size
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
	if err := w.upload(ctx); err != nil {
		return fmt.Errorf("uploading: %w", err)
	}
	n := &w.notary
	if w.opt.Witness == nil || n.cosigned == n.signed {
		return nil
	}
	cosigned, err := w.opt.Witness(ctx, n.note)
	if err != nil {
		return fmt.Errorf("asking the witness: %w", err)
	}
	if err := w.checkCosigned(cosigned); err != nil {
		return fmt.Errorf("reading the witness's answer: %w", err)
	}
	if err := replaceFile(w.dir, FileCosig, cosigned); err != nil {
		return w.fail(fmt.Errorf("keeping cosignature: %w", err))
	}
	n.cosigned = n.signed
	return nil
}

// checkCosigned accepts only the submitted note with a signature added; if the
// witness's key is known, its.
func (w *Writer) checkCosigned(cosigned []byte) error {
	if w.opt.WitnessKey != "" {
		c, _, err := openCheckpoint(cosigned, w.opt.Session.ID, w.opt.VerifierKey, w.opt.WitnessKey)
		if err == nil && c.Size != w.notary.signed {
			err = fmt.Errorf("it cosigned %d events instead of %d", c.Size, w.notary.signed)
		}
		return err
	}
	v, err := newVerifier(w.opt.VerifierKey)
	if err != nil {
		return err
	}
	got, err := note.Open(cosigned, note.VerifierList(v))
	if err != nil {
		return err
	}
	sent, err := note.Open(w.notary.note, note.VerifierList(v))
	if err != nil {
		return err
	}
	if got.Text != sent.Text || len(got.UnverifiedSigs) == 0 {
		return errors.New("it is not the checkpoint that was submitted, cosigned")
	}
	return nil
}

// upload sends what the checkpoint covers and the server does not have. The
// checkpoint itself goes to the witness only, which keeps what it cosigns.
func (w *Writer) upload(ctx context.Context) error {
	n := &w.notary
	if w.opt.Upload == nil {
		return nil
	}
	if !n.sentHead {
		head, err := os.ReadFile(filepath.Join(w.dir, FileSession))
		if err == nil {
			err = w.opt.Upload(ctx, FileSession, 0, head)
		}
		if err != nil {
			return err
		}
		n.sentHead = true
	}
	buf := make([]byte, min(uploadChunk, n.bytes-n.sentBytes))
	for n.sentBytes < n.bytes {
		part := buf[:min(int64(len(buf)), n.bytes-n.sentBytes)]
		if _, err := w.file.ReadAt(part, n.sentBytes); err != nil {
			return err
		}
		if err := w.opt.Upload(ctx, FileEvents, n.sentBytes, part); err != nil {
			return err
		}
		n.sentBytes += int64(len(part))
	}
	return nil
}
