package approval

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/jit-access/jit/broker/credential"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// rotateConnection gives a connection a new credential; admins only. Snowflake
// must let the new one in first: until then, and if it does not, the old one
// stays. Sessions that run keep the upstream sessions they have.
func (s *Store) rotateConnection(ctx context.Context, w Caller, name string, nc NewCredential) (ConnectionTest, error) {
	var (
		conn Connection
		cred credential.Credential
	)
	err := s.checkAndRecord(ctx, w, "connection.try", name, func(ctx context.Context, c *change) (err error) {
		if err := s.admin(w); err != nil {
			return err
		}
		if conn, err = loadConnection(ctx, c, name); err != nil {
			return err
		}
		if cred, err = credential.Parse(nc.Kind, nc.Material, nc.Passphrase); err != nil {
			return session.Refuse(session.ErrInvalid, "%v", err) // package credential puts no secret into its errors
		}
		c.note("authenticator", nc.Kind)
		return nil
	})
	if err != nil {
		return ConnectionTest{}, err
	}
	// A caller who leaves must not cost a refresh token that was replaced.
	ctx = context.WithoutCancel(ctx)
	if ex, ok := cred.(credential.Exchanger); ok {
		ready, keep, err := ex.Exchange(ctx, s.hc, s.now())
		if err != nil {
			return ConnectionTest{}, upstreamError(err)
		}
		if cred = ready; !keep.IsZero() {
			nc.Material = keep
		}
	}
	result, err := s.tryLogin(ctx, conn, cred)
	if err != nil {
		return ConnectionTest{}, err
	}
	return result, s.checkAndRecord(ctx, w, "connection.rotate", name, func(ctx context.Context, c *change) error {
		if err := s.admin(w); err != nil {
			return err
		}
		now, err := loadConnection(ctx, c, name)
		if err != nil {
			return err
		}
		if now.URL != conn.URL || now.Account != conn.Account || now.User != conn.User {
			return session.Refuse(session.ErrConflict, "The connection %q was changed meanwhile. Look at it again.", name)
		}
		now.Authenticator = nc.Kind
		doc, err := json.Marshal(connectionDoc(now))
		if err != nil {
			return fmt.Errorf("writing connection: %w", err)
		}
		sealed, err := s.seal(ctx, c, credentialPurpose(name), sealedCredential{nc.Kind, nc.Material.Reveal(), nc.Passphrase.Reveal()})
		if err != nil {
			return err
		}
		c.note("authenticator", nc.Kind)
		return c.exactlyOne(ctx, `UPDATE connections SET doc = $1, credential = $2 WHERE name = $3`, string(doc), sealed, name)
	})
}

type rotateInput struct {
	Name string `path:"name" maxLength:"64"`
	Body struct {
		Credential credentialDoc `json:"credential"`
	}
}

func (s *Server) rotateRoute() {
	handle(s, http.MethodPost, "/v1/connections/{name}/rotate", "rotateConnection", "Give a connection a new credential, if Snowflake lets it in (admins)", maxBody,
		func(ctx context.Context, w Caller, in *rotateInput) (*body[ConnectionTest], error) {
			c := in.Body.Credential
			t, err := s.store.rotateConnection(ctx, w, in.Name, NewCredential{Kind: c.Kind, Material: secret.New(c.Material), Passphrase: secret.New(c.Passphrase)})
			if err != nil {
				return nil, err
			}
			return &body[ConnectionTest]{t}, nil
		})
}

// RotateConnection gives a connection a new credential, if Snowflake lets it in.
func (c *Client) RotateConnection(ctx context.Context, name string, nc NewCredential) (ConnectionTest, error) {
	var in rotateInput
	in.Body.Credential = credentialDoc{Kind: nc.Kind, Material: nc.Material.Reveal(), Passphrase: nc.Passphrase.Reveal()}
	var doc ConnectionTest
	err := c.t.call(ctx, http.MethodPost, "/v1/connections/"+url.PathEscape(name)+"/rotate", in.Body, &doc)
	return doc, err
}

// RotateConnection gives a connection a new credential, if Snowflake lets it in.
func (l *Local) RotateConnection(ctx context.Context, name string, nc NewCredential) (ConnectionTest, error) {
	return l.s.rotateConnection(ctx, l.w, name, nc)
}
