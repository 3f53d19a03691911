package broker

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
)

var sessionCases = []conformanceCase{
	{"S01", "tokens that are none", func(t *testing.T) {
		r := newRig(t)
		r.login()
		for name, header := range map[string][]string{
			"missing": nil, "bearer": {"Bearer x"}, "malformed": {"Snowflake Token=x"}, "foreign": {`Snowflake Token="x"`},
			"lease": {`Snowflake Token="` + r.lease.Reveal() + `"`}, "twice": {`Snowflake Token="x"`, `Snowflake Token="y"`},
		} {
			a := r.send("POST", "/queries/v1/query-request?requestId="+uuid.NewString(), "", queryBody("select 1"), func(q *http.Request) {
				q.Header["Authorization"] = header
				q.Header.Set("X-Snowflake-External-Session-ID", "stolen")
			})
			if a.code() != "390111" {
				t.Errorf("%s: %s", name, a.Raw)
			}
		}
		if n := len(r.up.seen()); n != 0 {
			t.Errorf("%d queries forwarded", n)
		}
	}},
	{"S02", "expiry, renewal, same request id", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		r.age(tk)
		id := uuid.NewString()
		if a := r.query(tk, id, "select 1"); a.code() != "390112" {
			t.Fatalf("got %s", a.Raw)
		}
		a := r.send("POST", "/session/token-request?requestId="+uuid.NewString(), tk.master, gz([]byte(`{"oldSessionToken":"x","requestType":"RENEW"}`)))
		d := a.data(t)
		next := tokens{d["sessionToken"].(string), d["masterToken"].(string)}
		if next == tk || next.token == tk.token || next.master == tk.master {
			t.Fatal("the pair did not change")
		}
		for range 2 {
			if a := r.query(next, id, "select 1"); !a.Success {
				t.Fatalf("got %s", a.Raw)
			}
		}
		if n := len(r.up.seen()); n != 1 {
			t.Errorf("executed %d times", n)
		}
	}},
	{"S03", "renewal of other kinds", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		for name, c := range map[string][2]string{"issue": {tk.master, "ISSUE"}, "clone": {tk.master, "CLONE"}, "session token": {tk.token, "RENEW"}, "none": {"", "RENEW"}} {
			if a := r.send("POST", "/session/token-request", c[0], []byte(`{"requestType":"`+c[1]+`"}`)); a.Success || a.code() != "390114" {
				t.Errorf("%s: %s", name, a.Raw)
			}
		}
	}},
	{"S04 Q12", "upstream expiry is invisible", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		r.up.setAnswer(func(q seenQuery) (int, string) {
			if !strings.Contains(q.Token, "renewed") {
				return 200, `{"data":null,"code":"390112","message":"expired","success":false}`
			}
			return 200, plainRow
		})
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() {
				if a := r.query(tk, "", "select 1"); !a.Success {
					t.Errorf("got %s", a.Raw)
				}
			})
		}
		work.Wait()
		if r.account.renewed != 1 {
			t.Errorf("renewed %d times", r.account.renewed)
		}
		if q := r.up.seen(); q[0].RequestID == "" {
			t.Error("no request id")
		}
	}},
	{"S05", "revoked while idle", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		r.desk.events <- sessionEnded("sess-1")
		eventually(t, "390111", func() bool { return r.query(tk, "", "select 1").code() == "390111" })
		if a := r.send("POST", "/session/heartbeat", tk.token, nil); a.code() != "390111" {
			t.Errorf("heartbeat: %s", a.Raw)
		}
		if a := r.loginWith(r.patFields(), ""); a.code() != "390100" || !strings.Contains(*a.Message, "revoked") {
			t.Errorf("login: %s", a.Raw)
		}
	}},
	{"S05", "another session's end is not ours", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		r.desk.events <- sessionEnded("sess-2")
		r.desk.events <- sessionEnded("sess-3")
		if a := r.query(tk, "", "select 1"); !a.Success {
			t.Errorf("got %s", a.Raw)
		}
	}},
	{"S06", "delete", func(t *testing.T) {
		r := newRig(t)
		tk := r.login()
		if a := r.send("POST", "/session?delete=true", tk.token, gz([]byte("{}"))); !a.Success {
			t.Fatalf("got %s", a.Raw)
		}
		if a := r.query(tk, "", "select 1"); a.code() != "390111" {
			t.Errorf("got %s", a.Raw)
		}
		eventually(t, "closed upstream", func() bool {
			r.account.mu.Lock()
			defer r.account.mu.Unlock()
			return slices.Equal(r.account.closed, []string{"up-1"})
		})
	}},
	{"L12", "heartbeat", func(t *testing.T) {
		r := newRig(t)
		if a := r.send("POST", "/session/heartbeat", "nobody", nil); a.Success {
			t.Error("a heartbeat of nobody succeeded")
		}
		if a := r.send("POST", "/session/heartbeat", r.login().token, nil); !a.Success {
			t.Errorf("got %s", a.Raw)
		}
	}},
}
