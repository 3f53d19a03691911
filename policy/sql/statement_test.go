package sql

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// reads and writes are written as kind:NAME.
func objects(list []Object) string {
	var out []string
	for _, o := range list {
		n := o.Name.String()
		if o.Kind == ObjectStage || o.Kind == ObjectLocation {
			n = o.Name.Name
			if o.Name.Database != "" {
				n = o.Name.String()
			}
		}
		out = append(out, string(o.Kind)+":"+n)
	}
	return strings.Join(out, " ")
}

func TestStatements(t *testing.T) {
	for _, c := range []struct {
		sql           string
		kind          Kind
		category      Category
		reads, writes string
		doubt         bool // carries reasons
	}{
		// what drivers send by themselves
		{"SELECT 1", "SELECT", CategoryQuery, "", "", false},
		{"select current_version()", "SELECT", CategoryQuery, "", "", false},
		{"select current_session(), current_role(), current_warehouse()", "SELECT", CategoryQuery, "", "", false},
		{"ALTER SESSION SET autocommit=False", "ALTER_SESSION", CategorySession, "", "", false},
		{"ALTER SESSION SET TIMEZONE = 'UTC', QUERY_TAG = 'dbt' STATEMENT_TIMEOUT_IN_SECONDS = 60", "ALTER_SESSION", CategorySession, "", "", false},
		{"ALTER SESSION UNSET QUERY_TAG", "ALTER_SESSION", CategorySession, "", "", false},
		{"BEGIN", "BEGIN", CategoryTransaction, "", "", false},
		{"BEGIN TRANSACTION", "BEGIN", CategoryTransaction, "", "", false},
		{"START TRANSACTION NAME t1", "BEGIN", CategoryTransaction, "", "", false},
		{"BEGIN NAME t1", "BEGIN", CategoryTransaction, "", "", false},
		{"COMMIT WORK", "COMMIT", CategoryTransaction, "", "", false},
		{"ROLLBACK", "ROLLBACK", CategoryTransaction, "", "", false},
		{"USE WAREHOUSE wh", "USE_WAREHOUSE", CategorySession, "warehouse:WH", "", false},
		{"USE DATABASE x", "USE_DATABASE", CategorySession, "database:X", "", false},
		{"USE x.y", "USE_SCHEMA", CategorySession, "schema:X.Y", "", false},
		{"USE SCHEMA \"y\"", "USE_SCHEMA", CategorySession, "schema:APP.\"y\"", "", false},
		{"SHOW PARAMETERS LIKE 'AUTOCOMMIT'", "SHOW_PARAMETERS", CategoryMetadata, "", "", false},
		{"show /* JDBC:DatabaseMetaData.getTables() */ objects in account", "SHOW_OBJECTS", CategoryMetadata, "", "", false},
		{"SHOW TERSE OBJECTS IN app.public LIMIT 10000", "SHOW_OBJECTS", CategoryMetadata, "schema:APP.PUBLIC", "", false},
		{"SHOW COLUMNS IN TABLE c", "SHOW_COLUMNS", CategoryMetadata, "table:APP.PUBLIC.C", "", false},
		{"DESCRIBE TABLE c", "DESCRIBE_TABLE", CategoryMetadata, "table:APP.PUBLIC.C", "", false},
		{"desc c", "DESCRIBE_TABLE", CategoryMetadata, "table:APP.PUBLIC.C", "", false},
		{"EXPLAIN USING JSON SELECT * FROM c", "EXPLAIN", CategoryMetadata, "table:APP.PUBLIC.C", "", false},
		{"LIST @~", "LIST", CategoryMetadata, "stage:@~", "", false},

		// changes of meaning are not housekeeping
		{"ALTER SESSION SET SEARCH_PATH = 'x'", "ALTER_SESSION", CategoryUnknown, "", "", true},
		{"ALTER SESSION SET TIMEZONE = 'UTC' SEARCH_PATH = 'x'", "ALTER_SESSION", CategoryUnknown, "", "", true},
		{"ALTER SESSION SET QUOTED_IDENTIFIERS_IGNORE_CASE = TRUE", "ALTER_SESSION", CategoryUnknown, "", "", true},
		{"ALTER SESSION SET MULTI_STATEMENT_COUNT = 0", "ALTER_SESSION", CategoryUnknown, "", "", true},
		{"ALTER SESSION SET PYTHON_CONNECTOR_QUERY_RESULT_FORMAT = 'JSON'", "ALTER_SESSION", CategoryUnknown, "", "", true},
		{"ALTER SESSION SET NEW_PARAMETER = 1", "ALTER_SESSION", CategoryUnknown, "", "", true},
		{"ALTER SESSION SET \"autocommit\" = 1", "ALTER_SESSION", CategoryUnknown, "", "", true},
		{"ALTER SESSION SET QUERY_TAG = (SELECT MAX(email) FROM c)", "ALTER_SESSION", CategoryUnknown, "table:APP.PUBLIC.C", "", true},
		{"USE ROLE accountadmin", "USE_ROLE", CategoryRole, "", "role:ACCOUNTADMIN", false},
		{"USE SECONDARY ROLES ALL", "USE_SECONDARY_ROLES", CategoryRole, "", "", false},
		{"USE SCHEMA IDENTIFIER($x)", "USE_SCHEMA", CategoryUnknown, "", "", true},
		{"SHOW USERS", "SHOW_USERS", CategoryMetadata, "", "", true},
		{"SHOW VARIABLES", "SHOW_VARIABLES", CategoryMetadata, "", "", true},
		{"SHOW SOMETHING NEW", "UNKNOWN", CategoryUnknown, "", "", true},
		{"CREATE TEMP TABLE n (x INT) ->> DROP TABLE c", "CREATE_TABLE", CategoryDefine, "", "table:APP.PUBLIC.N", true},
		{"CREATE TASK k AS SELECT 1 ->> DROP TABLE c", "CREATE_TASK", CategoryDefine, "", "object:APP.PUBLIC.K", true},
		{"CREATE PROCEDURE p() RETURNS INT AS BEGIN SELECT 1 AS begin, 2; END; DROP TABLE c; END", "CREATE_PROCEDURE", CategoryDefine, "", "procedure:APP.PUBLIC.P", true},
		{"FROBNICATE", "UNKNOWN", CategoryUnknown, "", "", true},
		{"CREATE WIDGET x", "UNKNOWN", CategoryUnknown, "", "", true},
		{"SHOW TABLES IN SCHEMA x (SELECT email FROM c)", "SHOW_TABLES", CategoryUnknown, "table:APP.PUBLIC.C schema:APP.X", "", true},

		// variables
		{"SET a = 'x'", "SET", CategorySession, "", "", false},
		{"SET (a, b) = (1, 'x')", "SET", CategorySession, "", "", false},
		{"SET a = (SELECT MAX(email) FROM c)", "SET", CategoryQuery, "table:APP.PUBLIC.C", "", false},
		{"UNSET a", "UNSET", CategorySession, "", "", false},

		// writes
		{"INSERT INTO c (id) SELECT id FROM o", "INSERT", CategoryWrite, "table:APP.PUBLIC.O", "table:APP.PUBLIC.C", false},
		{"INSERT OVERWRITE INTO other.c VALUES (1)", "INSERT_OVERWRITE", CategoryWrite, "", "table:APP.OTHER.C", false},
		{"INSERT ALL WHEN id > 1 THEN INTO c ELSE INTO o SELECT id FROM v", "INSERT_ALL", CategoryWrite, "view:APP.PUBLIC.V table:APP.PUBLIC.C", "table:APP.PUBLIC.C table:APP.PUBLIC.O", false},
		{"UPDATE c SET name = o.ts FROM o WHERE c.id = o.id", "UPDATE", CategoryWrite, "table:APP.PUBLIC.C table:APP.PUBLIC.O", "table:APP.PUBLIC.C", false},
		{"DELETE FROM c USING o WHERE c.id = o.id", "DELETE", CategoryWrite, "table:APP.PUBLIC.C table:APP.PUBLIC.O", "table:APP.PUBLIC.C", false},
		{"MERGE INTO c USING o ON c.id = o.id WHEN MATCHED THEN DELETE", "MERGE", CategoryWrite, "table:APP.PUBLIC.C table:APP.PUBLIC.O", "table:APP.PUBLIC.C", false},
		{"TRUNCATE TABLE IF EXISTS c", "TRUNCATE", CategoryWrite, "", "table:APP.PUBLIC.C", false},
		{"SELECT * FROM c FOR UPDATE", "SELECT_FOR_UPDATE", CategoryWrite, "table:APP.PUBLIC.C", "", false},

		// definitions
		{"CREATE OR REPLACE TEMPORARY TABLE n AS SELECT * FROM c", "CREATE_TABLE_AS", CategoryDefine, "table:APP.PUBLIC.C", "table:APP.PUBLIC.N", false},
		{"CREATE TABLE n LIKE c", "CREATE_TABLE_LIKE", CategoryDefine, "table:APP.PUBLIC.C", "table:APP.PUBLIC.N", false},
		{"CREATE TABLE n CLONE other.c AT (OFFSET => -60)", "CREATE_TABLE_CLONE", CategoryDefine, "table:APP.OTHER.C", "table:APP.PUBLIC.N", false},
		{"CREATE SCHEMA s CLONE public", "CREATE_SCHEMA_CLONE", CategoryDefine, "schema:APP.PUBLIC", "schema:APP.S", false},
		{"CREATE SECURE VIEW n (a) AS SELECT email FROM c", "CREATE_VIEW", CategoryDefine, "table:APP.PUBLIC.C", "view:APP.PUBLIC.N", false},
		{"CREATE STAGE s URL = 's3://b/' STORAGE_INTEGRATION = i", "CREATE_STAGE", CategoryDefine, "integration:I", "stage:APP.PUBLIC.S location:s3://b/", false},
		{"CREATE TASK k SCHEDULE = '1 minute' AS INSERT INTO o SELECT id, id, id, id FROM c", "CREATE_TASK", CategoryDefine, "table:APP.PUBLIC.C", "table:APP.PUBLIC.O object:APP.PUBLIC.K", true},
		{"CREATE FUNCTION f() RETURNS INT AS 'SELECT 1'", "CREATE_FUNCTION", CategoryDefine, "", "function:APP.PUBLIC.F", true},
		{"ALTER TABLE c RENAME TO d", "ALTER_TABLE", CategoryDefine, "", "table:APP.PUBLIC.C table:APP.PUBLIC.D", false},
		{"ALTER TABLE c SWAP WITH d", "ALTER_TABLE", CategoryDefine, "", "table:APP.PUBLIC.C table:APP.PUBLIC.D", false},
		{"DROP DATABASE IF EXISTS x", "DROP_DATABASE", CategoryDefine, "", "database:X", false},
		{"DROP SCHEMA x.y", "DROP_SCHEMA", CategoryDefine, "", "schema:X.Y", false},
		{"UNDROP TABLE d", "UNDROP_TABLE", CategoryDefine, "", "table:APP.PUBLIC.D", false},
		{"COMMENT ON TABLE c IS 'x'", "COMMENT", CategoryDefine, "", "table:APP.PUBLIC.C", false},

		// privileges, credentials, shares
		{"GRANT SELECT ON TABLE c TO ROLE r", "GRANT", CategoryPrivilege, "", "table:APP.PUBLIC.C role:R", false},
		{"GRANT SELECT ON ALL TABLES IN SCHEMA public TO SHARE s", "GRANT", CategoryPrivilege, "", "schema:APP.PUBLIC share:S", false},
		{"REVOKE ROLE r FROM USER u", "REVOKE", CategoryPrivilege, "", "role:R user:U", false},
		{"ALTER SHARE s ADD ACCOUNTS = x", "ALTER_SHARE", CategoryPrivilege, "", "share:S", false},
		{"CREATE USER u PASSWORD = 'x'", "CREATE_USER", CategoryCredential, "", "user:U", false},
		{"ALTER USER u ADD PROGRAMMATIC ACCESS TOKEN t", "ALTER_USER", CategoryCredential, "", "user:U", false},
		{"CREATE STORAGE INTEGRATION i TYPE = EXTERNAL_STAGE", "CREATE_STORAGE_INTEGRATION", CategoryCredential, "", "integration:I", false},
		{"CREATE NETWORK POLICY p ALLOWED_IP_LIST = ('0.0.0.0/0')", "CREATE_NETWORK_POLICY", CategoryCredential, "", "integration:P", false},

		// files
		{"COPY INTO c FROM @s/x FILE_FORMAT = (TYPE = CSV)", "COPY_INTO_TABLE", CategoryLoad, "stage:@s/x", "table:APP.PUBLIC.C", false},
		{"COPY INTO 's3://b/x' FROM (SELECT email FROM c) STORAGE_INTEGRATION = i", "COPY_INTO_LOCATION", CategoryUnload, "table:APP.PUBLIC.C integration:I", "location:s3://b/x", false},
		{"COPY INTO @s FROM c", "COPY_INTO_LOCATION", CategoryUnload, "table:APP.PUBLIC.C", "stage:@s", false},
		{"SELECT * FROM TABLE(INFER_SCHEMA(LOCATION => '@~/x', FILE_FORMAT => 'f'))", "SELECT", CategoryQuery, "stage:@~/x", "", true},
		{"COPY FILES INTO @a FROM @b", "COPY_FILES", CategoryUnload, "stage:@b", "stage:@a", false},
		{"PUT file:///etc/passwd @~", "PUT", CategoryTransfer, "location:file:///etc/passwd", "stage:@~", false},
		{"GET @~/x file:///tmp/", "GET", CategoryTransfer, "stage:@~/x", "location:file:///tmp/", false},
		{"RM @s/x", "REMOVE", CategoryTransfer, "", "stage:@s/x", false},

		// code
		{"CALL p(1)", "CALL", CategoryCall, "procedure:APP.PUBLIC.P", "", true},
		{"EXECUTE TASK k", "EXECUTE_TASK", CategoryScript, "", "object:APP.PUBLIC.K", true},
		{"EXECUTE IMMEDIATE 'DROP TABLE c'", "EXECUTE_IMMEDIATE", CategoryScript, "", "table:APP.PUBLIC.C", false},
		{"EXECUTE IMMEDIATE $$BEGIN EXECUTE IMMEDIATE 'DROP TABLE c'; END$$", "EXECUTE_IMMEDIATE", CategoryScript, "", "table:APP.PUBLIC.C", false},
		{"EXECUTE IMMEDIATE 'DROP ' || 'TABLE c'", "EXECUTE_IMMEDIATE", CategoryScript, "", "", true},
		{"EXECUTE IMMEDIATE FROM @s/x.sql", "EXECUTE_IMMEDIATE_FROM", CategoryScript, "stage:@s/x.sql", "", true},
		{"BEGIN LET x := 1; IF (x = 1) THEN DELETE FROM c; END IF; RETURN x; END", "BLOCK", CategoryScript, "table:APP.PUBLIC.C", "table:APP.PUBLIC.C", true},
		{"DECLARE c1 CURSOR FOR SELECT id FROM c; BEGIN FOR r IN c1 DO INSERT INTO o SELECT 1,2,3,4; END FOR; EXCEPTION WHEN OTHER THEN RAISE; END", "BLOCK", CategoryScript, "table:APP.PUBLIC.C", "table:APP.PUBLIC.O", true},
		{"BEGIN gibberish here; END", "BLOCK", CategoryScript, "", "", true},
	} {
		a, err := Analyze(c.sql, testContext, lineageCatalog())
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		if len(a.Statements) != 1 {
			t.Errorf("%s: %d statements", c.sql, len(a.Statements))
			continue
		}
		s := a.Statements[0]
		if s.Kind != c.kind || s.Category != c.category || objects(s.Reads) != c.reads || objects(s.Writes) != c.writes || (len(s.Unknown) > 0) != c.doubt {
			t.Errorf("%s\n  got  %s %s reads %q writes %q doubt %v\n  want %s %s reads %q writes %q doubt %v", c.sql,
				s.Kind, s.Category, objects(s.Reads), objects(s.Writes), s.Unknown, c.kind, c.category, c.reads, c.writes, c.doubt)
		}
	}
}

