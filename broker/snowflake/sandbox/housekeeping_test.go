package sandbox_test

import (
	"database/sql"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestHousekeeping runs what clients send on their own and insist on.
func TestHousekeeping(t *testing.T) {
	w := start(t, nil)
	db := w.open(t, nil)
	t.Run("SQLAlchemy parses the version", func(t *testing.T) {
		var version string
		if err := db.QueryRowContext(t.Context(), "select current_version()").Scan(&version); err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq(version, ".") {
			if _, err := strconv.Atoi(part); err != nil {
				t.Errorf("%q is not numbers with dots between", version)
			}
		}
	})
	t.Run("Snowpark cancels what its session left", func(t *testing.T) {
		var said sql.NullString
		if err := db.QueryRowContext(t.Context(), "select system$cancel_all_queries(1)").Scan(&said); err != nil || !said.Valid {
			t.Errorf("%v, %v", said, err)
		}
	})
	t.Run("dbt lists objects", func(t *testing.T) {
		rs, err := db.QueryContext(t.Context(), "show objects in DEMO.PUBLIC limit 10000")
		if err != nil {
			t.Fatal(err)
		}
		defer rs.Close()
		columns, err := rs.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"database_name", "schema_name", "name", "kind", "is_dynamic", "is_iceberg"} {
			if !slices.Contains(columns, name) {
				t.Errorf("no column %s in %v", name, columns)
			}
		}
	})
}
