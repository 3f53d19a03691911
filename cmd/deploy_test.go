package cmd

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/spf13/pflag"
)

// What docs/deploy has is held against the programs that read it, and against
// this jit. There is no container engine here: the image itself is not built.

const deploy = "../docs/deploy/"

// part is a program of the tests; without it the test is skipped, loudly, or
// fails where parts are required.
func part(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("JIT_TEST_PARTS") == "required" {
			t.Fatal(err)
		}
		t.Skipf("NOT TESTED: run .ci/parts.sh (%v)", err)
	}
	return path
}

const clusterValues = `
replicas: 3
tlsSecret: jit-tls
sealingKeySecret: jit-sealing
pgpassSecret: jit-pgpass
policyConfigMap: jit-policy
config:
  issuer: https://idp.example.com
  client_id: jit-cli
  public_url: https://jit.example.com
  database: postgres://jit@db/jit?passfile=/etc/jit/pgpass/pgpass
  recordings: s3://jit-recordings?region=eu-central-1
  recordings_retention: 400d
`

// The chart renders for a cluster with PostgreSQL, S3 and three replicas, with
// settings that this jit takes, and refuses what cannot work.
func TestHelmChart(t *testing.T) {
	helm := part(t, "../.cache/helm/bin/helm")
	run := func(args ...string) (string, error) {
		c := exec.CommandContext(t.Context(), helm, args...) //nolint:gosec // a part of the tests
		c.Env = append(os.Environ(), "HOME="+t.TempDir())
		out, err := c.CombinedOutput()
		return string(out), err
	}
	values := writeTemp(t, clusterValues)
	if out, err := run("lint", "--strict", deploy+"chart", "-f", values); err != nil {
		t.Errorf("helm lint: %v\n%s", err, out)
	}
	template := func(set ...string) (string, error) {
		args := []string{"template", "prod", deploy + "chart", "--kube-version", "1.31.0", "-f", values}
		for _, s := range set {
			args = append(args, "--set", s)
		}
		return run(args...)
	}
	out, err := template()
	if err != nil {
		t.Fatalf("helm template: %v\n%s", err, out)
	}
	kinds := map[string]map[string]any{}
	for docs := yaml.NewDecoder(strings.NewReader(out)); ; {
		var doc map[string]any
		if err := docs.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if kind, ok := doc["kind"].(string); ok {
			kinds[kind] = doc
		}
	}
	for _, kind := range []string{"StatefulSet", "ConfigMap", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"} {
		if kinds[kind] == nil {
			t.Errorf("there is no %s in\n%s", kind, out)
		}
	}
	config := kinds["ConfigMap"]["data"].(map[string]any)["server.yaml"].(string)
	o, err := parseServerConfig([]byte(config))
	if err == nil {
		err = o.check()
	}
	if err != nil {
		t.Errorf("the chart's settings: %v\n%s", err, config)
	}
	for _, path := range []string{o.TLSCert, o.Policy, "/etc/jit/pgpass/pgpass", "/etc/jit/config/server.yaml", "/etc/jit/sealing/sealing.key", o.Data} {
		mounted := regexp.MustCompile(`mountPath: (` + regexp.QuoteMeta(path) + "|" + regexp.QuoteMeta(filepath.Dir(path)) + `)[,}\s]`)
		if !mounted.MatchString(out) {
			t.Errorf("nothing is mounted for %s", path)
		}
	}
	commandsExist(t, strings.NewReplacer("[", "", "]", "", ",", "").Replace(out))
	if n := strings.Count(out, "readOnlyRootFilesystem: true"); n != 2 || strings.Contains(out, "privileged: true") {
		t.Errorf("%d containers have a read-only root", n)
	}
	for name, set := range map[string]string{"no TLS": "tlsSecret=", "no shared key": "sealingKeySecret=", "no database": "config.database=", "no bucket": "config.recordings=", "nobody may sign in": "config.issuer="} {
		if out, err := template(set); err == nil {
			t.Errorf("%s: the chart renders\n%s", name, out)
		}
	}
}

func TestSystemdUnit(t *testing.T) {
	analyze := part(t, "systemd-analyze")
	unit, err := os.ReadFile(deploy + "jit-server.service")
	if err != nil {
		t.Fatal(err)
	}
	// jit is not installed here: another program stands for it.
	file := filepath.Join(t.TempDir(), "jit-server.service")
	if err := os.WriteFile(file, bytes.ReplaceAll(unit, []byte("/usr/local/bin/jit"), []byte("/bin/true")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || strings.Contains(string(out), "jit-server.service:") { //nolint:gosec // as above
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// Exposure in tenths, 100 is the worst: https://www.freedesktop.org/software/systemd/man/systemd-analyze.html
	if out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=20", file).CombinedOutput(); err != nil { //nolint:gosec // as above
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
	commandsExist(t, string(unit))
}

// The Containerfile copies what there is, and starts jit with flags it has.
func TestContainerfile(t *testing.T) {
	b, err := os.ReadFile(deploy + "Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, line := range regexp.MustCompile(`(?m)^COPY (.*)$`).FindAllStringSubmatch(text, -1) {
		words := strings.Fields(line[1])
		if strings.HasPrefix(words[0], "--") { // from the stage before
			continue
		}
		for _, source := range words[:len(words)-1] {
			if _, err := os.Stat(filepath.Join("..", source)); err != nil {
				t.Errorf("COPY %s: %v", source, err)
			}
		}
	}
	user := regexp.MustCompile(`(?m)^USER (\d+)`).FindStringSubmatch(text)
	if user == nil || user[1] == "0" {
		t.Errorf("it runs as %v", user)
	}
	if !strings.Contains(text, "CGO_ENABLED=0") || !strings.Contains(text, "./cmd/jit") {
		t.Error("the binary is not static, or another")
	}
	flat := strings.NewReplacer(`"`, "", ",", "", "[", "", "]", "").Replace(strings.Join(regexp.MustCompile(`(?m)^(?:ENTRYPOINT|CMD) .*$`).FindAllString(text, -1), " "))
	commandsExist(t, strings.ReplaceAll(strings.ReplaceAll(flat, "ENTRYPOINT ", ""), "CMD ", ""))
}

func TestExampleConfig(t *testing.T) {
	a := serverApp(t, nil)
	c := newServerCheckConfigCommand(a)
	if err := c.RunE(c, []string{deploy + "server.yaml"}); err != nil {
		t.Error(err)
	}
}

// commandsExist holds `/usr/local/bin/jit …` lines against the commands there are.
func commandsExist(t *testing.T, text string) {
	t.Helper()
	lines := regexp.MustCompile(`/usr/local/bin/jit (server.*)`).FindAllStringSubmatch(text, -1)
	if len(lines) == 0 {
		t.Error("it does not start a server")
	}
	for _, line := range lines {
		words := strings.Fields(line[1])
		c, rest, err := newServerCommand(serverApp(t, nil)).Find(words[1:])
		if err != nil {
			t.Errorf("%s: %v", line[1], err)
			continue
		}
		if err := c.ParseFlags(rest); err != nil && !errors.Is(err, pflag.ErrHelp) {
			t.Errorf("%s: %v", line[1], err)
		}
	}
}
