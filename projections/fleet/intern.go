package fleet

import "strings"

// A fleet says the same again and again: names, hashes, reasons, versions. The
// view keeps each such text once.
const (
	// maxInterned bounds what hostile reports can put into the table. Past it the
	// table starts over, and what is in use stays shared by those who have it.
	maxInterned       = 1 << 16
	maxInternedLength = 256 // bytes
)

// intern gives the view's own copy of a text, which belongs to a message.
func (v *View) intern(s string) string {
	if s == "" {
		return ""
	}
	if k, ok := v.strings[s]; ok {
		return k
	}
	return v.remember(strings.Clone(s))
}

func (v *View) internBytes(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if k, ok := v.strings[string(b)]; ok {
		return k
	}
	return v.remember(string(b))
}

func (v *View) remember(s string) string {
	if len(s) > maxInternedLength {
		return s
	}
	if len(v.strings) == maxInterned {
		clear(v.strings)
	}
	v.strings[s] = s
	return s
}
