package cmd

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jit-access/jit/session/approval"
)

// The key services that the help and the manual name are linked.
func TestKeyServices(t *testing.T) {
	want := []string{"awskms", "azurekeyvault", "gcpkms", "hashivault"}
	got := approval.KeeperSchemes()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the key services are %v, want %v", got, want)
	}
}

// A server whose key service is wrong, or cannot be reached, does not start and
// says which it is. That they seal and open is not tested here: it takes their
// clouds.
func TestKeyServicesFailClosed(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "PLANTED-aws-secret", "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"GOOGLE_APPLICATION_CREDENTIALS": filepath.Join(t.TempDir(), "none.json"),
		"AZURE_TENANT_ID":                "00000000-0000-4000-8000-000000000000", "AZURE_CLIENT_ID": "jit", "AZURE_CLIENT_SECRET": "PLANTED-azure-secret",
		"AZURE_AUTHORITY_HOST": "https://127.0.0.1:1/", "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
		"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "PLANTED-vault-token", "VAULT_MAX_RETRIES": "0",
	} {
		t.Setenv(name, value)
	}
	for keeperURL, want := range map[string]string{
		"awskms://alias/jit?region=eu-central-1":            "awskms",
		"awskms://alias/jit?region=eu-central-1&nonsense=1": "nonsense",
		"awskms://": "names no key",
		"gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k":             "gcpkms",
		"azurekeyvault://127.0.0.1/keys/jit":                                  "azurekeyvault",
		"azurekeyvault://jit.vault.azure.net/keys/jit?algorithm=RSA-OAEP-256": "azurekeyvault",
		"hashivault://jit":                           "hashivault",
		"hashivault://user:PLANTED-url-password@jit": "must not hold a user",
		"ibmkms://jit":                               "awskms, azurekeyvault, gcpkms, hashivault",
	} {
		dir := t.TempDir()
		store, err := approval.NewStore(approval.StoreConfig{Dir: dir, SecretsURL: keeperURL})
		if err == nil {
			_ = store.Close()
			t.Errorf("%s: a server starts", keeperURL)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "PLANTED") {
			t.Errorf("%s: %v", keeperURL, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "sealing.key")); err == nil {
			t.Errorf("%s: a local key was made instead", keeperURL)
		}
	}
}

func TestServerRewrap(t *testing.T) {
	dir, file := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "new.key")
	store, err := approval.NewStore(approval.StoreConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	a := serverApp(t, nil)
	for _, args := range [][]string{{"--data", dir}, {"--data", dir, "--to-key", file, "--to", "hashivault://jit"}, {"--data", dir, "--to", "base64key://c2VjcmV0"}} {
		if code := runCommand(t, a, newServerRewrapCommand(a), args...); code != ExitUsage {
			t.Errorf("%v: exit %d", args, code)
		}
	}
	if code := runCommand(t, a, newServerRewrapCommand(a), "--data", dir, "--to", "nosuch://key"); code != ExitError {
		t.Errorf("another scheme: exit %d", code)
	}
	out := a.Out.(*bytes.Buffer)
	out.Reset()
	if code := runCommand(t, a, newServerRewrapCommand(a), "--data", dir, "--to-key", file, "--json"); code != ExitOK {
		t.Fatalf("exit %d\n%s", code, a.Err)
	}
	var done approval.Rewrapped
	if err := json.Unmarshal(out.Bytes(), &done); err != nil || done.Values["sealed_keys"] != 1 || !done.Cleared {
		t.Errorf("%s, %v", out, err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode()&fs.ModeType != 0 {
		t.Fatalf("the new key: %v", err)
	}
	if code := runCommand(t, a, newServerRewrapCommand(a), "--data", dir, "--to-key", file); code == ExitOK {
		t.Error("the old key still opens the database")
	}
	if err := os.Rename(file, filepath.Join(dir, "sealing.key")); err != nil {
		t.Fatal(err)
	}
	if store, err = approval.NewStore(approval.StoreConfig{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	_ = store.Close()
}

// Rules for machines that would let too many in are found before a server runs.
func TestCheckConfigMachines(t *testing.T) {
	head := "issuer: https://idp.example.com\nclient_id: jit\nidentities:\n- name: ci\n  issuer: https://ci.example.com\n"
	for rules, want := range map[string]string{
		"  audience: jit-ci\n  match: {sub: 'repo:acme/*:ref:refs/heads/main'}\n": "",
		"  match: {sub: x}\n":                                                                 "audience",
		"  audience: jit-ci\n":                                                                "identities",
		"  audience: jit-ci\n  match: {sub: '*'}\n":                                           "identities",
		"  audience: jit-ci\n  match: {sub: '['}\n":                                           "pattern",
		"  audience: jit-ci\n  match: {sub: x}\n  groups: [jit-admins]\n":                     "only people administer",
		"  audience: jit-ci\n  match: {sub: x}\n- name: b\n  issuer: http://ci.example.com\n": "issuer",
		"  audience: x\n  match: {sub: x}\n- name: b\n  issuer: https://idp.example.com\n  audience: jit\n  match: {sub: x}\n": "people",
	} {
		file := filepath.Join(t.TempDir(), "server.yaml")
		if err := os.WriteFile(file, []byte(head+rules), 0o600); err != nil {
			t.Fatal(err)
		}
		a := serverApp(t, nil)
		code := runCommand(t, a, newServerCheckConfigCommand(a), file)
		text := a.Err.(*typist).String()
		if (code == ExitOK) != (want == "") || code != ExitOK && (code != ExitUsage || !strings.Contains(text, want)) {
			t.Errorf("exit %d, want %q for\n%s\n%s", code, want, rules, text)
		}
	}
}
