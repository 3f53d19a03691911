package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Mode is what the person asked for. The zero value is none of them.
type Mode string

// The modes.
const (
	Auto    Mode = "auto"    // as far as this machine allows
	Require Mode = "require" // wholly, or not at all
	Off     Mode = "off"
)

// ParseMode reads a mode.
func ParseMode(s string) (Mode, error) {
	if m := Mode(s); slices.Contains([]Mode{Auto, Require, Off}, m) {
		return m, nil
	}
	return "", fmt.Errorf("%q is none of auto, require, off", s)
}

// Means is what confines. The zero value is nothing.
type Means string

// The means, best first.
const (
	Namespace Means = "namespace" // Linux: user and mount namespace, and Landlock's scopes
	Landlock  Means = "landlock"  // Linux: Landlock's file rules
	Seatbelt  Means = "seatbelt"  // macOS
)

func (m Means) String() string {
	switch m {
	case Namespace:
		return "a user namespace"
	case Landlock:
		return "Landlock"
	case Seatbelt:
		return "Seatbelt"
	default:
		return "nothing"
	}
}

// Report says how an agent will be confined.
type Report struct {
	Means Means
	Gaps  []string // what stays reachable, in words; empty: nothing known
	Why   []string // why better means do not work here
}

// Full reports whether the agent is confined without a known gap.
func (r Report) Full() bool { return r.Means != "" && len(r.Gaps) == 0 }

// String is one line for people and recordings.
func (r Report) String() string {
	switch {
	case r.Means == "":
		return strings.Join(append([]string{"not confined"}, r.Why...), "; ")
	case r.Full():
		return "confined by " + r.Means.String()
	default:
		return "partly confined by " + r.Means.String() + "; open: " + strings.Join(append(slices.Clone(r.Gaps), r.Why...), "; ")
	}
}

// Plan is what is hidden from one agent. Paths are absolute and without symbolic
// links.
type Plan struct {
	Means Means
	// Hide are folders and files whose content is secret.
	Hide []string
	// Sockets are sockets, and folders of them, behind which somebody acts for
	// whoever connects.
	Sockets []string
	// Keep is shown again though it lies in what is hidden.
	Keep []string
	// KeepReadOnly likewise, unchangeable.
	KeepReadOnly []string
	UID, GID     int // who runs this: inside, nobody else is known
}

// hidden are all paths to hide, outer ones first; what lies in another is left out.
func (p Plan) hidden() []string {
	all := append(slices.Clone(p.Hide), p.Sockets...)
	slices.Sort(all)
	var outer []string
	for _, path := range all {
		if !slices.ContainsFunc(outer, func(o string) bool { return within(path, o) }) {
			outer = append(outer, path)
		}
	}
	return outer
}

// within reports whether path is dir or lies in it. Both are clean and absolute.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}

// helper marks a process that confines itself: argv is program, helper, plan,
// path, and the command with its arguments.
const helper = "confined-start"

// argv is the command line that executes path, confined.
func (p Plan) argv(self, path string, args []string) ([]string, error) {
	plan, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("confining: %w", err)
	}
	return append([]string{self, helper, string(plan), path}, args...), nil
}

var errNoMeans = errors.New("nothing here can confine a program")
