package credential

import (
	"bytes"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/jit-access/jit/session/secret"
)

const passphrase = "correct-horse"

func fixture(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func mustKeyPair(t testing.TB) *KeyPair {
	t.Helper()
	k, err := ParseKeyPair(secret.New(fixture(t, "plain.pem")), secret.Text{})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestPrintingRevealsNothing prints every credential in every way a program
// prints things, also inside structs that fmt walks by reflection.
func TestPrintingRevealsNothing(t *testing.T) {
	const canary = "canary-8c1f27"
	key := mustKeyPair(t)
	planted := []string{canary, "PRIVATE KEY", key.key.D.String(), fmt.Sprintf("%x", key.key.D), strings.Split(fixture(t, "plain.pem"), "\n")[3]}
	all := map[string]any{
		"password": NewPassword(secret.New(canary)),
		"pat":      NewProgrammaticAccessToken(secret.New(canary)),
		"oauth":    NewOAuth(secret.New(canary)),
		"key pair": key,
		"key copy": *key,
	}
	for name, c := range all {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			wrapped := struct{ inner any }{c} // unexported: fmt cannot call its methods
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "%t"} {
				fmt.Fprintf(&out, verb+"\n", c)
				fmt.Fprintf(&out, verb+"\n", &c)
				fmt.Fprintf(&out, verb+"\n", wrapped)
				fmt.Fprintf(&out, verb+"\n", []any{c})
			}
			b, err := json.Marshal(map[string]any{"c": c, "w": wrapped, "s": []any{c}})
			if err != nil {
				t.Fatal(err)
			}
			out.Write(b)
			for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
				slog.New(h).Info("x", "c", c, "w", wrapped, slog.Group("g", "c", c))
			}
			for _, p := range planted {
				if strings.Contains(out.String(), p) || strings.Contains(out.String(), fmt.Sprintf("%x", p)) {
					t.Errorf("printed %q", p)
				}
			}
			if !strings.Contains(out.String(), "[redacted]") {
				t.Error("does not say that it is redacted")
			}
		})
	}
}

