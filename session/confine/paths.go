package confine

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Person is whose things are hidden.
type Person struct {
	Home   string
	UID    int
	GID    int
	Getenv func(string) string
	Own    []string // jit's folders
}

// inHome is what a home folder holds that opens Snowflake, a keyring, or the
// person's own sign-ins.
var inHome = []string{
	".snowflake", ".snowsql", ".dbt", ".config/snowflake", "Library/Application Support/snowflake",
	".ssh", ".gnupg/private-keys-v1.d", ".local/share/keyrings", ".local/share/kwalletd", "Library/Keychains", ".password-store", ".config/op",
	".mozilla", ".config/google-chrome", ".config/chromium", ".config/microsoft-edge", ".config/BraveSoftware",
	"snap/firefox", "snap/chromium", "Library/Application Support/Google/Chrome", "Library/Application Support/Firefox", "Library/Safari", "Library/Cookies",
}

// connectionFiles may name private keys that lie elsewhere.
var connectionFiles = []string{
	".snowflake/connections.toml", ".snowflake/config.toml", ".config/snowflake/connections.toml", ".config/snowflake/config.toml",
	"Library/Application Support/snowflake/connections.toml", "Library/Application Support/snowflake/config.toml",
	".snowsql/config", ".dbt/profiles.yml",
}

// shownOfSSH is what `git push` needs beside an agent that holds the keys.
var shownOfSSH = []string{"known_hosts", "known_hosts2", "config", "*.pub"}

// Plan finds what is to be hidden of what exists now.
func (p Person) Plan() Plan {
	plan := Plan{UID: p.UID, GID: p.GID}
	for _, dir := range p.Own {
		plan.Hide = addReal(plan.Hide, dir)
	}
	for _, at := range inHome {
		plan.Hide = addReal(plan.Hide, p.at(at))
	}
	for _, name := range []string{"SNOWFLAKE_HOME", "DBT_PROFILES_DIR"} {
		// Folders of the person's own choice: one may be the project itself, where
		// only the files that hold credentials go.
		if dir := p.Getenv(name); filepath.IsAbs(dir) {
			for _, file := range []string{"connections.toml", "config.toml", "profiles.yml"} {
				plan.Hide = addReal(plan.Hide, filepath.Join(dir, file))
			}
		}
	}
	for _, key := range p.privateKeys() {
		plan.Hide = addReal(plan.Hide, key)
	}
	plan.Sockets = p.sockets()
	for _, name := range shownOfSSH {
		files, _ := filepath.Glob(p.at(filepath.Join(".ssh", name))) // the pattern is fixed and well formed
		for _, file := range files {
			plan.KeepReadOnly = addReal(plan.KeepReadOnly, file)
		}
	}
	if agent := p.Getenv("SSH_AUTH_SOCK"); isSocket(agent) {
		plan.Keep = addReal(plan.Keep, agent)
	}
	return plan
}

func (p Person) at(rel string) string { return filepath.Join(p.Home, filepath.FromSlash(rel)) }

// addReal adds what path leads to, if it exists.
func addReal(list []string, path string) []string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil || !filepath.IsAbs(real) || real == string(filepath.Separator) || slices.Contains(list, real) {
		return list
	}
	return append(list, real)
}

// namedKey finds private keys as every client's configuration names them, in TOML,
// YAML and INI.
var namedKey = regexp.MustCompile(`(?m)^\s*["']?(?:private_key_path|private_key_file)["']?\s*[:=]\s*["']?([^"'\r\n#]+?)["']?\s*(?:#.*)?$`)

