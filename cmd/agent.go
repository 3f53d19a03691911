package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"github.com/jit-access/jit/broker/snowflake"
)

func newAgentCommand(a *App) *cobra.Command {
	c := &cobra.Command{
		Use:     "agent",
		Short:   "Set up an agent to work under jit",
		Long:    "Set up an agent to work under jit.",
		Example: "  jit agent init claude",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newAgentInitCommand(a))
	return c
}

// agentInit are the flags of `jit agent init`.
type agentInit struct {
	Write    string // file the MCP entry goes to
	Briefing string // file the briefing goes to
	Force    bool
	JSON     bool
}

func newAgentInitCommand(a *App) *cobra.Command {
	var o agentInit
	names := make([]string, 0, len(agentHosts))
	for _, h := range agentHosts {
		names = append(names, h.name)
	}
	c := &cobra.Command{
		Use:   "init " + strings.Join(names, "|"),
		Short: "Print what an agent needs: how to start it, the MCP entry, a briefing",
		Long: `Print how to start an agent under jit, the entry that gives it jit's MCP tools, and
a short briefing for it. Nothing is written unless a file is named.

--write merges the entry into the agent's configuration file, and leaves all else in
it as it is. A JSON file with comments is not touched, nor an entry named jit that
says something else, unless --force is given. --briefing writes the briefing to a
file of its own; it is never added to a file that exists, --force replaces it.

agents-md is the briefing alone, for AGENTS.md.`,
		Example: `  jit agent init claude
  jit agent init claude --write .mcp.json --briefing JIT.md
  jit agent init codex --write ~/.codex/config.toml
  jit agent init agents-md >> AGENTS.md`,
		ValidArgs: names,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE:      func(_ *cobra.Command, args []string) error { return a.agentInit(hostNamed(args[0]), o) },
	}
	f := c.Flags()
	f.StringVar(&o.Write, "write", "", "merge the MCP entry into this `FILE`")
	f.StringVar(&o.Briefing, "briefing", "", "write the briefing to this `FILE`")
	f.BoolVar(&o.Force, "force", false, "replace an entry named jit, or the briefing's file")
	f.BoolVar(&o.JSON, "json", false, "print JSON")
	c.MarkFlagsMutuallyExclusive("json", "write")
	c.MarkFlagsMutuallyExclusive("json", "briefing")
	return c
}

func (a *App) agentInit(h agentHost, o agentInit) error {
	if o.Write != "" && h.under == "" {
		return usagef("--write: %s has no MCP entry; --briefing FILE writes the briefing", h.name)
	}
	if o.Write == "" && o.Briefing == "" {
		return a.printAgent(h, o.JSON)
	}
	if o.Write != "" {
		if err := h.merge(o.Write, o.Force); err != nil {
			return &Failure{What: "writing the MCP entry to " + o.Write, Err: err, Fix: "`jit agent init " + h.name + "` prints it, to paste by hand."}
		}
		a.say("jit: %s has the entry. Start the agent: %s", o.Write, h.launch)
	}
	if o.Briefing != "" {
		if err := writeNew(o.Briefing, []byte(briefing), o.Force); err != nil {
			return &Failure{What: "writing the briefing", Err: err, Fix: "Name another file, or replace this one with --force."}
		}
		a.say("jit: the briefing is in %s.", o.Briefing)
	}
	return nil
}

