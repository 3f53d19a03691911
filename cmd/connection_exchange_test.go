package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jit-access/jit/broker/credential"
)

func TestExchangeFlags(t *testing.T) {
	for line, bad := range map[string]bool{
		"--oauth-token-url https://idp/token --oauth-client-id c --oauth-client-secret-file f": false,
		"--oauth-token-url https://idp/token --oauth-client-id c --oauth-refresh-token-file f": false,
		"--workload-identity aws":                                   false,
		"--workload-identity OIDC --workload-token-file /run/token": false,
		"--oauth-client-id c":                                       true,
		"--oauth-token-url https://idp/token":                       true,
		"--oauth-token-url https://idp/token --oauth-client-id c":   true,
		"--oauth-token-url https://idp/token --oauth-client-id c --oauth-client-secret-file - --oauth-refresh-token-file -": true,
		"--oauth-token-url https://idp/token --oauth-client-id c --oauth-client-secret-file f --password-file p":            true,
		"--workload-identity aws --token-file p":                   true,
		"--workload-identity aws --workload-token-file /run/token": true,
		"--workload-identity oidc":                                 true,
		"--workload-identity oracle":                               true,
	} {
		var o connectionOptions
		c := newConnectionRotateCommand(NewApp())
		c.ResetFlags()
		o.credentialFlags(c)
		if err := c.ParseFlags(strings.Fields(line)); err != nil {
			t.Fatal(err)
		}
		if err := o.oneCredential(); (err != nil) != bad {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestReadExchange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("the-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := NewApp()
	nc, given, err := a.readExchange(exchangeOptions{TokenURL: "https://idp.example.com/token", ClientID: "c", SecretFile: file, RefreshFile: file})
	if err != nil || !given || nc.Kind != credential.KindOAuthRefresh {
		t.Fatalf("%s, %v", nc.Kind, err)
	}
	if _, err := credential.Parse(nc.Kind, nc.Material, nc.Passphrase); err != nil || strings.Count(nc.Material.Reveal(), `"the-secret"`) != 2 {
		t.Errorf("the server would not take it: %v", err)
	}
}
