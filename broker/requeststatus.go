package broker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/jit-access/jit/session"
)

// PathRequests is where an agent asks how a request of its session stands.
const PathRequests = "/jit/requests/"

// RequestStatus is the answer to GET /jit/requests/ID.
type RequestStatus struct {
	Request string    `json:"request"`
	State   string    `json:"state"` // pending, approved, used, denied, withdrawn, expired
	Rule    string    `json:"rule,omitempty"`
	Reason  string    `json:"reason,omitempty"` // of the reviewer who said no
	Expires time.Time `json:"expires"`
	Next    string    `json:"next"` // the one next step
}

// nextOf says what to do about a held statement in each state.
var nextOf = map[session.State]string{
	session.StatePending:   "wait, and ask again in a minute. It has NOT run.",
	session.StateApproved:  "send the very same statement again: it attaches to this request and runs. It has NOT run yet.",
	session.StateUsed:      "nothing: the approval has been used by the statement it was for.",
	session.StateDenied:    faultRejected.next,
	session.StateWithdrawn: "send the statement again if it is still wanted; a person decides anew. It has NOT run.",
	session.StateExpired:   faultExpired.next,
}

// serveRequest tells how a statement's request stands. The lease opens it, and
// only for requests of this session; it changes nothing and runs nothing.
func (b *Broker) serveRequest(w http.ResponseWriter, r *http.Request, id string) {
	if !b.authorizeAPI(w, r) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), deskTimeout)
	defer cancel()
	req, err := b.cfg.Desk.Request(ctx, id)
	unknown := faultUnknownID.refuse("no statement of this session has this request")
	switch {
	case errors.Is(err, session.ErrNotFound), errors.Is(err, session.ErrForbidden):
		writeAPIRefusal(w, unknown, 0)
		return
	case err != nil:
		writeAPIRefusal(w, b.deskRefusal(r.Context(), err), 0)
		return
	case req.Kind != session.RequestStatement || req.Case.SessionID != b.cfg.Session.ID:
		writeAPIRefusal(w, unknown, 0)
		return
	}
	status := RequestStatus{Request: req.ID, State: req.State.String(), Rule: req.Rule, Expires: req.ExpiresAt.UTC(), Next: nextOf[req.State]}
	for _, d := range req.Decisions {
		if d.Outcome == session.OutcomeDeny {
			status.Reason = clip(oneLine(d.Reason), 400)
		}
	}
	body, err := json.Marshal(status)
	if err != nil { // a struct of strings and a time
		writeAPIRefusal(w, faultDesk.refuse("the request cannot be told"), 0)
		return
	}
	writeBody(w, http.StatusOK, body)
}