// What a statement changes is known to those after it in the same text.
func TestABatchIsReadInOrder(t *testing.T) {
	for _, c := range []struct{ sql, out string }{
		{"USE SCHEMA other; SELECT * FROM c", "c.other"},
		{"INSERT INTO o (ts) SELECT email FROM c; SELECT amount FROM o", "c.email+o.amount"},
		{"INSERT INTO app.other.c SELECT 1, email FROM c; SELECT * FROM other.v", "other.c.safe+c.email"},
		{"UPDATE o SET ts = (SELECT MAX(email) FROM c); SELECT ts FROM o", "c.email+o.ts"},
		{"CREATE TABLE n AS SELECT email FROM c; SELECT * FROM n", "?"},
		{"CREATE OR REPLACE TEMP TABLE o AS SELECT email id FROM c; SELECT id FROM o", "*+o.id"},
		{"ALTER TABLE c RENAME COLUMN email TO x; SELECT city FROM c", "*+c.city"},
		{"CREATE OR REPLACE VIEW v AS SELECT 1 contact; SELECT contact FROM v", "*"},
		{"DROP SCHEMA other; SELECT city FROM c", "*+c.city"},
		{"CALL p(); SELECT city FROM c", "*+c.city"},
		{"BEGIN USE SCHEMA other; END; SELECT id FROM c", "*+c.id"},
		{"EXECUTE IMMEDIATE 'USE SCHEMA other'; SELECT id FROM c", "*+c.id"},
		{"USE ROLE x; SELECT id FROM c", "*+c.id"},
		{"FROBNICATE; SELECT id FROM c", "*+c.id"},
		{"SET t = 'c'; SELECT email FROM IDENTIFIER($t)", "c.email"},
		{"SET t = 'x'; SET t = (SELECT MAX(name) FROM c); SELECT $t", "*"},
		{"SET t = 'x'; UNSET t; SELECT $t", "*"},
		{"SET t = 'x'; SELECT $t", ""},
		{"SET t = 'c'; EXPLAIN SET t = 'o'; SELECT email FROM IDENTIFIER($t)", "c.email"},
		{"SET t = 'o'; EXECUTE IMMEDIATE 'SET t = ''c'''; SELECT $1 FROM IDENTIFIER($t)", "*"},
		{"SET t = 'o'; CALL p(); SELECT $t", "*"},
		{"SET t = 'o'; FROBNICATE; SELECT $t", "*"},
		{"SET t = 'o'; BEGIN SET t = 'c'; END; SELECT $t", "*"},
		{"SELECT t.table_name FROM information_schema.tables t", "tables.table_name"},
	} {
		a, err := Analyze(c.sql, testContext, lineageCatalog())
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		out, _ := describe(a.Statements[len(a.Statements)-1])
		if c.out == "c.other" {
			c.out = "other.c.id, other.c.safe"
		}
		if out != c.out {
			t.Errorf("%s\n  got  %s\n  want %s", c.sql, out, c.out)
		}
	}
}

