package cmd

import (
	"encoding/json"
	"fmt"

	"github.com/pelletier/go-toml/v2"
)

// agentHost is an agent that `jit agent init` knows: how it is started, and how
// its configuration names an MCP server.
//
// Several of them start MCP servers with little of their own environment, so
// each entry passes on where the session's files are. These are paths; the lease
// stays in its file.
type agentHost struct {
	name   string
	launch string // command line
	reads  string // where it reads briefings from
	file   string // where it reads MCP servers from, for people
	under  string // key of the servers in that file; empty: it has none
	toml   bool
	more   map[string]any // beside command and arguments
	joined bool           // command and arguments are one list
}

// agentHosts follow the vendors' documentation: code.claude.com/docs/en/mcp,
// developers.openai.com/codex/mcp, cursor.com/docs/mcp,
// github.com/google-gemini/gemini-cli (docs/tools/mcp-server.md),
// opencode.ai/docs/mcp-servers.
var agentHosts = []agentHost{
	{
		name: "claude", launch: `jit exec --reason "REASON" -- claude`, reads: "CLAUDE.md",
		file: ".mcp.json, in the project", under: "mcpServers",
		more: map[string]any{"type": "stdio", "env": passing("${%s:-}")},
	},
	{
		name: "codex", launch: `jit exec --reason "REASON" -- codex`, reads: "AGENTS.md",
		file: "~/.codex/config.toml", under: "mcp_servers", toml: true,
		more: map[string]any{"env_vars": sessionVariables, "tool_timeout_sec": 120},
	},
	{
		name: "cursor", launch: `jit exec --reason "REASON" -- cursor-agent`, reads: "AGENTS.md",
		file: ".cursor/mcp.json, in the project", under: "mcpServers",
		more: map[string]any{"type": "stdio", "env": passing("${env:%s}")},
	},
	{
		name: "gemini", launch: `jit exec --reason "REASON" -- gemini`, reads: "GEMINI.md",
		file: ".gemini/settings.json, in the project", under: "mcpServers",
		more: map[string]any{"timeout": 120000, "env": passing("$%s")},
	},
	{
		name: "opencode", launch: `jit exec --reason "REASON" -- opencode`, reads: "AGENTS.md",
		file: "opencode.json, in the project", under: "mcp", joined: true,
		more: map[string]any{"type": "local", "enabled": true, "timeout": 120000, "environment": passing("{env:%s}")},
	},
	{name: "agents-md", launch: `jit exec --reason "REASON" -- AGENT`, reads: "AGENTS.md"},
}

// sessionVariables are what `jit mcp` needs of the session's environment.
var sessionVariables = []string{"SNOWFLAKE_HOME", "JIT_SESSION", "JIT_CONTEXT_FILE"}

// passing passes the variables on in an agent's own way to name one.
func passing(form string) map[string]string {
	env := map[string]string{}
	for _, name := range sessionVariables {
		env[name] = fmt.Sprintf(form, name)
	}
	return env
}

func hostNamed(name string) agentHost {
	for _, h := range agentHosts {
		if h.name == name {
			return h
		}
	}
	return agentHost{name: name} // ValidArgs lets no other name pass
}

// server is the entry of the MCP server.
func (h agentHost) server() map[string]any {
	entry := map[string]any{"command": "jit", "args": []string{"mcp"}}
	if h.joined {
		entry = map[string]any{"command": []string{"jit", "mcp"}}
	}
	for key, v := range h.more {
		entry[key] = v
	}
	return entry
}

// text is the configuration file with this entry alone.
func (h agentHost) text() ([]byte, error) {
	if h.toml {
		text, err := toml.Marshal(h.server())
		if err != nil {
			return nil, fmt.Errorf("writing TOML: %w", err)
		}
		return append([]byte("["+h.under+".jit]\n"), text...), nil
	}
	file := map[string]any{h.under: map[string]any{"jit": h.server()}}
	text, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return append(text, '\n'), nil
}
