package cmd

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Every `jit` command line in the documentation is one that jit understands:
// command, flags, number of arguments. What they do is held by the tests of the
// commands themselves.
func TestDocumentedCommandsExist(t *testing.T) {
	files, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range append(files, "../README.md", "../session/recording/FORMAT.md") {
		for _, line := range shellLines(t, file) {
			for _, args := range jitCommands(line) {
				n++
				if err := understood(args, true); err != nil {
					t.Errorf("%s: `jit %s`: %v", file, strings.Join(args, " "), err)
				}
			}
		}
		for _, args := range inlineCommands(t, file) {
			n++
			if err := understood(args, false); err != nil {
				t.Errorf("%s: `jit %s`: %v", file, strings.Join(args, " "), err)
			}
		}
	}
	if n < 30 {
		t.Errorf("found only %d commands in the documentation", n)
	}
}

// understood parses a command line without running it. A whole one has all its
// arguments; in running text they may be left out.
func understood(args []string, whole bool) error {
	root := newRoot(NewApp())
	c, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	var short *pflag.ValueRequiredError
	err = c.ParseFlags(rest)
	if errors.Is(err, pflag.ErrHelp) || !whole && errors.As(err, &short) {
		return nil
	}
	if err != nil {
		return err
	}
	if !c.Runnable() || !whole {
		return nil
	}
	if err := c.ValidateRequiredFlags(); err != nil {
		return err
	}
	if err := c.ValidateFlagGroups(); err != nil {
		return err
	}
	return c.ValidateArgs(c.Flags().Args())
}

// shellLines are the lines of the sh blocks of a page, continued ones joined.
func shellLines(t *testing.T, file string) []string {
	t.Helper()
	f, err := os.Open(file) //nolint:gosec // this repository's documentation
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read only
	var out []string
	in, open := false, ""
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if !in && strings.HasPrefix(s.Text(), "    jit ") { // an indented block
			out = append(out, line)
			continue
		}
		switch {
		case strings.HasPrefix(line, "```"):
			in = !in && (line == "```sh" || line == "```bash" || line == "```console")
		case !in:
		case strings.HasSuffix(line, `\`):
			open += strings.TrimSuffix(line, `\`) + " "
		default:
			out = append(out, open+line)
			open = ""
		}
	}
	return out
}

var inlineCode = regexp.MustCompile("`jit ([^`\n]*)`")

// inlineCommands are those between backquotes in running text, up to the first
// place that stands for something.
func inlineCommands(t *testing.T, file string) [][]string {
	t.Helper()
	text, err := os.ReadFile(file) //nolint:gosec // this repository's documentation
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for _, m := range inlineCode.FindAllSubmatch(text, -1) {
		code, _, _ := strings.Cut(string(m[1]), "…")
		code, _, _ = strings.Cut(code, "[")
		code, _, _ = strings.Cut(code, "|")
		if words := strings.Fields(code); len(words) > 0 {
			all = append(all, words)
		}
	}
	return all
}

// jitCommands are the arguments of each jit on a line, which may hold several
// commands.
func jitCommands(line string) [][]string {
	var all [][]string
	var words []string
	flush := func() {
		for len(words) > 0 && (words[0] == "$" || words[0] == "sudo" || words[0] == "!" || words[0] == "if" || words[0] == "while" || strings.Contains(words[0], "=")) {
			words = words[1:]
		}
		if len(words) > 0 && words[0] == "jit" {
			all = append(all, words[1:])
		}
		words = nil
	}
	var word strings.Builder
	begun := false
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	var quote rune
	for i, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, begun = r, true
		case r == '#' && !begun:
			end()
			flush()
			return all
		case r == ' ' || r == '\t':
			end()
		case strings.ContainsRune("|;&()`", r), r == '$' && strings.HasPrefix(line[i:], "$("):
			end()
			flush()
		case (r == '>' || r == '<') && !begun: // a redirection: what follows is a file
			end()
			flush()
			return all
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	end()
	flush()
	return all
}

func TestJitCommandsAreFound(t *testing.T) {
	for line, want := range map[string]int{
		`jit login`: 1,
		`jit review --json | jq '.[].id'   # jit replay`: 1,
		`jit policy check . && jit policy push .`:        2,
		`eval "$(jit env)"`:                              0, // inside quotes: not looked into
		`JIT_SERVER=x jit whoami > file`:                 1,
		`echo jit`:                                       0,
	} {
		if got := jitCommands(line); len(got) != want {
			t.Errorf("%q: %q, want %d", line, got, want)
		}
	}
}

// A link to another page leads to one.
func TestDocumentedLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	files, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range append(files, "../README.md", "../session/recording/FORMAT.md") {
		text, err := os.ReadFile(file) //nolint:gosec // this repository's documentation
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllSubmatch(text, -1) {
			to := string(m[1])
			if strings.Contains(to, "://") {
				continue
			}
			n++
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), filepath.FromSlash(to))); err != nil {
				t.Errorf("%s links to %s: %v", file, to, err)
			}
		}
	}
	if n < 10 {
		t.Errorf("found only %d links", n)
	}
}
