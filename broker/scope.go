package broker

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/policy/sql"
)

// wantedPlace reads what a driver asks for at login. Where the grant names a
// role and a warehouse, they are its limits; its database and schema are where a
// login starts unless it asks for others, because every object is judged by its
// full name.
func (b *Broker) wantedPlace(r *http.Request, req snowflake.LoginRequest) (place, *refusal) {
	q := r.URL.Query()
	if s := strings.ToUpper(req.SecondaryRoles); s != "" && s != "NONE" {
		return place{}, faultScope.refuse("secondary roles are not part of the grant")
	}
	return b.withinGrant(q.Get("databaseName"), q.Get("schemaName"), q.Get("warehouse"), q.Get("roleName"))
}

// withinGrant is the place that is asked for by name, empty for what is left to
// the grant, unless the grant has another role or warehouse.
func (b *Broker) withinGrant(database, schema, warehouse, role string) (place, *refusal) {
	want := place{database: foldName(database), schema: foldName(schema), warehouse: foldName(warehouse), role: foldName(role)}
	scope := b.cfg.Session.Scope
	for _, c := range [...]struct{ what, want, granted string }{
		{"role", want.role, scope.Role}, {"warehouse", want.warehouse, scope.Warehouse},
	} {
		if c.want != "" && c.granted != "" && c.want != foldName(c.granted) {
			return place{}, faultScope.refuse("another " + c.what + " is asked for than the grant's " + c.granted)
		}
	}
	return want, nil
}

// faultPlace is the answer to a statement that would leave the grant's role or
// warehouse.
var faultPlace = fault{"JIT-2011", "PLACE_NOT_GRANTED", snowflake.CodeAccessDenied, "42501", notRun,
	"stay with the grant's role and warehouse; if the work needs others, the person you work for can ask for them with `jit exec --role --warehouse`.", false}

// leavesGrant refuses a statement that changes the role or the warehouse to
// others than the grant's, whatever the policy says, and any in a session that
// was moved there in a way nobody saw coming (CREATE WAREHOUSE does).
func (b *Broker) leavesGrant(l *login, j *judgement) *refusal {
	role, warehouse := b.cfg.Session.Scope.Role, b.cfg.Session.Scope.Warehouse
	if role = foldName(role); role == "" {
		role = l.start.role
	}
	warehouse = foldName(warehouse)
	if ref := switches(j.analysis.Statements, role, warehouse); ref != nil {
		return ref
	}
	if lone := j.analysis.Statements; warehouse != "" && createsWarehouse(lone) && !(len(lone) == 1 && len(lone[0].Nested)+len(lone[0].Unknown) == 0) {
		return faultPlace.refuse("a session is in the warehouse it has created; send CREATE WAREHOUSE alone, then USE WAREHOUSE " + sql.FormatIdentifier(warehouse))
	}
	// As reported by the server, which need not keep case.
	differs := func(is, granted string) bool { return granted != "" && is != "" && !strings.EqualFold(is, granted) }
	if lone := j.analysis.Statements; len(lone) == 1 && (lone[0].Effects.UseRole != "" || lone[0].Effects.UseWarehouse != "") {
		return nil // the way back
	}
	switch {
	case differs(j.place.role, role):
		return faultPlace.refuse("the session is in another role than the grant's; switch back with USE ROLE " + sql.FormatIdentifier(role))
	case differs(j.place.warehouse, warehouse):
		return faultPlace.refuse("the session is in another warehouse than the grant's; switch back with USE WAREHOUSE " + sql.FormatIdentifier(warehouse))
	}
	return nil
}

