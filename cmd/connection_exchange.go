package cmd

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/jit-access/jit/broker/credential"
	"github.com/jit-access/jit/session/approval"
)

// exchangeOptions are the flags of credentials that the server exchanges for
// what Snowflake takes.
type exchangeOptions struct {
	TokenURL, ClientID, SecretFile, RefreshFile, Scope string
	Workload, WorkloadFile                             string
}

func (o *exchangeOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.TokenURL, "oauth-token-url", "", "token endpoint that the server gets access tokens from")
	f.StringVar(&o.ClientID, "oauth-client-id", "", "OAuth client of the server there")
	f.StringVar(&o.SecretFile, "oauth-client-secret-file", "", "file with that client's secret")
	f.StringVar(&o.RefreshFile, "oauth-refresh-token-file", "", "file with a refresh token; without one the client's own credentials are used")
	f.StringVar(&o.Scope, "oauth-scope", "", "scope to ask for, such as session:role:ANALYST")
	f.StringVar(&o.Workload, "workload-identity", "", "log in as the machine of the server: AWS, GCP, AZURE or OIDC")
	f.StringVar(&o.WorkloadFile, "workload-token-file", "", "file on the server's machine with its OIDC token for snowflakecomputing.com")
}

// check finds flags that lack others or make no sense together.
func (o exchangeOptions) check() error {
	oauth := o.ClientID + o.SecretFile + o.RefreshFile + o.Scope
	switch {
	case o.TokenURL == "" && oauth != "":
		return usagef("--oauth-client-id, --oauth-client-secret-file, --oauth-refresh-token-file and --oauth-scope belong to --oauth-token-url")
	case o.TokenURL != "" && (o.ClientID == "" || o.SecretFile == "" && o.RefreshFile == ""):
		return usagef("--oauth-token-url needs --oauth-client-id, and --oauth-client-secret-file or --oauth-refresh-token-file")
	case o.SecretFile == "-" && o.RefreshFile == "-":
		return usagef("standard input holds one secret: name a file for the other")
	case o.Workload != "" && !slices.Contains([]string{"AWS", "GCP", "AZURE", "OIDC"}, strings.ToUpper(o.Workload)):
		return usagef("--workload-identity must be AWS, GCP, AZURE or OIDC")
	case strings.EqualFold(o.Workload, "OIDC") != (o.WorkloadFile != ""):
		return usagef("--workload-token-file and --workload-identity OIDC belong together")
	}
	return nil
}

// readExchange reads the secrets of such a credential; given is false if the
// flags name none.
func (a *App) readExchange(o exchangeOptions) (nc approval.NewCredential, given bool, err error) {
	if o.Workload != "" {
		return approval.NewCredential{Kind: credential.KindWorkload, Material: credential.FormatWorkloadIdentity(o.Workload, o.WorkloadFile)}, true, nil
	}
	if o.TokenURL == "" {
		return nc, false, nil
	}
	e := credential.OAuthExchange{TokenURL: o.TokenURL, ClientID: o.ClientID, Scope: o.Scope}
	nc.Kind = credential.KindOAuthClient
	if o.SecretFile != "" {
		if e.ClientSecret, err = a.readSecret(o.SecretFile); err != nil {
			return nc, true, err
		}
	}
	if o.RefreshFile != "" {
		nc.Kind = credential.KindOAuthRefresh
		if e.RefreshToken, err = a.readSecret(o.RefreshFile); err != nil {
			return nc, true, err
		}
	}
	nc.Material = credential.FormatOAuthExchange(e)
	return nc, true, nil
}
