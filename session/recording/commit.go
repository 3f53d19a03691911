package recording

import (
	"errors"
	"fmt"
	"math"
)

// commitLoop is the only writer of events.jsonl. Everything that is queued
// while one sync runs shares the next one.
func (w *Writer) commitLoop() {
	defer close(w.done)
	var buf []byte
	for {
		quitting := false
		select {
		case <-w.wake:
		case <-w.quit:
			quitting = true
		}
		for {
			w.mu.Lock()
			batch := w.queue
			w.queue = nil
			w.mu.Unlock()
			if len(batch) == 0 {
				break
			}
			buf = w.commit(batch, buf[:0])
		}
		if quitting {
			return
		}
	}
}

// commit makes a batch durable and tells those who wait. It returns buf for
// reuse.
func (w *Writer) commit(batch []*entry, buf []byte) []byte {
	w.mu.Lock()
	t, last, size, err := w.tree.clone(), w.last, w.size, w.err
	w.mu.Unlock()

	if err == nil {
		for _, en := range batch {
			start := len(buf)
			buf = en.draft.appendLine(buf, t.size, last)
			en.seq = t.size
			last = leafHash(buf[start:])
			t.add(last)
			buf = append(buf, '\n')
		}
		err = w.write(buf, size)
	}

	w.mu.Lock()
	if err != nil {
		// From here on the file may hold lines that nobody was told about. They
		// are true (the events were about to happen) and harmless.
		err = w.failLocked(err)
	} else {
		// Commit point: the batch is on disk. A crash before it loses only events
		// whose Append has not returned; after it, none.
		w.tree, w.last, w.size = t, last, size+int64(len(buf))
	}
	w.mu.Unlock()

	for _, en := range batch {
		en.err = err
		close(en.done)
	}
	if cap(buf) > MaxEvent {
		return nil // one large batch should not pin its memory
	}
	return buf
}

// reserveStep is how much room is made at once for what will be recorded. Seal and
// Recover give back what is left.
const reserveStep = 1 << 20

// reserve makes sure that what is written up to end fits. A disk that is full is
// found here, where the log ends with a whole line.
func (w *Writer) reserve(end int64) error {
	if end <= w.reserved {
		return nil
	}
	next := (end/reserveStep + 1) * reserveStep
	err := w.file.reserve(w.reserved, next-w.reserved)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		next = math.MaxInt64 // it cannot be known: the write will tell
	case err != nil:
		return fmt.Errorf("making room on the disk: %w", err)
	}
	w.reserved = next
	return nil
}

func (w *Writer) write(buf []byte, at int64) error {
	if err := w.reserve(at + int64(len(buf))); err != nil {
		return err
	}
	if _, err := w.file.WriteAt(buf, at); err != nil {
		// The disk is full, or gone: give back the torn part if that still
		// works. If not, a reader recognises it by the missing newline.
		_ = w.file.Truncate(at)
		return err
	}
	return w.file.syncData()
}

// commitAlone writes an event without the committer: event 0 before it runs,
// and the last one after it has stopped.
func (w *Writer) commitAlone(e Event) error {
	d, err := newDraft(e, w.opt.Now())
	if err != nil {
		return err
	}
	en := &entry{draft: d, done: make(chan struct{})}
	w.commit([]*entry{en}, nil)
	return en.err
}
