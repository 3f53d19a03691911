package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/jit-access/jit/session/recording"
)

// The export follows OCSF 1.3.0, class Datastore Activity: one event per
// statement and per login, as JSON lines. It sets every attribute that the
// class and the objects used require, and keeps their at-least-one rules; what
// OCSF has no word for is in unmapped. No profile is applied.
const (
	ocsfVersion  = "1.3.0"
	ocsfCategory = 6    // Application Activity
	ocsfClass    = 6005 // Datastore Activity
)

// The activities of the class.
const (
	ocsfUpdate  = 2
	ocsfConnect = 3
	ocsfQuery   = 4
	ocsfWrite   = 5
	ocsfCreate  = 6
	ocsfDelete  = 7
	ocsfOther   = 99
)

var ocsfActivityNames = map[int]string{
	ocsfUpdate: "Update", ocsfConnect: "Connect", ocsfQuery: "Query", ocsfWrite: "Write", ocsfCreate: "Create", ocsfDelete: "Delete",
}

// ocsfEvent is one event. Times are milliseconds since 1970.
type ocsfEvent struct {
	ActivityID   int           `json:"activity_id"`
	ActivityName string        `json:"activity_name"`
	CategoryUID  int           `json:"category_uid"`
	CategoryName string        `json:"category_name"`
	ClassUID     int           `json:"class_uid"`
	ClassName    string        `json:"class_name"`
	TypeUID      int           `json:"type_uid"`
	TypeName     string        `json:"type_name"`
	Time         int64         `json:"time"`
	EndTime      int64         `json:"end_time"`
	Duration     int64         `json:"duration"`
	SeverityID   int           `json:"severity_id"`
	Severity     string        `json:"severity"`
	StatusID     int           `json:"status_id"`
	Status       string        `json:"status"`
	StatusCode   string        `json:"status_code,omitempty"`
	StatusDetail string        `json:"status_detail,omitempty"`
	Message      string        `json:"message"`
	Metadata     ocsfMetadata  `json:"metadata"`
	Actor        ocsfActor     `json:"actor"`
	SrcEndpoint  ocsfEndpoint  `json:"src_endpoint"`
	DstEndpoint  ocsfEndpoint  `json:"dst_endpoint"`
	Database     ocsfDatabase  `json:"database"`
	Table        *ocsfNamed    `json:"table,omitempty"`
	TypeID       int           `json:"type_id"`
	Type         string        `json:"type"`
	QueryInfo    *ocsfQueryFor `json:"query_info,omitempty"`
	Unmapped     ocsfUnmapped  `json:"unmapped"`
}

type ocsfMetadata struct {
	Version     string      `json:"version"`
	Product     ocsfProduct `json:"product"`
	UID         string      `json:"uid"`
	Sequence    int64       `json:"sequence"`
	Correlation string      `json:"correlation_uid"`
	LogName     string      `json:"log_name"`
}

type ocsfProduct struct {
	VendorName string `json:"vendor_name"`
	Name       string `json:"name"`
}

type ocsfActor struct {
	AppName string      `json:"app_name,omitempty"`
	User    ocsfUser    `json:"user"`
	Session ocsfSession `json:"session"`
}

type ocsfUser struct {
	Name  string `json:"name"`
	UID   string `json:"uid"`
	Email string `json:"email_addr,omitempty"`
}

type ocsfSession struct {
	UID string `json:"uid"`
}

type ocsfEndpoint struct {
	SvcName string `json:"svc_name"`
}

type ocsfDatabase struct {
	Name   string `json:"name"`
	TypeID int    `json:"type_id"`
	Type   string `json:"type"`
}

type ocsfNamed struct {
	Name string `json:"name"`
}

type ocsfQueryFor struct {
	String string `json:"query_string"`
	UID    string `json:"uid"`
	Bytes  int64  `json:"bytes,omitempty"`
	Time   int64  `json:"query_time"`
}

