package kube

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Encode writes an object for a server-side apply.
func Encode(o any) ([]byte, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return Escaped(b), nil
}

// Escaped writes what is not printable ASCII by numbers, where that can only stand
// within texts. Whoever reads JSON as YAML, as the API server reads what is
// applied, takes more characters for the end of a line, and refuses some that JSON
// allows. What takes two numbers in JSON is none of those, and YAML does not read
// such pairs.
func Escaped(doc []byte) []byte {
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
