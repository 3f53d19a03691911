package sandbox

import "strings"

// item is one output of the outermost SELECT, as far as its text tells.
type item struct {
	star bool
	name string
	typ  colType // kindUnknown if the text does not tell
	// For FN(arg, …), fn and the pieces of the translation that are arg: the
	// type follows the argument's.
	fn               string
	outFrom, outTo   int // the item's pieces
	argFrom, argTo   int // the argument's
	column           string
	followsArguments bool
}

// items analyses the outermost SELECT's list; nil if there is none at the top.
func (t *translator) items() []item {
	start, depth := -1, 0
	for i, tok := range t.toks {
		switch {
		case tok.op("("):
			depth++
		case tok.op(")"):
			depth--
		case depth == 0 && tok.is("SELECT"):
			start = i + 1
		}
		if start >= 0 {
			break
		}
	}
	if start < 0 || t.toks[0].op("(") {
		return nil
	}
	for t.toks[start].is("DISTINCT", "ALL") {
		start++
	}
	var items []item
	from := start
	for i := start; ; i++ {
		tok := t.toks[i]
		switch {
		case tok.op("("):
			depth++
		case tok.op(")"):
			depth--
		}
		end := tok.sort == sortEnd || depth == 0 && (tok.is("FROM") || clauseWord(tok) && !tok.is("WHEN"))
		if end || depth == 0 && tok.op(",") {
			if i > from {
				items = append(items, t.item(from, i))
			}
			from = i + 1
		}
		if end {
			return items
		}
	}
}

// item analyses the tokens from a to b.
func (t *translator) item(a, b int) item {
	it := item{outFrom: t.at2out[a], outTo: t.at2out[b]}
	last := t.toks[b-1]
	if last.op("*") && (b-a == 1 || t.toks[b-2].op(".")) {
		it.star = true
		return it
	}
	body := b
	switch {
	case b-a >= 3 && t.toks[b-2].is("AS") && last.name():
		it.name, body = last.val, b-2
	case b-a >= 2 && last.name() && (last.sort == sortQuoted || !reserved(last)) && operandEnd(t.toks[b-2]):
		it.name, body = last.val, b-1
	}
	if it.name == "" {
		it.name = t.defaultName(a, body)
	}
	it.typ = t.typeOf(a, body)
	if isName(t.toks[a:body]) {
		it.column = t.toks[body-1].val
	}
	if it.typ.kind == kindUnknown && body-a >= 4 && t.toks[a].sort == sortWord && t.toks[a+1].op("(") && t.wholeCall(a, body) {
		it.fn = t.toks[a].val
		it.followsArguments = follows(it.fn)
		end := t.argEnd(a + 2)
		it.argFrom, it.argTo = t.at2out[a+2], t.at2out[end]
	}
	return it
}

// operandEnd is whether t can end an expression, so that a name after it is an
// alias.
func operandEnd(t token) bool {
	switch t.sort {
	case sortNumber, sortString, sortBind, sortQuoted:
		return true
	case sortWord:
		return !reserved(t) || t.is("END", "NULL", "TRUE", "FALSE")
	}
	return t.op(")") || t.op("]")
}

// isName is whether toks are a dotted name.
func isName(toks []token) bool {
	for i, t := range toks {
		if i%2 == 0 && (!t.name() || reserved(t)) || i%2 == 1 && !t.op(".") {
			return false
		}
	}
	return len(toks)%2 == 1
}

// defaultName is the label of an item without an alias: a column's own name,
// or the text in upper case.
func (t *translator) defaultName(a, b int) string {
	if isName(t.toks[a:b]) {
		return t.toks[b-1].val
	}
	var s strings.Builder
	for i := a; i < b; i++ {
		tok := t.toks[i]
		if i > a && tok.gap {
			s.WriteByte(' ')
		}
		if tok.sort == sortWord {
			s.WriteString(tok.val)
		} else {
			s.WriteString(tok.text)
		}
	}
	return s.String()
}

