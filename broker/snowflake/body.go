package snowflake

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// The errors of ReadBody.
var (
	ErrTooLarge = errors.New("the body is larger than allowed")
	ErrEncoding = errors.New("unknown content encoding")
)

// MaxRequestBody is the largest request body after inflation: array binds
// travel inline and are large.
const MaxRequestBody = 64 << 20

// ReadBody reads a request body whole, inflating it if it is gzip. Drivers do
// not agree on the Content-Encoding header, so the magic bytes decide;
// contentEncoding may only be absent, identity or gzip. Neither the bytes read
// nor the inflated ones exceed limit. Gzip inside gzip is refused.
func ReadBody(r io.Reader, contentEncoding string, limit int64) ([]byte, error) {
	switch strings.ToLower(strings.TrimSpace(contentEncoding)) {
	case "", "identity", "gzip", "x-gzip":
	default:
		return nil, fmt.Errorf("%w: only gzip and identity are read", ErrEncoding)
	}
	raw, err := readLimited(r, limit)
	if err != nil || !isGzip(raw) {
		return raw, err
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("inflating the body: %w", err)
	}
	plain, err := readLimited(z, limit)
	if err != nil {
		return nil, fmt.Errorf("inflating the body: %w", err)
	}
	if isGzip(plain) {
		return nil, fmt.Errorf("%w: compressed twice", ErrEncoding)
	}
	return plain, nil
}

func isGzip(b []byte) bool { return len(b) >= 2 && b[0] == 0x1f && b[1] == 0x8b }

func readLimited(r io.Reader, limit int64) ([]byte, error) {
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, ErrTooLarge
	}
	return buf.Bytes(), nil
}
