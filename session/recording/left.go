package recording

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Left is what a recording needs so that nothing is left to do. The zero value
// is nothing.
type Left uint8

// What can be left to do.
const (
	LeftNothing  Left = iota
	LeftRunning       // another process is writing it
	LeftUnsealed      // its process died; Recover seals it
	LeftUnsent        // sealed, and the witness has not seen the end; Recover sends it
	LeftEmpty         // its process died before the session began; nothing is in it
)

// LeftOf looks at the end of the recording in dir. It verifies nothing: it is
// quick, and Recover does. A recording without a witness has nothing to send.
func LeftOf(dir string) (left Left, err error) {
	f, err := os.OpenFile(filepath.Join(dir, FileEvents), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return LeftEmpty, nil // Create makes it first
	}
	if err != nil {
		return LeftNothing, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	switch err := lock(f); {
	case errors.Is(err, ErrBusy):
		return LeftRunning, nil
	case err != nil:
		return LeftNothing, err
	}
	fsys := os.DirFS(dir)
	signed, err := noteSize(fsys, FileCheckpoint)
	if err != nil {
		return LeftNothing, err
	}
	cosigned, err := noteSize(fsys, FileCosig)
	if err != nil {
		return LeftNothing, err
	}
	if signed == 0 && cosigned == 0 {
		return LeftEmpty, nil // or it lost both; Recover tells
	}
	last, kind, err := lastLine(f)
	if err != nil {
		return LeftNothing, err
	}
	data, err := fs.ReadFile(fsys, FileSession)
	if err != nil {
		return LeftNothing, err
	}
	head, err := decodeHeader(data)
	switch {
	case err != nil:
		return LeftNothing, err
	case kind != KindSessionEnded || max(signed, cosigned) <= last:
		return LeftUnsealed, nil
	case head.Witness != "" && cosigned <= last:
		return LeftUnsent, nil
	}
	return LeftNothing, nil
}

// noteSize is how many events a note claims to cover; 0 if there is none.
func noteSize(fsys fs.FS, name string) (int64, error) {
	msg, err := readNote(fsys, name)
	if err != nil || msg == nil {
		return 0, err
	}
	text, _, _ := bytes.Cut(msg, []byte("\n\n"))
	c, err := ParseCheckpoint(string(text) + "\n")
	return c.Size, err
}

// lastLine is the number and kind of the last event; -1 if the last line is
// unfinished or none is there.
func lastLine(f *os.File) (int64, Kind, error) {
	info, err := f.Stat()
	if err != nil {
		return -1, "", err
	}
	const window = 64 << 10 // the last event of a sealed recording is far shorter
	from := max(0, info.Size()-window)
	buf := make([]byte, info.Size()-from)
	if _, err := f.ReadAt(buf, from); err != nil && !errors.Is(err, io.EOF) {
		return -1, "", err
	}
	whole, ok := bytes.CutSuffix(buf, []byte{'\n'})
	if !ok {
		return -1, "", nil
	}
	line := whole[bytes.LastIndexByte(whole, '\n')+1:]
	seq, _, rest, ok := splitHeader(line)
	if !ok {
		return -1, "", nil
	}
	return seq, kindOf(rest), nil
}
