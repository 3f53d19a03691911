package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jit-access/jit/session/confine"
)

// confinement is how the command of a session is confined. The zero value: not.
type confinement struct {
	self   string // this program
	plan   confine.Plan
	report confine.Report
}

// tryLimit bounds how long trying the means may take, on a busy machine.
const tryLimit = 30 * time.Second

// confinement finds out what can confine the command, before anybody is asked for
// anything, and says so.
func (a *App) confinement(ctx context.Context, o execOptions) (confinement, error) {
	mode, err := confine.ParseMode(o.Confine)
	if err != nil {
		return confinement{}, usagef("--confine: %v", err)
	}
	c := confinement{}
	switch {
	case mode == confine.Off:
		c.report.Why = []string{"--confine off"}
		return c, nil
	case o.EnvOnly && mode == confine.Require:
		return c, usagef("--confine require: with --env-only the command is started elsewhere, and not by jit")
	case o.EnvOnly:
		c.report.Why = []string{"started elsewhere"}
		return c, nil
	}
	if err := c.find(ctx, a); err != nil {
		return c, &Failure{Code: ExitNotStarted, What: "confining the command", Err: err}
	}
	if mode == confine.Require && !c.report.Full() {
		return c, &Failure{Code: ExitNotStarted, What: "--confine require: the command would be " + c.report.String(),
			Err: errors.New("nothing was started"), Fix: "docs/THREAT-MODEL.md says what each means needs. --confine auto does what works here."}
	}
	a.say("jit: the command is %s.", c.report)
	return c, nil
}

func (c *confinement) find(ctx context.Context, a *App) (err error) {
	if c.self, err = os.Executable(); err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return fmt.Errorf("finding the home folder: %w", err)
	}
	own := []string{a.Paths.Config, a.Paths.State}
	for _, dir := range own { // what is not there cannot be hidden, and may come later
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making jit's folders: %w", err)
		}
	}
	c.plan = confine.Person{Home: home, UID: os.Geteuid(), GID: os.Getegid(), Getenv: a.Getenv, Own: own}.Plan()
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	c.report = confine.Find(ctx, c.self, c.plan)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("trying what confines: %w", err)
	}
	c.plan.Means = c.report.Means
	return nil
}

// wrapper returns what turns a command line into that of the confined command, and
// what is done to its exec.Cmd; nil: it is started as it is.
func (c confinement) wrapper(w *wiring) wrap {
	if c.report.Means == "" {
		return nil
	}
	plan := c.plan
	plan.Keep = append(slices.Clone(plan.Keep), w.dir)
	// `jit env` hands these to a shell that is not confined.
	plan.KeepReadOnly = append(slices.Clone(plan.KeepReadOnly), filepath.Join(w.dir, fileExports))
	return func(path string, args []string) (string, []string, func(*exec.Cmd), error) {
		return confine.Wrap(c.self, plan, path, args)
	}
}

// environ drops what would lead to what is hidden.
func (c confinement) environ(env []string) []string {
	if c.report.Means == "" {
		return env
	}
	return slices.DeleteFunc(env, func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains(confine.Scrubbed, name)
	})
}

// wrap rewrites the start of a program: its path, its arguments with the name
// first, and its exec.Cmd.
type wrap func(path string, args []string) (string, []string, func(*exec.Cmd), error)
