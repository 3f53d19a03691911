package broker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/jit-access/jit/broker/snowflake"
)

// How much of binds is shown and recorded: bulk loads bind 100,000 rows and more
// to one statement, which nobody reads and no request has room for.
const (
	wholeBinds = 64 << 10 // bytes of binds told in full
	firstBinds = 5        // values told of a longer list
	firstBytes = 256      // of a longer value
)

// shownBinds is binds as reviewers see them and recordings keep them. Longer ones
// are told by their first values, how many there are, and the SHA-256 of their
// canonical form, so that an approval binds to every value either way.
func shownBinds(canonical string) string {
	if len(canonical) <= wholeBinds {
		return canonical
	}
	sum := sha256.Sum256([]byte(canonical))
	out := snowflake.Object{
		{Key: "bytes", Raw: json.RawMessage(strconv.Itoa(len(canonical)))},
		{Key: "sha256", Raw: snowflake.Quote(hex.EncodeToString(sum[:]))},
	}
	if positions, err := snowflake.ParseObject([]byte(canonical)); err == nil {
		out = append(out, snowflake.Member{Key: "positions", Raw: json.RawMessage(strconv.Itoa(len(positions)))})
		var first snowflake.Object
		for _, p := range positions[:min(len(positions), 8*firstBinds)] {
			first = append(first, snowflake.Member{Key: p.Key, Raw: shortBind(p.Raw)})
		}
		out = append(out, snowflake.Member{Key: "first", Raw: first.Append(nil)})
	}
	return string(out.Append(nil))
}

// shortBind is one bind with the beginning of its value, and how much there is.
func shortBind(raw json.RawMessage) json.RawMessage {
	bind, err := snowflake.ParseObject(raw)
	if err != nil {
		return json.RawMessage("null")
	}
	short := snowflake.Object{{Key: "type", Raw: bind.Get("type")}}
	value := bind.Get("value")
	if list, err := snowflake.ParseArray(value); err == nil {
		short.Set("rows", json.RawMessage(strconv.Itoa(len(list))))
		head := []byte{'['}
		for i, v := range list[:min(len(list), firstBinds)] {
			if i > 0 {
				head = append(head, ',')
			}
			head = append(head, shortValue(v)...)
		}
		short.Set("value", append(head, ']'))
	} else {
		short.Set("value", shortValue(value))
	}
	if len(short[0].Raw) == 0 {
		short[0].Raw = json.RawMessage("null")
	}
	return short.Append(nil)
}

func shortValue(raw json.RawMessage) json.RawMessage {
	text, ok := snowflake.Text(raw)
	if !ok {
		return json.RawMessage("null")
	}
	return snowflake.Quote(clip(text, firstBytes))
}