func switches(statements []sql.Statement, role, warehouse string) *refusal {
	for i := range statements {
		st := &statements[i]
		e := st.Effects
		switch {
		case e.UseRole != "" && role != "" && e.UseRole != role:
			return faultPlace.refuse("the statement switches to another role than the grant's")
		case e.UseWarehouse != "" && warehouse != "" && e.UseWarehouse != warehouse:
			return faultPlace.refuse("the statement switches to another warehouse than the grant's")
		case st.Kind == "USE_ROLE" && e.UseRole == "" && role != "", st.Kind == "USE_WAREHOUSE" && e.UseWarehouse == "" && warehouse != "":
			return faultPlace.refuse("the statement switches to a role or warehouse that it does not name plainly")
		case st.Kind == "USE_SECONDARY_ROLES" && strings.ToUpper(st.Text) != "USE SECONDARY ROLES NONE":
			return faultPlace.refuse("secondary roles are not part of the grant")
		}
		if ref := switches(st.Nested, role, warehouse); ref != nil {
			return ref
		}
	}
	return nil
}

// createsWarehouse reports whether any of statements makes a warehouse, in which
// the session is from then on.
func createsWarehouse(statements []sql.Statement) bool {
	return slices.ContainsFunc(statements, func(st sql.Statement) bool {
		kind := string(st.Kind)
		return strings.HasPrefix(kind, "CREATE_") && strings.HasSuffix(kind, "WAREHOUSE") || createsWarehouse(st.Nested)
	})
}

// foldName folds an identifier as login parameters are read: quoted as it
// stands, otherwise upper case.
func foldName(s string) string {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return strings.ReplaceAll(s[1:len(s)-1], `""`, `"`)
	}
	return strings.ToUpper(s)
}

// settle brings a new upstream session to where the driver wants to be and
// sets the session parameters it may set. Each step is a statement like any
// other: analysed, ruled on, recorded; one that is not allowed at once refuses
// the login.
func (b *Broker) settle(ctx context.Context, l *login, want place, parameters snowflake.Object) *refusal {
	if want.role != "" && want.role != l.place.role {
		return faultScope.refuse("the login asks for another role than the session's " + l.place.role)
	}
	var steps []string
	if want.warehouse != "" && want.warehouse != l.place.warehouse {
		steps = append(steps, "USE WAREHOUSE "+sql.FormatIdentifier(want.warehouse))
	}
	if want.database != "" && want.database != l.place.database {
		steps = append(steps, "USE DATABASE "+sql.FormatIdentifier(want.database))
	}
	if want.schema != "" && (want.schema != l.place.schema || len(steps) > 0) {
		steps = append(steps, "USE SCHEMA "+sql.FormatIdentifier(want.schema))
	}
	for _, p := range parameters {
		if settable(p.Key) {
			if literal, ok := parameterLiteral(p.Raw); ok {
				steps = append(steps, "ALTER SESSION SET "+strings.ToUpper(p.Key)+" = "+literal)
			}
		}
	}
	for _, text := range steps {
		s := newStatement(uuid.NewString(), snowflake.QueryRequest{SQL: text, HasSQL: true})
		s.atLogin = true
		out := b.execute(ctx, l, s)
		if out.refusal != nil {
			ref := *out.refusal
			ref.why = "setting up the connection (" + strings.Join(strings.Fields(text)[:3], " ") + "): " + ref.why
			return &ref
		}
		if !out.success {
			return faultScope.refuse("Snowflake refused to set up the connection (" + strings.Join(strings.Fields(text)[:3], " ") + ")")
		}
	}
	return nil
}

// sessionSettable are session parameters that change how values are printed or
// tagged, or how long things take; none changes what a name means, what is
// visible, or which bytes come back masked.
var sessionSettable = []string{"TIMEZONE", "QUERY_TAG", "DATE_OUTPUT_FORMAT", "TIME_OUTPUT_FORMAT",
	"TIMESTAMP_OUTPUT_FORMAT", "TIMESTAMP_NTZ_OUTPUT_FORMAT", "TIMESTAMP_LTZ_OUTPUT_FORMAT", "TIMESTAMP_TZ_OUTPUT_FORMAT",
	"DATE_INPUT_FORMAT", "TIME_INPUT_FORMAT", "TIMESTAMP_INPUT_FORMAT", "TIMESTAMP_TYPE_MAPPING", "BINARY_OUTPUT_FORMAT",
	"BINARY_INPUT_FORMAT", "GEOGRAPHY_OUTPUT_FORMAT", "GEOMETRY_OUTPUT_FORMAT", "JSON_INDENT", "ROWS_PER_RESULTSET",
	"STATEMENT_TIMEOUT_IN_SECONDS", "STATEMENT_QUEUED_TIMEOUT_IN_SECONDS", "LOCK_TIMEOUT", "WEEK_START",
	"WEEK_OF_YEAR_POLICY", "TWO_DIGIT_CENTURY_START", "AUTOCOMMIT"}

