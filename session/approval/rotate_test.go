package approval

import (
	"testing"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// A new credential takes the old one's place once Snowflake let it in.
func TestRotateConnection(t *testing.T) {
	eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
		ctx := t.Context()
		root := s.person(w.root)
		wrong := NewCredential{Kind: "password", Material: secret.New("not it")}
		_, err := root.RotateConnection(ctx, "prod", wrong)
		var up *session.UpstreamError
		if !asError(err, &up) || up.Code != "390100" {
			t.Fatalf("a credential that Snowflake refuses: %v", err)
		}
		must[ConnectionTest](t)(root.TestConnection(ctx, "prod")) // the old one stays
		w.sf.mu.Lock()
		w.sf.password = "rotated"
		w.sf.mu.Unlock()
		if _, err := root.TestConnection(ctx, "prod"); err == nil {
			t.Fatal("the old credential still works upstream")
		}
		must[ConnectionTest](t)(root.RotateConnection(ctx, "prod", NewCredential{Kind: "password", Material: secret.New("rotated")}))
		must[ConnectionTest](t)(root.TestConnection(ctx, "prod"))
		if n := w.sf.count(); n != 0 {
			t.Errorf("%d upstream sessions are left", n)
		}
		_, err = root.RotateConnection(ctx, "nowhere", wrong)
		wantErr(t, err, session.ErrNotFound)
		_, err = root.RotateConnection(ctx, "prod", NewCredential{Kind: "magic", Material: secret.New("x")})
		wantErr(t, err, session.ErrInvalid)
		_, err = s.person(w.bob).RotateConnection(ctx, "prod", wrong)
		wantErr(t, err, session.ErrForbidden)
	})
}
