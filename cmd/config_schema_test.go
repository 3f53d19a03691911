package cmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemaNode is what config.schema.json uses of JSON Schema.
type schemaNode struct {
	Ref         string                `json:"$ref"`
	Type        string                `json:"type"`
	Enum        []string              `json:"enum"`
	Pattern     string                `json:"pattern"`
	Properties  map[string]schemaNode `json:"properties"`
	Names       *schemaNode           `json:"propertyNames"`
	Additional  json.RawMessage       `json:"additionalProperties"`
	Items       *schemaNode           `json:"items"`
	Definitions map[string]schemaNode `json:"$defs"`
}

func (n schemaNode) deref(root schemaNode) schemaNode {
	if name, ok := strings.CutPrefix(n.Ref, "#/$defs/"); ok {
		return root.Definitions[name]
	}
	return n
}

// The schema names exactly the keys that the file may have, with their types.
func TestSchemaIsThatOfTheConfig(t *testing.T) {
	var root schemaNode
	if err := json.Unmarshal([]byte(configSchema), &root); err != nil {
		t.Fatal(err)
	}
	kinds := map[reflect.Kind]string{reflect.String: "string", reflect.Bool: "boolean", reflect.Slice: "array", reflect.Map: "object"}
	compare := func(where string, node schemaNode, of reflect.Type) {
		if string(node.Additional) != "false" {
			t.Errorf("%s allows keys that nobody reads", where)
		}
		seen := map[string]bool{}
		for f := range of.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			seen[name] = true
			p, ok := node.Properties[name]
			p = p.deref(root)
			if !ok || p.Type != kinds[f.Type.Kind()] && len(p.Enum) == 0 {
				t.Errorf("%s.%s is %s in the file, %+v in the schema", where, name, f.Type, p)
			}
		}
		for name := range node.Properties {
			if !seen[name] {
				t.Errorf("%s.%s is in the schema only", where, name)
			}
		}
	}
	loaded, err := jsonschema.UnmarshalJSON(strings.NewReader(configSchema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("config.json", loaded); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("config.json")
	if err != nil {
		t.Fatalf("it is no JSON Schema: %v", err)
	}
	for text, good := range map[string]bool{
		"server: https://jit.example.com\nprofiles: {night: {ttl: 8h, intercept: true}}\ntitle: \"off\"\n": true,
		"sever: https://jit.example.com\n": false, "profiles: {a b: {}}\n": false, "profiles: {night: {ttl: soon}}\n": false, "profiles: {night: {password: x}}\n": false,
	} {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); (err == nil) != good {
			t.Errorf("%q by the schema: %v", text, err)
		}
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a := &App{Getenv: func(string) string { return file }}
		if _, err := a.loadConfig(); (err == nil) != good {
			t.Errorf("%q by jit: %v", text, err)
		}
	}
	compare("config", root, reflect.TypeFor[Config]())
	compare("profile", root.Definitions["profile"], reflect.TypeFor[Profile]())

	// Durations, names and titles: what the schema's patterns take is what is read.
	duration, name := regexp.MustCompile(root.Definitions["duration"].Pattern), regexp.MustCompile(root.Definitions["name"].Pattern)
	for _, d := range []string{"30m", "1h30m", "90s", "1.5h", "soon", "", "-1h", "30", "0s "} {
		if got, want := (Profile{TTL: d}).check() == nil && d != "", duration.MatchString(d); got != want {
			t.Errorf("duration %q: read %v, by the schema %v", d, got, want)
		}
	}
	for _, n := range []string{"night", "a-b_2", "", "a.b", "a b", "ü"} {
		if profileName(n) != name.MatchString(n) {
			t.Errorf("the name %q is judged otherwise by the schema", n)
		}
	}
	for _, title := range []string{"on", "off", "maybe"} {
		if got, want := (Config{Title: title}).check() == nil, slices.Contains(root.Properties["title"].Enum, title); got != want {
			t.Errorf("title %q: read %v, by the schema %v", title, got, want)
		}
	}
}

// What `jit config` and the options of exec know is every field of a profile.
func TestEveryProfileFieldCanBeSetAndUsed(t *testing.T) {
	if n := reflect.TypeFor[Profile]().NumField(); n != len(profileFields) {
		t.Fatalf("%d fields, %d of them known", n, len(profileFields))
	}
	for _, f := range profileFields {
		var p Profile
		value := map[bool]string{true: "true", false: "8m"}[f.flag != nil]
		if err := f.set(&p, value); err != nil || f.get(p) != value {
			t.Errorf("%s: %q, %v", f.name, f.get(p), err)
		}
		data, err := yaml.Marshal(p)
		if err != nil || !strings.HasPrefix(string(data), f.name+": ") {
			t.Errorf("%s is written as %q, %v", f.name, data, err)
		}
		used, ignored := execOptions{}, execOptions{}
		if err := used.use(p, func(string) bool { return false }); err != nil || reflect.ValueOf(f.into(&used)).Elem().IsZero() {
			t.Errorf("%s of a profile is not used: %v", f.name, err)
		}
		flag := strings.ReplaceAll(f.name, "_", "-")
		if err := ignored.use(p, func(g string) bool { return g == flag }); err != nil || !reflect.ValueOf(f.into(&ignored)).Elem().IsZero() {
			t.Errorf("%s of a profile wins over the flag: %v", f.name, err)
		}
		if newExecCommand(NewApp()).Flags().Lookup(flag) == nil {
			t.Errorf("jit exec has no --%s", flag)
		}
	}
}

// Changing one setting leaves the person's comments where they were.
func TestSettingKeepsComments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("# mine\nserver: https://jit.example.com\nprofiles:\n  night: # for the nights\n    ttl: 8h\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &App{Getenv: func(name string) string { return map[string]string{"JIT_CONFIG": file}[name] }}
	if err := a.setConfig("profiles.night.role", "LOADER"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# mine", "# for the nights", "ttl: 8h", "role: LOADER"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%q is gone:\n%s", want, data)
		}
	}
	if err := a.setConfig("server", "not a url"); err == nil {
		t.Error("a broken URL was written")
	}
	if again, _ := os.ReadFile(file); string(again) != string(data) {
		t.Errorf("a refused value changed the file:\n%s", again)
	}
}

func TestExportsSurviveAnyShell(t *testing.T) {
	nasty := `a'b"c$(touch x)\` + "`id`" + "\nnewline"
	if got, want := quoteSh(nasty), `'a'\''b"c$(touch x)\`+"`id`"+"\nnewline'"; got != want {
		t.Errorf("sh: %s", got)
	}
	if got, want := quoteFish(`a'\b`), `'a\'\\b'`; got != want {
		t.Errorf("fish: %s", got)
	}
	if plainName("A;rm") || plainName("") || !plainName("SNOWFLAKE_HOME2") {
		t.Error("a name that a shell would run")
	}
}

// docs/exec.md lists every kind of line that --status-fd writes.
func TestStatusLinesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/exec.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{feedStarted, feedLoginNeeded, feedWaiting, feedOpen, feedRunning, feedFirstUse, feedExtended, feedHeld, feedDecided, feedRefused, feedExpired, feedExited, feedEnded} {
		if !strings.Contains(string(doc), "| `"+kind+"` |") {
			t.Errorf("docs/exec.md does not explain %q", kind)
		}
	}
	for f := range reflect.TypeFor[feedEvent]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("docs/exec.md does not explain the member %q", name)
		}
	}
}
