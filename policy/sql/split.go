package sql

// split cuts the tokens [from, to) into statements at top-level semicolons. A
// semicolon within parentheses ends nothing and is an error; those within a
// scripting block belong to the block, which ends at its own END. A block that
// never ends is an error: where it ends would be a guess.
func split(l *lexed, from, to int) ([][2]int, error) {
	var list [][2]int
	for at := from; at < to; {
		if isSemicolon(l.tokens[at]) {
			at++
			continue
		}
		end, err := statementEnd(l, at, to)
		if err != nil {
			return nil, err
		}
		list = append(list, [2]int{at, end})
		at = end + 1
	}
	return list, nil
}

func isSemicolon(t token) bool { return t.kind == tokenOp && t.op == ';' }

// statementEnd returns the index of the semicolon that ends the statement at
// start, or to.
func statementEnd(l *lexed, start, to int) (int, error) {
	b := blockReader{lexed: l, start: start, to: to}
	for i := start; i < to; i++ {
		t := l.tokens[i]
		switch {
		case t.kind == tokenOp && t.op == '(':
			close := int(l.match[i])
			for j := i + 1; j < close; j++ {
				if isSemicolon(l.tokens[j]) && b.depth == 0 {
					return 0, &SyntaxError{Pos: int(l.tokens[j].pos), Msg: "a semicolon within parentheses"}
				}
			}
			i = close
		case isSemicolon(t):
			if b.depth == 0 && !b.declaring {
				return i, nil
			}
		case t.kind == tokenWord && t.word != wordNone:
			b.read(i)
		}
	}
	if b.depth > 0 || b.declaring {
		return 0, &SyntaxError{Pos: int(l.tokens[start].pos), Msg: "a block without its END"}
	}
	return to, nil
}

// blockReader follows BEGIN, CASE, IF, FOR, WHILE, LOOP, REPEAT and END.
type blockReader struct {
	*lexed
	start, to int
	depth     int
	declaring bool // after DECLARE, before its BEGIN
}

func (b *blockReader) tokenAt(i int) token {
	if i >= b.start && i < b.to {
		return b.tokens[i]
	}
	return token{}
}

func (b *blockReader) read(i int) {
	t, prev, next := b.tokens[i], b.tokenAt(i-1), b.tokenAt(i+1)
	if prev.kind == tokenOp && (prev.op == '.' || prev.op == ':') || next.kind == tokenOp && next.op == '.' {
		return // a part of a name
	}
	switch t.word {
	case wDeclare:
		if b.depth == 0 && b.mayOpen(i, prev) || b.depth > 0 && opensStatement(prev) {
			b.declaring = true
		}
	case wBegin:
		transaction := next.kind == tokenEnd || isSemicolon(next) || next.kind == tokenWord &&
			(next.word == wTransaction || next.word == wWork || next.word == wTran || next.word == wName)
		switch {
		case b.declaring:
			b.declaring = false
			b.depth++
		case transaction:
		case b.depth > 0 || b.mayOpen(i, prev):
			b.depth++
		}
	case wCase:
		if b.depth > 0 && !(prev.kind == tokenWord && prev.word == wEnd) {
			b.depth++
		}
	case wEnd:
		if b.depth > 0 && !(next.kind == tokenWord && (next.word == wIf || next.word == wFor || next.word == wLoop ||
			next.word == wWhile || next.word == wRepeat)) {
			b.depth--
		}
	}
}

func opensStatement(prev token) bool {
	return isSemicolon(prev) || prev.kind == tokenWord && (prev.word == wBegin || prev.word == wThen || prev.word == wElse ||
		prev.word == wDo || prev.word == wLoop || prev.word == wRepeat)
}

// mayOpen tells whether a BEGIN or DECLARE outside any block opens one: at the
// start of a statement, or as the body of a procedure, function, task or
// alert.
func (b *blockReader) mayOpen(i int, prev token) bool {
	if i == b.start {
		return true
	}
	switch b.tokens[b.start].word {
	case wCreate, wAlter, wWith:
	default:
		return false
	}
	body := false
	for j := b.start + 1; j < i && j < b.start+9; j++ {
		switch b.tokens[j].word {
		case wProcedure, wFunction, wTask, wAlert:
			body = true
		}
	}
	return body && (prev.kind == tokenWord && (prev.word == wAs || prev.word == wThen || prev.word == wDo || isWordText(b.text, prev, "MODIFY")) ||
		prev.kind == tokenOp && prev.op == ')')
}
