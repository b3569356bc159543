// Package yamljson writes JSON that a reader of YAML takes for the same: the API
// server reads what is applied as YAML.
package yamljson

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Marshal encodes an object for a server-side apply.
func Marshal(o any) ([]byte, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return Escape(b), nil
}

// Escape writes every character of a JSON document that is not printable ASCII as a
// number; such characters stand in texts alone. YAML takes more characters than JSON
// for the end of a line, and refuses some that JSON allows. Characters that take two
// numbers in JSON are none of those, and YAML does not read such pairs, so they stay.
func Escape(doc []byte) []byte {
	out := make([]byte, 0, len(doc))
	for _, r := range string(doc) {
		if r < 0x7f || r > 0xffff {
			out = utf8.AppendRune(out, r)
		} else {
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}
