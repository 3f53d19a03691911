package policy

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
)

// The files of a bundle:
//
//	*.cedar        rules, see schema.cedarschema for what they may talk about
//	classes.yaml   data classes, the columns they cover and their masks
//	limits.yaml    budgets, and what recordings keep
//	tests/*.yaml   statements with the verdict they must get
const (
	classesFile = "classes.yaml"
	limitsFile  = "limits.yaml"
	testsDir    = "tests"

	maxBundleBytes = 4 << 20
	maxBundleFiles = 256
)

// ErrFormat reports a text that Format did not write.
var ErrFormat = errors.New("not a policy bundle in canonical form")

//go:embed bundles
var bundles embed.FS

// Bundle is a loaded, checked policy. It is immutable and safe for concurrent
// use.
type Bundle struct {
	files   []file // sorted by name
	digest  string
	rules   []*rule // in order of file and position
	actions [actionCount]actionRules
	seen    map[string]bool // facts of statements that some rule can see
	details bool            // some rule can see attributes of entities
	classes classTable
	limits  budgets
	keeping Keeping
	tests   []Case
}

var defaultBundle = sync.OnceValue(func() *Bundle { return mustEmbedded("default") })

var demoBundle = sync.OnceValue(func() *Bundle { return mustEmbedded("default", "demo") })

// Default is the bundle shipped with jit.
func Default() *Bundle { return defaultBundle() }

// Demo is the default bundle with the files of the demo laid over it: sessions
// open unattended, and one approval is enough for anything.
func Demo() *Bundle { return demoBundle() }

// mustEmbedded loads embedded folders, later ones over earlier ones. The tests
// load every embedded bundle, so the panic cannot reach a release.
func mustEmbedded(names ...string) *Bundle {
	layers := make([]fs.FS, len(names))
	for i, name := range names {
		sub, err := fs.Sub(bundles, "bundles/"+name)
		if err != nil {
			panic(err)
		}
		layers[i] = sub
	}
	b, err := Overlay(layers...)
	if err != nil {
		panic(fmt.Errorf("loading the embedded bundle %s: %w", strings.Join(names, "+"), err))
	}
	return b
}

// Load reads and checks the bundle in a folder. A bundle that cannot be used
// as it stands is a *BundleError that lists everything wrong with it.
func Load(fsys fs.FS) (*Bundle, error) { return Overlay(fsys) }

// Overlay loads folders on top of each other: a file replaces the file of the
// same name in the folders before.
func Overlay(layers ...fs.FS) (*Bundle, error) {
	byName := make(map[string][]byte)
	for _, layer := range layers {
		if err := readFiles(layer, byName); err != nil {
			return nil, err
		}
	}
	var files []file
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		files = append(files, file{name, byName[name]})
	}
	return build(files)
}

func readFiles(fsys fs.FS, into map[string][]byte) error {
	total := 0
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fmt.Errorf("reading the policy bundle: %w", err)
		case d.IsDir():
			return nil
		case len(into) >= maxBundleFiles:
			return fmt.Errorf("reading the policy bundle: more than %d files", maxBundleFiles)
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return fmt.Errorf("reading the policy bundle: %w", err)
		}
		if total += len(data); total > maxBundleBytes {
			return fmt.Errorf("reading the policy bundle: more than %d bytes", maxBundleBytes)
		}
		// One spelling of line ends, so that a checkout on Windows has the same digest.
		data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
		if n := len(data); n > 0 && data[n-1] != '\n' {
			data = append(data, '\n')
		}
		into[name] = data
		return nil
	})
}

// Parse reads what Format wrote; anything else is ErrFormat or a *BundleError.
func Parse(data []byte) (*Bundle, error) {
	if len(data) > maxBundleBytes+maxBundleFiles*256 {
		return nil, fmt.Errorf("parsing the policy bundle: %w: too large", ErrFormat)
	}
	files, err := parseArchive(data)
	if err != nil {
		return nil, fmt.Errorf("parsing the policy bundle: %w", err)
	}
	return build(files)
}

// Format writes the bundle's files as one text, sorted by name.
func (b *Bundle) Format() []byte { return formatArchive(b.files) }

// Digest is the hex SHA-256 of Format: what approvals and recordings name.
func (b *Bundle) Digest() string { return b.digest }

// build checks the files and compiles them.
func build(files []file) (*Bundle, error) {
	b := &Bundle{files: files}
	var ps problems
	b.checkNames(&ps)
	files = slices.DeleteFunc(slices.Clone(files), func(f file) bool { return !guard(f.name, f.data, &ps) })
	for _, f := range files {
		if f.name == classesFile {
			b.classes = loadClasses(f.name, f.data, &ps)
		}
	}
	schema := loadSchema()
	for _, f := range files {
		switch {
		case path.Ext(f.name) == ".cedar":
			b.rules = append(b.rules, loadRules(f.name, f.data, schema, &b.classes, &ps)...)
		case f.name == limitsFile:
			b.limits, b.keeping = loadLimits(f.name, f.data, &ps)
		case path.Dir(f.name) == testsDir:
			b.tests = append(b.tests, loadCases(f.name, f.data, &ps)...)
		}
	}
	checkIDs(b.rules, &ps)
	checkCases(b.tests, b.rules, &ps)
	if err := ps.err(); err != nil {
		return nil, err
	}
	b.index()
	sum := sha256.Sum256(b.Format())
	b.digest = hex.EncodeToString(sum[:])
	return b, nil
}

func (b *Bundle) checkNames(ps *problems) {
	seen := make(map[string]bool, len(b.files))
	for _, f := range b.files {
		dir, ext := path.Dir(f.name), path.Ext(f.name)
		switch {
		case !fs.ValidPath(f.name) || strings.ContainsAny(f.name, "\n\r\\ "):
			ps.add(f.name, 0, "the name is not a plain relative path")
		case dir == "." && (ext == ".cedar" || f.name == classesFile || f.name == limitsFile):
		case dir == testsDir && ext == ".yaml":
		default:
			ps.add(f.name, 0, "not a file of a bundle: *.cedar, classes.yaml, limits.yaml and tests/*.yaml are")
		}
		if seen[f.name] {
			ps.add(f.name, 0, "the file is there twice")
		}
		seen[f.name] = true
		if line := markerLine(f.data); line > 0 {
			ps.add(f.name, line, "a line of the form `-- name --` cannot be kept in a bundle")
		}
	}
	if !slices.ContainsFunc(b.files, func(f file) bool { return path.Ext(f.name) == ".cedar" }) {
		ps.add("*.cedar", 0, "the bundle has no rules, so it would refuse everything")
	}
}
