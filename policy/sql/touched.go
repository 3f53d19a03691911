package sql

import "math/bits"

// columnSet is a set of base columns that grows in place, unlike a labelSet:
// it collects what a whole statement touches. The zero value is empty.
type columnSet struct {
	words []uint64 // bit i of word w is the column with id 64w+i
	top   bool
}

// touch notes that an expression reads a value with these labels, whatever
// becomes of the value: one that nobody selects is still computed, and the
// error text of a computation that fails quotes it.
func (r *resolver) touch(l labelSet) {
	s := &r.facts.touched
	s.top = s.top || l.top
	if len(l.ids) == 0 {
		return
	}
	r.spend(len(l.ids)/16 + r.roomFor(s, int(l.ids[len(l.ids)-1]/64)))
	for _, id := range l.ids {
		s.words[id/64] |= 1 << (id % 64)
	}
}

// touchAll adds what a part of the statement touches.
func (r *resolver) touchAll(t columnSet) {
	s := &r.facts.touched
	s.top = s.top || t.top
	r.spend(len(t.words) + r.roomFor(s, len(t.words)-1))
	for i, w := range t.words {
		s.words[i] |= w
	}
}

// roomFor makes word i of s exist and returns by how many words s grew.
func (r *resolver) roomFor(s *columnSet, i int) (grown int) {
	if grown = i + 1 - len(s.words); grown <= 0 {
		return 0
	}
	s.words = append(s.words, make([]uint64, grown)...)
	return grown
}

// touched makes the set of the statement at hand public.
func (r *resolver) touched() Labels {
	s := r.facts.touched
	l := labelSet{top: s.top}
	for i, w := range s.words {
		for ; w != 0; w &= w - 1 {
			l.ids = append(l.ids, int32(i*64+bits.TrailingZeros64(w)))
		}
	}
	return r.labels(l)
}
