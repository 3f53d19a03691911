package cmd

import (
	"strings"
	"testing"
)

func TestConnectionRotate(t *testing.T) {
	o := newOffice(t)
	bob, alice := o.signIn("bob"), o.signIn("alice")
	bob.In = strings.NewReader(plantedPassword + "\n")
	bob.run(ExitOK, "connection", "add", "prod", "--account", "SANDBOX", "--url", o.upstream, "--user", "JIT_SVC", "--role", "ANALYST", "--password-file", "-")
	bob.In = strings.NewReader("wrong\n")
	bob.run(ExitError, "connection", "rotate", "prod", "--password-file", "-")
	bob.run(ExitOK, "connection", "test", "prod") // the old one stays
	bob.In = strings.NewReader(plantedPassword + "\n")
	if _, errs := bob.run(ExitOK, "connection", "rotate", "prod", "--password-file", "-"); !strings.Contains(errs, "let it in as role ANALYST") {
		t.Errorf("rotating says %s", errs)
	}
	bob.run(ExitUsage, "connection", "rotate", "prod", "--password-file", "-", "--token-file", "x")
	alice.In = strings.NewReader(plantedPassword + "\n")
	alice.run(ExitDenied, "connection", "rotate", "prod", "--password-file", "-")
}
