package policy

import (
	"bytes"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func masked(m Mask, value string) string {
	return string(NewMasker([]byte("key")).AppendText(nil, ColumnMask{"pii.x", m}, []byte(value)))
}

func TestMasks(t *testing.T) {
	const redacted = "‹masked:pii.x›"
	for _, tt := range []struct {
		mask        Mask
		value, want string
	}{
		{MaskRedact, "ana@example.com", redacted},
		{MaskRedact, "", redacted},
		{MaskNull, "ana@example.com", redacted}, // where NULL cannot be sent
		{MaskNone, "ana@example.com", redacted}, // asking to mask without a mask
		{Mask(99), "ana@example.com", redacted},
		{MaskKeepLast4, "4111 1111 1111 1234", "••••1234"},
		{MaskKeepLast4, "123-45-6789", "••••6789"},
		{MaskKeepLast4, "+1 (415) 555-0123", "••••0123"},
		{MaskKeepLast4, "DE89 3704 0044 0532 0130 00", "••••3000"},
		{MaskKeepLast4, "DE89370400440532013000", "••••3000"},
		{MaskKeepLast4, "1234", redacted},
		{MaskKeepLast4, "1234567", redacted},
		{MaskKeepLast4, "1-2-3-4-5-6-7", redacted},
		{MaskKeepLast4, "DE89370400440532013X", redacted},
		{MaskKeepLast4, "secret 12345678", "••••5678"},
		{MaskKeepLast4, "a secret text 12345678", redacted},
		{MaskKeepLast4, "call me at 4155550123 tonight", redacted},
		{MaskKeepLast4, "call 4155550123 now or never ever again please", redacted},
		{MaskKeepLast4, "ana@example.com", redacted},
		{MaskKeepLast4, "\xff\xfe\xfd12345678", redacted},
		{MaskKeepDomain, "ana@example.com", "‹masked›@example.com"},
		{MaskKeepDomain, "ana@example.com, SSN 123-45-6789", redacted},
		{MaskKeepDomain, "ana@bob@example.com", redacted},
		{MaskKeepDomain, "@example.com", redacted},
		{MaskKeepDomain, "ana@localhost", redacted},
		{MaskKeepDomain, "ana@exa\nmple.com", redacted},
		{MaskKeepDomain, "ana", redacted},
	} {
		if got := masked(tt.mask, tt.value); got != tt.want {
			t.Errorf("%v of %q: got %q, want %q", tt.mask, tt.value, got, tt.want)
		}
	}
}

func TestHashJoinsWithinASessionOnly(t *testing.T) {
	a, b := NewMasker([]byte("one")), NewMasker([]byte("two"))
	cm := ColumnMask{"pii.email", MaskHash}
	hash := func(m *Masker, value string) string { return string(m.AppendText(nil, cm, []byte(value))) }
	first := hash(a, "ana@example.com")
	if first != hash(a, "ana@example.com") || first != hash(NewMasker([]byte("one")), "ana@example.com") {
		t.Error("the same value has two hashes in one session")
	}
	if first == hash(a, "bob@example.com") || first == hash(b, "ana@example.com") {
		t.Error("different values or sessions share a hash")
	}
	if first == string(a.AppendText(nil, ColumnMask{"pii.phone", MaskHash}, []byte("ana@example.com"))) {
		t.Error("two classes share a hash")
	}
}

// What is remembered is what would be computed, also once it was pushed out, and
// is of one size.
func TestMemo(t *testing.T) {
	m := NewMasker([]byte("k"))
	cm := ColumnMask{"c", MaskHash}
	m.AppendText(nil, cm, bytes.Repeat([]byte("x"), memoValue+1))
	if m.memo != nil {
		t.Error("a long value was kept")
	}
	for i := range 2 * memoSets * memoWays {
		value := []byte{byte(i), byte(i >> 8), byte(i >> 16)}
		class := ColumnMask{[]string{"c", "d", ""}[i%3], MaskHash}
		first, again := m.AppendText(nil, class, value), m.AppendText(nil, class, value)
		m.memo[i%memoSets] = [memoWays]memoized{} // forget some
		if fresh := m.AppendText(nil, class, value); !bytes.Equal(first, again) || !bytes.Equal(first, fresh) {
			t.Fatalf("%q: %q, %q, %q", value, first, again, fresh)
		}
	}
	if len(m.memo) != memoSets {
		t.Errorf("%d sets", len(m.memo))
	}
}

// Masking allocates nothing, whether a value is remembered or not.
func TestMaskAllocates(t *testing.T) {
	m := NewMasker([]byte("k"))
	dst, value, number, n := make([]byte, 0, 256), []byte("000000@example.com"), make([]byte, 0, 20), 0
	for mask := MaskRedact; mask <= MaskHash; mask++ {
		if got := testing.AllocsPerRun(5000, func() {
			n++
			copy(value, strconv.AppendInt(number[:0], int64(100000+n), 10)) // never seen before
			dst = m.AppendText(dst[:0], ColumnMask{"pii.email", mask}, value)
		}); got != 0 {
			t.Errorf("%v: %v allocations", mask, got)
		}
	}
}

func TestMaskerIsSafeForConcurrentUse(t *testing.T) {
	m := NewMasker([]byte("k"))
	cm := ColumnMask{"c", MaskHash}
	want := string(m.AppendText(nil, cm, []byte("v7")))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				m.AppendText(nil, cm, []byte{'v', byte(i)})
				if got := string(m.AppendText(nil, cm, []byte("v7"))); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
	wg.Wait()
}

// A planted value never comes out, except the part its mask keeps.
func FuzzPlantedValueNeverComesOut(f *testing.F) {
	f.Add([]byte("x"), []byte("y"), uint8(MaskKeepLast4))
	f.Add([]byte(""), []byte("@example.com"), uint8(MaskKeepDomain))
	f.Add([]byte("12345678"), []byte(""), uint8(MaskHash))
	const planted = "Zq7#planted!"
	f.Fuzz(func(t *testing.T, before, after []byte, mask uint8) {
		value := string(before) + planted + string(after)
		got := masked(Mask(mask), value)
		for n := 5; n <= len(planted); n++ {
			for i := 0; i+n <= len(planted); i++ {
				if strings.Contains(got, planted[i:i+n]) && !strings.HasSuffix(value, "@"+strings.TrimPrefix(got, "‹masked›@")) {
					t.Fatalf("mask %v of %q shows %q", Mask(mask), value, got)
				}
			}
		}
		// Whatever comes out is a fixed frame and, at most, a tail of the value.
		rest := got
		for _, frame := range []string{"‹masked:pii.x›", "‹masked›@", "••••", "‹hash:"} {
			rest = strings.TrimPrefix(rest, frame)
		}
		if Mask(mask) != MaskHash && !strings.HasSuffix(value, rest) && !strings.HasSuffix(compact(value), rest) {
			t.Fatalf("mask %v of %q shows %q", Mask(mask), value, got)
		}
		if len(value) <= 4 && strings.Contains(got, value) {
			t.Fatalf("short value %q shown", value)
		}
	})
}

// The parts masks keep are bounded for every input.
func FuzzKeptParts(f *testing.F) {
	f.Add([]byte("123-45-6789"))
	f.Add([]byte("ana@example.com"))
	f.Add([]byte("1234"))
	f.Add([]byte("00000000 ."))
	f.Fuzz(func(t *testing.T, value []byte) {
		cm := ColumnMask{"pii.x", MaskKeepLast4}
		m := NewMasker(nil)
		if got := m.AppendText(nil, cm, value); bytes.HasPrefix(got, []byte("••••")) {
			if tail := got[len("••••"):]; len(tail) != 4 || len(value) < 8 || !strings.HasSuffix(compact(string(value)), string(tail)) {
				t.Fatalf("keep-last-4 of %q shows %q", value, got)
			}
		}
		cm.Mask = MaskKeepDomain
		if got := m.AppendText(nil, cm, value); bytes.HasPrefix(got, []byte("‹masked›@")) {
			local, domain, ok := bytes.Cut(value, []byte("@"))
			if !ok || len(local) == 0 || !bytes.Equal(got[len("‹masked›@"):], domain) || bytes.ContainsAny(domain, " @,\n") {
				t.Fatalf("keep-domain of %q shows %q", value, got)
			}
		}
	})
}

// compact drops the separators keep-last-4 looks past.
func compact(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -+.()/", r) {
			return -1
		}
		return r
	}, s)
}
