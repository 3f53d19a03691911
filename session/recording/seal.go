package recording

import (
	"context"
	"fmt"
	"time"
)

// Seal ends the recording: what is queued is written, session.ended is added
// if nobody did, and a final checkpoint is signed. Then it brings the server up
// to date for as long as ctx and Options.SealWait allow; if that does not
// succeed the error is ErrPending, and the recording is complete on this
// machine. A Writer that failed before is closed and its failure returned.
// Further calls return what the first one did.
func (w *Writer) Seal(ctx context.Context) error {
	w.sealOnce.Do(func() { w.sealErr = w.seal(ctx) })
	return w.sealErr
}

func (w *Writer) seal(ctx context.Context) error {
	w.stop()
	err := w.finish(Event{Kind: KindSessionEnded, Session: w.endFacts("sealed")})
	if err == nil {
		err = w.deliverAll(ctx)
	}
	if cerr := w.file.Close(); err == nil && cerr != nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("sealing recording: %w", err)
	}
	return nil
}

// stop lets the committer finish what is queued, and ends all goroutines.
func (w *Writer) stop() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	close(w.quit)
	<-w.done
	w.stopLoops()
	w.loops.Wait()
}

// finish writes the last event, unless there is one, and the final checkpoint.
func (w *Writer) finish(last Event) error {
	w.mu.Lock()
	ended, err := w.ended, w.err
	w.ended = true
	w.mu.Unlock()
	if err != nil {
		return err
	}
	if !ended {
		if err := w.commitAlone(last); err != nil {
			return err
		}
	}
	if err := w.file.Truncate(w.size); err != nil { // gives back what was reserved
		return err
	}
	// Commit point: with this checkpoint the recording is sealed. A crash before
	// it leaves one that Recover seals; after it, one that may have to be sent.
	return w.signCheckpoint()
}

func (w *Writer) endFacts(why string) *SessionFacts {
	facts := w.opt.Session
	facts.End = why
	return &facts
}

// deliverAll repeats deliver until the server has everything, ctx ends or
// SealWait has passed.
func (w *Writer) deliverAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.opt.SealWait)
	defer cancel()
	pause := 100 * time.Millisecond
	for {
		err := w.deliver(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrPending, err)
		case <-time.After(pause):
			pause = min(2*pause, 2*time.Second)
		}
	}
}
