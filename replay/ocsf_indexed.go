package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Indexed is a statement as an index of many recordings knows it: what was asked
// and what the policy said. How it ended is in its recording.
type Indexed struct {
	SessionID string
	Seq       int64
	At        time.Time
	User      string // e-mail or subject
	Agent     string

	Connection, Role     string
	Verdict, Rule        string
	Kinds, Reads, Writes []string
	Text                 string
}

// WriteOCSF writes the statement as a line of JSON: an OCSF Datastore Activity
// event, as exports of recordings have them. A denied statement failed; of others
// the status is unknown.
func (s Indexed) WriteOCSF(w io.Writer) error {
	activity, name := ocsfOf(s.Kinds)
	e := newOCSF(activity, name, s.SessionID, s.Seq)
	e.Time, e.EndTime = s.At.UnixMilli(), s.At.UnixMilli()
	e.Metadata.LogName = "jit index of statements"
	e.Actor.AppName, e.Actor.User = s.Agent, ocsfUser{Name: s.User, UID: s.User}
	e.DstEndpoint = ocsfEndpoint{"Snowflake connection " + s.Connection}
	e.Database.Name = s.Connection
	e.Message = fmt.Sprintf("%s: %s", s.Verdict, s.Text)
	e.QueryInfo = &ocsfQueryFor{String: s.Text, UID: fmt.Sprintf("%s/%d", s.SessionID, s.Seq), Time: s.At.UnixMilli()}
	e.touch(s.Writes, s.Reads)
	if e.StatusID, e.Status = 0, "Unknown"; s.Verdict == "deny" {
		e.fail("", "denied by policy")
		e.SeverityID, e.Severity = 3, "Medium"
	}
	e.Unmapped = ocsfUnmapped{Verdict: s.Verdict, Rule: s.Rule, Kinds: s.Kinds, Reads: s.Reads, Writes: s.Writes, Role: s.Role}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(e)
}
