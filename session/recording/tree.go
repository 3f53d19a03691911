package recording

import (
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// tree is the right edge of an RFC 6962 tree: the roots of its complete
// subtrees, largest first, one for each bit set in size. It is all that is
// needed to append a leaf and to compute the root. The zero value is the empty
// tree.
type tree struct {
	size  int64
	peaks []tlog.Hash
}

// add appends a leaf.
func (t *tree) add(leaf tlog.Hash) {
	h := leaf
	for n := t.size; n&1 == 1; n >>= 1 {
		h = tlog.NodeHash(t.peaks[len(t.peaks)-1], h)
		t.peaks = t.peaks[:len(t.peaks)-1]
	}
	t.peaks = append(t.peaks, h)
	t.size++
}

// root is the tree's hash.
func (t *tree) root() tlog.Hash {
	if t.size == 0 {
		h, _ := tlog.TreeHash(0, nil) // reads nothing for an empty tree
		return h
	}
	h := t.peaks[len(t.peaks)-1]
	for _, p := range slices.Backward(t.peaks[:len(t.peaks)-1]) {
		h = tlog.NodeHash(p, h)
	}
	return h
}

// clone returns a copy that does not share memory with t.
func (t *tree) clone() tree { return tree{t.size, slices.Clone(t.peaks)} }

// check reports whether a tree read from storage has as many peaks as its size
// needs.
func (t *tree) check() error {
	want := 0
	for n := t.size; n > 0; n &= n - 1 {
		want++
	}
	if t.size < 0 || len(t.peaks) != want {
		return fmt.Errorf("a tree of size %d does not have %d subtrees", t.size, len(t.peaks))
	}
	return nil
}
