package approval

import (
	"context"
	"net/http"

	"github.com/jit-access/jit/session/secret"
)

type connectionsDoc struct {
	Connections []connectionDoc `json:"connections"`
}

type credentialDoc struct {
	Kind       string `json:"kind" enum:"key-pair,password,pat,oauth,oauth-client,oauth-refresh,workload-identity"`
	Material   string `json:"material" writeOnly:"true" maxLength:"32768" doc:"the password, the token, the private key in PEM, or a JSON object: token_url, client_id, client_secret, refresh_token, scope; or provider, token_file"`
	Passphrase string `json:"passphrase,omitempty" writeOnly:"true" maxLength:"4096" doc:"of an encrypted private key"`
}

type addConnectionInput struct {
	Body struct {
		Connection connectionDoc `json:"connection"`
		Credential credentialDoc `json:"credential"`
		Replace    bool          `json:"replace,omitempty"`
	}
}

type nameParam struct {
	Name string `path:"name" maxLength:"64"`
}

type policyDoc struct {
	Digest string `json:"digest"`
	Bundle []byte `json:"bundle,omitempty"`
}

type pushInput struct {
	Body struct {
		Bundle []byte `json:"bundle"`
	}
}

func (s *Server) adminRoutes() {
	handle(s, http.MethodGet, "/v1/connections", "connections", "Connections that can be asked for", maxBody,
		func(ctx context.Context, w Caller, _ *struct{}) (*body[connectionsDoc], error) {
			cs, err := s.store.connections(ctx, w)
			if err != nil {
				return nil, err
			}
			out := connectionsDoc{Connections: []connectionDoc{}}
			for _, c := range cs {
				out.Connections = append(out.Connections, connectionDoc(c))
			}
			return &body[connectionsDoc]{out}, nil
		})
	handle(s, http.MethodPost, "/v1/connections", "addConnection", "Add a connection (admins)", maxBody,
		func(ctx context.Context, w Caller, in *addConnectionInput) (*body[connectionDoc], error) {
			c, err := s.store.addConnection(ctx, w, Connection(in.Body.Connection), NewCredential{
				Kind: in.Body.Credential.Kind, Material: secret.New(in.Body.Credential.Material), Passphrase: secret.New(in.Body.Credential.Passphrase),
			}, in.Body.Replace)
			if err != nil {
				return nil, err
			}
			return &body[connectionDoc]{connectionDoc(c)}, nil
		})
	handle(s, http.MethodDelete, "/v1/connections/{name}", "removeConnection", "Remove a connection (admins)", maxBody,
		func(ctx context.Context, w Caller, in *nameParam) (*struct{}, error) {
			return nil, s.store.removeConnection(ctx, w, in.Name)
		})
	handle(s, http.MethodPost, "/v1/connections/{name}/test", "testConnection", "Log in and out once (admins)", maxBody,
		func(ctx context.Context, w Caller, in *nameParam) (*body[ConnectionTest], error) {
			t, err := s.store.testConnection(ctx, w, in.Name)
			if err != nil {
				return nil, err
			}
			return &body[ConnectionTest]{t}, nil
		})
	handle(s, http.MethodGet, "/v1/policy", "policy", "The active policy bundle", maxBody,
		func(ctx context.Context, _ Caller, _ *struct{}) (*body[policyDoc], error) {
			digest, data, err := s.store.policyData(ctx)
			if err != nil {
				return nil, err
			}
			return &body[policyDoc]{policyDoc{digest, data}}, nil
		})
	handle(s, http.MethodPut, "/v1/policy/dry-run", "dryRunPolicy", "Put a bundle in dry run (admins)", maxPolicyBody,
		func(ctx context.Context, w Caller, in *pushInput) (*body[policyDoc], error) {
			digest, err := s.store.pushDryRun(ctx, w, in.Body.Bundle)
			if err != nil {
				return nil, err
			}
			return &body[policyDoc]{policyDoc{Digest: digest}}, nil
		})
	handle(s, http.MethodDelete, "/v1/policy/dry-run", "endDryRun", "End the dry run (admins)", maxBody,
		func(ctx context.Context, w Caller, _ *struct{}) (*struct{}, error) {
			_, err := s.store.pushDryRun(ctx, w, nil)
			return nil, err
		})
	handle(s, http.MethodPut, "/v1/policy", "pushPolicy", "Make a bundle the active one (admins)", maxPolicyBody,
		func(ctx context.Context, w Caller, in *pushInput) (*body[policyDoc], error) {
			digest, err := s.store.pushPolicy(ctx, w, in.Body.Bundle)
			if err != nil {
				return nil, err
			}
			return &body[policyDoc]{policyDoc{Digest: digest}}, nil
		})
}