func settable(name string) bool { return slices.Contains(sessionSettable, strings.ToUpper(name)) }

// parameterLiteral writes a parameter value as an SQL literal.
func parameterLiteral(raw json.RawMessage) (string, bool) {
	if s, ok := snowflake.Text(raw); ok {
		if strings.ContainsAny(s, "\\\x00\r\n") || len(s) > 2000 {
			return "", false
		}
		return "'" + strings.ReplaceAll(s, "'", "''") + "'", true
	}
	s := string(raw)
	if s == "true" || s == "false" {
		return strings.ToUpper(s), true
	}
	if s != "" && strings.Trim(s, "0123456789") == "" {
		return s, true
	}
	return "", false
}

// resultFormats are the parameters that choose JSON or Arrow, by driver.
var resultFormats = []string{"GO_QUERY_RESULT_FORMAT", "PYTHON_CONNECTOR_QUERY_RESULT_FORMAT", "JDBC_QUERY_RESULT_FORMAT",
	"ODBC_QUERY_RESULT_FORMAT", "C_API_QUERY_RESULT_FORMAT", "DOTNET_QUERY_RESULT_FORMAT"}

// driverParameters are statement parameters of drivers' own that are dropped
// without a word: they mean nothing upstream, where the broker is the client.
var driverParameters = []string{"CLIENT_", "PYTHON_", "JDBC_", "ODBC_", "GO_", "DOTNET_", "C_API_", "JS_", "NODE_", "SNOWPARK_"}

// clientMarks are those without a prefix: Snowpark's marks for its own telemetry,
// and what JDBC sends with every statement that has binds, which Snowflake takes
// from the other drivers without it.
var clientMarks = []string{"_PLAN_UUID", "AUTO_CLEAN_UP_TEMP_TABLE", "NEW_SQL_FORMAT"}

const multiStatementCount = "MULTI_STATEMENT_COUNT"

// statementParameters filters the parameters of one statement: settable ones
// and result formats pass, drivers' own are dropped, others refuse the
// statement, because leaving them out would change what it does. The count of
// statements is the driver's claim, returned apart; -1 if it made none.
//
// The upstream session is the broker's, so the format a driver asks for is asked
// for under every driver's parameter name.
func statementParameters(in snowflake.Object, format json.RawMessage) (out snowflake.Object, count int64, ref *refusal) {
	count = -1
	for _, p := range in {
		name := strings.ToUpper(p.Key)
		switch {
		case name == multiStatementCount:
			n, ok := in.Int(p.Key)
			if !ok || n < 0 {
				return nil, 0, faultUnsupported.refuse("the statement count is not a number")
			}
			count = n
		case settable(name):
			out.Set(name, p.Raw)
		case isResultFormat(name):
			format = p.Raw
		case slices.Contains(clientMarks, name),
			slices.ContainsFunc(driverParameters, func(prefix string) bool { return strings.HasPrefix(name, prefix) }):
		default:
			return nil, 0, faultUnsupported.refuse("the statement parameter " + clip(name, 64) + " is not on the list of harmless ones")
		}
	}
	if !snowflake.IsNull(format) {
		for _, name := range resultFormats {
			out.Set(name, format)
		}
	}
	return out, count, nil
}

func isResultFormat(name string) bool {
	return slices.Contains(resultFormats, name) || strings.HasSuffix(name, "_QUERY_RESULT_FORMAT")
}

