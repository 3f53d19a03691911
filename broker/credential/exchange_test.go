package credential

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jit-access/jit/session/secret"
)

func TestParseExchangers(t *testing.T) {
	good := OAuthExchange{TokenURL: "https://idp.example.com/token", ClientID: "jit", ClientSecret: secret.New("canary-s"), RefreshToken: secret.New("canary-r")}
	for _, c := range []struct {
		what, kind string
		change     func(*OAuthExchange)
		err        string
	}{
		{"refresh", KindOAuthRefresh, func(*OAuthExchange) {}, ""},
		{"a public client", KindOAuthRefresh, func(e *OAuthExchange) { e.ClientSecret = secret.Text{} }, ""},
		{"client credentials", KindOAuthClient, func(e *OAuthExchange) { e.RefreshToken = secret.Text{} }, ""},
		{"both", KindOAuthClient, func(*OAuthExchange) {}, "refresh token belongs"},
		{"no refresh token", KindOAuthRefresh, func(e *OAuthExchange) { e.RefreshToken = secret.Text{} }, "refresh token belongs"},
		{"no secret", KindOAuthClient, func(e *OAuthExchange) { e.RefreshToken, e.ClientSecret = secret.Text{}, secret.Text{} }, "secret"},
		{"no client", KindOAuthRefresh, func(e *OAuthExchange) { e.ClientID = "" }, "client id"},
		{"in the clear", KindOAuthRefresh, func(e *OAuthExchange) { e.TokenURL = "http://idp.example.com/token" }, "https"},
		{"a password in the URL", KindOAuthRefresh, func(e *OAuthExchange) { e.TokenURL = "https://u:canary-p@idp.example.com/token" }, "without a password"},
	} {
		e := good
		c.change(&e)
		_, err := Parse(c.kind, FormatOAuthExchange(e), secret.Text{})
		if (err == nil) != (c.err == "") || err != nil && (!strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "canary")) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	for what, m := range map[string]struct {
		material secret.Text
		ok       bool
	}{
		"OIDC": {FormatWorkloadIdentity("oidc", "/run/token"), true}, "AWS": {FormatWorkloadIdentity("aws", ""), true},
		"GCP": {FormatWorkloadIdentity("GCP", ""), true}, "AZURE": {FormatWorkloadIdentity("Azure", ""), true},
		"a relative file": {FormatWorkloadIdentity("oidc", "token"), false}, "no file": {FormatWorkloadIdentity("oidc", ""), false},
		"a file for AWS": {FormatWorkloadIdentity("aws", "/etc/passwd"), false}, "another cloud": {FormatWorkloadIdentity("oracle", ""), false},
		"no JSON": {secret.New("AWS"), false},
	} {
		if _, err := Parse(KindWorkload, m.material, secret.Text{}); (err == nil) != m.ok {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The metadata services are scripted after the clouds' documentation and
// Snowflake's Go driver; the real ones are to be had in their clouds only.
func TestMetadataServices(t *testing.T) {
	status := http.StatusOK
	cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		switch {
		case r.URL.Path == "/computeMetadata/v1/instance/service-accounts/default/identity" && r.Header.Get("Metadata-Flavor") == "Google" && r.URL.Query().Get("audience") == "snowflakecomputing.com":
			_, _ = w.Write([]byte("gcp-token"))
		case r.URL.Path == "/metadata/identity/oauth2/token" && r.Header.Get("Metadata") == "True" && r.URL.Query().Get("resource") == entraResource:
			_, _ = w.Write([]byte(`{"access_token":"azure-token","expires_in":"3600"}`))
		default:
			t.Errorf("asked for %s with %v", r.URL, r.Header)
		}
	}))
	defer cloud.Close()
	for provider, want := range map[string]string{"GCP": "gcp-token", "AZURE": "azure-token"} {
		w, err := parseWorkloadIdentity(FormatWorkloadIdentity(provider, ""))
		if err != nil {
			t.Fatal(err)
		}
		w.metadata = cloud.URL
		ready, keep, err := w.Exchange(t.Context(), nil, time.Now())
		if err != nil || !keep.IsZero() {
			t.Fatal(err)
		}
		p, err := ready.proof("a", "u", time.Now())
		if err != nil || p.token.Reveal() != want || p.provider != provider || p.authenticator != "WORKLOAD_IDENTITY" {
			t.Errorf("%s: %s %s, %v", provider, p.authenticator, p.provider, err)
		}
		status = http.StatusNotFound
		if _, _, err := w.Exchange(t.Context(), nil, time.Now()); err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("%s without an identity: %v", provider, err)
		}
		status = http.StatusOK
	}
}

// What is signed for AWS is AWS's own published form (Signature Version 4), made
// by its library; here it is only checked to be what Snowflake asks for.
func TestAWSAttestation(t *testing.T) {
	for k, v := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "canary-aws-secret", "AWS_SESSION_TOKEN": "session", "AWS_REGION": "eu-central-1",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(k, v)
	}
	text, err := signCallerIdentity(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	var got struct {
		URL, Method string
		Headers     map[string]string
	}
	if err = errors.Join(err, json.Unmarshal(raw, &got)); err != nil {
		t.Fatal(err)
	}
	auth := got.Headers["Authorization"]
	if got.URL != "https://sts.eu-central-1.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15" || got.Method != http.MethodPost ||
		got.Headers["X-Snowflake-Audience"] != snowflakeAudience || !strings.Contains(auth, "x-snowflake-audience") || strings.Contains(string(raw), "canary") {
		t.Errorf("signed %s", raw)
	}
	t.Setenv("AWS_REGION", "")
	if _, err := signCallerIdentity(t.Context(), time.Now()); err == nil {
		t.Error("signed without a region")
	}
}
