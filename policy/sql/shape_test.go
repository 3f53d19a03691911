package sql

import (
	"errors"
	"testing"
)

func TestShape(t *testing.T) {
	for text, want := range map[string]string{
		"SELECT a FROM t WHERE b = 'x' AND c > 1 -- note":                      "SELECT a FROM t WHERE b = ? AND c > ?",
		"INSERT INTO t VALUES (1, 'a'), (2, $$b$$)":                            "INSERT INTO t VALUES (?, ?), (?, ?)",
		"UPDATE t SET a = 1 WHERE b IN (1, 2)":                                 "UPDATE t SET a = ? WHERE b IN (?, ?)",
		"SELECT a FROM t WHERE a BETWEEN 1 AND 2 AND 3 < b":                    "SELECT a FROM t WHERE a BETWEEN ? AND ? AND ? < b",
		"SELECT a FROM t WHERE NOT (a NOT LIKE 'x%' OR b = 3)":                 "SELECT a FROM t WHERE NOT (a NOT LIKE ? OR b = ?)",
		"SELECT a FROM t WHERE a = ? AND b > :2 AND c < $limit":                "SELECT a FROM t WHERE a = ? AND b > :2 AND c < $limit",
		"INSERT INTO t VALUES (?, :2, $v)":                                     "INSERT INTO t VALUES (?, :2, $v)",
		"UPDATE t SET a = ?, b = 2 WHERE c = ?":                                "UPDATE t SET a = ?, b = ? WHERE c = ?",
		"MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = 1": "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = ?",
		// constants that decide what is read stay
		"SELECT email FROM IDENTIFIER('c')":                        "SELECT email FROM IDENTIFIER('c')",
		"SELECT v['ssn'], GET(v, 'ssn') FROM TABLE('t')":           "SELECT v['ssn'], GET(v, 'ssn') FROM TABLE('t')",
		"SELECT a FROM t ORDER BY 1 LIMIT 5":                       "SELECT a FROM t ORDER BY 1 LIMIT 5",
		"SELECT a FROM t ORDER BY 1 + 1":                           "SELECT a FROM t ORDER BY 1 + 1",
		"SELECT a FROM t AT (OFFSET => -60) WHERE $1 = 2":          "SELECT a FROM t AT (OFFSET => -60) WHERE $1 = ?",
		"SELECT a FROM t AT (OFFSET => 60 * $off)":                 "",
		"EXECUTE IMMEDIATE 'SELECT 1'":                             "EXECUTE IMMEDIATE 'SELECT 1'",
		"COPY INTO 's3://a/' FROM t":                               "COPY INTO 's3://a/' FROM t",
		"SELECT * ILIKE '%a%' FROM t PIVOT(MAX(x) FOR y IN ('a'))": "SELECT * ILIKE '%a%' FROM t PIVOT(MAX(x) FOR y IN ('a'))",
		// and so do those that decide about every row
		"DELETE FROM t WHERE a = 5 OR 1 = 0":                                 "DELETE FROM t WHERE a = ? OR 1 = 0",
		"DELETE FROM t WHERE a = 5 OR (1 = 0)":                               "DELETE FROM t WHERE a = ? OR (1 = 0)",
		"DELETE FROM t WHERE a = 5 OR 0":                                     "DELETE FROM t WHERE a = ? OR 0",
		"DELETE FROM t WHERE a * 1 = 5":                                      "DELETE FROM t WHERE a * 1 = 5",
		"DELETE FROM t WHERE a = 5 OR 1 BETWEEN 2 AND 3":                     "DELETE FROM t WHERE a = ? OR 1 BETWEEN 2 AND 3",
		"DELETE FROM t WHERE CURRENT_DATE = '2020-01-01'":                    "DELETE FROM t WHERE CURRENT_DATE = '2020-01-01'",
		"DELETE FROM t WHERE a LIKE 'x!%' ESCAPE '!'":                        "DELETE FROM t WHERE a LIKE 'x!%' ESCAPE '!'",
		"SELECT CASE 1 WHEN 2 THEN ssn ELSE a END FROM t":                    "SELECT CASE 1 WHEN 2 THEN ssn ELSE a END FROM t",
		"SELECT CASE a WHEN 2 THEN ssn ELSE 'x' END FROM t":                  "SELECT CASE a WHEN 2 THEN ssn ELSE 'x' END FROM t",
		"MERGE INTO t USING s ON t.a = 1 WHEN MATCHED AND 1 = 0 THEN DELETE": "MERGE INTO t USING s ON t.a = ? WHEN MATCHED AND 1 = 0 THEN DELETE",
		"SELECT * FROM (VALUES (1, 'a')) v":                                  "SELECT * FROM (VALUES (1, 'a')) v",
	} {
		got, err := Shape(text)
		if (err != nil) != (want == "") || got != want {
			t.Errorf("%s\n  got  %s %v\n  want %s", text, got, err, want)
		}
	}
	if _, err := Shape("SELECT 'a"); err == nil {
		t.Error("a text that is not SQL has a shape")
	}
}

// What a bind or a variable holds is in no shape, so where it can mean
// anything but a value, one approval would be for any statement.
func TestWhatABindDecidesHasNoShape(t *testing.T) {
	for _, text := range []string{
		"EXECUTE IMMEDIATE ?",
		"EXECUTE IMMEDIATE :1",
		"EXECUTE IMMEDIATE $s",
		"EXECUTE IMMEDIATE 'DELETE FROM t WHERE a = ?' USING (x)",
		"EXECUTE IMMEDIATE 'DELETE FROM IDENTIFIER($t)'",
		"CALL p(?)",
		"CALL p($x)",
		"CALL IDENTIFIER(?)(1)",
		"DELETE FROM IDENTIFIER(?)",
		"DELETE FROM IDENTIFIER($t) WHERE a = 1",
		"SELECT * FROM IDENTIFIER(:1)",
		"SELECT * FROM TABLE(?)",
		"SELECT * FROM TABLE($t)",
		"SELECT IDENTIFIER(?) FROM t",
		"SELECT a FROM t WHERE ?",
		"SELECT a FROM t WHERE a = 1 OR ? = ?",
		"SELECT a FROM t WHERE a * ? = 1",
		"SELECT a FROM t ORDER BY ?",
		"SELECT a FROM t LIMIT ?",
		"SELECT v[?] FROM t",
		"SELECT GET(v, ?) FROM t",
		"SELECT a FROM t AT (TIMESTAMP => ?)",
		"SELECT a FROM t WHERE b = f(?)",
		"DROP TABLE IDENTIFIER(?)",
		"USE ROLE IDENTIFIER($r)",
		"CREATE TABLE x AS SELECT a FROM t WHERE a = ?",
		"COPY INTO t FROM (SELECT $1 FROM @s WHERE $2 = ?)",
		"SET x = $y",
		"SELECT 1 ->> SELECT * FROM $1 WHERE a = ?",
		"BEGIN DELETE FROM t WHERE a = :x; END",
		"SELECT 1; DELETE FROM IDENTIFIER(?)",
	} {
		if _, err := Analyze(text, testContext, nil); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		shape, err := Shape(text)
		if unsupported := (*UnsupportedError)(nil); !errors.As(err, &unsupported) {
			t.Errorf("%s has the shape %q, %v", text, shape, err)
		}
	}
}
