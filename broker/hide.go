package broker

import (
	"encoding/json"
	"strings"
)

// hideStrings is JSON as it may be recorded: hide sees every string in it, and
// whether it can be data: keys, and what stands under "type", cannot.
// Whatever is no JSON is recorded as one string, hidden as a whole.
func hideStrings(text string, hide func(value string, data bool) string) json.RawMessage {
	if !json.Valid([]byte(text)) {
		return quoteJSON(hide(text, true))
	}
	var out strings.Builder
	key := ""
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
			isKey := strings.HasPrefix(strings.TrimLeft(text[end+1:], " \t\r\n"), ":")
			if isKey {
				key = value
			}
			if hidden := hide(value, !isKey && key != "type"); hidden != value {
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
