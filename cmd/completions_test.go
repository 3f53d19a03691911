package cmd

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
)

// The generated completion scripts, kept in the repository for packagers.
// JIT_UPDATE=1 go test ./cmd -run Completions writes them anew.
func TestCompletionsAreFresh(t *testing.T) {
	for file, generate := range map[string]func(*cobra.Command, io.Writer) error{
		"jit.bash": func(c *cobra.Command, w io.Writer) error { return c.GenBashCompletionV2(w, true) },
		"jit.zsh":  func(c *cobra.Command, w io.Writer) error { return c.GenZshCompletion(w) },
		"jit.fish": func(c *cobra.Command, w io.Writer) error { return c.GenFishCompletion(w, true) },
		"jit.ps1":  func(c *cobra.Command, w io.Writer) error { return c.GenPowerShellCompletionWithDesc(w) },
	} {
		var want bytes.Buffer
		if err := generate(newRoot(NewApp()), &want); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("..", "completions", file)
		if os.Getenv("JIT_UPDATE") != "" {
			if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil { //nolint:gosec // meant to be read by all
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path) //nolint:gosec // a fixed list
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s is stale: run JIT_UPDATE=1 go test ./cmd -run Completions", path)
		}
	}
}

// Every command a person sees says what it is for, how, and with an example.
func TestEveryCommandExplainsItself(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" || c.IsAdditionalHelpTopicCommand() {
			return
		}
		if c.Short == "" || c.Long == "" || c.Example == "" {
			t.Errorf("`%s` lacks a short text, a long text or an example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(NewApp()))
}
