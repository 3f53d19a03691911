package cmd

import (
	"slices"
	"testing"
)

func TestRedactCommand(t *testing.T) {
	for _, c := range []struct{ in, want []string }{
		{[]string{"dbt", "build", "--select", "tag:daily"}, []string{"dbt", "build", "--select", "tag:daily"}},
		{[]string{"a", "--api-key", "k1", "x"}, []string{"a", "--api-key", redactedArg, "x"}},
		{[]string{"a", "--password=p w"}, []string{"a", "--password=" + redactedArg}},
		{[]string{"env", "MY_TOKEN=t", "run"}, []string{"env", "MY_TOKEN=" + redactedArg, "run"}},
		{[]string{"a", "sk-abc"}, []string{"a", redactedArg}},
		{[]string{"psql", "postgres://u:pw@h/db"}, []string{"psql", redactedArg}},
	} {
		if got := redactCommand(c.in); !slices.Equal(got, c.want) {
			t.Errorf("redactCommand(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}
