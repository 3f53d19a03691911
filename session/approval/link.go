package approval

import (
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/jit-access/jit/session"
)

// requestLink is the page that says how to review a request; empty without a
// public URL.
func requestLink(publicURL, id string) string {
	if publicURL == "" {
		return ""
	}
	return strings.TrimRight(publicURL, "/") + "/r/" + id
}

// requestID is the form of a request's id.
var requestID = regexp.MustCompile(`^req_[A-Za-z0-9_-]{22}$`)

// linkPage is where links in messages lead. It is the same for every id, whether
// there is such a request or not, and it reads and changes nothing: whoever has
// the link has nothing.
func (s *Server) linkPage(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !requestID.MatchString(id) {
		s.writeProblem(w, r, session.ErrNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	w.Header().Set("Referrer-Policy", "no-referrer")
	_, _ = io.WriteString(w, "Nothing is decided here. To read this request, and to decide on it if you may,\nsign in at a terminal:\n\n    jit review "+id+"\n") //nolint:gosec // plain text with an id of letters and digits; the reader may have gone
}