func TestKeyForms(t *testing.T) {
	want := "SHA256:" + strings.TrimSpace(fixture(t, "fingerprint.txt"))
	tests := []struct {
		file, pass string
		err        string // part of it; empty: opens
	}{
		{file: "plain.pem"},
		{file: "plain.pem", pass: "not needed"},
		{file: "pkcs1.pem"},
		{file: "aes256.pem", pass: passphrase},
		{file: "des3.pem", pass: passphrase},
		{file: "aes128-sha1.pem", pass: passphrase},
		{file: "aes256.pem", err: "give its passphrase"},
		{file: "aes256.pem", pass: "wrong", err: "passphrase is wrong"},
		{file: "scrypt.pem", pass: passphrase},
		{file: "scrypt.pem", pass: "wrong", err: "passphrase is wrong"},
		{file: "scrypt.pem", err: "give its passphrase"},
		{file: "pbes1.pem", pass: passphrase, err: "openssl pkcs8 -topk8"},
		{file: "ec.pem", err: "RSA only"},
		{file: "weak.pem", err: "1024 bits"},
		{file: "public.pem", err: "public key"},
		{file: "fingerprint.txt", err: "not PEM"},
	}
	for _, tt := range tests {
		t.Run(tt.file+"/"+tt.pass, func(t *testing.T) {
			k, err := ParseKeyPair(secret.New(fixture(t, tt.file)), secret.New(tt.pass))
			if tt.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				if k.Fingerprint() != want {
					t.Errorf("fingerprint %s, openssl says %s", k.Fingerprint(), want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want one with %q", err, tt.err)
			}
			if tt.pass != "" && strings.Contains(err.Error(), tt.pass) && tt.pass != "wrong" {
				t.Errorf("the error names the passphrase: %v", err)
			}
		})
	}
}

func FuzzParseKeyPair(f *testing.F) {
	for _, name := range []string{"plain.pem", "aes256.pem", "des3.pem", "pbes1.pem", "public.pem"} {
		f.Add(fixture(f, name), passphrase)
	}
	f.Fuzz(func(t *testing.T, material, pass string) {
		k, err := ParseKeyPair(secret.New(material), secret.New(pass))
		if (k == nil) == (err == nil) {
			t.Fatalf("key %v with error %v", k, err)
		}
	})
}

func TestLoginJWT(t *testing.T) {
	key := mustKeyPair(t)
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	p, err := key.proof("xy12345.eu-west-1.aws", "svc_jit", now)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(p.token.Reveal(), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if err := parsed.Claims(key.key.Public(), &claims); err != nil {
		t.Fatal(err)
	}
	if want := "XY12345.SVC_JIT"; claims.Subject != want {
		t.Errorf("sub %q, want %q", claims.Subject, want)
	}
	if want := "XY12345.SVC_JIT." + key.Fingerprint(); claims.Issuer != want {
		t.Errorf("iss %q, want %q", claims.Issuer, want)
	}
	if !claims.IssuedAt.Time().Equal(now) {
		t.Errorf("iat %v", claims.IssuedAt.Time())
	}
	if life := claims.Expiry.Time().Sub(now); life <= 0 || life > time.Hour {
		t.Errorf("life %v, want at most an hour", life)
	}
	if p.authenticator != "SNOWFLAKE_JWT" || !p.password.IsZero() {
		t.Errorf("authenticator %q, password set %v", p.authenticator, !p.password.IsZero())
	}
	if _, err := key.proof("xy12345", "", now); err == nil {
		t.Error("a JWT without a user was signed")
	}
}

func TestAccountName(t *testing.T) {
	for in, want := range map[string]string{
		"xy12345":                        "XY12345",
		"xy12345.us-east-2":              "XY12345",
		"xy12345.us-east-2.aws":          "XY12345",
		"XY12345.east-us-2.azure":        "XY12345",
		"myorg-my_account":               "MYORG-MY_ACCOUNT",
		"acct-1234567890.global":         "ACCT",
		"  spaced.eu-central-1 ":         "SPACED",
		"":                               "",
		"myorg-myaccount.privatelink":    "MYORG-MYACCOUNT",
		"xy12345.us-east-1.privatelink.": "XY12345",
	} {
		if got := accountName(in); got != want {
			t.Errorf("accountName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestBaseURL(t *testing.T) {
	for in, want := range map[string]string{
		"xy12345.eu-west-1":  "https://xy12345.eu-west-1.snowflakecomputing.com",
		"MyOrg-My_Account":   "https://myorg-my-account.snowflakecomputing.com",
		"xy1.cn-northwest-1": "https://xy1.cn-northwest-1.snowflakecomputing.cn",
		"":                   "",
		"evil.example/x?":    "",
		"a@b":                "",
	} {
		got, err := BaseURL(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("BaseURL(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestParseKinds(t *testing.T) {
	none := secret.Text{}
	for _, kind := range []string{KindPassword, KindPAT, KindOAuth} {
		c, err := Parse(kind, secret.New("s"), none)
		if err != nil || c.Kind() != kind {
			t.Errorf("Parse(%s) = %v, %v", kind, c, err)
		}
	}
	if c, err := Parse(KindKeyPair, secret.New(fixture(t, "plain.pem")), none); err != nil || c.Kind() != KindKeyPair {
		t.Errorf("Parse(key pair) = %v, %v", c, err)
	}
	for _, kind := range []string{"", "PASSWORD", "magic"} {
		if c, err := Parse(kind, secret.New("s"), none); err == nil {
			t.Errorf("Parse(%q) gave %v", kind, c)
		}
	}
	if _, err := Parse(KindPassword, none, none); err == nil {
		t.Error("an empty password was accepted")
	}
}

// A key file cannot make the server spend its memory.
func TestCostlyScryptIsRefused(t *testing.T) {
	block, _ := pem.Decode([]byte(fixture(t, "scrypt.pem")))
	for what, change := range map[string]func(*scryptParams){
		"a high cost":         func(p *scryptParams) { p.Cost = 1 << 24 },
		"large blocks":        func(p *scryptParams) { p.BlockSize = 1 << 30 },
		"many in parallel":    func(p *scryptParams) { p.Parallel = 1 << 40 },
		"a product too large": func(p *scryptParams) { p.Cost, p.BlockSize, p.Parallel = 1<<40, 1<<40, 1<<40 },
		"a negative cost":     func(p *scryptParams) { p.Cost = -16384 },
	} {
		var info encryptedPrivateKeyInfo
		var scheme pbes2Params
		var kdf scryptParams
		must := func(_ []byte, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(asn1.Unmarshal(block.Bytes, &info))
		must(asn1.Unmarshal(info.Algorithm.Parameters.FullBytes, &scheme))
		must(asn1.Unmarshal(scheme.Derivation.Parameters.FullBytes, &kdf))
		change(&kdf)
		marshal := func(v any) asn1.RawValue {
			t.Helper()
			b, err := asn1.Marshal(v)
			must(b, err)
			return asn1.RawValue{FullBytes: b}
		}
		scheme.Derivation.Parameters = marshal(kdf)
		info.Algorithm.Parameters = marshal(scheme)
		text := pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: marshal(info).FullBytes})
		if _, err := ParseKeyPair(secret.New(string(text)), secret.New(passphrase)); err == nil || !strings.Contains(err.Error(), "memory") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
