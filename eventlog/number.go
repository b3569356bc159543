package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// checkNumbers fails with the first number of a JSON document that RFC 8785 cannot
// carry. Its numbers are IEEE 754 doubles, so an integer above 2^53, or a fraction
// of more than 17 digits, would come back as another number, and two that differ
// would have one hash. root names the document.
func checkNumbers(root string, doc []byte) error {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	p := jsonPath{root: root}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n, ok := token.(json.Number); ok && !exact(string(n)) {
			return fmt.Errorf("%s is the number %s, which canonical JSON (RFC 8785) cannot carry exactly: write it as a string, in quotes", p.of(), clipNumber(n))
		}
		p.pass(token)
	}
}

func clipNumber(n json.Number) string {
	const most = 64
	if len(n) <= most {
		return string(n)
	}
	return string(n[:most]) + "…"
}

// exact says whether the double nearest to a number of JSON, as RFC 8785 writes it,
// is that number.
func exact(number string) bool {
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return false
	}
	digits, exponent, ok := decimal(number)
	canonical, power, _ := decimal(strconv.FormatFloat(f, 'e', -1, 64))
	return ok && digits == canonical && exponent == power
}

// decimal reads a number of JSON as digits, with neither leading nor trailing zeros,
// times a power of ten. Zero has no digits. ok is false where the power is beyond
// all that a double has.
func decimal(number string) (digits string, exponent int, ok bool) {
	mantissa, power, _ := strings.Cut(strings.ToLower(number), "e")
	sign := ""
	if rest, negative := strings.CutPrefix(mantissa, "-"); negative {
		mantissa, sign = rest, "-"
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	short := strings.TrimRight(digits, "0")
	if short == "" {
		return "", 0, true
	}
	if power != "" {
		n, err := strconv.Atoi(power)
		if err != nil || n > 1<<20 || n < -1<<20 {
			return "", 0, false
		}
		exponent = n
	}
	return sign + short, exponent - len(fraction) + len(digits) - len(short), true
}

// jsonPath follows where in a JSON document its tokens stand.
type jsonPath struct {
	root  string
	steps []jsonStep
}

// jsonStep is an object or an array that is open.
type jsonStep struct {
	array bool
	index int    // of the next element
	key   string // whose value comes next
	named bool   // the key was read
}

// of names the place of the next value, such as score.data.services[0].image.
func (p *jsonPath) of() string {
	var b strings.Builder
	b.WriteString(p.root)
	for _, s := range p.steps {
		if s.array {
			fmt.Fprintf(&b, "[%d]", s.index)
		} else {
			b.WriteString("." + s.key)
		}
	}
	return b.String()
}

// pass takes the next token.
func (p *jsonPath) pass(token json.Token) {
	top := len(p.steps) - 1
	switch token {
	case json.Delim('{'), json.Delim('['):
		p.steps = append(p.steps, jsonStep{array: token == json.Delim('[')})
		return
	case json.Delim('}'), json.Delim(']'):
		p.steps = p.steps[:top]
	default:
		if key, ok := token.(string); ok && top >= 0 && !p.steps[top].array && !p.steps[top].named {
			p.steps[top].key, p.steps[top].named = key, true
			return
		}
	}
	if top = len(p.steps) - 1; top >= 0 { // a value ended
		p.steps[top].index++
		p.steps[top].named = false
	}
}
