package policy

import (
	"strings"
	"testing"

	"github.com/jit-access/jit/policy/sql"
)

// TestConstantsOfClassedColumnsAreHidden: what is compared with a classed column,
// or written to one, is not kept, whether or not it can be recognised.
func TestConstantsOfClassedColumnsAreHidden(t *testing.T) {
	email := sql.Column{Object: sql.ObjectName{Database: "APP", Schema: "PUBLIC", Name: "CUSTOMERS"}, Name: "EMAIL"}
	city := email
	city.Name = "CITY"
	table := sql.Object{Kind: sql.ObjectTable, Name: email.Object}
	for _, tt := range []struct {
		text string
		st   sql.Statement
		want string
	}{
		{"SELECT id FROM customers WHERE email = 'planted' LIMIT 10", sql.Statement{Predicates: sql.Labels{Columns: []sql.Column{email}}},
			"SELECT id FROM customers WHERE email = '‹redacted:pii.email›' LIMIT 10"},
		{"SELECT id FROM customers WHERE email IN ('planted', $$planted$$) AND n = 123456", sql.Statement{Predicates: sql.Labels{Columns: []sql.Column{email, city}}},
			"SELECT id FROM customers WHERE email IN ('‹redacted:pii.email›', '‹redacted:pii.email›') AND n = '‹redacted:pii.email›'"},
		{"SELECT id FROM customers WHERE city = 'Rome'", sql.Statement{Predicates: sql.Labels{Columns: []sql.Column{city}}}, "SELECT id FROM customers WHERE city = 'Rome'"},
		{"INSERT INTO customers (id, \"EMAIL\") VALUES (7, 'planted')", sql.Statement{Writes: []sql.Object{table}},
			"INSERT INTO customers (id, \"EMAIL\") VALUES (7, '‹redacted:pii.email›')"},
		{"UPDATE customers SET city = 'Rome' WHERE id = 7", sql.Statement{Writes: []sql.Object{table}}, "UPDATE customers SET city = 'Rome' WHERE id = 7"},
	} {
		tt.st.Text = tt.text
		b := Default()
		got := b.HideText(tt.text, b.Compared([]sql.Statement{tt.st})...)
		if got != tt.want {
			t.Errorf("%s\nis kept as %s\nwant       %s", tt.text, got, tt.want)
		}
		if _, err := sql.Literals(got); err != nil || strings.Contains(got, "planted") {
			t.Errorf("%s: %v", got, err)
		}
	}
	if got := Default().HideValue("planted", "pii.email"); got != "‹redacted:pii.email›" {
		t.Errorf("a bound value is kept as %s", got)
	}
}
