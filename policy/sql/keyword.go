package sql

// keyword identifies a word the grammar gives a meaning to. Most are not
// reserved in Snowflake; the parser decides by position.
type keyword uint8

const (
	wordNone keyword = iota
	wAlert
	wAll
	wAlter
	wAnd
	wAny
	wAs
	wAsc
	wAsof
	wAt
	wBefore
	wBegin
	wBetween
	wBy
	wCall
	wCase
	wCast
	wChanges
	wCollate
	wConnect
	wConnectByRoot
	wCreate
	wCross
	wDate
	wDeclare
	wDefault
	wDelete
	wDesc
	wDirected
	wDistinct
	wDo
	wDrop
	wElse
	wEnd
	wEscape
	wExcept
	wExclude
	wExecute
	wExists
	wExplain
	wExtract
	wFalse
	wFetch
	wFilter
	wFirst
	wFor
	wFrom
	wFull
	wFunction
	wGet
	wGroup
	wHaving
	wIdentifier
	wIf
	wIgnore
	wIlike
	wIn
	wInner
	wInsert
	wIntersect
	wInterval
	wInto
	wIs
	wJoin
	wLast
	wLateral
	wLeft
	wLike
	wLimit
	wLoop
	wMatchCondition
	wMatchRecognize
	wMatched
	wMerge
	wMinus
	wName
	wNatural
	wNot
	wNull
	wNulls
	wOffset
	wOn
	wOr
	wOrder
	wOuter
	wOver
	wOverwrite
	wPartition
	wPivot
	wPosition
	wPrior
	wProcedure
	wPut
	wQualify
	wRange
	wRecursive
	wRegexp
	wRename
	wRepeat
	wReplace
	wRespect
	wRight
	wRlike
	wRows
	wSample
	wSelect
	wSet
	wSome
	wStart
	wTable
	wTablesample
	wTask
	wThen
	wTime
	wTimestamp
	wTop
	wTran
	wTransaction
	wTrue
	wTryCast
	wUnion
	wUnpivot
	wUpdate
	wUsing
	wValues
	wWhen
	wWhere
	wWhile
	wWindow
	wWith
	wWithin
	wWork
	wZone
	keywordCount
)

var keywordNames = [keywordCount]string{"",
	"ALERT", "ALL", "ALTER", "AND", "ANY", "AS", "ASC", "ASOF", "AT", "BEFORE", "BEGIN", "BETWEEN", "BY", "CALL",
	"CASE", "CAST", "CHANGES", "COLLATE", "CONNECT", "CONNECT_BY_ROOT", "CREATE", "CROSS", "DATE", "DECLARE", "DEFAULT", "DELETE",
	"DESC", "DIRECTED", "DISTINCT", "DO", "DROP", "ELSE", "END", "ESCAPE", "EXCEPT", "EXCLUDE", "EXECUTE", "EXISTS", "EXPLAIN",
	"EXTRACT", "FALSE", "FETCH", "FILTER", "FIRST", "FOR", "FROM", "FULL", "FUNCTION", "GET", "GROUP", "HAVING",
	"IDENTIFIER", "IF", "IGNORE", "ILIKE", "IN", "INNER", "INSERT", "INTERSECT", "INTERVAL", "INTO", "IS", "JOIN", "LAST",
	"LATERAL", "LEFT", "LIKE", "LIMIT", "LOOP", "MATCH_CONDITION", "MATCH_RECOGNIZE", "MATCHED", "MERGE", "MINUS",
	"NAME", "NATURAL", "NOT", "NULL", "NULLS", "OFFSET", "ON", "OR", "ORDER", "OUTER", "OVER", "OVERWRITE", "PARTITION",
	"PIVOT", "POSITION", "PRIOR", "PROCEDURE", "PUT", "QUALIFY", "RANGE", "RECURSIVE", "REGEXP", "RENAME", "REPEAT",
	"REPLACE", "RESPECT", "RIGHT", "RLIKE", "ROWS", "SAMPLE", "SELECT", "SET", "SOME", "START", "TABLE", "TABLESAMPLE",
	"TASK", "THEN", "TIME", "TIMESTAMP", "TOP", "TRAN", "TRANSACTION", "TRUE", "TRY_CAST", "UNION", "UNPIVOT", "UPDATE",
	"USING", "VALUES", "WHEN", "WHERE", "WHILE", "WINDOW", "WITH", "WITHIN", "WORK", "ZONE"}

const longestKeyword = len("MATCH_RECOGNIZE")

var keywords = func() map[string]keyword {
	m := make(map[string]keyword, keywordCount)
	for k := wordNone + 1; k < keywordCount; k++ {
		m[keywordNames[k]] = k
	}
	return m
}()

// lookupKeyword returns the keyword that s spells in any case, or wordNone.
func lookupKeyword(s string) keyword {
	if len(s) < 2 || len(s) > longestKeyword {
		return wordNone
	}
	var b [longestKeyword]byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		b[i] = c
	}
	return keywords[string(b[:len(s)])]
}

// notAlias holds the words that end an expression or a table and so are never
// taken for an alias written without AS.
var notAlias = keywordSet(wSelect, wFrom, wWhere, wGroup, wHaving, wQualify, wOrder, wLimit, wFetch, wOffset, wUnion,
	wExcept, wMinus, wIntersect, wAs, wOn, wUsing, wJoin, wInner, wLeft, wRight, wFull, wCross, wNatural, wAsof, wLateral,
	wMatchCondition, wSample, wTablesample, wPivot, wUnpivot, wMatchRecognize, wConnect, wStart, wWith, wAnd, wOr, wNot,
	wIn, wIs, wLike, wIlike, wRlike, wRegexp, wBetween, wWhen, wThen, wElse, wEnd, wSet, wInto, wValues, wCase, wWindow,
	wFor, wEscape, wCollate, wBy, wWithin, wOver, wDirected, wExclude, wRename, wDo, wLoop)

// notOperand holds the words that cannot start an operand: an expression that
// meets one is a syntax error, never a column of that name.
var notOperand = keywordSet(wSelect, wFrom, wWhere, wGroup, wHaving, wQualify, wOrder, wUnion, wExcept, wIntersect, wOn,
	wUsing, wJoin, wAnd, wOr, wThen, wWhen, wElse, wEnd, wAs, wIn, wIs, wBetween, wInto, wWith, wBy)

func keywordSet(words ...keyword) (set [keywordCount]bool) {
	for _, w := range words {
		set[w] = true
	}
	return set
}
