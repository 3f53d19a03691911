package sql

// node is a piece of a parsed statement. Pos and End are byte offsets in the
// text that was parsed, End exclusive.
type node interface {
	Pos() int
	End() int
}

// span gives a node its place in the text; every node type embeds one, and
// every type that embeds one is known to walk.
type span struct{ pos, end int32 }

func (s span) Pos() int { return int(s.pos) }
func (s span) End() int { return int(s.end) }

// ident is one identifier, folded. It is a part of its node, not a node.
type ident struct {
	name   string
	quoted bool
	at     int32
}

// name is an object name: parts as written, or dynamic for
// IDENTIFIER(<variable or bind>), which only the resolver may know.
type name struct {
	span
	parts   []ident
	dynamic expr
	text    bool // the parts were read out of a string
}

// expr is anything with a value.
type expr interface{ node }

type (
	// literal is a constant: number, string, NULL, TRUE, DATE '…', INTERVAL '…'.
	literal struct {
		span
		kind tokenKind // tokenNumber, tokenString, tokenDollar, or tokenWord for NULL and the like
		text string    // as written
	}
	// bind is ?, :1 or :name.
	bind struct {
		span
		name string
	}
	// variable is the session variable $name.
	variable struct {
		span
		name string
	}
	// positional is $1 or t.$1.
	positional struct {
		span
		qualifier []ident
		n         int
	}
	// columnRef is a name where a value is expected: a column, a lateral alias,
	// a lambda parameter, a path into a column, or a sequence's NEXTVAL.
	columnRef struct {
		span
		parts    []ident
		datePart bool // stands where a date part may stand, and is one unless a column has its name
	}
	// dynamicRef is IDENTIFIER(<variable or bind>) where a value is expected.
	dynamicRef struct {
		span
		name *name
	}
	// star is * or t.*, in a select list or as an argument.
	star struct {
		span
		qualifier []ident
		ilike     string // pattern, if hasILike
		hasILike  bool
		exclude   []ident
		rename    []renaming
		replace   []selectItem
	}
	renaming struct{ from, to ident }
	// call is a function call, with everything that may follow it.
	call struct {
		span
		name     *name
		method   expr // receiver of x.f() or model!f(), else nil
		distinct bool
		args     []argument
		order    []expr // WITHIN GROUP (ORDER BY), ORDER BY within the arguments
		filter   expr
		over     *window
	}
	argument struct {
		name  string // of name => value, folded
		value expr
	}
	// window is what follows OVER; name refers to a WINDOW clause.
	window struct {
		span
		name      string
		partition []expr
		order     []expr
		frame     []expr
	}
	// operation is an operator chain. Lineage does not need precedence, so
	// chains are flat and long ones cost no stack.
	operation struct {
		span
		args []expr
	}
	// caseExpr is CASE … END.
	caseExpr struct {
		span
		args []expr
	}
	// cast is x::type, CAST, TRY_CAST.
	cast struct {
		span
		x expr
	}
	// path is x:a.b or x.field.
	path struct {
		span
		x expr
	}
	// index is x[i] or x[i:j].
	index struct {
		span
		x    expr
		args []expr
	}
	// collection is […], {…} or (a, b).
	collection struct {
		span
		args []expr
	}
	// subquery is a query used as a value, by EXISTS or by IN.
	subquery struct {
		span
		query *query
	}
	// lambda is x -> body.
	lambda struct {
		span
		params []string
		body   expr
	}
	// stageRef is a stage used as a value.
	stageRef struct {
		span
		text string
	}
	// tableArg is TABLE(…) as an argument.
	tableArg struct {
		span
		table tableExpr
	}
)

// queryBody is a *selectCore, *setOp, *values or *query in parentheses.
type queryBody interface{ node }

type (
	// query is a query with its CTEs and order.
	query struct {
		span
		recursive bool
		with      []*cte
		body      queryBody
		order     []expr
		orderAll  bool
		limits    []expr // LIMIT, OFFSET, FETCH where they are variables
		locking   bool   // FOR UPDATE
	}
	// cte is one WITH element; an expression instead of a query makes a macro.
	cte struct {
		span
		name    ident
		columns []ident
		query   *query
		macro   expr
	}
	// selectCore is one SELECT.
	selectCore struct {
		span
		distinct bool
		items    []selectItem
		into     []string // SELECT … INTO :a, :b in a script
		from     []tableExpr
		where    expr
		connect  []expr // START WITH, CONNECT BY
		group    []expr
		groupAll bool
		having   expr
		windows  []*window
		qualify  expr
	}
	selectItem struct {
		value expr
		alias ident // alias.name is empty if none was written
	}
	// setOp is a chain of UNION, INTERSECT, EXCEPT; ops[i] joins terms[i] and
	// terms[i+1].
	setOp struct {
		span
		terms []queryBody
		ops   []setOperator
	}
	setOperator struct {
		all    bool // UNION ALL: keeps every row
		byName bool
	}
	// values is VALUES (…), (…).
	values struct {
		span
		rows [][]expr
	}
)

