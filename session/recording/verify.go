package recording

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// VerifyOptions name the keys the caller trusts. The zero value trusts the keys
// the recording names itself.
type VerifyOptions struct {
	// WitnessKeys are verifier keys of the approval server, new and old, each with
	// the time in which it may have signed, if that is known: see
	// ParseWitnessKeys, which reads them from a file. With
	// them, a cosignature by one of them is required: it vouches for the session
	// key too, which the server knew from the moment the session was opened.
	WitnessKeys []string
	// SessionKey is the session's verifier key, if known from elsewhere.
	SessionKey string
	// Cosig is the witness's latest cosigned note, as the server has it; it
	// stands in for the file cosig. With it, putting back an older state of the
	// whole folder is found.
	Cosig []byte
	// Lazy leaves the texts of an event to be looked at when it is read: for a
	// screen that should be there at once. A missing or changed text is then found
	// no sooner than it would be shown.
	Lazy bool
}

// ErrEmpty means a recording ended before it began: its process died within
// Create. At most session.opened is in it, and no session used it.
var ErrEmpty = errors.New("the recording never began")

// Report is what a verified recording proves.
type Report struct {
	Session   SessionFacts
	Key       string        // the session's verifier key
	Events    int64         // covered by the checkpoint
	Size      int64         // the same in bytes of events.jsonl
	Root      tlog.Hash     // of the checkpoint
	Signed    int64         // covered by the session key itself; less than Events only if Recovered
	Cosigned  []Cosignature // by verified witnesses
	Tail      int64         // events after the checkpoint; nothing proves them
	Torn      int64         // bytes of an unfinished last line
	Sealed    bool          // the session ended, and the checkpoint covers its end
	Recovered bool          // its writer died; a later run sealed it with another key
	// Trusted is set if a key that the caller gave vouches for it; for a
	// Recovered one up to Signed or the last cosignature, whichever is more.
	Trusted bool
	// Unwitnessed is the number of events no verified witness covers: those
	// after the last cosignature. Whoever has the session key could still have
	// changed them.
	Unwitnessed int64
	Redactions  []Redaction // what was taken out, by whom and why
	// Left is the number of texts that were redacted and are still in the files,
	// where no reader shows them: a redaction was cut short. With Lazy, those of
	// events are not counted.
	Left int64
}

// Cosignature is a witness's word that it had the same events.
type Cosignature struct {
	Name string // of the key
	Key  string
	Size int64     // events covered
	At   time.Time // by the witness's clock
}

// Verify reads every event of the recording in dir, and the files beside the log.
// The error is a *TamperError if it is not what was recorded.
func Verify(dir string, opt VerifyOptions) (Report, error) {
	fsys := os.DirFS(dir)
	r, err := OpenFS(fsys, opt)
	if err != nil {
		return Report{}, err
	}
	defer r.Close() //nolint:errcheck // opened for reading
	for _, events := range []iter.Seq2[Event, error]{r.Events(), r.Tail()} {
		for e, err := range events {
			if err == nil {
				err = r.checkFiles(fsys, e)
			}
			if err != nil {
				return Report{}, err
			}
		}
	}
	return r.report, nil
}

// checkFiles compares the files beside the log with what an event says of them.
func (r *Reader) checkFiles(fsys fs.FS, e Event) error {
	if t := e.Terminal; t != nil && !r.redacted.gone(t.File) {
		if t.File != FileTerminal {
			return tampered(FileEvents, e.Seq, "%q is no file of a recording", t.File)
		}
		return checkPart(fsys, t.File, e.Seq, 0, t.Bytes, true, t.SHA256)
	}
	if e.Result != nil && e.Result.Kept != nil && !r.redacted.gone(FileRows) {
		k := e.Result.Kept
		return checkPart(fsys, FileRows, e.Seq, k.Offset, k.Bytes, false, k.SHA256)
	}
	return nil
}

// checkPart compares n bytes of a file from offset on with their hash; whole says
// that the file ends with them.
func checkPart(fsys fs.FS, name string, seq, offset, n int64, whole bool, want string) error {
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return tampered(name, -1, "it is missing; event %d tells of it", seq)
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	if s, ok := f.(io.Seeker); ok {
		if _, err := s.Seek(offset, io.SeekStart); err != nil {
			return err
		}
	} else if _, err := io.CopyN(io.Discard, f, offset); err != nil {
		return tampered(name, -1, "it ends before the part that event %d tells of", seq)
	}
	h := sha256.New()
	switch _, err := io.CopyN(h, f, n); {
	case errors.Is(err, io.EOF):
		return tampered(name, -1, "it ends before the part that event %d tells of", seq)
	case err != nil:
		return err
	}
	if whole {
		if extra, err := io.CopyN(io.Discard, f, 1); extra > 0 || !errors.Is(err, io.EOF) {
			return tampered(name, -1, "it is longer than event %d says", seq)
		}
	}
	if base64.StdEncoding.EncodeToString(h.Sum(nil)) != want {
		return tampered(name, -1, "it is not what event %d tells of", seq)
	}
	return nil
}
