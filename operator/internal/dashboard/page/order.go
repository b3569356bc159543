package page

import "bytes"

// replacement stands for what is not shown (U+FFFD).
const replacement = "\uFFFD"

// inOrder replaces, in place, the characters that turn the direction of what follows them: U+202A
// to U+202E and U+2066 to U+2069 (Unicode Standard Annex #9, section 2). By these, what devices
// and persons wrote would show its characters, and those behind it, in another order than they
// have, so that it reads as something else. As UTF-8, each has as many bytes as the replacement.
func inOrder(html []byte) []byte {
	for rest := html; ; {
		i := bytes.IndexByte(rest, 0xE2)
		if i < 0 || len(rest) < i+len(replacement) {
			return html
		}
		rest = rest[i:]
		if turns(rest[1], rest[2]) {
			copy(rest, replacement)
		}
		rest = rest[1:]
	}
}

// turns says whether U+2000 to U+2FFF, by its second and third byte, turns the direction.
func turns(second, third byte) bool {
	return second == 0x80 && 0xAA <= third && third <= 0xAE || second == 0x81 && 0xA6 <= third && third <= 0xA9
}
