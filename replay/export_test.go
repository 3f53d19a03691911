package replay

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/jit-access/jit/session/recording"
)

func export(t *testing.T, r *Recording, f Format) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.Export(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// hostile is text that would act if a format did not escape it.
const hostile = `=HYPERLINK("http://evil.example/") </pre><script>alert(1)</script><img src=//evil.example/x onerror=alert(2)> "' ` + "\x1b[2J\u202e {{.}} \n@SUM(1)"

func hostileStory() []recording.Event {
	return append(story(), recording.Event{At: at(102.5), Kind: recording.KindLogin, Login: &recording.LoginFacts{Driver: hostile, Why: hostile}},
		recording.Event{At: at(102.6), Kind: recording.KindStatement, Statement: `x"><script>`, SQL: &recording.StatementFacts{
			Text: hostile, Digest: hostile, Kinds: []string{hostile}, Reads: []string{hostile}, Verdict: "deny", Rule: hostile, Reason: hostile}},
		recording.Event{At: at(102.7), Kind: recording.KindRefused, Statement: `x"><script>`, Refused: &recording.RefusedFacts{Code: "JIT-2001", Message: hostile}})
}

// hostileRecording puts the end last.
func hostileRecording(t *testing.T) *Recording {
	t.Helper()
	events := hostileStory()
	end := slices.IndexFunc(events, func(e recording.Event) bool { return e.Kind == recording.KindSessionEnded })
	return record(t, append(slices.Delete(slices.Clone(events), end, end+1), events[end]))
}

func TestExportCSV(t *testing.T) {
	rows, err := csv.NewReader(bytes.NewReader(export(t, hostileRecording(t), FormatCSV))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 7 { // the header and six statements
		t.Fatalf("%d rows", len(rows))
	}
	cell := func(row int, column string) string { return rows[row][slices.Index(csvHeader[:], column)] }
	for _, c := range []struct {
		row          int
		column, want string
	}{
		{1, "principal", "ana@example.com"}, {1, "verdict", "allow"}, {1, "rows", "1200"}, {1, "masked", "EMAIL"}, {1, "outcome", "ran"},
		{2, "decision", "approved"}, {2, "reviewers", "bob@example.com eve@example.com"}, {2, "sql", "DROP DATABASE scratch"},
		{3, "code", "JIT-3002"}, {3, "rows", ""}, {3, "outcome", "refused"},
		{4, "error", "100051 division by zero"}, {4, "outcome", "failed"},
		{5, "decision", "denied"}, {5, "predicates", "APP.PUBLIC.ORDERS.AMOUNT"},
	} {
		if got := cell(c.row, c.column); got != c.want {
			t.Errorf("row %d %s = %q, want %q", c.row, c.column, got, c.want)
		}
	}
	for i, row := range rows {
		for j, s := range row {
			if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
				t.Errorf("row %d column %s would run in a spreadsheet: %q", i, csvHeader[j], s)
			}
			if strings.ContainsAny(s, "\x1b\u202e") {
				t.Errorf("row %d column %s holds a control character", i, csvHeader[j])
			}
		}
	}
}

// TestExportJSONLines: every event, with its texts in place.
func TestExportJSONLines(t *testing.T) {
	r := hostileRecording(t)
	n := int64(0)
	for line := range strings.Lines(string(export(t, r, FormatJSONL))) {
		want, err := r.event(n)
		if err != nil {
			t.Fatal(err)
		}
		text, err := recording.EventJSON(want)
		if err != nil || line != string(text)+"\n" {
			t.Fatalf("%v; line %d is %s, want %s", err, n, line, text)
		}
		n++
	}
	if n != r.Report().Events {
		t.Errorf("%d lines of %d events", n, r.Report().Events)
	}
}

func TestExportAsciicastSaysThatNoTerminalWasRecorded(t *testing.T) {
	var b bytes.Buffer
	if err := record(t, story()).Export(&b, FormatAsciicast); !errors.Is(err, ErrNoTerminal) || b.Len() > 0 {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
}

func TestParseFormat(t *testing.T) {
	for _, f := range Formats() {
		if got, err := ParseFormat(string(f)); got != f || err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
	if _, err := ParseFormat("pdf"); err == nil {
		t.Error("pdf was accepted")
	}
	if err := record(t, nil).Export(&bytes.Buffer{}, "pdf"); err == nil {
		t.Error("an unknown format was exported")
	}
}

// ocsfRule is what the published definition of a class or object of OCSF 1.3.0
// asks for, as far as this export uses it.
type ocsfRule struct {
	required   []string
	atLeastOne []string
	allowed    []string // with required, every attribute that may appear
	objects    map[string]string
	enums      map[string][]int
}

var ocsfSchema = map[string]ocsfRule{
	"datastore_activity": {
		required:   []string{"activity_id", "category_uid", "class_uid", "type_uid", "time", "severity_id", "metadata", "actor", "src_endpoint"},
		atLeastOne: []string{"database", "databucket", "table"},
		allowed: []string{"activity_name", "category_name", "class_name", "type_name", "end_time", "start_time", "duration", "severity",
			"status_id", "status", "status_code", "status_detail", "message", "dst_endpoint", "database", "databucket", "table", "type_id",
			"type", "query_info", "unmapped"},
		objects: map[string]string{"metadata": "metadata", "actor": "actor", "src_endpoint": "network_endpoint", "dst_endpoint": "network_endpoint",
			"database": "database", "table": "table", "query_info": "query_info"},
		enums: map[string][]int{"activity_id": {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 99}, "category_uid": {6}, "class_uid": {6005},
			"severity_id": {0, 1, 2, 3, 4, 5, 6, 99}, "status_id": {0, 1, 2, 99}, "type_id": {0, 1, 2, 3, 99}},
	},
	"metadata": {required: []string{"version", "product"}, allowed: []string{"uid", "sequence", "correlation_uid", "log_name"},
		objects: map[string]string{"product": "product"}},
	"product": {required: []string{"vendor_name"}, atLeastOne: []string{"name", "uid"}, allowed: []string{"name", "uid", "version"}},
	"actor": {atLeastOne: []string{"process", "user", "invoked_by", "session", "app_name", "app_uid"}, allowed: []string{"app_name", "user", "session"},
		objects: map[string]string{"user": "user", "session": "session"}},
	"user":             {atLeastOne: []string{"account", "name", "uid"}, allowed: []string{"name", "uid", "email_addr"}},
	"session":          {allowed: []string{"uid"}},
	"network_endpoint": {atLeastOne: []string{"ip", "uid", "name", "hostname", "svc_name", "instance_uid", "interface_uid", "interface_name"}, allowed: []string{"svc_name"}},
	"database":         {required: []string{"type_id"}, atLeastOne: []string{"name", "uid"}, allowed: []string{"name", "type"}, enums: map[string][]int{"type_id": {0, 1, 2, 3, 4, 5, 6, 7, 99}}},
	"table":            {atLeastOne: []string{"name", "uid"}, allowed: []string{"name"}},
	"query_info":       {required: []string{"query_string"}, atLeastOne: []string{"name", "uid"}, allowed: []string{"uid", "bytes", "query_time"}},
}

// checkOCSF says what an object lacks or has too much.
func checkOCSF(kind, path string, object map[string]any) []string {
	rule, known := ocsfSchema[kind]
	if !known {
		return []string{path + ": no definition of " + kind}
	}
	var wrong []string
	for _, name := range rule.required {
		if v, ok := object[name]; !ok || v == "" {
			wrong = append(wrong, path+" lacks "+name)
		}
	}
	if len(rule.atLeastOne) > 0 && !slices.ContainsFunc(rule.atLeastOne, func(n string) bool { v, ok := object[n]; return ok && v != "" }) {
		wrong = append(wrong, path+" has none of "+strings.Join(rule.atLeastOne, ", "))
	}
	for name, v := range object {
		if !slices.Contains(rule.required, name) && !slices.Contains(rule.allowed, name) && !slices.Contains(rule.atLeastOne, name) {
			wrong = append(wrong, path+" has an attribute that the definition does not: "+name)
		}
		if ids, ok := rule.enums[name]; ok {
			if n, ok := v.(float64); !ok || !slices.Contains(ids, int(n)) {
				wrong = append(wrong, fmt.Sprintf("%s.%s is %v", path, name, v))
			}
		}
		if kind, ok := rule.objects[name]; ok {
			inner, isObject := v.(map[string]any)
			if !isObject {
				wrong = append(wrong, path+"."+name+" is no object")
				continue
			}
			wrong = append(wrong, checkOCSF(kind, path+"."+name, inner)...)
		}
	}
	return wrong
}

func TestExportOCSFKeepsTheRequirementsOfTheClass(t *testing.T) {
	var types []string
	for line := range bytes.Lines(export(t, hostileRecording(t), FormatOCSF)) {
		var event map[string]any
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatal(err)
		}
		for _, wrong := range checkOCSF("datastore_activity", "event", event) {
			t.Errorf("%s\n%s", wrong, line)
		}
		uid, activity := event["type_uid"].(float64), event["activity_id"].(float64)
		if uid != 600500+activity {
			t.Errorf("type_uid %v of activity %v", uid, activity)
		}
		if event["time"].(float64) > event["end_time"].(float64) || event["time"].(float64) < float64(start.UnixMilli()) {
			t.Errorf("time %v to %v", event["time"], event["end_time"])
		}
		types = append(types, fmt.Sprintf("%v/%v", event["activity_name"], event["status"]))
	}
	want := "Connect/Success Query/Success Delete/Success Query/Failure Query/Failure Delete/Failure Connect/Failure"
	if got := strings.Join(types[:len(types)-1], " "); got != want {
		t.Errorf("events: %s\nwant    %s", got, want)
	}
	// The check itself must be able to fail.
	if wrong := checkOCSF("datastore_activity", "event", map[string]any{"actor": map[string]any{}, "activity_id": 12.0, "invented": 1.0}); len(wrong) < 10 {
		t.Errorf("an empty event passes: %q", wrong)
	}
}

// TestReportHTMLIsSelfContained: a browser given the page loads nothing and
// runs nothing, whatever was recorded.
func TestReportHTMLIsSelfContained(t *testing.T) {
	page := export(t, hostileRecording(t), FormatHTML)
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	elements := []string{"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "dl", "dt", "dd", "pre", "svg", "a", "rect", "article", "footer", "code"}
	var text, style strings.Builder
	policy, ids, targets := "", map[string]bool{}, []string{}
	var walk func(n *html.Node)
	walk = func(n *html.Node) {
		switch n.Type {
		case html.ElementNode:
			if !slices.Contains(elements, n.Data) {
				t.Errorf("the page holds <%s>", n.Data)
			}
			for _, a := range n.Attr {
				switch {
				case strings.HasPrefix(a.Key, "on"), a.Key == "src", a.Key == "style", a.Key == "action":
					t.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val)
				case strings.HasSuffix(a.Key, "href"):
					if !strings.HasPrefix(a.Val, "#e") {
						t.Errorf("a link leads to %q", a.Val)
					}
					targets = append(targets, a.Val[1:])
				case a.Key == "id":
					ids[a.Val] = true
				case a.Key == "content" && strings.Contains(a.Val, "default-src"):
					policy = a.Val
				}
			}
		case html.CommentNode:
			t.Errorf("a comment: %q", n.Data)
		case html.TextNode:
			if n.Parent.Data == "style" {
				style.WriteString(n.Data)
			} else {
				text.WriteString(n.Data)
			}
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(root)

	sum := sha256.Sum256([]byte(style.String()))
	if want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"; policy != want {
		t.Errorf("the policy is %q\nfor this style    %q", policy, want)
	}
	if strings.Contains(style.String(), "url(") || strings.Contains(style.String(), "@import") {
		t.Error("the style loads something")
	}
	for _, id := range targets {
		if !ids[id] {
			t.Errorf("the timeline leads to %q, which is not there", id)
		}
	}
	if len(targets) < 8 {
		t.Errorf("%d marks on the timeline", len(targets))
	}
	for _, want := range []string{"<script>alert(1)</script>", "DROP DATABASE scratch", "bob@example.com", "6 statements", "Data does not leave the account."} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if bytes.ContainsAny(page, "\x1b\u202e") {
		t.Error("a control character came through")
	}
}

func TestReportOfAnEmptySession(t *testing.T) {
	for _, f := range []Format{FormatCSV, FormatJSONL, FormatOCSF, FormatHTML} {
		export(t, record(t, nil), f)
	}
}

func TestSplitObject(t *testing.T) {
	for in, want := range map[string][2]string{
		"database SCRATCH": {"database", "SCRATCH"}, "stage APP.PUBLIC.LOADS": {"stage", "APP.PUBLIC.LOADS"},
		"APP.PUBLIC.ORDERS": {"", "APP.PUBLIC.ORDERS"}, `APP.PUBLIC."a b"`: {"", `APP.PUBLIC."a b"`}, `"a b".X.Y`: {"", `"a b".X.Y`}, "": {"", ""},
	} {
		if kind, name := splitObject(in); kind != want[0] || name != want[1] {
			t.Errorf("%q is %q, %q", in, kind, name)
		}
	}
}
