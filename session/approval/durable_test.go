package approval

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// A broker may forget what was acknowledged. In a folder, a piece is therefore on
// the disk before it has its name, and its name before the answer; what the disk
// refuses is not acknowledged, and can be sent again.
func TestPiecesAreDurable(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "bucket")
	for name, bucket := range map[string]string{"the data folder": "", "a folder of its own": "file://" + filepath.ToSlash(elsewhere) + "?create_dir=true"} {
		t.Run(name, func(t *testing.T) {
			w := newWorldOn(t, "", Limits{}, func(cfg *StoreConfig) { cfg.RecordingsURL = bucket })
			root := elsewhere
			if bucket == "" {
				root = filepath.Join(w.dir, "recordings")
			}
			o := openSessionFor(t, w, localSide{w}, w.dave)
			folder := filepath.Join(root, o.Session.ID, recording.FileEvents)
			named := func() []string {
				var out []string
				entries, err := os.ReadDir(folder)
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
				for _, e := range entries {
					if !strings.HasSuffix(e.Name(), ".tmp") {
						out = append(out, e.Name())
					}
				}
				return out
			}
			var did []string
			broken := errors.New("input/output error")
			var failFile, failDir error
			w.store.syncFile = func(f *os.File) error {
				did = append(did, "file")
				if n := named(); len(n) != 0 {
					t.Errorf("%v had its name before its bytes were on the disk", n)
				}
				return errors.Join(failFile, f.Sync())
			}
			w.store.syncDir = func(dir string) error {
				did = append(did, dir)
				if len(named()) != 1 {
					t.Error("a folder was synced before the piece had its name in it")
				}
				return errors.Join(failDir, syncDir(dir))
			}
			upload := func() error {
				did = nil
				return localSide{w}.broker(o).Upload(context.WithoutCancel(t.Context()), recording.FileEvents, 0, []byte("line one\n"))
			}
			rows := func() int { return count(t, w, `SELECT COUNT(*) FROM recording_segments`) }

			failFile = broken
			if err := upload(); !errors.Is(err, broken) || rows() != 0 || len(named()) != 0 {
				t.Errorf("a piece that is not on the disk: %v, %d rows, named %v", err, rows(), named())
			}
			failFile, failDir = nil, broken
			if err := upload(); !errors.Is(err, broken) || rows() != 0 {
				t.Errorf("a piece whose name is not on the disk: %v, %d rows", err, rows())
			}
			// The piece is there now: the name is made durable with the next attempt.
			failDir = nil
			w.store.syncFile = func(f *os.File) error { did = append(did, "file"); return f.Sync() }
			if err := upload(); err != nil || rows() != 1 {
				t.Fatalf("again: %v, %d rows", err, rows())
			}
			if want := []string{"file", folder, filepath.Dir(folder), root}; !slices.Equal(did, want) {
				t.Errorf("synced %v, want %v", did, want)
			}
			if got := named(); len(got) != 1 {
				t.Errorf("beside the piece there is %v", got)
			}
			if runtime.GOOS != "windows" {
				if fi, err := os.Stat(filepath.Join(folder, named()[0])); err != nil || fi.Mode().Perm() != 0o600 {
					t.Errorf("the piece: %v, %v", fi.Mode(), err)
				}
				if fi, err := os.Stat(folder); err != nil || fi.Mode().Perm() != 0o700 {
					t.Errorf("its folder: %v, %v", fi.Mode(), err)
				}
			}
		})
	}
}

// What the server does not keep of a recording is refused with words, not lost.
func TestOnlyKnownFilesAreKept(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		b := s.broker(openSessionFor(t, w, s, w.alice))
		for _, file := range []string{recording.FileRows, recording.FileRedactions, recording.FileCosig, recording.FileCheckpoint, "..", "other"} {
			err := b.Upload(t.Context(), file, 0, []byte("x"))
			if file == ".." {
				if err == nil {
					t.Error("a path was taken")
				}
				continue
			}
			wantErr(t, err, session.ErrInvalid)
			if !strings.Contains(err.Error(), recording.FileTerminal) {
				t.Errorf("%s: %v", file, err)
			}
		}
	})
}