func TestEffects(t *testing.T) {
	a, err := Analyze("USE d.s; SET (a, b) = ('x', 1 + 1); CREATE TABLE t (x INT); USE WAREHOUSE w; USE ROLE r", testContext, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := a.Statements
	if e := s[0].Effects; e.UseDatabase != "D" || e.UseSchema != "S" {
		t.Errorf("USE d.s: %+v", e)
	}
	if e := s[1].Effects; !slices.Equal(e.SetVariables, []string{"A", "B"}) || len(e.Literals) != 1 || e.Literals["A"] != "x" {
		t.Errorf("SET: %+v", e)
	}
	if !s[2].Effects.CatalogChanged || s[0].Effects.CatalogChanged {
		t.Errorf("CREATE TABLE: %+v", s[2].Effects)
	}
	b, err := Analyze("CALL p()", Context{Variables: map[string]string{"B": "x", "A": "y"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if e := b.Statements[0].Effects; !e.Anything || !e.CatalogChanged || !slices.Equal(e.SetVariables, []string{"A", "B"}) {
		t.Errorf("CALL: %+v", e)
	}
	if s[3].Effects.UseWarehouse != "W" || s[4].Effects.UseRole != "R" {
		t.Errorf("USE: %+v %+v", s[3].Effects, s[4].Effects)
	}
}

func TestFunctionRisks(t *testing.T) {
	for call, want := range map[string]FunctionRisk{
		"UPPER('x')": FunctionPure, "COUNT(*)": FunctionPure, "SYSTEM$TYPEOF(1)": FunctionPure, "\"UPPER\"('x')": FunctionPure,
		"SYSTEM$WAIT(1)": FunctionSystem, "SYSTEM$SEND_EMAIL('a')": FunctionSystem, "GET_DDL('table', 'c')": FunctionSystem,
		"GETVARIABLE('X')": FunctionSystem, "INFORMATION_SCHEMA.QUERY_HISTORY()": FunctionSystem, "s.NEXTVAL": FunctionSystem,
		"AI_COMPLETE('m', 'x')": FunctionEgress, "SNOWFLAKE.CORTEX.COMPLETE('m', 'x')": FunctionEgress, "AI_SOMETHING_NEW(1)": FunctionEgress,
		"GET_PRESIGNED_URL(@s, 'x')": FunctionEgress,
		"my_udf(1)":                  FunctionUnknown, "db.s.upper('x')": FunctionUnknown, "public.count(1)": FunctionUnknown, "\"upper\"('x')": FunctionUnknown,
		"m!predict(1)": FunctionUnknown,
	} {
		a, err := Analyze("SELECT "+call, testContext, nil)
		if err != nil {
			t.Errorf("%s: %v", call, err)
			continue
		}
		f := a.Statements[0].Functions
		if len(f) != 1 || f[0].Risk != want {
			t.Errorf("%s: %v, want risk %d", call, f, want)
		}
	}
}

// How many variables are tracked has a limit, and a quoted name is not trusted
// to be another variable than the same name without quotes.
func TestVariablesThatAreNotTracked(t *testing.T) {
	var b strings.Builder
	for i := range maxVariables + 10 {
		fmt.Fprintf(&b, "SET x%d = 'id';", i)
	}
	last := fmt.Sprintf("x%d", maxVariables+5)
	fmt.Fprintf(&b, "SELECT IDENTIFIER($x1) FROM c; SELECT IDENTIFIER($%s) FROM c", last)
	a, err := Analyze(b.String(), testContext, lineageCatalog())
	if err != nil {
		t.Fatal(err)
	}
	n := len(a.Statements)
	if s := a.Statements[n-2]; len(s.Unknown) > 0 {
		t.Errorf("a tracked variable: %v", s.Unknown)
	}
	if s := a.Statements[n-1]; len(s.Unknown) == 0 {
		t.Error("a variable beyond the limit has a value")
	}
	for _, s := range a.Statements {
		if slices.Contains(s.Effects.SetVariables, strings.ToUpper(last)) && len(s.Effects.Literals) > 0 {
			t.Errorf("a variable beyond the limit is given to the caller: %v", s.Effects.Literals)
		}
	}
	for _, text := range []string{`SET "x" = 'email'`, `UNSET "x"`, `SET ("x", y) = ('email', 1)`} {
		a, err := Analyze("SET x = 'id';"+text+"; SELECT IDENTIFIER($x) FROM c", testContext, lineageCatalog())
		if err != nil {
			t.Fatal(err)
		}
		s := a.Statements
		if len(s[1].Unknown) == 0 || !slices.Contains(s[1].Effects.SetVariables, "X") || s[1].Effects.Literals["x"] != "" || s[1].Effects.Literals["X"] != "" {
			t.Errorf("%s: %v %+v", text, s[1].Unknown, s[1].Effects)
		}
		if len(s[2].Unknown) == 0 {
			t.Errorf("$x is known after %s", text)
		}
	}
}
