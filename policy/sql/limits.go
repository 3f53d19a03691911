package sql

// Limits of one analysis. Exceeding one is an *UnsupportedError. They bound
// time, memory and stack together: every loop that depends on the text is
// charged to maxSteps, every recursion to maxDepth.
const (
	maxText       = 1 << 20 // bytes; Snowflake's own limit for a statement text
	maxTokens     = 1 << 18
	maxDepth      = 600     // nested parser calls; a parenthesis costs about two
	maxSteps      = 1 << 20 // resolver work: nodes visited and labels merged
	maxStatements = 2000    // in one text, those within others included
	maxVariables  = 256     // session variables that are tracked
	maxViews      = 32      // views nested in views
	maxDynamic    = 8       // EXECUTE IMMEDIATE nested in its own text
	maxColumns    = 1 << 16 // distinct base columns
	maxOutputs    = 1 << 14 // columns of one result
	maxBlanks     = 40      // blanks in a row kept by the canonical text
)
