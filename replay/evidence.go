package replay

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jit-access/jit/session/recording"
)

// The files of an evidence bundle, a gzipped tar, in one folder named after the
// session. Recording holds the recording's own files, byte for byte.
const (
	EvidenceReadme     = "README.md"
	EvidenceFormat     = "FORMAT.md"
	EvidenceVerifier   = "verify.py"
	EvidenceWitnessKey = "witness.keys"
	EvidenceSessionKey = "session.key"
	EvidenceReport     = "report.html"
	EvidenceRecording  = "recording"
)

// evidenceFile is a file on its way into a bundle.
type evidenceFile struct {
	name string
	text string   // unless from is set
	from *os.File // size bytes of it
	size int64
}

// WriteEvidence writes everything that an auditor needs to verify the recording
// in dir offline: it, the keys, the format, a second verifier and how to use
// them. witnessKeys are the keys that the caller trusts; one of them must have
// cosigned. now stands in the files' headers, in UTC and whole seconds.
//
// A session may still be running: the files are opened in the order in which
// each covers at most what the next holds, and what is added later stays out.
// Whoever hands the bundle over checks what was written with VerifyEvidence.
func WriteEvidence(w io.Writer, dir string, witnessKeys []string, now time.Time) (err error) {
	rec, err := OpenTrusted(dir, recording.VerifyOptions{WitnessKeys: witnessKeys})
	if err != nil {
		return err
	}
	defer rec.Close() //nolint:errcheck // opened for reading
	files, err := recordingFiles(dir)
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.from.Close())
		}
	}()
	if err != nil {
		return err
	}
	var page strings.Builder
	if err := rec.Export(&page, FormatHTML); err != nil {
		return err
	}
	rep := rec.Report()
	all := append([]evidenceFile{
		{name: EvidenceReadme, text: evidenceReadme(rep, now)},
		{name: EvidenceFormat, text: recording.FormatDocument()},
		{name: EvidenceVerifier, text: recording.PythonVerifier()},
		{name: EvidenceWitnessKey, text: keyLines(rep.Cosigned)},
		{name: EvidenceSessionKey, text: rep.Key + "\n"},
		{name: EvidenceReport, text: page.String()},
	}, files...)
	return writeTar(w, evidenceFolder(rep.Session.ID), all, now.UTC().Truncate(time.Second))
}

// evidenceFolder is the bundle's folder: a name that is one everywhere.
func evidenceFolder(sessionID string) string {
	return "jit-evidence-" + strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, sessionID)
}

func keyLines(cosigned []recording.Cosignature) string {
	var b strings.Builder
	for _, c := range cosigned {
		b.WriteString(c.Key + "\n")
	}
	return b.String()
}

// recordingNames are the files of a recording, in the order in which each covers
// at most what the next ones hold.
var recordingNames = []string{recording.FileRedactions, recording.FileCosig, recording.FileCheckpoint, recording.FileSession,
	recording.FileEvents, recording.FileTerminal, recording.FileRows}

// recordingFiles opens the files of a recording. What is opened is returned
// with an error too.
func recordingFiles(dir string) (files []evidenceFile, err error) {
	for _, name := range recordingNames {
		f, err := os.Open(filepath.Join(dir, name)) //nolint:gosec // a file of the recording that was asked for
		needed := name == recording.FileSession || name == recording.FileEvents
		if !needed && errors.Is(err, fs.ErrNotExist) {
			continue // what verified may lack it
		}
		if err != nil {
			return files, err
		}
		info, err := f.Stat()
		if err != nil {
			return files, errors.Join(err, f.Close())
		}
		files = append(files, evidenceFile{name: EvidenceRecording + "/" + name, from: f, size: info.Size()})
	}
	return files, nil
}

func writeTar(w io.Writer, folder string, files []evidenceFile, now time.Time) error {
	zip := gzip.NewWriter(w)
	out := tar.NewWriter(zip)
	for _, f := range files {
		var from io.Reader = strings.NewReader(f.text)
		size := int64(len(f.text))
		if f.from != nil {
			from, size = f.from, f.size
		}
		head := &tar.Header{Typeflag: tar.TypeReg, Name: folder + "/" + f.name, Size: size, Mode: 0o600, ModTime: now, Format: tar.FormatPAX}
		if err := out.WriteHeader(head); err != nil {
			return fmt.Errorf("writing %s: %w", f.name, err)
		}
		if _, err := io.CopyN(out, from, size); err != nil {
			return fmt.Errorf("writing %s: %w", f.name, err)
		}
	}
	return errors.Join(out.Close(), zip.Close())
}

