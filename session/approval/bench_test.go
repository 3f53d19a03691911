package approval

import (
	"fmt"
	"testing"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// BenchmarkStatement is one held statement's way through the store: submitted,
// approved, redeemed; each a durable transaction with its audit row and events.
func BenchmarkStatement(b *testing.B) {
	store, err := NewStore(StoreConfig{Dir: b.TempDir(), Policy: policy.Default()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	ctx := b.Context()
	if _, err := store.db.write.ExecContext(ctx, `INSERT INTO connections (name, doc, credential, created_at, created_by) VALUES ('prod', '{"name":"prod","account":"a","role":"R"}', $1, 0, '')`, []byte{}); err != nil {
		b.Fatal(err)
	}
	dave := session.Principal{Issuer: "https://idp.example.com", Subject: "dave", Groups: []string{"jit-unattended"}}
	bob := session.Principal{Issuer: "https://idp.example.com", Subject: "bob", Groups: []string{"jit-reviewers"}}
	r, err := store.As(dave).Submit(ctx, sessionSubmission())
	if err != nil {
		b.Fatal(err)
	}
	_, vkey, err := recording.NewKey("jit-session")
	if err != nil {
		b.Fatal(err)
	}
	o, err := store.As(dave).Open(ctx, r.GrantID, vkey)
	if err != nil {
		b.Fatal(err)
	}
	broker, err := store.AsBroker(ctx, o.Token)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		sub := heldCase(o, fmt.Sprintf("DELETE FROM T WHERE ID = %d", i))
		r, err := broker.Submit(ctx, sub)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := store.As(bob).Decide(ctx, r.ID, approveIt(sub.Case.Digest())); err != nil {
			b.Fatal(err)
		}
		if _, err := broker.Redeem(ctx, r.ID, sub.Case.Digest()); err != nil {
			b.Fatal(err)
		}
	}
}
