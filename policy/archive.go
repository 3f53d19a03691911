package policy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// file is one file of a bundle. Its data is empty or ends with a newline and
// holds no marker line.
type file struct {
	name string
	data []byte
}

// A bundle travels as one text, in the form of the txtar archives of the Go
// project, narrowed so that a bundle has exactly one text:
//
//	archive = file { file }
//	file    = "-- " name " --\n" { line }
//	line    = any bytes but "\n", not of the form of a marker, then "\n"
//
// Names are in ascending order, each once.

// formatArchive writes files, which are sorted by name.
func formatArchive(files []file) []byte {
	var out bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&out, "-- %s --\n", f.name)
		out.Write(f.data)
	}
	return out.Bytes()
}

// parseArchive reads what formatArchive writes, and nothing else.
func parseArchive(data []byte) ([]file, error) {
	var files []file
	for line := range bytes.Lines(data) {
		name, isMarker := marker(line)
		switch {
		case line[len(line)-1] != '\n':
			return nil, fmt.Errorf("%w: no newline at the end", ErrFormat)
		case isMarker:
			files = append(files, file{name: name})
		case len(files) == 0:
			return nil, fmt.Errorf("%w: text before the first file", ErrFormat)
		default:
			f := &files[len(files)-1]
			f.data = append(f.data, line...)
		}
	}
	sorted := slices.IsSortedFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	switch {
	case len(files) == 0:
		return nil, fmt.Errorf("%w: it holds no file", ErrFormat)
	case len(files) > maxBundleFiles:
		return nil, fmt.Errorf("%w: more than %d files", ErrFormat, maxBundleFiles)
	case !sorted:
		return nil, fmt.Errorf("%w: the files are not in order of name", ErrFormat)
	}
	return files, nil
}

// marker reads a line of the form of a file marker, with or without newline.
func marker(line []byte) (name string, ok bool) {
	s, start := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), "-- ")
	s, end := strings.CutSuffix(s, " --")
	return s, start && end
}

// markerLine finds the first line of data that could not be told from a
// marker; 0 = none.
func markerLine(data []byte) int {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		if _, ok := marker(line); ok {
			return n
		}
	}
	return 0
}
