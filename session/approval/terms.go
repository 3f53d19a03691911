package approval

import (
	"context"
	"database/sql"
	"hash/fnv"
	"path"
	"strings"
	"time"
	"unicode"

	"github.com/pressly/goose/v3"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// A term is something a statement can be found by: a letter for what it is, a
// colon, and the value. Every filter of a search is one or more terms, and a
// statement is found if it has them all.
const (
	termPrincipal = "p:" // the requester's id; what others than auditors search is narrowed by it
	termUser      = "u:" // e-mail and subject, in lower case
	termAgent     = "a:" // base name of the program, in lower case
	termSession   = "s:"
	termVerdict   = "v:"
	termEmergency = "e:" // true, of a session that was opened as an emergency; no term otherwise
	termTable     = "t:" // every table read or written, in upper case: T, S.T and D.S.T; ? if not all are known
	termColumn    = "c:" // every column in an output or a predicate, alike; ? if not all are known
	termWord      = "w:" // words of the text, in upper case
)

const (
	maxTerm  = 256 // bytes; longer values are cut, when stored and when asked for
	maxWords = 512 // distinct words of one statement
)

// termsMigration makes the table of terms. In SQLite it must say that it has no
// other key, or everything would be stored twice; PostgreSQL has no such words.
func termsMigration(sqlite bool) *goose.Migration {
	table := `CREATE TABLE statement_terms (term TEXT NOT NULL, id BIGINT NOT NULL, PRIMARY KEY (term, id))`
	if sqlite {
		table += ` WITHOUT ROWID`
	}
	run := func(statement string) *goose.GoFunc {
		return &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, statement)
			return err
		}}
	}
	return goose.NewGoMigration(3, run(table), run(`DROP TABLE statement_terms`))
}

// termSet collects terms without repetition.
type termSet struct {
	seen map[string]bool
	list []string
}

func (t *termSet) add(kind, value string) {
	term := kind + value
	if len(term) > maxTerm {
		term = strings.ToValidUTF8(term[:maxTerm], "")
	}
	if value == "" || t.seen[term] {
		return
	}
	t.seen[term] = true
	t.list = append(t.list, term)
}

// termsOf is what a statement of ses can be found by.
func termsOf(ses session.Session, sql *recording.StatementFacts) []string {
	t := &termSet{seen: map[string]bool{}}
	t.add(termPrincipal, ses.Principal.ID())
	t.add(termUser, strings.ToLower(ses.Principal.Email))
	t.add(termUser, strings.ToLower(ses.Principal.Subject))
	t.add(termAgent, agentName(ses.Agent))
	t.add(termSession, ses.ID)
	t.add(termVerdict, strings.ToLower(sql.Verdict))
	if ses.Emergency {
		t.add(termEmergency, "true")
	}
	for _, names := range [][]string{sql.Reads, sql.Writes} {
		for _, name := range names {
			t.addName(termTable, name)
		}
	}
	if len(sql.Unknown) > 0 {
		t.add(termTable, "?")
	}
	for _, name := range columnsOf(sql) {
		t.addName(termColumn, name)
	}
	for _, w := range words(sql.Text, maxWords) {
		t.add(termWord, w)
	}
	return t.list
}

// columnsOf is the columns that outputs and predicates depend on.
func columnsOf(sql *recording.StatementFacts) []string {
	var out []string
	seen := map[string]bool{}
	add := func(name string) {
		switch {
		case name == "constant":
			return
		case name == "⊤":
			name = "?"
		}
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	for _, o := range sql.Outputs {
		for _, name := range o.From {
			add(name)
		}
		if o.Top {
			add("?")
		}
	}
	for _, name := range sql.Predicates {
		add(name)
	}
	return out
}

// addName adds a dotted name and each of its endings. Dots within double quotes
// do not count.
func (t *termSet) addName(kind, name string) {
	name = strings.ToUpper(name)
	t.add(kind, name)
	quoted := false
	for i, r := range name {
		switch {
		case r == '"':
			quoted = !quoted
		case r == '.' && !quoted:
			t.add(kind, name[i+1:])
		}
	}
}

// words are the first distinct words of text, in upper case: runs of letters,
// digits, _ and $.
func words(text string, most int) []string {
	var out []string
	seen := map[string]bool{}
	for w := range strings.FieldsFuncSeq(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '$'
	}) {
		if w = strings.ToUpper(w); !seen[w] {
			seen[w] = true
			if out = append(out, w); len(out) == most {
				break
			}
		}
	}
	return out
}

func agentName(a session.Agent) string {
	if len(a.Command) == 0 {
		return ""
	}
	return strings.ToLower(path.Base(strings.ReplaceAll(a.Command[0], `\`, "/")))
}

// idBits is how many low bits of an id tell statements of a microsecond apart.
const idBits = 12

// firstID is the smallest id of time t.
func firstID(t time.Time) int64 { return t.UnixMicro() << idBits }

// statementID is where event seq of a session, at time t, goes in the index.
func statementID(t time.Time, sessionID string, seq int64) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(sessionID)) // a hash never fails
	return firstID(t) | (int64(h.Sum32())+seq)&(1<<idBits-1)
}
