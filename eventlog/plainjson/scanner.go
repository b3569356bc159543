// Package plainjson reads JSON in the plain shape that encoders write, without
// reflection: strings in which every byte stands for itself, integers, UTC times.
package plainjson

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"time"
	"unicode/utf8"
)

// Scanner reads plain JSON: strings in which every byte stands for itself,
// integers, and objects of which the fields are known. Once it is bad it stays
// so, and further reads give nothing of meaning.
//
// It moves an index and leaves the slice alone: to move the slice would be to
// write a pointer, which while the garbage collector runs is ten times as dear,
// and where a log is read it runs a lot.
type Scanner struct {
	b   []byte
	at  int
	bad bool
}

// NewScanner reads b, which must not change meanwhile.
func NewScanner(b []byte) Scanner { return Scanner{b: b} }

// field is one of an object's. Usual is how it comes from an encoder: with a
// comma before it and, if its value is a string, that string's first quote.
type field struct {
	name   string
	usual  string
	quoted bool
}

// StringField is a field whose value is a string: its first quote is taken with it.
func StringField(name string) field { return field{name, `,"` + name + `":"`, true} }

// OtherField is a field of any other value.
func OtherField(name string) field { return field{name, `,"` + name + `":`, false} }

// Fields are those of an object, in the order in which they usually come.
type Fields []field

// skip passes over white space and gives the byte after it, which is not taken;
// 0 at the end.
func (p *Scanner) skip() byte {
	for ; p.at < len(p.b); p.at++ {
		if c := p.b[p.at]; c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
	}
	return 0
}

func (p *Scanner) taken(c byte) bool {
	if p.at < len(p.b) && p.b[p.at] == c || p.skip() == c && p.at < len(p.b) {
		p.at++
		return true
	}
	return false
}

// Take passes over one byte, after white space. The scanner is bad where another stands there.
func (p *Scanner) Take(c byte) { p.bad = !p.taken(c) || p.bad }

// End says whether all was read, and was plain.
func (p *Scanner) End() bool { return !p.bad && p.skip() == 0 && p.at == len(p.b) }

// Begin takes the start of an object or an array, and says whether an element
// follows.
func (p *Scanner) Begin(from, to byte) bool {
	p.Take(from)
	return !p.bad && !p.taken(to)
}

// More says, after an element, whether another one follows.
func (p *Scanner) More(to byte) bool {
	if p.bad || p.taken(to) {
		return false
	}
	p.Take(',')
	return !p.bad
}

// Open begins an object and gives the first field in it, Next the one after
// another; -1 where none follows. Of a string field the first quote is taken.
func (p *Scanner) Open(of Fields) int {
	if !p.Begin('{', '}') {
		return -1
	}
	return p.key(of)
}

// Next looks for the fields after the last one, comma, key and quote at once,
// since fields are absent more often than out of order.
func (p *Scanner) Next(of Fields, last int) int {
	rest := p.b[p.at:]
	for i := last + 1; i < len(of); i++ {
		if f := of[i].usual; len(rest) >= len(f) && string(rest[:len(f)]) == f {
			p.at += len(f)
			return i
		}
	}
	if !p.More('}') {
		return -1
	}
	return p.key(of)
}

// key takes a key wherever it stands in the order.
func (p *Scanner) key(of Fields) int {
	k := p.Text()
	p.Take(':')
	for i := range of {
		if !p.bad && string(k) == of[i].name {
			if of[i].quoted {
				p.Take('"')
			}
			return i
		}
	}
	p.bad = true
	return -1
}

const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// odd marks, by its highest bit, the first byte of eight that is a quote, a
// backslash, a control character or none of ASCII. Bytes after the first may be
// marked for no reason: a borrow has come through them.
func odd(x uint64) uint64 {
	quote, backslash := x^ones*'"', x^ones*'\\'
	return ((quote-ones)&^quote | (backslash-ones)&^backslash | (x-ones*' ')&^x | x) & tops
}

// Text reads a string in which every byte stands for itself. Most of a report is
// strings, so it looks at eight bytes at once.
func (p *Scanner) Text() []byte {
	p.Take('"')
	return p.Tail()
}

// Tail reads what of a string comes after its first quote.
func (p *Scanner) Tail() []byte {
	if p.bad {
		return nil
	}
	rest := p.b[p.at:]
	for i := 0; i+8 <= len(rest); i += 8 {
		if m := odd(binary.LittleEndian.Uint64(rest[i:])); m != 0 {
			i += bits.TrailingZeros64(m) / 8
			if rest[i] != '"' {
				break
			}
			p.at += i + 1
			return rest[:i]
		}
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 || !plain(rest[:end]) {
		p.bad = true
		return nil
	}
	p.at += end + 1
	return rest[:end]
}

// Likely takes the tail of a string if it is the one that was guessed, which is
// plain.
func (p *Scanner) Likely(s string) bool {
	if rest := p.b[p.at:]; s == "" || len(rest) <= len(s) || rest[len(s)] != '"' || string(rest[:len(s)]) != s {
		return false
	}
	p.at += len(s) + 1
	return true
}

// plain says whether s is UTF-8 without control characters and backslashes.
func plain(s []byte) bool {
	for _, c := range s {
		if c < ' ' || c == '\\' {
			return false
		}
	}
	return utf8.Valid(s)
}

// Time reads an RFC 3339 time: the tail of a string.
func (p *Scanner) Time() (t time.Time) {
	text := p.Tail()
	if t, ok := parseUTC(text); ok {
		return t
	}
	p.bad = t.UnmarshalText(text) != nil || p.bad
	return t
}

// Null takes a null, where one stands next.
func (p *Scanner) Null() bool {
	if p.skip() != 'n' || !bytes.HasPrefix(p.b[p.at:], []byte("null")) {
		return false
	}
	p.at += len("null")
	return true
}

// Number reads an integer of at most 18 digits, which any integer field holds.
func (p *Scanner) Number() (n uint64) {
	p.skip()
	from := p.at
	for p.at < len(p.b) && p.b[p.at] >= '0' && p.b[p.at] <= '9' {
		n = 10*n + uint64(p.b[p.at]-'0')
		p.at++
	}
	if digits := p.at - from; digits == 0 || digits > 18 || digits > 1 && p.b[from] == '0' {
		p.bad = true
		return 0
	}
	if c := p.skip(); c == '.' || c == 'e' || c == 'E' {
		p.bad = true
	}
	return n
}

// Bool reads true or false.
func (p *Scanner) Bool() bool {
	p.skip()
	rest := p.b[p.at:]
	switch {
	case bytes.HasPrefix(rest, []byte("true")):
		p.at += len("true")
		return true
	case bytes.HasPrefix(rest, []byte("false")):
		p.at += len("false")
	default:
		p.bad = true
	}
	return false
}
