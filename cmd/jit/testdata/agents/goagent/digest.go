package main

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// digests is a SHA-256 per column, over each cell and a line break; NULL is a
// lone zero byte. All agents compute the same.
type digests []hash.Hash

func newDigests(n int) digests {
	d := make(digests, n)
	for i := range d {
		d[i] = sha256.New()
	}
	return d
}

func (d digests) add(row []any) {
	for i, v := range row {
		text, ok := v.(string)
		if !ok {
			text = "\x00"
		}
		d[i].Write([]byte(text + "\n"))
	}
}

func (d digests) hex() []string {
	out := make([]string, len(d))
	for i, h := range d {
		out[i] = hex.EncodeToString(h.Sum(nil))
	}
	return out
}
