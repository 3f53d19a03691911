package credential

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/jit-access/jit/session/secret"
)

// WorkloadIdentity logs in as the machine that the approval server runs on:
// there is no secret to keep. The attestations are those of Snowflake's
// "Workload identity federation" and of its Go driver.
type WorkloadIdentity struct {
	held
	provider  string
	tokenFile string
	metadata  string // base URL of the cloud's metadata service, for tests
}

// snowflakeAudience is whom attestations are for.
const snowflakeAudience = "snowflakecomputing.com"

// workloadMaterial is the stored form. It holds no secret.
type workloadMaterial struct {
	Provider  string `json:"provider"`             // AWS, GCP, AZURE or OIDC
	TokenFile string `json:"token_file,omitempty"` // OIDC: on the server's machine
}

// FormatWorkloadIdentity makes the material that Parse takes. provider is AWS,
// GCP, AZURE or OIDC; tokenFile is for OIDC alone.
func FormatWorkloadIdentity(provider, tokenFile string) secret.Text {
	b, err := json.Marshal(workloadMaterial{strings.ToUpper(provider), tokenFile})
	if err != nil { // two texts always marshal
		return secret.Text{}
	}
	return secret.New(string(b))
}

func parseWorkloadIdentity(material secret.Text) (WorkloadIdentity, error) {
	var m workloadMaterial
	if json.Unmarshal([]byte(material.Reveal()), &m) != nil {
		return WorkloadIdentity{}, errors.New("the workload identity must be a JSON object with provider and, for OIDC, token_file")
	}
	w := WorkloadIdentity{held: held{KindWorkload, material}, provider: strings.ToUpper(m.Provider), tokenFile: m.TokenFile}
	switch w.provider {
	case "GCP":
		w.metadata = "http://metadata.google.internal"
	case "AZURE":
		w.metadata = "http://169.254.169.254"
	case "AWS":
	case "OIDC":
		if !filepath.IsAbs(m.TokenFile) {
			return w, errors.New("the token file of an OIDC workload identity must be an absolute path on the server's machine")
		}
		return w, nil
	default:
		return w, errors.New("the provider of a workload identity must be AWS, GCP, AZURE or OIDC")
	}
	if m.TokenFile != "" {
		return w, errors.New("a token file is for the provider OIDC only")
	}
	return w, nil
}

func (w WorkloadIdentity) proof(_, _ string, _ time.Time) (proof, error) {
	return proof{}, errors.New("the workload identity was not exchanged for an attestation")
}

// attestation is what a WorkloadIdentity is exchanged for.
type attestation struct {
	held
	provider string
}

func (a attestation) proof(_, _ string, _ time.Time) (proof, error) {
	return proof{authenticator: "WORKLOAD_IDENTITY", provider: a.provider, token: a.text}, nil
}

// Exchange implements Exchanger; there is nothing to keep.
func (w WorkloadIdentity) Exchange(ctx context.Context, _ *http.Client, now time.Time) (Credential, secret.Text, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	var (
		text string
		err  error
	)
	switch w.provider {
	case "OIDC":
		text, err = w.readToken()
	case "GCP":
		text, err = w.ask(ctx, "/computeMetadata/v1/instance/service-accounts/default/identity?audience="+snowflakeAudience, "Metadata-Flavor", "Google")
	case "AZURE":
		text, err = w.askAzure(ctx)
	case "AWS":
		text, err = signCallerIdentity(ctx, now)
	}
	if err != nil {
		return nil, secret.Text{}, fmt.Errorf("proving this machine's identity (%s): %w", w.provider, err)
	}
	return attestation{held{KindWorkload, secret.New(text)}, w.provider}, secret.Text{}, nil
}

// readToken reads a token that the platform keeps fresh. It must be a token for
// Snowflake: whoever administers connections shall not have other files sent
// somewhere.
func (w WorkloadIdentity) readToken() (string, error) {
	f, err := os.Open(w.tokenFile)
	if err != nil {
		return "", errors.New("the token file cannot be opened")
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return "", errors.New("the token file cannot be read")
	}
	text := strings.TrimSpace(string(b))
	if !forSnowflake(text) {
		return "", fmt.Errorf("the token file holds no token for the audience %s", snowflakeAudience)
	}
	return text, nil
}

// forSnowflake reports whether text is a JWT for Snowflake.
func forSnowflake(text string) bool {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return false
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Audience any `json:"aud"`
	}
	if err != nil || json.Unmarshal(body, &claims) != nil {
		return false
	}
	list, _ := claims.Audience.([]any)
	return claims.Audience == snowflakeAudience || slices.Contains(list, any(snowflakeAudience))
}

// ask gets a path of the cloud's metadata service, which is on the machine's own
// link: without a proxy, a redirect, or TLS.
func (w WorkloadIdentity) ask(ctx context.Context, path, header, value string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.metadata+path, nil)
	if err != nil {
		return "", errors.New("the metadata service has no usable address")
	}
	r.Header.Set(header, value)
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := hc.Do(r)
	if err != nil {
		return "", fmt.Errorf("%w: the metadata service does not answer; does the server run in this cloud?", ErrUnreachable)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil || resp.StatusCode != http.StatusOK || len(b) == 0 {
		return "", fmt.Errorf("the metadata service answered with HTTP status %d: does this machine have an identity?", resp.StatusCode)
	}
	return strings.TrimSpace(string(b)), nil
}

// entraResource is the application that Snowflake's driver asks a token for.
const entraResource = "api://fd3f753b-eed3-462c-b6a7-a4b5bb650aad"

func (w WorkloadIdentity) askAzure(ctx context.Context) (string, error) {
	text, err := w.ask(ctx, "/metadata/identity/oauth2/token?api-version=2018-02-01&resource="+entraResource, "Metadata", "True")
	if err != nil {
		return "", err
	}
	var answer struct {
		Token string `json:"access_token"`
	}
	if json.Unmarshal([]byte(text), &answer) != nil || answer.Token == "" {
		return "", errors.New("the metadata service's answer holds no token")
	}
	return answer.Token, nil
}

// signCallerIdentity signs, and does not send, a request that asks AWS who signed
// it. Snowflake sends it. The audience header is part of what is signed, so that
// nobody else could make use of it.
func signCallerIdentity(ctx context.Context, now time.Time) (string, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithEC2IMDSRegion())
	if err != nil {
		return "", errors.New("the AWS settings of this machine cannot be read")
	}
	if cfg.Region == "" {
		return "", errors.New("no AWS region is set: set AWS_REGION")
	}
	creds, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return "", errors.New("this machine has no AWS credentials")
	}
	domain := "amazonaws.com"
	if strings.HasPrefix(cfg.Region, "cn-") {
		domain += ".cn"
	}
	host := "sts." + cfg.Region + "." + domain
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"?Action=GetCallerIdentity&Version=2011-06-15", nil)
	if err != nil {
		return "", errors.New("the AWS region is not one")
	}
	r.Header.Set("Host", host)
	r.Header.Set("X-Snowflake-Audience", snowflakeAudience)
	empty := sha256.Sum256(nil)
	if err := v4.NewSigner().SignHTTP(ctx, creds, r, hex.EncodeToString(empty[:]), "sts", cfg.Region, now); err != nil {
		return "", errors.New("signing for AWS did not work")
	}
	headers := map[string]string{}
	for name := range r.Header {
		headers[name] = r.Header.Get(name)
	}
	b, err := json.Marshal(map[string]any{"url": r.URL.String(), "method": r.Method, "headers": headers})
	if err != nil {
		return "", errors.New("writing the attestation")
	}
	return base64.StdEncoding.EncodeToString(b), nil
}
