package cmd

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/pflag"
)

// The schema accepts the config files that the loader accepts, and no others, as
// a validator of JSON Schema sees it.
func TestServerConfigSchema(t *testing.T) {
	a := serverApp(t, nil)
	c := newServerConfigSchemaCommand(a)
	if err := c.RunE(c, nil); err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(a.Out.(*bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("server.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("server.json")
	if err != nil {
		t.Fatal(err)
	}
	for text, good := range map[string]bool{
		"issuer: https://idp.example.com\nclient_id: jit\n":                                               true,
		"listen: :8443\ntls_cert: c\ntls_key: k\npublic_url: https://jit.example.com\n":                   true,
		"audience: [a, b]\nscopes: []\nrate: -1\nbehind_proxy: true\n":                                    true,
		"webhook_allow: [10.0.0.0/8]\nmetrics_listen: 127.0.0.1:9470\n":                                   true,
		"recordings: s3://bucket\nrecordings_retention: 400d\nrecordings_lock: 36h\n":                     true,
		"identities:\n- name: ci\n  issuer: https://i\n  audience: a\n  match: {sub: x}\n  groups: [g]\n": true,
		"recordings_retention: 400 days\n":                                                                false,
		"recordings_retention: 0d\n":                                                                      false,
		"recordings_retention: 400\n":                                                                     false,
		"recordings_lock: -1d\n":                                                                          false,
		"lissten: x\n":                                                                                    false,
		"behind_proxy: maybe\n":                                                                           false,
		"rate: fast\n":                                                                                    false,
		"rate: 1.5\n":                                                                                     false,
		"listen: 8443\n":                                                                                  false,
		"issuer: true\n":                                                                                  false,
		"audience: [1]\n":                                                                                 false,
		"audience: jit\n":                                                                                 false,
		"issuer: [a]\n":                                                                                   false,
		"issuer: {a: b}\n":                                                                                false,
		"- issuer\n":                                                                                      false,
		"identities:\n- nam: ci\n":                                                                        false,
		"identities: {name: ci}\n":                                                                        false,
	} {
		o, err := parseServerConfig([]byte(text))
		if err == nil {
			if _, _, serr := o.spans(); serr != nil {
				err = serr
			}
		}
		if (err == nil) != good {
			t.Errorf("the loader on %q: %v", text, err)
		}
		raw, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		inst, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(inst); (err == nil) != good {
			t.Errorf("the schema on %q: %v", text, err)
		}
	}
	s := serverSchema()
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		if p.Value.Description == "" && p.Key != "identities" {
			t.Errorf("%s is not described", p.Key)
		}
	}
	if b, err := json.Marshal(s); err != nil || !strings.Contains(string(b), `"additionalProperties":false`) {
		t.Errorf("%s %v", b, err)
	}
}

// Every setting of the file that one flag can hold has a flag and a variable,
// and every flag a setting.
func TestEverySettingHasAFlag(t *testing.T) {
	var (
		file  string
		flags serverOptions
	)
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	registerServerFlags(f, &file, &flags)
	have := map[string]bool{"config": true}
	for i := range reflect.TypeFor[serverOptions]().NumField() {
		flag := flagOf(reflect.TypeFor[serverOptions]().Field(i))
		if flag == "" {
			continue
		}
		have[flag] = true
		if f.Lookup(flag) == nil {
			t.Errorf("there is no --%s", flag)
			continue
		}
		for text, env := range map[string]map[string]string{"of the environment": {serverEnv(flag): "1"}} {
			o, err := serverApp(t, env).mergeServerSettings("", serverOptions{}, noneChanged)
			if err != nil || reflect.ValueOf(o).Field(i).IsZero() {
				t.Errorf("--%s does not take the value %s: %v", flag, text, err)
			}
		}
	}
	f.VisitAll(func(flag *pflag.Flag) {
		if !have[flag.Name] {
			t.Errorf("--%s is no setting", flag.Name)
		}
	})
}

func TestCheckConfig(t *testing.T) {
	for text, good := range map[string]bool{
		"issuer: https://idp.example.com\nclient_id: jit\n":                                                    true,
		"issuer: https://idp.example.com\n":                                                                    false,
		"issuer: https://i\nclient_id: j\nlisten: 0.0.0.0:1\n":                                                 false,
		"issuer: https://i\nclient_id: j\nrecordings_retention: 2h\n":                                          false,
		"issuer: https://i\nclient_id: j\nrecordings_lock: 2d\n":                                               false,
		"issuer: https://i\nclient_id: j\nrecordings: s3://b\nrecordings_retention: 3d\nrecordings_lock: 4d\n": false,
	} {
		a := serverApp(t, nil)
		c := newServerCheckConfigCommand(a)
		err := c.RunE(c, []string{writeTemp(t, text)})
		if code, _ := exitOf(err); (err == nil) != good || !good && code != ExitUsage {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func writeTemp(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
