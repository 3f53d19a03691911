package cmd

import (
	"strings"
	"testing"
)

func TestWebhookCommands(t *testing.T) {
	o := newOffice(t)
	bob, alice := o.signIn("bob"), o.signIn("alice") // bob administers
	const path = "T000-PLANTED-capability"
	bob.In = strings.NewReader("https://hooks.example.com/" + path + "\n")
	out, errs := bob.run(ExitOK, "webhook", "add", "chat", "--format", "slack", "--event", "request.submitted", "--url-file", "-")
	if !strings.HasPrefix(out, "whsec_") || strings.Contains(out+errs, path) {
		t.Errorf("adding prints %s%s", out, errs)
	}
	out, _ = bob.run(ExitOK, "webhook", "list")
	if !strings.Contains(out, "hooks.example.com") || strings.Contains(out, path) || strings.Contains(out, "whsec_") {
		t.Errorf("the list is %s", out)
	}
	bob.In = strings.NewReader("http://169.254.169.254/latest\n")
	bob.run(ExitError, "webhook", "add", "evil", "--url-file", "-")
	if _, errs := bob.run(ExitOK, "webhook", "dead"); !strings.Contains(errs, "Everything was delivered") {
		t.Errorf("the dead are %s", errs)
	}
	bob.run(ExitError, "webhook", "retry", "msg_x")
	alice.run(ExitDenied, "webhook", "list")
	bob.run(ExitUsage, "webhook", "add", "x")
	bob.run(ExitOK, "webhook", "remove", "chat")
	if _, errs := bob.run(ExitOK, "webhook", "list", "--json"); errs != "" {
		t.Errorf("listing says %s", errs)
	}
}