// closes returns the index of the parenthesis that closes the one at i.
func (t *translator) closes(i int) int {
	depth := 0
	for ; i < len(t.toks); i++ {
		if t.toks[i].op("(") {
			depth++
		}
		if t.toks[i].op(")") {
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// wholeCall is whether the call at a is all there is up to b, but for a window.
func (t *translator) wholeCall(a, b int) bool {
	end := t.closes(a + 1)
	if end > 0 && end < b-1 && t.toks[end+1].is("OVER") && t.toks[end+2].op("(") {
		end = t.closes(end + 2)
	}
	return end == b-1
}

// argEnd returns where the argument that begins at i ends.
func (t *translator) argEnd(i int) int {
	depth := 0
	for ; i < len(t.toks)-1; i++ {
		switch {
		case t.toks[i].op("("):
			depth++
		case t.toks[i].op(")"):
			if depth == 0 {
				return i
			}
			depth--
		case t.toks[i].op(",") && depth == 0:
			return i
		}
	}
	return i
}

// follows are the functions whose result has the type of their first argument.
func follows(fn string) bool {
	switch fn {
	case "MIN", "MAX", "ANY_VALUE", "COALESCE", "NVL", "IFNULL", "NULLIF", "FIRST_VALUE", "LAST_VALUE", "LAG", "LEAD",
		"GREATEST", "LEAST", "SUM", "AVG", "ABS":
		return true
	}
	return false
}

// typeOf is the type of the expression in the tokens from a to b, if its text
// tells it.
func (t *translator) typeOf(a, b int) colType {
	if a >= b {
		return colType{}
	}
	// A logical operator at the top makes a boolean; another operator leaves
	// the type to the values.
	depth := 0
	for i := a; i < b; i++ {
		tok := t.toks[i]
		switch {
		case tok.op("("), tok.is("CASE"):
			depth++
		case tok.op(")"), tok.is("END"):
			depth--
		case depth > 0:
		case tok.is("AND", "OR", "NOT", "LIKE", "ILIKE", "IS", "IN", "BETWEEN", "RLIKE", "EXISTS"), tok.op("="), tok.op("<"), tok.op(">"),
			tok.op("<="), tok.op(">="), tok.op("<>"), tok.op("!="):
			return colType{kind: kindBoolean}
		}
	}
	depth = 0
	for i := a; i < b; i++ {
		tok := t.toks[i]
		switch {
		case tok.op("("), tok.is("CASE"):
			depth++
		case tok.op(")"), tok.is("END"):
			depth--
		case depth == 0 && tok.op("||"):
			return textType()
		case depth == 0 && i > a && (tok.op("+") || tok.op("-") || tok.op("*") || tok.op("/") || tok.op("%")):
			return colType{}
		}
	}
	for i := b - 1; i > a; i-- {
		if t.toks[i].op("::") {
			if typ, n := parseType(t.toks, i+1); n > 0 && i+1+n == b {
				return typ
			}
		}
	}
	if b-a == 1 {
		switch tok := t.toks[a]; {
		case tok.is("TRUE", "FALSE"):
			return colType{kind: kindBoolean}
		case tok.is("CURRENT_DATE"):
			return colType{kind: kindDate}
		case tok.is("CURRENT_TIMESTAMP", "LOCALTIMESTAMP"):
			return colType{kind: kindLTZ, scale: 9}
		case tok.is("CURRENT_TIME"):
			return colType{kind: kindTime, scale: 9}
		case tok.sort == sortString:
			return colType{kind: kindText, length: max(1, len([]rune(tok.val)))}
		case tok.sort == sortNumber && !strings.ContainsAny(tok.val, "eE"):
			whole, frac, _ := strings.Cut(tok.val, ".")
			if len(whole)+len(frac) > 38 || len(frac) > 37 {
				return colType{kind: kindReal}
			}
			return fixed(max(1, len(whole)+len(frac)), len(frac))
		}
		return colType{}
	}
	if i := a; i+1 < b && t.toks[i].op(":") || i+1 < b && t.toks[i+1].op(":") {
		return colType{kind: kindVariant}
	}
	if t.toks[a].sort == sortWord && t.toks[a+1].op("(") {
		if t.toks[a].is("CAST", "TRY_CAST") && t.closes(a+1) == b-1 {
			for i := b - 2; i > a; i-- {
				if t.toks[i].is("AS") {
					typ, _ := parseType(t.toks, i+1)
					return typ
				}
			}
		}
		if t.wholeCall(a, b) {
			return returns(t.toks[a].val)
		}
	}
	return colType{}
}

// returns is the result type of a function that does not depend on its
// arguments.
func returns(fn string) colType {
	switch fn {
	case "COUNT", "COUNT_IF", "ROW_NUMBER", "RANK", "DENSE_RANK", "LENGTH", "LEN":
		return fixed(18, 0)
	case "YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND", "DATE_PART", "DATEDIFF", "TIMESTAMPDIFF", "FLOOR", "CEIL":
		return fixed(38, 0)
	case "TO_DATE", "CURRENT_DATE", "LAST_DAY", "DATE":
		return colType{kind: kindDate}
	case "TO_TIMESTAMP", "TO_TIMESTAMP_NTZ", "SYSDATE", "DATE_TRUNC":
		return colType{kind: kindNTZ, scale: 9}
	case "CURRENT_TIMESTAMP", "LOCALTIMESTAMP", "GETDATE", "TO_TIMESTAMP_LTZ":
		return colType{kind: kindLTZ, scale: 9}
	case "CURRENT_TIME":
		return colType{kind: kindTime, scale: 9}
	case "PARSE_JSON", "TRY_PARSE_JSON", "TO_VARIANT", "GET_PATH":
		return colType{kind: kindVariant}
	case "OBJECT_CONSTRUCT":
		return colType{kind: kindObject}
	case "ARRAY_CONSTRUCT", "ARRAY_AGG":
		return colType{kind: kindArray}
	case "CONTAINS", "STARTSWITH", "ENDSWITH", "REGEXP_LIKE", "RLIKE", "TO_BOOLEAN", "BOOLOR_AGG", "BOOLAND_AGG":
		return colType{kind: kindBoolean}
	case "TO_BINARY":
		return colType{kind: kindBinary, length: 8388608}
	case "TO_DOUBLE", "SQRT", "RANDOM_FLOAT":
		return colType{kind: kindReal}
	case "UPPER", "LOWER", "SUBSTR", "SUBSTRING", "CONCAT", "REPLACE", "TRIM", "LTRIM", "RTRIM", "LEFT", "RIGHT", "TO_CHAR", "TO_VARCHAR",
		"LISTAGG", "MD5", "SHA2", "SPLIT_PART", "INITCAP", "TO_JSON", "TYPEOF", "SYSTEM$CANCEL_ALL_QUERIES":
		return textType()
	}
	return colType{}
}
