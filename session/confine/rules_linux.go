package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// rules allows everything but what is hidden: whole hierarchies where nothing is
// hidden in them, entry by entry on the way there. Names can be listed everywhere:
// a right to list a folder holds for all folders in it.
func (p Plan) rules() ([]landlock.Rule, error) {
	hide := p.Hide
	if landlockABI() >= resolves {
		hide = p.hidden()
	}
	rules := []landlock.Rule{landlock.PathAccess(llsys.AccessFSReadDir, "/")}
	for _, path := range p.KeepReadOnly {
		rules = append(rules, landlock.ROFiles(path).IgnoreIfMissing())
	}
	for _, path := range p.Keep {
		rule, err := allow(path)
		if err != nil {
			return nil, err
		}
		if rule != nil {
			rules = append(rules, rule)
		}
	}
	return allowAround("/", hide, rules)
}

func allowAround(dir string, hide []string, rules []landlock.Rule) ([]landlock.Rule, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return rules, nil // nobody reads it now; Landlock then keeps it so
	} else if err != nil {
		return nil, fmt.Errorf("listing %s: %w", dir, err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case slices.Contains(hide, path), e.Type()&fs.ModeSymlink != 0: // what a link leads to has a rule of its own
		case slices.ContainsFunc(hide, func(h string) bool { return within(h, path) }):
			if rules, err = allowAround(path, hide, rules); err != nil {
				return nil, err
			}
		default:
			rule, err := allow(path)
			if err != nil {
				return nil, err
			}
			if rule != nil {
				rules = append(rules, rule)
			}
		}
	}
	return rules, nil
}

// allow gives everything on path; nil if it is gone, or not this user's to reach.
func allow(path string) (landlock.Rule, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("allowing %s: %w", path, err)
	case info.IsDir():
		return landlock.RWDirs(path).WithRefer().WithIoctlDev().WithResolveUnix().IgnoreIfMissing(), nil
	default:
		return landlock.RWFiles(path).WithIoctlDev().WithResolveUnix().IgnoreIfMissing(), nil
	}
}