// wantedFormat is the result format a login asks for; nil if it leaves the
// choice to Snowflake. Node's driver cannot read Arrow.
func wantedFormat(req snowflake.LoginRequest) json.RawMessage {
	if req.AppID == "JavaScript" {
		return json.RawMessage(`"JSON"`)
	}
	for _, p := range req.Parameters {
		if isResultFormat(strings.ToUpper(p.Key)) {
			return p.Raw
		}
	}
	return nil
}

// clientOverrides are the session parameters drivers are told whatever
// Snowflake says: no telemetry; values of array binds travel inline, where
// they can be read. Zero would mean never to some drivers and always to Node.
var clientOverrides = []snowflake.Parameter{
	{Name: "CLIENT_TELEMETRY_ENABLED", Value: json.RawMessage("false")},
	{Name: "CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED", Value: json.RawMessage("false")},
	{Name: "CLIENT_TELEMETRY_SESSIONLESS_ENABLED", Value: json.RawMessage("false")},
	{Name: "CLIENT_STAGE_ARRAY_BINDING_THRESHOLD", Value: json.RawMessage("2147483647")},
}

// clientDefaults are parameters some driver cannot do without.
var clientDefaults = []snowflake.Parameter{
	{Name: "CLIENT_PREFETCH_THREADS", Value: json.RawMessage("4")},
	{Name: "CLIENT_SESSION_KEEP_ALIVE", Value: json.RawMessage("false")},
	{Name: "CLIENT_SESSION_KEEP_ALIVE_HEARTBEAT_FREQUENCY", Value: json.RawMessage("3600")},
	{Name: "TIMEZONE", Value: json.RawMessage(`"Etc/UTC"`)},
	{Name: "AUTOCOMMIT", Value: json.RawMessage("true")},
}

// clientParameters composes the parameter list of a login answer from the
// upstream one: values as they are, nulls left out, overrides on top.
func clientParameters(upstream []byte) ([]snowflake.Parameter, error) {
	var list []snowflake.Parameter
	if len(upstream) > 0 && !snowflake.IsNull(upstream) {
		raws, err := snowflake.ParseArray(upstream)
		if err != nil {
			return nil, err
		}
		for _, raw := range raws {
			o, err := snowflake.ParseObject(raw)
			if err != nil {
				return nil, err
			}
			name, _ := o.Text("name")
			if value := o.Get("value"); name != "" && value != nil && !overridden(name) {
				list = append(list, snowflake.Parameter{Name: name, Value: value})
			}
		}
	}
	for _, p := range clientDefaults {
		if !slices.ContainsFunc(list, func(q snowflake.Parameter) bool { return q.Name == p.Name }) {
			list = append(list, p)
		}
	}
	return append(list, clientOverrides...), nil
}

// foreignNames refuses a session in which names mean something else than they
// are judged to: an account, a user or a role may have such defaults. A server
// that does not list a parameter has Snowflake's default.
func foreignNames(upstream []byte) *refusal {
	list, err := clientParameters(upstream)
	if err != nil {
		return faultUpstreamLogin.refuse("the upstream session's parameters cannot be read")
	}
	for _, p := range list {
		value, isText := snowflake.Text(p.Value)
		if !isText {
			value = string(p.Value)
		}
		value = strings.Join(strings.Fields(strings.ToUpper(value)), "")
		switch name := strings.ToUpper(p.Name); {
		case name == "QUOTED_IDENTIFIERS_IGNORE_CASE" && value != "FALSE",
			name == "SEARCH_PATH" && value != "" && value != "$CURRENT,$PUBLIC":
			return faultUpstreamLogin.refuse("the session starts with " + name + " set, under which names mean something else than they are judged to; set it back to its default for the role's user")
		}
	}
	return nil
}

func overridden(name string) bool {
	return slices.ContainsFunc(clientOverrides, func(p snowflake.Parameter) bool { return p.Name == name })
}
