package broker

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/session"
)

var everyFault = map[string]fault{
	"faultLease": faultLease, "faultEnded": faultEnded, "faultAuthenticator": faultAuthenticator, "faultLogins": faultLogins,
	"faultScope": faultScope, "faultUpstreamLogin": faultUpstreamLogin, "faultGone": faultGone, "faultMaster": faultMaster,
	"faultDenied": faultDenied, "faultSyntax": faultSyntax, "faultUnsupported": faultUnsupported, "faultRequestID": faultRequestID,
	"faultLimit": faultLimit, "faultWall": faultWall, "faultBody": faultBody, "faultBusy": faultBusy, "faultCount": faultCount,
	"faultMissing": faultMissing, "faultPlace": faultPlace, "faultColumn": faultColumn,
	"faultPending": faultPending, "faultRejected": faultRejected, "faultExpired": faultExpired, "faultWithdrawn": faultWithdrawn,
	"faultChanged": faultChanged, "faultDesk": faultDesk,
	"faultUpstream": faultUpstream, "faultWithheld": faultWithheld, "faultRecord": faultRecord, "faultUnknownID": faultUnknownID,
	"faultAborted": faultAborted, "faultHidden": faultHidden, "faultRoute": faultRoute,
}

// declaredFaults are the variables of this package that hold a fault literal.
func declaredFaults(t *testing.T) []string {
	t.Helper()
	packages, err := parser.ParseDir(token.NewFileSet(), ".", nil, 0) //nolint:staticcheck // one folder, without build tags
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range packages["broker"].Files {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			if lit, ok := spec.Values[0].(*ast.CompositeLit); ok {
				if typ, ok := lit.Type.(*ast.Ident); ok && typ.Name == "fault" {
					names = append(names, spec.Names[0].Name)
				}
			}
			return true
		})
	}
	return names
}

// Every refusal says what it is, whether anything ran, one next step, and
// whether sending the same again helps; and it reads back as it was written.
func TestEveryRefusalTellsWhatToDo(t *testing.T) {
	declared := declaredFaults(t)
	if len(declared) != len(everyFault) {
		t.Errorf("%d faults are declared, %d are looked at", len(declared), len(everyFault))
	}
	codes := map[string]string{}
	for _, name := range declared {
		f, ok := everyFault[name]
		if !ok {
			t.Errorf("%s is not looked at", name)
			continue
		}
		if other, taken := codes[f.code]; taken {
			t.Errorf("%s and %s are both %s", name, other, f.code)
		}
		codes[f.code] = name
		ref := f.refuse("why it is\nso")
		ref.request, ref.rule, ref.expires = "req_1", "no pii=x", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		lines := strings.Split(ref.message(), "\n")
		if len(lines) != 5 || lines[0] != f.code+" "+f.name+" request=req_1 rule=no_pii=x expires=2026-01-02T03:04:05Z" || lines[1] != "jit: why it is so." {
			t.Errorf("%s: %q", name, lines)
			continue
		}
		if !slices.Contains([]string{notRun, mayHaveRun, hasRun, failed, nothingRun}, lines[2]) {
			t.Errorf("%s does not say whether it ran: %q", name, lines[2])
		}
		if next, ok := strings.CutPrefix(lines[3], "NEXT: "); !ok || len(next) < 10 || !strings.HasSuffix(next, ".") {
			t.Errorf("%s has no next step: %q", name, lines[3])
		}
		if !strings.HasPrefix(lines[4], map[bool]string{true: "RETRY: yes", false: "RETRY: no"}[f.retry]) {
			t.Errorf("%s: %q", name, lines[4])
		}
		got, ok := ParseRefusal(ref.message())
		want := Refusal{f.code, f.name, "req_1", "", "no_pii=x", ref.expires, "why it is so.", f.ran, f.next, f.retry}
		if !ok || got != want {
			t.Errorf("%s reads back as %v %+v", name, ok, got)
		}
		bare := f.refuse("").message()
		if got, ok := ParseRefusal(bare); !ok || got.Ran != f.ran || got.Why != "" || got.Next != f.next {
			t.Errorf("%s without facts: %v %+v\n%s", name, ok, got, bare)
		}
	}
}

// evades finds advice that an agent could take for leave to get the same thing
// by another wording.
var evades = regexp.MustCompile(`(?i)rephrase|reword|write it in|write it (as|differently)|try another|change what it does|work around|split`)

// What a policy or a person refused is not to be tried in other words, and no
// text tells an agent to.
func TestRefusalsInviteNoEvasion(t *testing.T) {
	for name, f := range everyFault {
		if at := evades.FindString(f.next); at != "" {
			t.Errorf("%s says %q", name, at)
		}
	}
	for _, f := range []fault{faultDenied, faultRejected} {
		if f.retry || !strings.HasPrefix(f.next, "do not send it again, in these or in other words") {
			t.Errorf("%s: %s", f.code, f.next)
		}
	}
	if !strings.Contains(hiddenText, "Masked values are not to be found out") {
		t.Errorf("hidden error text: %s", hiddenText)
	}
}

func TestParseRefusalLeavesOtherErrorsAlone(t *testing.T) {
	whole := faultPending.refuse("why").message()
	for _, text := range []string{
		"", "SQL compilation error: syntax error line 1", "JIT-3001", "x " + whole, "JIT-3001 APPROVAL_PENDING",
		strings.Replace(whole, "\nNEXT: ", "\nNOW: ", 1), whole[:strings.Index(whole, "\nRETRY")],
		strings.Replace(whole, "PENDING", "PENDING expires=soon", 1), strings.Replace(whole, "PENDING", "PENDING  x", 1),
	} {
		if r, ok := ParseRefusal(text); ok {
			t.Errorf("%q is read as %+v", text, r)
		}
	}
}

// TestRequestStatus: the lease opens how a request of the session stands, and
// nothing of another session.
func TestRequestStatus(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Hold = 50 * time.Millisecond })
	tk := r.login()
	id, final := r.held(tk, "", "drop table t")
	<-final
	look := func(id string, status int) RequestStatus {
		t.Helper()
		a := r.rest(http.MethodGet, PathRequests+id, nil)
		var s RequestStatus
		if err := json.Unmarshal([]byte(a.Raw), &s); err != nil || a.Status != status {
			t.Fatalf("want %d, got %d %s", status, a.Status, a.Raw)
		}
		return s
	}
	if s := look(id, 200); s.State != "pending" || s.Rule != "test-hold" || s.Expires.IsZero() || !strings.Contains(s.Next, "NOT run") {
		t.Errorf("%+v", s)
	}
	r.decide(id, session.OutcomeDeny)
	if s := look(id, 200); s.State != "denied" || s.Reason != "because" || s.Next != faultRejected.next {
		t.Errorf("%+v", s)
	}
	look("00000000-nobodys", 404)
	r.desk.mu.Lock()
	r.desk.requests[id].Case.SessionID = "another"
	r.desk.mu.Unlock()
	look(id, 404)
	if a := r.rest(http.MethodGet, PathRequests+id, nil, func(q *http.Request) { q.Header.Set("Authorization", "Bearer x") }); a.Status != 401 {
		t.Errorf("without the lease: %d", a.Status)
	}
	if n := len(r.up.seen()); n != 0 {
		t.Errorf("%d statements reached the upstream", n)
	}
}

func TestEveryRequestStateHasANextStep(t *testing.T) {
	for s := session.StatePending; s <= session.StateExpired; s++ {
		if nextOf[s] == "" {
			t.Errorf("%s has none", s)
		}
	}
}
