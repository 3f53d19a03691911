package recording

import _ "embed"

//go:embed FORMAT.md
var formatMD string

//go:embed verify.py
var verifyPy string

// FormatDocument is FORMAT.md: enough to write a verifier of one's own.
func FormatDocument() string { return formatMD }

// PythonVerifier is verify.py, a verifier that shares nothing with this package
// but FORMAT.md, and needs only Python's standard library.
func PythonVerifier() string { return verifyPy }
