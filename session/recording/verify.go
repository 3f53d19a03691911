package recording

import (
	"errors"
	"iter"
	"os"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// VerifyOptions name the keys the caller trusts. The zero value trusts the keys
// the recording names itself.
type VerifyOptions struct {
	// WitnessKeys are verifier keys of the approval server, new and old. With
	// them, a cosignature by one of them is required: it vouches for the session
	// key too, which the server knew from the moment the session was opened.
	WitnessKeys []string
	// SessionKey is the session's verifier key, if known from elsewhere.
	SessionKey string
	// Cosig is the witness's latest cosigned note, as the server has it; it
	// stands in for the file cosig. With it, putting back an older state of the
	// whole folder is found.
	Cosig []byte
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
}

// Cosignature is a witness's word that it had the same events.
type Cosignature struct {
	Name string // of the key
	Key  string
	Size int64     // events covered
	At   time.Time // by the witness's clock
}

// Verify reads every event of the recording in dir. The error is a
// *TamperError if it is not what was recorded.
func Verify(dir string, opt VerifyOptions) (Report, error) {
	r, err := OpenFS(os.DirFS(dir), opt)
	if err != nil {
		return Report{}, err
	}
	defer r.Close() //nolint:errcheck // opened for reading
	for _, events := range []iter.Seq2[Event, error]{r.Events(), r.Tail()} {
		for _, err := range events {
			if err != nil {
				return Report{}, err
			}
		}
	}
	return r.report, nil
}
