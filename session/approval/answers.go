package approval

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"

	"github.com/danielgtaylor/huma/v2"
)

// problem turns err into what the caller may read. What is internal goes to
// the log, under a trace id that the caller can quote.
func (s *Server) problem(ctx context.Context, err error) *problemDoc {
	d := toProblemDoc(err)
	if d.Code == codeInternal {
		d.Trace = newID("trace")
		s.log.ErrorContext(ctx, "internal error", "trace", d.Trace, "error", err)
	}
	return d
}

func (s *Server) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	d := s.problem(r.Context(), err)
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(d.Status)
	if err := json.NewEncoder(w).Encode(d); err != nil {
		s.log.InfoContext(r.Context(), "writing an answer failed", "error", err)
	}
}

// plainProblems replaces huma's error body, which echoes what was sent, by the
// API's own.
func plainProblems(_ huma.Context, _ string, v any) (any, error) {
	em, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	d := &problemDoc{Title: http.StatusText(em.Status), Status: em.Status, Code: "invalid", Detail: em.Detail}
	if em.Status >= http.StatusInternalServerError {
		d.Code, d.Detail = codeInternal, "Internal error. The server's log has the details."
		return d, nil
	}
	var why []string
	for _, e := range em.Errors {
		if e != nil {
			why = append(why, strings.TrimSpace(e.Message+" "+e.Location))
		}
	}
	if len(why) > 0 {
		d.Detail += ": " + strings.Join(why, "; ")
	}
	return d, nil
}

// strictJSON is huma's JSON format that also refuses two members of one name:
// validation and decoding might each believe another one.
func strictJSON() huma.Format {
	return huma.Format{
		Marshal: huma.DefaultJSONFormat.Marshal,
		Unmarshal: func(data []byte, v any) error {
			if err := uniqueNames(data); err != nil {
				return err
			}
			return json.Unmarshal(data, v)
		},
	}
}

// errDuplicate names no member: it may be a secret's.
var errDuplicate = errors.New("an object has two members of one name")

// maxDepth bounds nested JSON; the API's own documents need far less.
const maxDepth = 32

// uniqueNames walks data and refuses an object with two members whose names
// encoding/json takes for one, letter case aside.
func uniqueNames(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	type frame struct {
		names map[string]bool // nil for an array
		value bool            // the next token of an object is a value
	}
	var stack []frame
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("not JSON: %w", err)
		}
		delim, _ := tok.(json.Delim)
		if delim == '}' || delim == ']' {
			stack = stack[:len(stack)-1]
			continue
		}
		if n := len(stack); n > 0 && stack[n-1].names != nil {
			top := &stack[n-1]
			if !top.value {
				name, _ := tok.(string)
				name = foldName(name)
				if top.names[name] {
					return errDuplicate
				}
				top.names[name] = true
			}
			top.value = !top.value
		}
		switch delim {
		case '{':
			stack = append(stack, frame{names: map[string]bool{}})
		case '[':
			stack = append(stack, frame{})
		}
		if len(stack) > maxDepth {
			return fmt.Errorf("more than %d levels", maxDepth)
		}
	}
}

// foldName maps names that are equal under Unicode simple folding to one.
func foldName(s string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r { // the orbit's smallest rune
				return next
			}
			r = next
		}
	}, s)
}