func (p Person) privateKeys() []string {
	keys := []string{p.Getenv("SNOWFLAKE_PRIVATE_KEY_PATH"), p.Getenv("SNOWFLAKE_PRIVATE_KEY_FILE")}
	for _, at := range connectionFiles {
		data, err := os.ReadFile(p.at(at))
		if err != nil {
			continue
		}
		for _, m := range namedKey.FindAllStringSubmatch(string(data), -1) {
			keys = append(keys, m[1])
		}
	}
	for _, pattern := range []string{"*.p8", "*.pem"} {
		inHome, _ := filepath.Glob(p.at(pattern)) // as above
		keys = append(keys, inHome...)
	}
	var real []string
	for _, key := range keys {
		if rest, ok := strings.CutPrefix(key, "~/"); ok {
			key = p.at(rest)
		}
		// A configuration that names a folder must not hide it.
		if info, err := os.Stat(key); err == nil && filepath.IsAbs(key) && info.Mode().IsRegular() {
			real = append(real, filepath.Clean(key))
		}
	}
	return real
}

// sockets are where something listens that reads files, starts programs or types
// keys for whoever connects, outside of any confinement.
func (p Person) sockets() []string {
	uid := strconv.Itoa(p.UID)
	list := []string{
		"/run/user/" + uid, "/run/dbus/system_bus_socket", "/run/systemd/private",
		"/run/docker.sock", "/run/containerd", "/run/podman", "/run/crio", "/run/screen", "/tmp/.X11-unix", "/tmp/tmux-" + uid,
		p.at(".gnupg/S.gpg-agent"), p.at(".1password"), p.at(".docker/run"),
	}
	if dir := p.Getenv("TMUX_TMPDIR"); filepath.IsAbs(dir) {
		list = append(list, filepath.Join(dir, "tmux-"+uid))
	}
	if dir := p.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		if p.isRuntime(dir) {
			list = append(list, dir)
		} else { // shared with other things: what is known in it
			for _, name := range []string{"bus", "keyring", "systemd", "gnupg", "gcr"} {
				list = append(list, filepath.Join(dir, name))
			}
		}
	}
	tmux, _, _ := strings.Cut(p.Getenv("TMUX"), ",")
	named := append(socketPaths(p.Getenv("DBUS_SESSION_BUS_ADDRESS")), socketPaths(p.Getenv("DOCKER_HOST"))...)
	named = append(named, filepath.Join(p.Getenv("GNOME_KEYRING_CONTROL"), "control"), tmux)
	for _, path := range named {
		// A variable that names a folder must not hide it.
		if isSocket(path) {
			list = append(list, path)
		}
	}
	var real []string
	for _, path := range list {
		real = addReal(real, path)
	}
	return real
}

func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && filepath.IsAbs(path) && info.Mode().Type() == fs.ModeSocket
}

// isRuntime reports whether a runtime folder is nothing but that: neither a
// parent of the home or working folder, nor the place of temporary files.
func (p Person) isRuntime(dir string) bool {
	dir = filepath.Clean(dir)
	for _, used := range []string{p.Home, os.TempDir(), "/tmp", "/var/tmp"} {
		if within(used, dir) {
			return false
		}
	}
	cwd, err := os.Getwd()
	return err == nil && !within(cwd, dir)
}

// socketPaths reads the paths of a D-Bus address ("unix:path=/x,guid=1;…"), of a
// URL ("unix:///x"), or a path.
func socketPaths(address string) []string {
	var paths []string
	for _, one := range strings.Split(address, ";") {
		switch {
		case strings.HasPrefix(one, "unix:///"):
			paths = append(paths, strings.TrimPrefix(one, "unix://"))
		case strings.HasPrefix(one, "unix:"):
			for _, kv := range strings.Split(strings.TrimPrefix(one, "unix:"), ",") {
				if v, ok := strings.CutPrefix(kv, "path="); ok {
					if plain, err := url.PathUnescape(v); err == nil {
						paths = append(paths, plain)
					}
				}
			}
		case filepath.IsAbs(one):
			paths = append(paths, one)
		}
	}
	return paths
}

// Scrubbed are variables that lead to what is hidden.
var Scrubbed = []string{"DBUS_SESSION_BUS_ADDRESS", "GNOME_KEYRING_CONTROL", "TMUX", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY"}
