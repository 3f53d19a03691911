package policy

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
)

// detector recognises values of a kind by their inner structure: check digits,
// number ranges, decoded headers. It is the second line: encoded or split
// values evade it, so what a column holds is decided by its lineage first.
type detector func(value string) bool

// detectorWords are the words classes.yaml may use.
const detectorWords = "card, email, iban, jwt, phone, secret-key, ssn"

// detectorOf returns the detector of a word, or nil.
func detectorOf(word string) detector {
	switch word {
	case "card":
		return isCard
	case "email":
		return func(s string) bool { return strings.IndexByte(s, '@') > 0 && isEmail([]byte(s)) }
	case "iban":
		return isIBAN
	case "jwt":
		return isJWT
	case "phone":
		return isPhone
	case "secret-key":
		return isSecretKey
	case "ssn":
		return isSSN
	}
	return nil
}

const (
	// detectShare is the share of a sample, 1 in n, that makes a column a hit.
	// With few values one hit is enough: hiding too much is the safe mistake.
	detectShare = 10
	// detectBytes bounds what is looked at per value, detectWords how many
	// words of it.
	detectBytes = 4096
	detectWords = 64
)

// DetectColumn looks at a sample of one column's values (the first rows of a
// result, NULLs left out) and returns the mask of the class they belong to. The
// classes in clear, Ruling.Clear, are left alone. Of several classes the
// strictest mask counts.
func (b *Bundle) DetectColumn(sample []string, clear ...string) (ColumnMask, bool) {
	looked := make([]*class, 0, len(b.classes.sorted))
	for _, c := range b.classes.sorted {
		if c.detect != nil && !slices.Contains(clear, c.name) {
			looked = append(looked, c)
		}
	}
	hits := make([]int, len(looked))
	seen := 0
	var buf [detectWords + 1]string
	for _, v := range sample {
		if v == "" {
			continue
		}
		seen++
		words := wordsOf(buf[:0], v)
		for i, c := range looked {
			if slices.ContainsFunc(words, c.detect) {
				hits[i]++
			}
		}
	}
	var found ColumnMask
	for i, c := range looked {
		if hits[i] > 0 && hits[i]*detectShare >= seen {
			found = strictest(found, c.columnMask(true))
		}
	}
	return found, found.Hides()
}

// wordsOf appends what of a value detectors look at: the value as a whole, and
// its words, without the punctuation of a sentence around them.
func wordsOf(dst []string, value string) []string {
	if len(value) > detectBytes {
		value = value[:detectBytes]
	}
	value = strings.TrimSpace(value)
	dst = append(dst, value)
	start := 0
	for i := 0; i <= len(value) && len(dst) <= detectWords; i++ {
		if i < len(value) && !separates(value[i]) {
			continue
		}
		word := value[start:i]
		start = i + 1
		for len(word) > 0 && strings.IndexByte(".!?", word[len(word)-1]) >= 0 {
			word = word[:len(word)-1]
		}
		if word != "" && len(word) < len(value) {
			dst = append(dst, word)
		}
	}
	return dst
}

func separates(c byte) bool {
	switch c {
	case ',', ';', ':', '"', '\'', '<', '>', '(', ')', '[', ']', '{', '}', '|', '=':
		return true
	}
	return c <= ' '
}

// isEmail reports whether s is one e-mail address: a dot-atom, @, and a host
// name of at least two labels that ends in letters (RFC 5321, without quoted
// local parts and address literals).
func isEmail(s []byte) bool {
	at := bytes.IndexByte(s, '@')
	if at < 1 || at > 64 || len(s)-at-1 > 253 {
		return false
	}
	for i, c := range s[:at] {
		switch {
		case isAlnum(c):
		case c == '.':
			if i == 0 || i == at-1 || s[i-1] == '.' {
				return false
			}
		case strings.IndexByte("!#$%&'*+/=?^_`{|}~-", c) < 0:
			return false
		}
	}
	labels, start := 0, at+1
	for i := start; i <= len(s); i++ {
		switch {
		case i == len(s), s[i] == '.':
			if n := i - start; n == 0 || n > 63 || s[start] == '-' || s[i-1] == '-' {
				return false
			}
			if labels++; i < len(s) {
				start = i + 1
			}
		case !isAlnum(s[i]) && s[i] != '-':
			return false
		}
	}
	for _, c := range s[start:] {
		if isDigit(c) || c == '-' {
			return false
		}
	}
	return labels >= 2 && len(s)-start >= 2
}

func isAlnum(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// digits removes single blanks and dashes between digits.
func digits(s string) (string, bool) {
	var out strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case isDigit(c):
			out.WriteByte(c)
		case (c == ' ' || c == '-') && i > 0 && i < len(s)-1 && isDigit(s[i-1]) && isDigit(s[i+1]):
		default:
			return "", false
		}
	}
	return out.String(), out.Len() > 0
}