// tableExpr is anything in FROM.
type tableExpr interface{ node }

// tableTail is what may follow a table.
type tableTail struct {
	alias    string
	columns  []ident
	historic []expr // arguments of AT, BEFORE, CHANGES, END, and a sample's size
	changes  bool
}

type (
	// tableName is a table, view or CTE.
	tableName struct {
		span
		tableTail
		name     *name
		semantic bool // SEMANTIC_VIEW(name …)
	}
	// derivedTable is (query), LATERAL (query) or VALUES.
	derivedTable struct {
		span
		tableTail
		query   *query
		lateral bool // may use columns of the tables before it
	}
	// tableFunc is TABLE(f(…)) or LATERAL f(…).
	tableFunc struct {
		span
		tableTail
		call *call
	}
	// stageTable reads files.
	stageTable struct {
		span
		tableTail
		text string
		args []expr
	}
	// flowTable is $n in FROM: a previous result of a ->> chain.
	flowTable struct {
		span
		tableTail
		n int
	}
	// joinChain is a table and what is joined to it, left to right.
	joinChain struct {
		span
		first tableExpr
		steps []joinStep
	}
	joinStep struct {
		table   tableExpr
		natural bool
		outer   bool // RIGHT, FULL: the left side may be missing
		on      []expr
		using   []ident
	}
	// pivot is source PIVOT (…).
	pivot struct {
		span
		tableTail
		source tableExpr
		aggs   []selectItem
		column *columnRef
		in     []selectItem
		any    bool   // IN (ANY …) or IN (query): the columns depend on the data
		order  []expr // of ANY
		query  *query
		orElse expr
	}
	// unpivot is source UNPIVOT (…).
	unpivot struct {
		span
		tableTail
		source  tableExpr
		value   ident
		name    ident
		columns []*columnRef
	}
	// matchRecognize is source MATCH_RECOGNIZE (…).
	matchRecognize struct {
		span
		tableTail
		source    tableExpr
		partition []expr
		order     []expr
		measures  []selectItem
		allRows   bool
		define    []expr
	}
)

// statement is one parsed statement.
type statement interface{ node }

type (
	// queryStmt is a query on its own.
	queryStmt struct {
		span
		query *query
	}
	// insertStmt is INSERT with one target.
	insertStmt struct {
		span
		overwrite bool
		target    *name
		columns   []ident
		query     *query
	}
	// insertAllStmt is INSERT ALL or FIRST.
	insertAllStmt struct {
		span
		overwrite  bool
		branches   []insertBranch
		conditions []expr
		query      *query
	}
	insertBranch struct {
		target *name
		values []expr
	}
	// updateStmt is UPDATE.
	updateStmt struct {
		span
		target tableExpr
		sets   []expr
		from   []tableExpr
		where  expr
	}
	// deleteStmt is DELETE.
	deleteStmt struct {
		span
		target tableExpr
		using  []tableExpr
		where  expr
	}
	// mergeStmt is MERGE; conditions and stored values of all its branches.
	mergeStmt struct {
		span
		target     tableExpr
		source     tableExpr
		conditions []expr
		stored     []expr
		storesAll  bool // ALL BY NAME
	}
	// copyStmt is COPY INTO, either way.
	copyStmt struct {
		span
		unload   bool
		target   *name  // table, when loading
		location string // stage or URL as written
		source   tableExpr
		query    *query
		columns  []ident
		extra    []expr // PARTITION BY
		options  []optionWord
	}
	optionWord struct{ key, value string }
	// explainStmt is EXPLAIN of another statement.
	explainStmt struct {
		span
		inner statement
	}
	// flowStmt is a chain of ->>.
	flowStmt struct {
		span
		steps []statement
	}
	// setStmt is SET or UNSET of session variables.
	setStmt struct {
		span
		unset  bool
		names  []string
		values []expr
	}
	// callStmt is CALL of a procedure, or of one defined in WITH.
	callStmt struct {
		span
		call      *call
		anonymous bool
	}
	// immediateStmt is EXECUTE IMMEDIATE; from is EXECUTE IMMEDIATE FROM.
	immediateStmt struct {
		span
		body  expr
		from  string
		using []expr
	}
	// blockStmt is a scripting block. Its parts hold every statement,
	// expression and query in it, in order.
	blockStmt struct {
		span
		parts []node
		stuck bool // some of it was not understood
	}
	// commandStmt is everything that is classified by verb and object only.
	commandStmt struct {
		span
		rule    commandRule
		targets []objectRef // written
		sources []objectRef // read
		body    []node      // queries, statements and expressions within it
		stuck   string      // why the command is not understood, or empty
		effects Effects
	}
	objectRef struct {
		kind ObjectKind
		name *name
		text string // stages, locations
	}
)
