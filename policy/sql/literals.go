package sql

// Literal is a constant or a comment of a text: where a person's data can stand
// in it. Positions are bytes; Value is the string within quotes, the digits of a
// number, or the comment as it stands.
type Literal struct {
	Pos, End int
	Value    string
	Comment  bool
}

// Literals lists the constants and comments of a text, each kind in order.
// Identifiers, quoted or not, are none.
func Literals(text string) ([]Literal, error) {
	l, err := lex(text)
	if err != nil {
		return nil, err
	}
	var out []Literal
	for _, t := range l.tokens {
		raw := text[t.pos:t.end]
		value := raw
		switch t.kind {
		case tokenString, tokenDollar:
			var ok bool
			if value, ok = unquoteString(raw); !ok {
				value = raw[1 : len(raw)-1] // with an escape that is not undone
			}
		case tokenNumber, tokenStage, tokenFile:
		default:
			continue
		}
		out = append(out, Literal{Pos: int(t.pos), End: int(t.end), Value: value})
	}
	for _, c := range l.comments {
		out = append(out, Literal{Pos: int(c.pos), End: int(c.end), Value: text[c.pos:c.end], Comment: true})
	}
	return out, nil
}

// Names lists the identifiers and words of a text, folded as Snowflake does; nil
// if it cannot be cut into tokens.
func Names(text string) []string {
	l, err := lex(text)
	if err != nil {
		return nil
	}
	var out []string
	for _, t := range l.tokens {
		switch raw := text[t.pos:t.end]; t.kind {
		case tokenWord:
			out = append(out, foldWord(raw))
		case tokenQuoted:
			out = append(out, unquoteIdentifier(raw))
		}
	}
	return out
}
