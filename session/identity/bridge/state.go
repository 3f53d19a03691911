package bridge

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"time"
)

// digest stands for a secret in memory.
type digest [sha256.Size]byte

func digestOf(s string) digest { return sha256.Sum256([]byte(s)) }

func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func same(a, b digest) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// code is a device code and its user code, from asked to settled.
type code struct {
	user    string // as people type it, without the hyphen
	device  digest
	from    string // address that asked
	at      time.Time
	polled  time.Time
	pace    time.Duration
	denied  bool
	person  *person // who approved
	decided bool
	logins  int // pages that it was entered at
}

func (c *code) expired(now time.Time) bool { return now.Sub(c.at) >= codeLife }

// person is whom an assertion names.
type person struct {
	Subject, Email, Name string
	Groups               []string
	at                   time.Time
}

// login is one sign-in page under way, bound to the browser that began it.
type login struct {
	code    *code
	browser digest
	request string  // id of the AuthnRequest; empty once it was answered
	person  *person // once it was
	form    digest  // what the confirmation's form must bring
	at      time.Time
}

// signIn is what a refresh token stands for.
type signIn struct {
	person  person
	current digest
	ended   bool
}

// The letters of user codes: no vowels, nothing that looks like another
// (RFC 8628 §6.1).
const letters = "BCDFGHJKLMNPQRSTVWXZ"

func newUserCode() string {
	var out [8]byte
	for i := 0; i < len(out); {
		var b [1]byte
		_, _ = rand.Read(b[:])
		if n := int(b[0]); n < 256-256%len(letters) {
			out[i] = letters[n%len(letters)]
			i++
		}
	}
	return string(out[:])
}

func shownCode(c string) string { return c[:4] + "-" + c[4:] }

// typedCode reads what a person typed.
func typedCode(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(letters, r) {
			return r
		}
		return -1
	}, strings.ToUpper(s))
}

// sweep forgets what is over. The caller holds mu.
func (b *Bridge) sweep() {
	now := b.now()
	for k, c := range b.codes {
		if c.expired(now) {
			delete(b.codes, k)
			delete(b.byUser, c.user)
		}
	}
	for k, l := range b.logins {
		if now.Sub(l.at) >= codeLife {
			delete(b.logins, k)
		}
	}
	for _, m := range []map[digest]*signIn{b.signIns, b.used} {
		for k, s := range m {
			if s.ended || now.Sub(s.person.at) >= signInLife {
				delete(m, k)
			}
		}
	}
}
