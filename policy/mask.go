package policy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"hash"
	"hash/maphash"
	"strings"
	"sync"
)

var maskNames = [...]string{"none", "null", "redact", "keep-last-4", "keep-domain", "hash"}

// String returns the word classes.yaml uses; an unknown mask is redact.
func (m Mask) String() string {
	if int(m) < len(maskNames) {
		return maskNames[m]
	}
	return maskNames[MaskRedact]
}

// ParseMask reads the word of a mask that hides something.
func ParseMask(s string) (Mask, bool) {
	for m := MaskNull; int(m) < len(maskNames); m++ {
		if maskNames[m] == s {
			return m, true
		}
	}
	return MaskRedact, false
}

func maskWords() string { return strings.Join(maskNames[1:], ", ") }

// strictness orders masks by how little of a value they show.
func (m Mask) strictness() int {
	switch m {
	case MaskNone:
		return 0
	case MaskKeepDomain:
		return 1
	case MaskKeepLast4:
		return 2
	case MaskHash:
		return 3
	case MaskNull:
		return 5
	}
	return 4 // redact, and what is not known
}

// strictest is the mask that shows less; of two that show the same, the first.
func strictest(a, b ColumnMask) ColumnMask {
	if b.Mask.strictness() > a.Mask.strictness() {
		return b
	}
	return a
}

// columnMask is how a column of this class is hidden. Only a value that is the
// column itself may keep a part: what a mask may show of an e-mail address
// says nothing about what it may show of a text built from one.
func (c *class) columnMask(direct bool) ColumnMask {
	m := c.mask
	if !direct && m != MaskNull {
		m = MaskRedact
	}
	return ColumnMask{Class: c.name, Mask: m}
}

// Hides reports whether the column is masked at all.
func (cm ColumnMask) Hides() bool { return cm != ColumnMask{} }

// Nulls reports whether the column becomes SQL NULL, even where it holds text.
// Columns that do not hold text become NULL under every mask.
func (cm ColumnMask) Nulls() bool { return cm.Mask == MaskNull }

// memoSets, memoWays and memoValue bound the memory a Masker uses, about 3 MB:
// how many values are remembered, and how long one may be. The hash of a value
// names a set; the latest of each set stay.
const (
	memoSets  = 1 << 13
	memoWays  = 4
	memoValue = 48
)

// hashText is how many characters stand for a value: 80 bits in base32.
const hashText = 16

// Masker hides values. Its key makes hashes joinable within one session and
// useless outside it. It is safe for concurrent use.
type Masker struct {
	seed maphash.Seed

	mu   sync.Mutex // guards what follows
	mac  hash.Hash
	text []byte // what is hashed
	sum  [sha256.Size]byte
	memo [][memoWays]memoized
}

// memoized is a value that was hashed, and what stands for it. The zero value is
// nobody's: the hash of a value is never empty.
type memoized struct {
	class string
	n     uint8
	value [memoValue]byte
	text  [hashText]byte
}

func (e *memoized) is(class string, value []byte) bool {
	return e.text[0] != 0 && e.class == class && string(e.value[:e.n]) == string(value)
}

// NewMasker makes a Masker. sessionKey should be 32 random bytes.
func NewMasker(sessionKey []byte) *Masker {
	return &Masker{seed: maphash.MakeSeed(), mac: hmac.New(sha256.New, sessionKey)}
}

// AppendText appends the masked form of one cell's text to dst. It appends the
// redaction for a mask it does not know, and never the value itself.
func (m *Masker) AppendText(dst []byte, cm ColumnMask, value []byte) []byte {
	switch cm.Mask {
	case MaskKeepLast4:
		if tail, ok := lastFour(value); ok {
			return append(append(dst, "••••"...), tail[:]...)
		}
	case MaskKeepDomain:
		if domain, ok := emailDomain(value); ok {
			return append(append(dst, "‹masked›@"...), domain...)
		}
	case MaskHash:
		return m.appendHash(dst, cm.Class, value)
	}
	dst = append(dst, "‹masked:"...)
	if cm.Class == "" {
		dst = append(dst, UnknownClass...)
	}
	dst = append(dst, cm.Class...)
	return append(dst, "›"...)
}

// lastFour returns the last four digits of a value that looks like a number
// people shorten that way: at least eight digits, ending in four of them, and
// otherwise only letters (as in an IBAN) and separators. A longer value is a
// text that happens to end in digits.
func lastFour(value []byte) (tail [4]byte, ok bool) {
	const least, longest = 8, 42 // an IBAN in groups of four is 42 bytes long
	if len(value) > longest {
		return tail, false
	}
	n, letters := 0, 0
	for i := len(value) - 1; i >= 0; i-- {
		switch c := value[i]; {
		case isDigit(c):
			if n < len(tail) {
				tail[len(tail)-1-n] = c
			}
			n++
		case isAlnum(c) && n >= len(tail):
			letters++
		case strings.IndexByte(" -+.()/", c) >= 0:
		default:
			return tail, false
		}
	}
	return tail, n >= least && letters < n
}

// emailDomain returns the domain of a value that is one e-mail address and
// nothing else.
func emailDomain(value []byte) ([]byte, bool) {
	if !isEmail(value) {
		return nil, false
	}
	for i, c := range value {
		if c == '@' {
			return value[i+1:], true
		}
	}
	return nil, false
}

// appendHash appends ‹hash:…›: 80 bits of an HMAC over class and value.
func (m *Masker) appendHash(dst []byte, class string, value []byte) []byte {
	text := m.hash(class, value)
	dst = append(append(dst, "‹hash:"...), text[:]...)
	return append(dst, "›"...)
}

func (m *Masker) hash(class string, value []byte) [hashText]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var set *[memoWays]memoized
	if len(value) <= memoValue {
		if m.memo == nil {
			m.memo = make([][memoWays]memoized, memoSets)
		}
		set = &m.memo[(maphash.String(m.seed, class)^maphash.Bytes(m.seed, value))%memoSets]
		for i := range set {
			if set[i].is(class, value) {
				return set[i].text
			}
		}
	}
	m.text = append(append(append(m.text[:0], class...), 0), value...)
	m.mac.Reset()
	m.mac.Write(m.text) // hash.Hash never returns an error
	var text [hashText]byte
	hashEncoding.Encode(text[:], m.mac.Sum(m.sum[:0])[:10])
	if set != nil {
		copy(set[1:], set[:])
		set[0] = memoized{class: class, n: uint8(len(value)), text: text}
		copy(set[0].value[:], value)
	}
	return text
}

var hashEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)
