package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/jit-access/jit/broker/snowflake"
)

// Script answers a statement, or its description, in place of the engine: with
// types the engine lacks, results too large to compute, or an error. It returns
// nil and no error for a statement it does not know. A slow answer returns when
// ctx ends, which is how it sees that the statement was canceled.
type Script func(ctx context.Context, sql string, describe bool) (*Answer, error)

// Answer is a query's result as it goes over the wire. A description shows only
// its RowType.
type Answer struct {
	RowType json.RawMessage // the list of columns
	Rows    int             // in all, inline and in parts
	RowSet  json.RawMessage // inline JSON rows; nil is none
	Arrow   []byte          // inline IPC stream
	IsArrow bool            // the rows are in Arrow, also if there are none inline
	Parts   []Part          // what is fetched by URL
}

// Part is one chunk of an Answer.
type Part struct {
	Rows  int
	Plain int // its size before compression, in bytes
	Gzip  []byte
}

// Failure is a statement's error, in Snowflake's terms.
type Failure struct {
	Code, SQLState, Message string
}

func (f *Failure) Error() string { return f.Code + " (" + f.SQLState + "): " + f.Message }

// scripted asks the script; nil without an error means that the engine answers.
func (s *Server) scripted(ctx context.Context, text string, describe bool) (*outcome, error) {
	if s.opt.Script == nil {
		return nil, nil
	}
	a, err := s.opt.Script(ctx, text, describe)
	if ctx.Err() != nil {
		return nil, errCanceled()
	}
	var failure *Failure
	if errors.As(err, &failure) {
		return nil, &sqlError{code: failure.Code, state: failure.SQLState, message: failure.Message, line: -1, pos: -1}
	}
	if a == nil || err != nil {
		return nil, err
	}
	if describe {
		a = &Answer{RowType: a.RowType, IsArrow: a.IsArrow}
	}
	return &outcome{typeID: typeSelect, answer: a}, nil
}

// answerData is a scripted result on the wire: its own columns and rows in
// place of the engine's.
type answerData struct {
	*resultData
	RowType json.RawMessage `json:"rowtype"`
	RowSet  json.RawMessage `json:"rowset,omitempty"`
}

// renderAnswer writes a scripted outcome for the client of r.
func (s *Server) renderAnswer(r *http.Request, ex *execution) (*answerData, error) {
	plain, err := s.render(r, ex)
	if err != nil {
		return nil, err
	}
	a := ex.out.answer
	d := &answerData{resultData: plain, RowType: a.RowType}
	d.Total, d.Returned = a.Rows, a.Rows
	d.Format, d.RowSetBase64 = "json", nil // whatever the client asked for
	switch {
	case a.IsArrow:
		d.Format = "arrow"
		text := base64.StdEncoding.EncodeToString(a.Arrow)
		d.RowSetBase64 = &text
	case a.RowSet != nil:
		d.RowSet = a.RowSet
	default:
		d.RowSet = json.RawMessage("[]")
	}
	if len(a.Parts) > 0 {
		s.offer(r, plain, a.Parts)
	}
	return d, nil
}

// offer stores parts as chunks and lists them in d.
func (s *Server) offer(r *http.Request, d *resultData, parts []Part) {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails
	key := base64.StdEncoding.EncodeToString(raw[:])
	d.ChunkHeaders = map[string]string{headerAlgorithm: "AES256", headerKey: key}
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.chunks, func(_ string, c *chunk) bool { return time.Now().After(c.expires) })
	for _, p := range parts {
		name := rand.Text()
		s.chunks[name] = &chunk{body: p.Gzip, key: key, arrow: d.Format == "arrow", expires: time.Now().Add(s.opt.ChunkLife)}
		d.Chunks = append(d.Chunks, chunkInfo{URL: scheme + r.Host + chunkPath + name, Rows: p.Rows, Uncompressed: p.Plain, Compressed: len(p.Gzip)})
	}
}

// defaults are the parameters a login answer starts from: the usual ones, and
// those of the options.
func (s *Server) defaults() []snowflake.Parameter {
	list := defaultParameters()
	for i, p := range list {
		if v, ok := s.opt.Parameters[p.Name]; ok {
			list[i].Value = paramJSON(v, p.Value)
		}
	}
	return list
}