type ocsfUnmapped struct {
	Statement  string   `json:"statement,omitempty"`
	Verdict    string   `json:"verdict,omitempty"`
	Rule       string   `json:"rule,omitempty"`
	Policy     string   `json:"policy,omitempty"`
	Decision   string   `json:"decision,omitempty"`
	Reviewers  []string `json:"reviewers,omitempty"`
	Outcome    string   `json:"outcome,omitempty"`
	Kinds      []string `json:"kinds,omitempty"`
	Reads      []string `json:"reads,omitempty"`
	Writes     []string `json:"writes,omitempty"`
	Predicates []string `json:"predicates,omitempty"`
	Masked     []string `json:"masked,omitempty"`
	Rows       int64    `json:"rows,omitempty"`
	QueryID    string   `json:"snowflake_query_id,omitempty"`
	Role       string   `json:"role,omitempty"`
	Warehouse  string   `json:"warehouse,omitempty"`
	Unsigned   bool     `json:"unsigned,omitempty"` // not covered by the session's own signature
}

func (r *Recording) exportOCSF(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return r.each(WriteOptions{}, func(d Detail) error {
		var e ocsfEvent
		switch d.Entry.Kind {
		case recording.KindStatement:
			e = r.ocsfStatement(d)
		case recording.KindLogin:
			e = r.ocsfLogin(d)
		default:
			return nil
		}
		return enc.Encode(e)
	})
}

// ocsfBase is what all events of a recording share.
func (r *Recording) ocsfBase(d Detail, activity int, name string) ocsfEvent {
	s := r.Session()
	seq := int64(0)
	if len(d.Entry.Events) > 0 {
		seq = int64(d.Entry.Events[0])
	}
	e := newOCSF(activity, name, s.ID, seq)
	e.Time, e.EndTime, e.Duration = d.Entry.At.UnixMilli(), d.Entry.Until.UnixMilli(), max(d.Entry.Until.Sub(d.Entry.At), 0).Milliseconds()
	e.Metadata.LogName = "jit recording"
	e.Actor.User = ocsfUser{Name: orElse(s.Email, s.Principal), UID: s.Principal, Email: s.Email}
	e.DstEndpoint = ocsfEndpoint{"Snowflake connection " + s.Connection}
	e.Database.Name = orElse(s.Database, s.Connection)
	e.Unmapped = ocsfUnmapped{Policy: s.Policy, Role: s.Role, Warehouse: s.Warehouse, Unsigned: d.Entry.Unsigned}
	return e
}

// newOCSF is what all events share. An empty name is the activity's own.
func newOCSF(activity int, name, sessionID string, seq int64) ocsfEvent {
	if name == "" {
		name = ocsfActivityNames[activity]
	}
	return ocsfEvent{
		ActivityID: activity, ActivityName: name,
		CategoryUID: ocsfCategory, CategoryName: "Application Activity", ClassUID: ocsfClass, ClassName: "Datastore Activity",
		TypeUID: ocsfClass*100 + activity, TypeName: "Datastore Activity: " + name,
		SeverityID: 1, Severity: "Informational", StatusID: 1, Status: "Success",
		Metadata: ocsfMetadata{Version: ocsfVersion, Product: ocsfProduct{"jit", "jit"}, UID: fmt.Sprintf("%s/%d", sessionID, seq),
			Sequence: seq, Correlation: sessionID},
		Actor:       ocsfActor{Session: ocsfSession{sessionID}},
		SrcEndpoint: ocsfEndpoint{"jit broker"},
		Database:    ocsfDatabase{TypeID: 1, Type: "Relational"},
		TypeID:      1, Type: "Database",
	}
}

func (e *ocsfEvent) fail(code, detail string) {
	e.StatusID, e.Status, e.StatusCode, e.StatusDetail = 2, "Failure", code, detail
}

func (r *Recording) ocsfLogin(d Detail) ocsfEvent {
	e := r.ocsfBase(d, ocsfConnect, "")
	e.Message = d.Entry.Title
	if l := d.Events[0].Login; l != nil {
		e.Actor.AppName = strings.TrimSpace(l.Driver + " " + l.Version)
		if !l.OK {
			e.fail("", l.Why)
		}
	}
	return e
}

