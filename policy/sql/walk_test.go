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

// Whatever the resolver reads, walk must reach as well.
func TestWalkVisitsWhatIsDeepInside(t *testing.T) {
	for _, text := range []string{
		"SELECT 1 FROM a ORDER BY needle", "SELECT 1 FROM a LIMIT $needle", "WITH x AS (SELECT needle FROM a) SELECT 1",
		"WITH x AS (needle) SELECT 1", "SELECT f(a, g => needle)", "SELECT f(x -> needle)", "SELECT f(a) OVER (PARTITION BY needle)",
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
	}
}
