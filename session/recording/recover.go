package recording

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
)

// Recovery is what Recover found and did.
type Recovery struct {
	Sealed  bool  // it wrote the end; false if the recording was sealed already
	Events  int64 // in the recording now
	Unsaid  int64 // events after the last checkpoint of the session key, now covered by the recovery key
	Torn    int64 // bytes of an unfinished last line that were dropped; nobody was told of that event
	Pending bool  // the server does not have all of it yet
}

// Recover seals a recording whose writer died, and sends the server what it
// does not have. The session key died with its process, so opt.Signer is
// another key, made for this; the recording then says so. opt.Session is taken
// from the recording.
//
// A recording that is still being written is ErrBusy and left alone; one that
// is not what was recorded is a *TamperError, and is left as the evidence it is.
func Recover(ctx context.Context, dir string, opt Options) (Recovery, error) {
	rec, err := recoverDir(ctx, dir, opt)
	if err != nil {
		return rec, fmt.Errorf("recovering recording: %w", err)
	}
	return rec, nil
}

func recoverDir(ctx context.Context, dir string, opt Options) (rec Recovery, err error) {
	f, err := os.OpenFile(filepath.Join(dir, FileEvents), os.O_RDWR, 0)
	if err != nil {
		return rec, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if err := lock(f); err != nil {
		return rec, err
	}
	l, err := load(os.DirFS(dir), VerifyOptions{})
	if err != nil {
		return rec, err
	}
	defer l.closer.Close() //nolint:errcheck // opened for reading
	opt.Session = l.head.Session
	if opt.WitnessKey == "" {
		opt.WitnessKey = l.head.Witness
	}
	if opt, err = opt.withDefaults(); err != nil {
		return rec, err
	}
	w := newWriter(dir, opt, osFile{f})
	w.tree, w.last, w.size = l.tree, l.lastLeaf(), l.offsets[len(l.offsets)-1]
	rec = Recovery{Unsaid: l.report.Tail, Torn: l.report.Torn}
	if !l.report.Sealed {
		if err := w.sealCrashed(l, rec.Torn); err != nil {
			return rec, err
		}
		rec.Sealed = true
	} else {
		// Nothing to write: what is there is sent as it is.
		w.signed = signedNote{l.checkpoint, l.report.Events, l.report.Size}
		w.opt.VerifierKey = l.sealedBy()
		if len(l.report.Cosigned) > 0 {
			w.delivery.cosigned = l.report.Cosigned[0].Size
		}
	}
	rec.Events = w.tree.size
	if err := w.deliverAll(ctx); err != nil {
		rec.Pending = true
		return rec, err
	}
	return rec, nil
}

// sealCrashed drops the unfinished line and writes the end.
func (w *Writer) sealCrashed(l *loader, torn int64) error {
	if torn > 0 {
		if err := w.file.Truncate(w.size); err != nil {
			return err
		}
	}
	// What the dead process wrote may not be on disk yet; what follows stands on it.
	if err := w.file.syncData(); err != nil {
		return err
	}
	return w.finish(Event{
		Kind:    KindSessionEnded,
		Session: w.endFacts("the process that recorded it ended without sealing it"),
		Recovered: &RecoveredFacts{
			Key: w.opt.VerifierKey, Checkpoint: string(l.sessionNote()), Torn: torn,
		},
	})
}

// lastLeaf is the leaf hash of the last line.
func (l *loader) lastLeaf() tlog.Hash { return l.leaves[len(l.leaves)-1] }

// sessionNote is the last checkpoint the session key signed.
func (l *loader) sessionNote() []byte {
	if l.report.Recovered {
		return []byte(l.recovered.Checkpoint)
	}
	return l.checkpoint
}

// sealedBy is the key of the final checkpoint.
func (l *loader) sealedBy() string {
	if l.report.Recovered {
		return l.recovered.Key
	}
	return l.head.Key
}