func (r *Recording) ocsfStatement(d Detail) ocsfEvent {
	x := d.summary()
	activity, name := ocsfOf(x.sql.Kinds)
	e := r.ocsfBase(d, activity, name)
	e.Actor.AppName = x.sql.Driver
	e.Message = fmt.Sprintf("%s, %s: %s", d.Entry.Verdict, d.Entry.Summary(), d.Entry.Title)
	e.QueryInfo = &ocsfQueryFor{String: x.sql.Text, UID: d.Entry.ID, Bytes: x.result.Bytes, Time: d.Entry.At.UnixMilli()}
	e.touch(x.sql.Writes, x.sql.Reads)
	switch d.Entry.Outcome {
	case OutcomeRan:
	case OutcomeFailed:
		e.fail("", x.result.Error)
	case OutcomeRefused:
		e.fail(x.refused.Code, x.refused.Message)
		e.SeverityID, e.Severity = 3, "Medium"
	case OutcomeAborted:
		e.fail("", "aborted")
	default: // nothing says how it ended
		e.StatusID, e.Status = 0, "Unknown"
	}
	u := &e.Unmapped
	u.Statement, u.Verdict, u.Rule, u.Decision, u.Reviewers = d.Entry.ID, d.Entry.Verdict, x.sql.Rule, d.Entry.Decision, x.decision.Reviewer
	u.Outcome, u.Kinds, u.Reads, u.Writes, u.Predicates = d.Entry.Outcome.String(), x.sql.Kinds, x.sql.Reads, x.sql.Writes, x.sql.Predicates
	u.Masked, u.Rows, u.QueryID = x.result.Masked, x.result.Rows, x.result.QueryID
	return e
}

// touch names the first object written, or else read.
func (e *ocsfEvent) touch(writes, reads []string) {
	switch kind, name := splitObject(firstOf(writes, reads)); {
	case kind == "" && name != "":
		e.Table, e.TypeID, e.Type = &ocsfNamed{name}, 3, "Table"
	case kind == "database":
		e.Database.Name = name
	}
}

// ocsfOf is the activity of a statement of these kinds; with the source's own
// name if OCSF has none.
func ocsfOf(kinds []string) (activity int, name string) {
	if len(kinds) == 0 {
		return 0, "Unknown"
	}
	if activity = ocsfActivity(kinds[0]); activity == ocsfOther {
		name = kinds[0]
	}
	return activity, name
}

// ocsfActivity says which activity a kind of statement is.
func ocsfActivity(kind string) int {
	verb, _, _ := strings.Cut(kind, "_")
	switch {
	case kind == "COPY_INTO_LOCATION":
		return ocsfQuery
	case kind == "CREATE_TABLE_AS", verb == "CREATE", verb == "UNDROP":
		return ocsfCreate
	}
	switch verb {
	case "SELECT", "SHOW", "DESCRIBE", "DESC", "LIST", "LS", "EXPLAIN", "VALUES", "WITH", "QUERY":
		return ocsfQuery
	case "INSERT", "MERGE", "COPY":
		return ocsfWrite
	case "UPDATE", "ALTER":
		return ocsfUpdate
	case "DELETE", "TRUNCATE", "DROP":
		return ocsfDelete
	}
	return ocsfOther
}

// splitObject splits a recorded object that is no table or view, which has its
// kind in front: `stage APP.PUBLIC.LOADS`. Names begin with a capital or a quote.
func splitObject(s string) (kind, name string) {
	kind, name, ok := strings.Cut(s, " ")
	if !ok || strings.ContainsFunc(kind, func(r rune) bool { return r < 'a' || r > 'z' }) {
		return "", s
	}
	return kind, name
}

func firstOf(lists ...[]string) string {
	for _, l := range lists {
		if len(l) > 0 {
			return l[0]
		}
	}
	return ""
}
