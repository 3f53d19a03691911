package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newManCommand writes the man pages. Packagers run it; people read what they
// installed, so it is not listed.
func newManCommand(a *App) *cobra.Command {
	var date string
	c := &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the man pages",
		Long:    "Write a man page (section 1) for every command and help topic into DIR, which is made if need be.",
		Example: "  jit man ./man\n  jit man --date 2026-01-31 /usr/share/man/man1",
		Hidden:  true,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			at := a.Now()
			if date != "" {
				var err error
				if at, err = time.Parse(time.DateOnly, date); err != nil {
					return usagef("--date: %w", err)
				}
			}
			return writeMan(c.Root(), args[0], at)
		},
	}
	c.Flags().StringVar(&date, "date", "", "`DATE` on the pages (YYYY-MM-DD), so that the same sources give the same bytes; default: today")
	return c
}

// writeMan writes the pages of root and everything below into dir.
func writeMan(root *cobra.Command, dir string, at time.Time) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // meant to be read by all
		return fmt.Errorf("making %s: %w", filepath.Clean(dir), err)
	}
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Section: "1", Source: "jit " + Version, Manual: "jit", Date: &at}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("writing man pages to %s: %w", filepath.Clean(dir), err)
	}
	return nil
}
