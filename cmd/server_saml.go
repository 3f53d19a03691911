package cmd

import (
	"log/slog"
	"os"

	"github.com/jit-access/jit/session/approval"
	"github.com/jit-access/jit/session/identity/bridge"
)

// bridgeClient is the client of jit where the server itself is the issuer.
const bridgeClient = "jit-cli"

// withSAML makes the server its own issuer if people sign in by SAML.
func (o serverOptions) withSAML() serverOptions {
	if o.SAMLMetadata != "" {
		if o.Issuer == "" {
			o.Issuer = o.PublicURL
		}
		if o.ClientID == "" {
			o.ClientID = bridgeClient
		}
	}
	return o
}

func (o serverOptions) checkSAML() error {
	switch {
	case o.SAMLMetadata == "" && o.SAMLGroupsAttribute+o.SAMLEmailAttribute+o.SAMLNameAttribute != "":
		return usagef("--saml-groups-attribute, --saml-email-attribute and --saml-name-attribute belong to --saml-metadata")
	case o.SAMLMetadata == "":
		return nil
	case o.PublicURL == "":
		return usagef("--saml-metadata needs --public-url: people's browsers and the identity provider come to it")
	case o.Issuer != o.PublicURL:
		return usagef("--issuer and --saml-metadata exclude each other: with SAML this server is the issuer")
	case o.GroupsClaim != "" && o.GroupsClaim != "groups":
		return usagef("--groups-claim does not go with --saml-metadata: name the attribute by --saml-groups-attribute")
	}
	return nil
}

// signIn makes the part of the server that people's browsers see; nil without SAML.
func (o serverOptions) signIn(store *approval.Store, logger *slog.Logger) (*bridge.Bridge, error) {
	if o.SAMLMetadata == "" {
		return nil, nil //nolint:nilnil // no bridge is no error
	}
	metadata, err := os.ReadFile(o.SAMLMetadata)
	if err != nil {
		return nil, &Failure{Code: ExitUsage, What: "reading the SAML metadata", Err: err}
	}
	b, err := bridge.New(bridge.Config{
		Issuer: o.Issuer, ClientID: o.ClientID, Metadata: metadata, Groups: o.SAMLGroupsAttribute, Email: o.SAMLEmailAttribute, Name: o.SAMLNameAttribute,
		Keys: approval.NewSigningKeys(store).Keys, BehindProxy: o.BehindProxy, Logger: logger,
	})
	if err != nil {
		return nil, &Failure{Code: ExitUsage, What: "setting up sign-in by SAML", Err: err}
	}
	return b, nil
}
