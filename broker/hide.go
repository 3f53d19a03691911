package broker

import (
	"encoding/json"
	"strings"
)

// hideStrings is JSON as it may be recorded: hide sees every string in it.
// Whatever is no JSON is recorded as one string, hidden as a whole.
func hideStrings(text string, hide func(string) string) json.RawMessage {
	if !json.Valid([]byte(text)) {
		return quoteJSON(hide(text))
	}
	var out strings.Builder
	for at := 0; at < len(text); {
		if text[at] != '"' {
			out.WriteByte(text[at])
			at++
			continue
		}
		end := at + 1
		for text[end] != '"' { // it is valid: the quote closes
			if text[end] == '\\' {
				end++
			}
			end++
		}
		raw := text[at : end+1]
		var value string
		if err := json.Unmarshal([]byte(raw), &value); err == nil {
			if hidden := hide(value); hidden != value {
				raw = string(quoteJSON(hidden))
			}
		}
		out.WriteString(raw)
		at = end + 1
	}
	return json.RawMessage(out.String())
}

func quoteJSON(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil { // a string always encodes
		return json.RawMessage(`""`)
	}
	return b
}
