package approval

import (
	"testing"

	"github.com/jit-access/jit/session"
)

// An approval of a shape is for other values of the same statement. Bind
// values are in no shape, so a statement whose meaning is in a bind value must
// not ride on the approval of another.
func TestAttackShapeApprovalWithAnotherBind(t *testing.T) {
	for _, text := range []string{
		"EXECUTE IMMEDIATE ?",
		"CALL P(?)",
		"DELETE FROM IDENTIFIER(?)",
		"SELECT * FROM IDENTIFIER(?)",
		"SELECT * FROM TABLE(?)",
	} {
		eachSide(t, Limits{}, func(t *testing.T, w *world, s side) {
			ctx := t.Context()
			o := openSessionFor(t, w, s, w.alice)
			b := s.broker(o)
			first, second := heldCase(o, text), heldCase(o, text)
			first.Case.Binds = `{"1":{"type":"TEXT","value":"harmless"}}`
			second.Case.Binds = `{"1":{"type":"TEXT","value":"delete from payroll"}}`
			r := must[session.Request](t)(b.Submit(ctx, first))
			_, err := s.person(w.bob).Decide(ctx, r.ID, session.Choice{Outcome: session.OutcomeApprove, Reuse: session.ReuseShape, Digest: first.Case.Digest()})
			if err != nil {
				return // no shape approval for such a statement: right
			}
			if got := must[session.Request](t)(b.Submit(ctx, second)); got.ID == r.ID {
				d, err := b.Redeem(ctx, r.ID, second.Case.Digest())
				t.Errorf("%s: another bind value redeemed the approval: %v %v", text, d.Reuse, err)
			}
		})
	}
}