// writeNew writes a file that does not exist; force replaces one that does.
func writeNew(file string, data []byte, force bool) error {
	flag := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flag = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(file, flag, 0o644) //nolint:gosec // the file the user named; it holds no secret
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

func (a *App) printAgent(h agentHost, asJSON bool) error {
	entry := ""
	if h.under != "" {
		text, err := h.text()
		if err != nil {
			return fmt.Errorf("printing the MCP entry: %w", err)
		}
		entry = string(text)
	}
	if asJSON {
		return a.printJSON(struct {
			Agent    string `json:"agent"`
			Launch   string `json:"launch,omitempty"`
			File     string `json:"file,omitempty"`
			Entry    string `json:"entry,omitempty"`
			Briefing string `json:"briefing"`
		}{h.name, h.launch, h.file, entry, briefing})
	}
	if h.under == "" {
		return a.printf("%s", briefing)
	}
	return a.printf("# Start it\n\n%s\n\n# %s\n\n%s\n# For %s\n\n%s", h.launch, h.file, entry, h.reads, briefing)
}

// merge puts the entry into a configuration file and leaves the rest of it.
func (h agentHost) merge(file string, force bool) error {
	old, err := os.ReadFile(file) //nolint:gosec // the file the user named
	if errors.Is(err, fs.ErrNotExist) {
		text, err := h.text()
		if err != nil {
			return err
		}
		return writeNew(file, text, false)
	}
	if err != nil {
		return err
	}
	merged, err := h.mergeText(old, force)
	if err != nil || bytes.Equal(merged, old) {
		return err
	}
	return replaceWhole(file, merged)
}

// replaceWhole replaces a file as a whole or not at all, with its permissions.
func replaceWhole(file string, data []byte) error {
	file, err := filepath.EvalSymlinks(file) // a dotfile is often a link
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".jit-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

var errOtherEntry = errors.New("it has an entry named jit that says something else; --force replaces it")

// mergeText adds the entry to the text of a file. TOML is only added to, since
// it cannot be written again without losing comments.
func (h agentHost) mergeText(old []byte, force bool) ([]byte, error) {
	if h.toml {
		return h.mergeTOML(old, force)
	}
	if len(bytes.TrimSpace(old)) == 0 {
		return h.text()
	}
	if !json.Valid(old) {
		return nil, errors.New("it is not plain JSON (comments, or an error), and jit would lose what it cannot read")
	}
	file, err := snowflake.ParseObject(old) // ordered, and what is not touched stays as it is
	if err != nil {
		return nil, errors.New("it is not one JSON object with each key once")
	}
	servers := snowflake.Object{}
	if raw := file.Get(h.under); raw != nil {
		if servers, err = snowflake.ParseObject(raw); err != nil {
			return nil, fmt.Errorf("its %s is not one JSON object with each key once", h.under)
		}
	}
	entry, err := json.Marshal(h.server())
	if err != nil {
		return nil, err
	}
	if have := servers.Get("jit"); have != nil {
		if sameJSON(have, h.server()) {
			return old, nil
		}
		if !force {
			return nil, errOtherEntry
		}
	}
	servers.Set("jit", entry)
	file.Set(h.under, servers.Append(nil))
	var b bytes.Buffer
	if err := json.Indent(&b, file.Append(nil), "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// sameJSON compares what two values are as JSON, whatever their order.
func sameJSON(a, b any) bool {
	normal := func(v any) string {
		text, err := json.Marshal(v)
		var plain any
		if err == nil {
			err = json.Unmarshal(text, &plain)
		}
		if err == nil {
			text, err = json.Marshal(plain) // maps in order
		}
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	return normal(a) == normal(b)
}

func (h agentHost) mergeTOML(old []byte, force bool) ([]byte, error) {
	var file map[string]any
	if err := toml.Unmarshal(old, &file); err != nil {
		return nil, fmt.Errorf("it is not valid TOML: %w", err)
	}
	text, err := h.text()
	if err != nil {
		return nil, err
	}
	servers, ok := file[h.under].(map[string]any)
	if !ok && file[h.under] != nil {
		return nil, fmt.Errorf("its %s is not a table", h.under)
	}
	if have, exists := servers["jit"]; exists {
		if sameJSON(have, h.server()) {
			return old, nil
		}
		if force {
			return nil, errors.New("it has an entry named jit already, and TOML is not rewritten: remove it first")
		}
		return nil, errOtherEntry
	}
	merged := append(append(bytes.TrimRight(old, "\n"), "\n\n"...), text...)
	if err := toml.Unmarshal(merged, &file); err != nil { // such as servers in an inline table
		return nil, errors.New("the entry cannot be added at its end without breaking it")
	}
	return merged, nil
}
