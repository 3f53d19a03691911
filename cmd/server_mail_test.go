package cmd

import (
	"os"
	"path/filepath"
	"testing"
)

// Mail is set up whole or not at all, and its password comes from a file.
func TestServerMailSettings(t *testing.T) {
	good := serverOptions{SMTPURL: "smtps://jit@mail.example.com", MailFrom: "jit@example.com", MailTo: []string{"all@example.com", "dba=dba@example.com"}}
	if m, err := good.mail(); err != nil || len(m.To) != 2 || m.To[1].Group != "dba" {
		t.Fatalf("%+v, %v", m, err)
	}
	for name, change := range map[string]func(*serverOptions){
		"a password in the URL": func(o *serverOptions) { o.SMTPURL = "smtps://jit:hunter2@mail.example.com" },
		"no server":             func(o *serverOptions) { o.SMTPURL = "" },
		"no sender":             func(o *serverOptions) { o.MailFrom = "" },
		"nobody":                func(o *serverOptions) { o.MailTo = nil },
		"no address":            func(o *serverOptions) { o.MailTo = []string{"dba=team"} },
	} {
		o := good
		change(&o)
		if _, err := o.mail(); err == nil {
			t.Errorf("%s: accepted", name)
		} else if code, _ := exitOf(err); code != ExitUsage {
			t.Errorf("%s: exit %d", name, code)
		}
	}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good.SMTPPasswordFile = file
	if m, err := serverApp(t, nil).mailWithPassword(good); err != nil || m.Password.Reveal() != "hunter2" {
		t.Errorf("%v", err)
	}
	good.SMTPPasswordFile = file + ".none"
	if _, err := serverApp(t, nil).mailWithPassword(good); err == nil {
		t.Error("a password file that is not there is no matter")
	}
}
