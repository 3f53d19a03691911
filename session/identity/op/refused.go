package op

import (
	"context"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// What the library can do and this provider refuses: the authorization code
// flow, introspection, JWT profiles and private claims.

func (*storage) CreateAuthRequest(context.Context, *oidc.AuthRequest, string) (op.AuthRequest, error) {
	return nil, oidc.ErrUnauthorizedClient().WithDescription("only the device grant is served")
}

func (*storage) AuthRequestByID(context.Context, string) (op.AuthRequest, error) {
	return nil, oidc.ErrInvalidRequest()
}

func (*storage) AuthRequestByCode(context.Context, string) (op.AuthRequest, error) {
	return nil, oidc.ErrInvalidGrant()
}

func (*storage) SaveAuthCode(context.Context, string, string) error { return oidc.ErrInvalidRequest() }

func (*storage) DeleteAuthRequest(context.Context, string) error { return oidc.ErrInvalidRequest() }

func (*storage) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return oidc.ErrAccessDenied()
}

func (*storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

func (*storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, oidc.ErrAccessDenied()
}

func (*storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, oidc.ErrAccessDenied()
}