// isCard checks issuer range, length and the Luhn digit (ISO/IEC 7812).
func isCard(s string) bool {
	if len(s) > 30 {
		return false
	}
	d, ok := digits(s)
	if !ok || !cardIssuer(d) {
		return false
	}
	sum := 0
	for i := range len(d) {
		n := int(d[len(d)-1-i] - '0')
		if i%2 == 1 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0
}

func cardIssuer(d string) bool {
	if len(d) < 13 || len(d) > 19 {
		return false
	}
	prefix := int(d[0]-'0')*1000 + int(d[1]-'0')*100 + int(d[2]-'0')*10 + int(d[3]-'0')
	n := len(d)
	switch {
	case prefix/1000 == 4: // Visa
		return n == 13 || n == 16 || n == 19
	case prefix >= 5100 && prefix <= 5599, prefix >= 2221 && prefix <= 2720: // Mastercard
		return n == 16
	case prefix/100 == 34, prefix/100 == 37: // American Express
		return n == 15
	case prefix/10 >= 300 && prefix/10 <= 305, prefix/100 == 36, prefix/100 == 38, prefix/100 == 39: // Diners Club
		return n >= 14
	case prefix == 6011, prefix/10 >= 644 && prefix/10 <= 659: // Discover
		return n >= 16
	case prefix >= 3528 && prefix <= 3589: // JCB
		return n >= 16
	case prefix/100 == 62: // UnionPay
		return n >= 16
	}
	return false
}

// isIBAN checks the shape and the mod-97 check digits (ISO 13616).
func isIBAN(s string) bool {
	if len(s) > 42 {
		return false
	}
	s = strings.ReplaceAll(s, " ", "")
	if len(s) < 15 || len(s) > 34 || !isDigit(s[2]) || !isDigit(s[3]) {
		return false
	}
	rest := 0
	for i := range len(s) {
		c := s[(i+4)%len(s)]
		switch {
		case isDigit(c) && (i+4)%len(s) >= 2:
			rest = (rest*10 + int(c-'0')) % 97
		case c >= 'A' && c <= 'Z':
			rest = (rest*100 + int(c-'A') + 10) % 97
		default:
			return false
		}
	}
	return rest == 1
}

// isSSN checks ddd-dd-dddd and the numbers that are never issued.
func isSSN(s string) bool {
	if len(s) != 11 || s[3] != '-' || s[6] != '-' {
		return false
	}
	for i := range len(s) {
		if i != 3 && i != 6 && !isDigit(s[i]) {
			return false
		}
	}
	area := s[:3]
	return area != "000" && area != "666" && area[0] != '9' && s[4:6] != "00" && s[7:] != "0000"
}

// isJWT checks for three base64url parts whose first is a JOSE header.
func isJWT(s string) bool {
	head, rest, ok := strings.Cut(s, ".")
	if !ok || strings.Count(rest, ".") != 1 || len(head) > 1024 {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return false
	}
	var header struct {
		Alg string `json:"alg"`
	}
	return json.Unmarshal(raw, &header) == nil && header.Alg != ""
}

// secretPrefixes are how issuers mark their keys, with the least length of
// what follows.
var secretPrefixes = [...]struct {
	prefix string
	least  int
}{
	{"AKIA", 16}, {"ASIA", 16}, // AWS
	{"ghp_", 36}, {"gho_", 36}, {"ghu_", 36}, {"ghs_", 36}, {"ghr_", 36}, {"github_pat_", 22}, // GitHub
	{"glpat-", 20},                                                                           // GitLab
	{"xoxb-", 10}, {"xoxp-", 10}, {"xoxa-", 10}, {"xoxr-", 10}, {"xoxs-", 10}, {"xapp-", 10}, // Slack
	{"sk_live_", 16}, {"rk_live_", 16}, {"sk_test_", 16}, {"whsec_", 16}, // Stripe
	{"AIza", 35},     // Google
	{"SG.", 30},      // SendGrid
	{"npm_", 36},     // npm
	{"dapi", 32},     // Databricks
	{"pypi-", 50},    // PyPI
	{"hvs.", 24},     // Vault
	{"sk-ant-", 20},  // Anthropic
	{"sk-proj-", 20}, // OpenAI
}

func isSecretKey(s string) bool {
	if strings.Contains(s, "-----BEGIN ") && strings.Contains(s, "PRIVATE KEY-----") {
		return true
	}
	for _, p := range secretPrefixes {
		rest, ok := strings.CutPrefix(s, p.prefix)
		if !ok || len(rest) < p.least {
			continue
		}
		plain := true
		for i := range len(rest) {
			plain = plain && (isAlnum(rest[i]) || strings.IndexByte("_-.", rest[i]) >= 0)
		}
		if plain {
			return true
		}
	}
	return false
}

// isPhone checks for an international number (ITU-T E.164): + and 8 to 15
// digits, with the usual separators.
func isPhone(s string) bool {
	if len(s) < 9 || len(s) > 25 || s[0] != '+' || s[1] < '1' || s[1] > '9' {
		return false
	}
	n := 0
	for i := 1; i < len(s); i++ {
		switch {
		case isDigit(s[i]):
			n++
		case strings.IndexByte(" -.()", s[i]) < 0:
			return false
		}
	}
	return n >= 8 && n <= 15
}
