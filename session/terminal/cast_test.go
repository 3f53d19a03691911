package terminal

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const lease = "jit_lease_AbAbAcdefgh"

// clock is a time that tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// cast records what write does, and returns the lines after the header.
func cast(t *testing.T, write func(c *Cast, tick *clock)) []string {
	t.Helper()
	var b bytes.Buffer
	tick := &clock{time.Unix(1700000000, 0)}
	c := NewCast(&b, Size{80, 24}, "xterm", "sh", []string{lease, "short"}, tick.now)
	write(c, tick)
	sum, err := c.End(3)
	if err != nil {
		t.Fatal(err)
	}
	if digest := sha256.Sum256(b.Bytes()); sum.Bytes != int64(b.Len()) || sum.SHA256 != base64.StdEncoding.EncodeToString(digest[:]) {
		t.Errorf("the sum is %+v of %d bytes", sum, b.Len())
	}
	c.Output([]byte("late"))
	c.Marker("late")
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if want := `{"version":3,"term":{"cols":80,"rows":24,"type":"xterm"},"timestamp":1700000000,"title":"sh"}`; lines[0] != want {
		t.Errorf("header %s", lines[0])
	}
	return lines[1:]
}

func TestCastSaysWhenAndWhat(t *testing.T) {
	got := cast(t, func(c *Cast, tick *clock) {
		tick.t = tick.t.Add(1500 * time.Millisecond)
		c.Output([]byte("a<b\x1b[1m\r\n"))
		tick.t = tick.t.Add(time.Microsecond + 400)
		c.Marker("stm_1")
		tick.t = tick.t.Add(time.Microsecond + 700) // with what was rounded off: two
		c.Resize(Size{100, 30})
		tick.t = tick.t.Add(-time.Hour) // a clock that was set back
		c.Output([]byte("ü"[:1]))
		c.Output([]byte("ü"[1:] + "\xff"))
	})
	want := []string{
		`[1.500000,"o","a<b\u001b[1m\r\n"]`, `[0.000001,"m","stm_1"]`, `[0.000002,"r","100x30"]`, `[0.000000,"o","ü\ufffd"]`, `[0.000000,"x","3"]`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}

// shown is the output in a recording.
func shown(t *testing.T, lines []string) string {
	t.Helper()
	var b strings.Builder
	for _, l := range lines {
		var e []any
		if err := json.Unmarshal([]byte(l), &e); err != nil || len(e) != 3 {
			t.Fatalf("%q: %v", l, err)
		}
		if e[1] == "o" {
			b.WriteString(e[2].(string))
		}
	}
	return b.String()
}

func TestCastStarsOutSecrets(t *testing.T) {
	stars := strings.Repeat("*", len(lease))
	for given, want := range map[string]string{
		"a" + lease + "b":                             "a" + stars + "b",
		lease + lease:                                 stars + stars,
		lease[:12] + lease:                            lease[:12] + stars,
		"jit_lease_AbAbAbAcdefgh":                     "jit_lease_AbAbAbAcdefgh", // not it
		"jit_lease_jit_lease_AbAbAcdefgh":             "jit_lease_" + stars,
		lease[:8] + "\r\n\x1b[3;1H" + lease[8:]:       stars[:8] + "\r\n\x1b[3;1H" + stars[8:],
		"\x1b]0;" + lease + "\x07":                    "\x1b]0;" + stars + "\x07",
		lease[:5] + "\x1b]0;title\x1b\\" + lease[5:]:  stars[:5] + "\x1b]0;title\x1b\\" + stars[5:],
		"short is no secret":                          "short is no secret",
		lease[:len(lease)-1]:                          lease[:len(lease)-1],
		strings.Repeat("\x1b[m", 10) + lease + "\x1b": strings.Repeat("\x1b[m", 10) + stars + "\x1b",
	} {
		for _, size := range []int{1, 2, 7, 1000} {
			lines := cast(t, func(c *Cast, _ *clock) {
				for rest := []byte(given); len(rest) > 0; {
					n := min(size, len(rest))
					c.Output(rest[:n])
					rest = rest[n:]
				}
			})
			if got := shown(t, lines); got != want {
				t.Errorf("%q in pieces of %d: %q", given, size, got)
			}
		}
	}
}

// Whatever surrounds a secret and wherever the stream is cut, it never comes out,
// and nothing else is lost.
func TestNoSecretSurvivesAnyCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.OneOf(rapid.SampledFrom([]string{lease, lease[:10], lease[10:], "jit_", "\x1b[31m", "\r\n", "é", "AbAb"}), rapid.StringN(0, 5, -1))).Draw(t, "parts")
		given := strings.Join(parts, "")
		r := newRedactor([]string{lease}, false)
		var out []byte
		for rest := []byte(given); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			out = append(out, r.add(rest[:n])...)
			rest = rest[n:]
		}
		out = append(out, r.rest()...)
		if want := strings.ReplaceAll(given, lease, strings.Repeat("*", len(lease))); string(out) != want {
			t.Fatalf("%q became %q", given, out)
		}
	})
}

type fullDisk struct{ left int }

func (d *fullDisk) Write(b []byte) (int, error) {
	n := min(len(b), d.left)
	d.left -= n
	if n < len(b) {
		return n, errors.New("no space left")
	}
	return n, nil
}

func TestCastTellsThatItBrokeOff(t *testing.T) {
	c := NewCast(&fullDisk{200}, Size{80, 24}, "", "", nil, time.Now)
	for i := range 20 {
		c.Output(fmt.Appendf(nil, "line %d", i))
	}
	if _, err := c.End(0); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("the end says %v", err)
	}
}
