package sandbox

import (
	"bytes"
	"compress/gzip"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

const chunkPath = "/sandbox-chunk/"

// The headers a chunk's URL works with, as with server-side encryption by a
// customer's key.
const (
	headerAlgorithm = "x-amz-server-side-encryption-customer-algorithm"
	headerKey       = "x-amz-server-side-encryption-customer-key"
)

// chunk is one part of a result, fetched by URL without a session.
type chunk struct {
	body    []byte // gzip
	key     string
	arrow   bool
	expires time.Time
}

type chunkInfo struct {
	URL          string `json:"url"`
	Rows         int    `json:"rowCount"`
	Uncompressed int    `json:"uncompressedSize"`
	Compressed   int    `json:"compressedSize"`
}

// addChunks stores the rest of a result as chunks made by encode and lists
// them in d.
func (s *Server) addChunks(r *http.Request, d *resultData, rest [][]any, encode func([][]any) ([]byte, error)) error {
	if len(rest) == 0 {
		return nil
	}
	var parts []Part
	for len(rest) > 0 {
		n := min(s.opt.ChunkRows, len(rest))
		plain, err := encode(rest[:n])
		if err != nil {
			return err
		}
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(plain)
		_ = z.Close()
		parts = append(parts, Part{Rows: n, Plain: len(plain), Gzip: packed.Bytes()})
		rest = rest[n:]
	}
	s.offer(r, d, parts)
	return nil
}

// serveChunk answers 403 for whatever is not right, as storage does.
func (s *Server) serveChunk(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	c := s.chunks[r.PathValue("name")]
	s.mu.Unlock()
	if c == nil || !time.Now().Before(c.expires) || r.Header.Get("Authorization") != "" ||
		r.Header.Get(headerAlgorithm) != "AES256" || subtle.ConstantTimeCompare([]byte(r.Header.Get(headerKey)), []byte(c.key)) != 1 {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte("<Error><Code>AccessDenied</Code></Error>"))
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if c.arrow {
		w.Header().Set("Content-Type", "application/octet-stream")
	}
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(c.body)
		return
	}
	z, err := gzip.NewReader(bytes.NewReader(c.body))
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	var plain bytes.Buffer
	_, _ = plain.ReadFrom(z)
	_, _ = w.Write(plain.Bytes())
}

// jsonChunk writes rows separated by commas, without outer brackets.
func jsonChunk(rows [][]any, columns []outCol) ([]byte, error) {
	var b []byte
	for i, row := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		cells, err := encodeRow(row, columns)
		if err != nil {
			return nil, err
		}
		b = append(b, '[')
		for k, c := range cells {
			if k > 0 {
				b = append(b, ',')
			}
			if c == nil {
				b = append(b, "null"...)
			} else {
				b = appendQuoted(b, *c)
			}
		}
		b = append(b, ']')
	}
	return b, nil
}

// appendQuoted writes a JSON string with the escapes every driver's own chunk
// parser understands: raw UTF-8, and no \b or \f.
func appendQuoted(b []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < 0x20:
			b = append(b, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
