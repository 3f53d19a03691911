package replay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/jit-access/jit/session/recording"
)

// stamp is the notes over a recording, and what was taken out of it: what there is
// to show changes only with them.
// (Their times do not tell: two may be written within one tick of the clock.)
type stamp struct{ checkpoint, cosig, redactions string }

func stampOf(dir string) stamp {
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name)) //nolint:gosec // a file of the recording
		if err != nil {
			return "" // there may be none; opening says what is wrong
		}
		return string(data)
	}
	return stamp{read(recording.FileCheckpoint), read(recording.FileCosig), read(recording.FileRedactions)}
}

// Refresh takes in what a session that is still running has signed since, and
// reports whether the recording changed. All of it is verified again, and what
// was read before must still be there: a *recording.TamperError otherwise.
func (r *Recording) Refresh() (bool, error) {
	if r.dir == "" {
		return false, errors.New("following the recording: it is not in a folder")
	}
	r.mu.RLock()
	old, was := r.reader, r.stamp
	r.mu.RUnlock()
	seen := stampOf(r.dir)
	if seen == was {
		return false, nil
	}
	next, err := recording.OpenFS(os.DirFS(r.dir), r.opt)
	if err != nil {
		return false, fmt.Errorf("following the recording: %w", err)
	}
	if err := next.Extends(old); err != nil {
		return false, fmt.Errorf("following the recording: %w", errors.Join(err, next.Close()))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reader != old { // another Refresh was faster
		return false, next.Close()
	}
	r.reader, r.stamp = next, seen
	return true, old.Close() // nobody reads from it: they hold r.mu
}

// FollowJSON writes the recorded lines from the beginning, and goes on as the
// session signs more, until its recording is sealed or ctx ends. It looks again
// at every tick.
func FollowJSON(ctx context.Context, w io.Writer, r *Recording, tick <-chan time.Time) error {
	out := bufio.NewWriter(w)
	for next := int64(0); ; {
		for ; next < r.len(); next++ {
			line, err := r.line(next)
			if err != nil {
				return err
			}
			if _, err := out.Write(append(line, '\n')); err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if r.Report().Sealed {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil // whoever follows stops when they have seen enough
		case <-tick:
		}
		if _, err := r.Refresh(); err != nil {
			return err
		}
	}
}
