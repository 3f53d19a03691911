package sql

// Analyze lexes, splits, parses and resolves a text of one or more statements.
//
// Its errors are *SyntaxError and *UnsupportedError: then nothing is known
// about the text as a whole, and it must not run. Statements that are only
// partly understood carry reasons in Unknown instead.
func Analyze(text string, ctx Context, cat Catalog) (a *Analysis, err error) {
	defer func() {
		if fault := recover(); fault != nil { // a bug here must not be a way past here
			a, err = nil, &UnsupportedError{Msg: internalFault}
		}
	}()
	return analyze(text, ctx, cat)
}

const internalFault = "the analysis itself failed"

func analyze(text string, ctx Context, cat Catalog) (a *Analysis, err error) {
	l, err := lex(text)
	if err != nil {
		return nil, err
	}
	cuts, err := split(l, 0, len(l.tokens))
	if err != nil {
		return nil, err
	}
	if len(cuts) == 0 {
		return nil, &SyntaxError{Pos: 0, Msg: "there is no statement"}
	}
	a = &Analysis{Canonical: formatAll(l, cuts), Statements: make([]Statement, 0, len(cuts))}
	r := &resolver{cat: cat, ctx: ctx}
	for _, c := range cuts {
		s, err := parseStatement(l, c[0], c[1], false)
		if err != nil {
			return nil, err
		}
		st, err := r.resolve(s)
		if err != nil {
			return nil, err
		}
		st.Pos, st.End = int(l.tokens[c[0]].pos), int(l.tokens[c[1]-1].end)
		st.Text = format(l, c[0], c[1])
		a.Statements = append(a.Statements, st)
	}
	a.Missing = r.missing
	return a, nil
}

// resolve runs the resolver on one statement of the batch.
func (r *resolver) resolve(s statement) (st Statement, err error) {
	defer catch(&err)
	r.facts = nil
	st, _ = r.statement(s)
	return st, nil
}
