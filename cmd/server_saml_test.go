package cmd

import (
	"testing"
)

func TestSAMLSettings(t *testing.T) {
	base := serverOptions{Listen: "127.0.0.1:0", PublicURL: "https://jit.example.com", SAMLMetadata: "idp.xml"}
	if o := base.withSAML(); o.Issuer != base.PublicURL || o.ClientID != bridgeClient || o.check() != nil {
		t.Errorf("%s %s: %v", o.Issuer, o.ClientID, o.check())
	}
	for what, change := range map[string]func(*serverOptions){
		"no public URL":  func(o *serverOptions) { o.PublicURL = "" },
		"another issuer": func(o *serverOptions) { o.Issuer = "https://idp.example.com" },
		"a claim":        func(o *serverOptions) { o.GroupsClaim = "roles" },
		"an attribute without SAML": func(o *serverOptions) {
			o.SAMLMetadata, o.SAMLGroupsAttribute, o.Issuer, o.ClientID = "", "g", "https://idp.example.com", "c"
		},
		"neither issuer nor SAML": func(o *serverOptions) { o.SAMLMetadata = "" },
	} {
		o := base
		change(&o)
		if o = o.withSAML(); o.check() == nil {
			t.Errorf("%s is accepted", what)
		}
	}
	if _, err := (serverOptions{SAMLMetadata: t.TempDir() + "/none.xml"}).signIn(nil, nil); err == nil {
		t.Error("a metadata file that is not there is accepted")
	}
}
