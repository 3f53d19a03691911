package sandbox

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
	"github.com/jit-access/jit/session/secret"
)

// maxBody bounds a request body, before and after decompression.
const maxBody = 64 << 20

// Handler serves the driver endpoints. Everything else is 404.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+snowflake.PathLogin, s.login)
	mux.HandleFunc("POST "+snowflake.PathRenew, s.renew)
	mux.HandleFunc("POST "+snowflake.PathHeartbeat, s.with(func(w http.ResponseWriter, _ *http.Request, _ *session) { succeed(w, nil) }))
	mux.HandleFunc("POST "+snowflake.PathSession, s.with(s.deleteSession))
	mux.HandleFunc("POST "+snowflake.PathQuery, s.with(s.query))
	mux.HandleFunc("POST "+snowflake.PathAbort, s.with(s.abortRequest))
	mux.HandleFunc("POST /queries/{id}/abort-request", s.with(s.abortQuery))
	mux.HandleFunc("GET /queries/{id}/result", s.with(s.resultByID))
	mux.HandleFunc("GET /monitoring/queries/{id}", s.with(s.monitoring))
	mux.HandleFunc("POST "+snowflake.PathTelemetry, func(w http.ResponseWriter, _ *http.Request) { succeed(w, "Log Received") })
	mux.HandleFunc("GET "+chunkPath+"{name}", s.serveChunk)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		writeEnvelope(w, false, "390404", "The sandbox has no such endpoint.", struct{}{})
	})
	return mux
}

// succeed answers with data.
func succeed(w http.ResponseWriter, data any) {
	w.Header().Set("Content-Type", "application/json")
	writeEnvelope(w, true, "", "", data)
}

// refuse answers with a failure; a nil data becomes {}, since some drivers read
// its fields.
func refuse(w http.ResponseWriter, code, message string, data any) {
	if data == nil {
		data = struct{}{}
	}
	w.Header().Set("Content-Type", "application/json")
	writeEnvelope(w, false, code, message, data)
}

func writeEnvelope(w io.Writer, ok bool, code, message string, data any) {
	raw, err := marshal(data)
	if err != nil {
		ok, code, message, raw = false, snowflake.CodeInternal, "The sandbox could not encode its answer.", []byte("{}")
	}
	env := snowflake.Envelope{Data: raw, Success: ok}
	if code != "" {
		env.Code = &code
	}
	if message != "" {
		env.Message = &message
	}
	b, err := marshal(env)
	if err != nil {
		return
	}
	_, _ = w.Write(b)
}

// marshal is json.Marshal without the escapes meant for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// body decodes a request body, gzip or plain, and answers if it cannot.
func (s *Server) body(w http.ResponseWriter, r *http.Request, into any) bool {
	raw, err := readBody(r)
	if err == nil && len(raw) > 0 {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		err = d.Decode(into)
	}
	if err != nil {
		refuse(w, "390103", "The request body is not JSON.", nil)
		return false
	}
	return true
}

func readBody(r *http.Request) ([]byte, error) {
	raw, err := readAtMost(r.Body)
	if err != nil || !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		return raw, err
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("opening the compressed body: %w", err)
	}
	return readAtMost(z)
}

func readAtMost(r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err == nil && len(raw) > maxBody {
		err = errors.New("the body is too large")
	}
	return raw, err
}

// bearer takes the token of Authorization: Snowflake Token="…".
func bearer(r *http.Request) (secret.Text, bool) {
	v, ok := strings.CutPrefix(r.Header.Get("Authorization"), `Snowflake Token="`)
	if !ok {
		return secret.Text{}, false
	}
	v, ok = strings.CutSuffix(v, `"`)
	return secret.New(v), ok
}

// with finds the session of a request before next; without one the answer is
// 390111, for a session token that is too old 390112.
func (s *Server) with(next func(http.ResponseWriter, *http.Request, *session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := bearer(r)
		var sess *session
		if ok {
			s.mu.Lock()
			sess = s.sessions[token.Digest()]
			s.mu.Unlock()
		}
		if sess == nil {
			refuse(w, snowflake.CodeSessionGone, "Session no longer exists.  New login required to access the service.", nil)
			return
		}
		sess.mu.Lock()
		expired := !time.Now().Before(sess.tokenExpires)
		sess.mu.Unlock()
		if expired {
			refuse(w, snowflake.CodeSessionExpired, "Authentication token has expired.  The user must authenticate again.", nil)
			return
		}
		next(w, r, sess)
	}
}

// deleteSession ends a session. A token that has expired ends nothing, as with
// Snowflake: the client renews it first.
func (s *Server) deleteSession(w http.ResponseWriter, r *http.Request, sess *session) {
	if r.URL.Query().Get("delete") != "true" {
		refuse(w, "390404", "The sandbox has no such endpoint.", nil)
		return
	}
	s.forget(sess)
	sess.close()
	s.log.Info("session closed", "session", sess.id)
	succeed(w, nil)
}

// paramText is a parameter's value as text.
func paramText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	default:
		return fmt.Sprint(v)
	}
}