// VerifyEvidence unpacks a bundle into the empty folder dir and verifies the
// recording in it, with the keys that the caller trusts. It takes only what
// WriteEvidence writes: plain files of those names, in one folder.
func VerifyEvidence(bundle io.Reader, dir string, witnessKeys []string) (recording.Report, error) {
	root, err := unpackEvidence(bundle, dir)
	if err != nil {
		return recording.Report{}, fmt.Errorf("unpacking evidence: %w", err)
	}
	return recording.Verify(filepath.Join(root, EvidenceRecording), recording.VerifyOptions{WitnessKeys: witnessKeys})
}

// unpackEvidence returns the bundle's folder in dir.
func unpackEvidence(bundle io.Reader, dir string) (root string, err error) {
	zip, err := gzip.NewReader(bundle)
	if err != nil {
		return "", err
	}
	top := ""
	for in := tar.NewReader(zip); ; {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			return filepath.Join(dir, top), nil
		}
		if err != nil {
			return "", err
		}
		folder, name, ok := strings.Cut(head.Name, "/")
		if top == "" {
			top = folder
		}
		if !ok || folder != top || !evidenceName(name) || !filepath.IsLocal(folder) || head.Typeflag != tar.TypeReg {
			return "", fmt.Errorf("%q does not belong there", head.Name)
		}
		if err := unpackFile(filepath.Join(dir, folder, filepath.FromSlash(name)), in); err != nil {
			return "", err
		}
	}
}

func evidenceName(name string) bool {
	switch name {
	case EvidenceReadme, EvidenceFormat, EvidenceVerifier, EvidenceWitnessKey, EvidenceSessionKey, EvidenceReport:
		return true
	}
	file, ok := strings.CutPrefix(name, EvidenceRecording+"/")
	return ok && slices.Contains(recordingNames, file)
}

func unpackFile(path string, from io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // one of the fixed names, in the caller's folder
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// evidenceReadme tells an auditor what this is and how to verify it.
func evidenceReadme(rep recording.Report, now time.Time) string {
	var b strings.Builder
	s := rep.Session
	fmt.Fprintf(&b, "# Evidence of session %s\n\nMade on %s UTC from the recording of one session of `jit`.\n\n", VisibleLine(s.ID), now.UTC().Format(time.DateTime))
	b.WriteString("```\n")
	var about facts
	sessionFacts(&about, s)
	for _, f := range append(about, ProofFacts(rep)...) {
		f.Text = VisibleLine(f.Text) // a reason cannot end the block and speak for this file
		writeFact(&b, "", f)
	}
	b.WriteString("```\n")
	b.WriteString(evidenceGuide)
	return b.String()
}

const evidenceGuide = `
What stands above was true when the bundle was made. Do not take its word for it:

## Verify

1. Ask the administrator of the approval server for its witness key, on a way that
   does not lead through whoever gave you this bundle, and compare it with
   ` + "`witness.keys`" + `. A key that came with the evidence shows only that the files
   belong together.
2. With Python 3, offline, nothing to install (give the key in quotes):

       python3 verify.py recording "$(cat witness.keys)"

   It prints what is proven, or what is wrong with exit code 1. ` + "`cosigned`" + ` must be
   as large as ` + "`events`" + `, ` + "`sealed`" + ` true.
3. With jit, offline, an independent program:

       jit recording verify recording --witness-key witness.keys

4. Or write your own: FORMAT.md is enough, and says what a verified recording
   proves and what it does not.

## Read

- ` + "`report.html`" + `: the session on one page. It is a copy for reading.
- ` + "`jit replay recording`" + `: the same from the verified log, with search.
- ` + "`recording/events.jsonl`" + `: the log itself, one JSON line per event; its texts stand
  at the end of each line. What was taken out, by whom and why, stands in
  ` + "`recording/redactions.jsonl`" + `, if anything was.
- ` + "`recording/terminal.cast`" + `: what the terminal showed, if that was recorded:
  ` + "`asciinema play`" + `.

The recording shows what the session's broker wrote down, unchanged since a witness
cosigned it. It does not show that nothing happened outside of the broker.
`
