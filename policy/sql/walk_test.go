package sql

import (
	goast "go/ast"
	goparser "go/parser"
	gotoken "go/token"
	"os"
	"strings"
	"testing"
)

type strangeNode struct{ span }

func TestWalkPanicsOnANodeItDoesNotKnow(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("an unknown node was skipped silently")
		}
	}()
	walk(&strangeNode{}, func(node) bool { return true })
}

// Every struct of ast.go that embeds span is a node: walk must name it, and so
// must the resolver or the parser, or it could not exist.
func TestWalkKnowsEveryNode(t *testing.T) {
	file, err := goparser.ParseFile(gotoken.NewFileSet(), "ast.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("walk.go")
	if err != nil {
		t.Fatal(err)
	}
	nodes := 0
	goast.Inspect(file, func(n goast.Node) bool {
		spec, ok := n.(*goast.TypeSpec)
		if !ok {
			return true
		}
		s, ok := spec.Type.(*goast.StructType)
		if !ok {
			return true
		}
		for _, f := range s.Fields.List {
			if id, ok := f.Type.(*goast.Ident); ok && len(f.Names) == 0 && id.Name == "span" {
				nodes++
				if !strings.Contains(string(source), "*"+spec.Name.Name+":") && !strings.Contains(string(source), "*"+spec.Name.Name+",") {
					t.Errorf("walk does not know *%s", spec.Name.Name)
				}
			}
		}
		return true
	})
	if nodes < 40 {
		t.Errorf("only %d nodes found", nodes)
	}
}

// Whatever is parsed, walk must reach and the resolver must read: an expression
// that the parser drops, or the resolver skips, would be a hole.
func TestWalkVisitsWhatIsDeepInside(t *testing.T) {
	cat := testCatalog{}
	for _, n := range []string{"A", "B", "T", "U"} {
		cat[ObjectName{"APP", "PUBLIC", n}] = Relation{Kind: ObjectTable, Columns: []string{"A", "B", "C"}}
	}
	for _, text := range []string{
		"SELECT 1 FROM a ORDER BY needle", "SELECT 1 FROM a LIMIT $needle", "WITH x AS (SELECT needle FROM a) SELECT 1",
		"WITH x AS (needle) SELECT x", "SELECT f(a, g => needle)", "SELECT f(x -> needle)", "SELECT COUNT(DISTINCT a, needle) FROM a",
		"SELECT TRIM(BOTH needle FROM a) FROM a", "SELECT TRIM(a FROM needle) FROM a", "SELECT SUBSTRING(a FROM 1 FOR needle) FROM a",
		"SELECT POSITION(a IN needle) FROM a", "SELECT a LIKE b ESCAPE needle FROM a", "SELECT a BETWEEN b AND needle FROM a",
		"SELECT a IN (b, needle) FROM a", "SELECT a COLLATE needle FROM a", "SELECT a IS DISTINCT FROM needle FROM a",
		"SELECT a = ANY (needle) FROM a", "SELECT EXTRACT(year FROM needle)", "SELECT {fn f(needle)}", "SELECT (1, needle)", "SELECT NOT - needle",
		"SELECT f(**needle)", "SELECT [**needle]", "SELECT {**needle}", "SELECT a[1:needle] FROM a", "SELECT CAST(needle AS int)",
		"SELECT f(a ORDER BY needle) FROM a", "SELECT f(a) FILTER (WHERE needle) FROM a", "SELECT f(TABLE(a) PARTITION BY needle)",
		"SELECT f(a) OVER (ORDER BY a RANGE BETWEEN needle PRECEDING AND CURRENT ROW) FROM a", "SELECT 1 FROM TABLE(f(1) OVER (PARTITION BY needle))",
		"SELECT 1 FROM a PIVOT (max(c) FOR b IN (1) DEFAULT ON NULL (needle))", "SELECT 1 FROM a PIVOT (max(c) FOR b IN (ANY ORDER BY needle))",
		"SELECT 1 FROM a BEFORE (STATEMENT => needle)", "SELECT 1 FROM a CHANGES (INFORMATION => DEFAULT) AT (TIMESTAMP => needle)",
		"SELECT 1 FROM a SAMPLE ($needle ROWS)", "SELECT 1 FROM a LIMIT 1 OFFSET $needle", "SELECT 1 FROM a FETCH FIRST $needle ROWS ONLY",
		"SELECT 1 FROM a ASOF JOIN b MATCH_CONDITION (a.a > needle)", "SELECT 1 FROM a GROUP BY ROLLUP (needle)", "SELECT 1 FROM (VALUES (needle)) v",
		"SELECT 1 FROM a GROUP BY GROUPING SETS ((needle))", "SELECT DATEADD(day, needle, a) FROM a", "SELECT (SELECT needle FROM b) FROM a",
		"INSERT INTO t (a) VALUES (needle)", "INSERT INTO t WITH x AS (SELECT needle a) SELECT * FROM x", "UPDATE t SET a = DEFAULT, b = needle",
		"COPY INTO t FROM (SELECT needle FROM @s)", "CREATE DYNAMIC TABLE d TARGET_LAG = '1 minute' WAREHOUSE = w AS SELECT needle",
		"CREATE TABLE d USING TEMPLATE (SELECT needle)", "CREATE ALERT d IF (EXISTS (SELECT needle)) THEN SELECT 1", "CREATE TASK d AS SELECT needle",
		"ALTER TASK d MODIFY AS SELECT needle", "CREATE PIPE d AS COPY INTO t FROM (SELECT needle FROM @s)", "COPY FILES INTO @a FROM (SELECT needle)",
		"BEGIN LET x := needle; END", "BEGIN x := needle; END", "BEGIN WHILE (needle) DO NULL; END WHILE; END", "BEGIN FOR i IN 1 TO needle DO NULL; END FOR; END",
		"BEGIN REPEAT NULL; UNTIL (needle) END REPEAT; END", "BEGIN CASE (needle) WHEN 1 THEN NULL; END; END", "BEGIN OPEN c USING (needle); END",
		"DECLARE c CURSOR FOR SELECT needle; BEGIN NULL; END", "DECLARE c RESULTSET DEFAULT (SELECT needle); BEGIN NULL; END", "SELECT f(a) OVER (PARTITION BY needle)",
		"SELECT f(a) OVER (ORDER BY needle)", "SELECT LISTAGG(a) WITHIN GROUP (ORDER BY needle) FROM a", "SELECT {'a': needle}",
		"SELECT [1, needle]", "SELECT a[needle]", "SELECT needle::int", "SELECT needle:a.b", "SELECT CASE WHEN 1 THEN needle END",
		"SELECT (SELECT needle)", "SELECT * REPLACE (needle AS a) FROM a", "SELECT 1 FROM a WHERE needle", "SELECT 1 FROM a HAVING needle",
		"SELECT 1 FROM a QUALIFY needle", "SELECT 1 FROM a GROUP BY needle", "SELECT 1 FROM a START WITH needle CONNECT BY b",
		"SELECT 1 FROM a WINDOW w AS (ORDER BY needle)", "SELECT 1 FROM a JOIN b ON needle", "SELECT 1 FROM (SELECT needle)",
		"SELECT 1 FROM a AT (OFFSET => needle)", "SELECT 1 FROM TABLE(f(needle))", "SELECT 1 FROM a, LATERAL f(needle)",
		"SELECT 1 FROM a PIVOT (max(needle) FOR b IN (1))", "SELECT 1 FROM a PIVOT (max(c) FOR needle IN (1))",
		"SELECT 1 FROM a PIVOT (max(c) FOR b IN (SELECT needle))", "SELECT 1 FROM a UNPIVOT (v FOR n IN (needle))",
		"SELECT 1 FROM a MATCH_RECOGNIZE (PARTITION BY needle PATTERN (x) DEFINE x AS 1)",
		"SELECT 1 FROM a MATCH_RECOGNIZE (MEASURES needle AS m PATTERN (x) DEFINE x AS 1)",
		"SELECT 1 FROM a MATCH_RECOGNIZE (PATTERN (x) DEFINE x AS needle)", "VALUES (1, needle)", "SELECT 1 UNION SELECT needle",
		"INSERT INTO t SELECT needle", "INSERT ALL WHEN needle THEN INTO t SELECT 1 a", "INSERT ALL INTO t VALUES (needle) SELECT 1 a",
		"UPDATE t SET a = needle", "UPDATE t SET a = 1 WHERE needle", "UPDATE t SET a = 1 FROM (SELECT needle)", "DELETE FROM t WHERE needle",
		"DELETE FROM t USING (SELECT needle) x", "MERGE INTO t USING u ON needle WHEN MATCHED THEN DELETE",
		"MERGE INTO t USING u ON a WHEN MATCHED AND needle THEN DELETE", "MERGE INTO t USING u ON a WHEN MATCHED THEN UPDATE SET a = needle",
		"MERGE INTO t USING u ON a WHEN NOT MATCHED THEN INSERT (a) VALUES (needle)", "COPY INTO @s FROM (SELECT needle)",
		"COPY INTO @s FROM t PARTITION BY (needle)", "EXPLAIN SELECT needle", "SELECT 1 ->> SELECT needle", "SET a = needle",
		"CALL p(needle)", "EXECUTE IMMEDIATE needle", "EXECUTE IMMEDIATE 'x' USING (needle)", "BEGIN RETURN needle; END",
		"BEGIN IF (needle) THEN NULL; END IF; END", "CREATE TABLE t AS SELECT needle", "CREATE VIEW v AS SELECT needle",
		"SELECT model!predict(needle)", "SELECT f(TABLE(SELECT needle))", "SELECT 1 FROM @s (FILE_FORMAT => 'x', PATTERN => needle)",
	} {
		l, err := lex(text)
		if err != nil {
			t.Fatal(err)
		}
		s, err := parseStatement(l, 0, len(l.tokens), false)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		found := false
		walk(s, func(n node) bool {
			if n.Pos() < 0 || n.End() > len(text) || n.Pos() > n.End() {
				t.Errorf("%s: %T is at [%d, %d)", text, n, n.Pos(), n.End())
			}
			switch n := n.(type) {
			case *columnRef:
				for _, p := range n.parts {
					found = found || p.name == "NEEDLE"
				}
			case *variable:
				found = found || n.name == "NEEDLE"
			}
			return true
		})
		if !found {
			t.Errorf("%s: walk does not reach the needle", text)
		}
		a, err := analyze(text, testContext, cat)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		noticed := false
		for _, st := range a.Statements {
			for _, u := range st.Unknown {
				noticed = noticed || strings.Contains(u.Text, "NEEDLE") || strings.Contains(u.Text, "in a script") || strings.Contains(u.Text, "files of a stage")
			}
		}
		if !noticed {
			t.Errorf("%s: the resolver does not notice the needle", text)
		}
	}
}
