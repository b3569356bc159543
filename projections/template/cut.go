package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/score"
)

// Of cuts a score, in canonical form, at the places where it is filled in for each device.
// It gives nil where all devices get the score as it is.
func Of(canonical []byte) *Template {
	if !bytes.Contains(canonical, []byte(score.PlaceBegins)) {
		return nil
	}
	if tagged, err := eventlog.DecodeScore(canonical); err != nil || tagged.Type != score.TypePodmanV0 {
		return nil
	}
	c := cutter{whole: canonical, t: &Template{}}
	w := walker{decoder: json.NewDecoder(bytes.NewReader(canonical))}
	for {
		begin, end, value, err := w.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil
		}
		if value {
			c.cut(begin, end, w.field())
		}
	}
	if c.from == 0 {
		return nil
	}
	t := c.t
	t.parts = append(t.parts, append(c.part, canonical[c.from:]...))
	for _, p := range t.parts {
		t.length += len(p)
	}
	long := t.length+len(t.places)*maxValue > score.MaxContent
	for i := range t.places {
		p := &t.places[i]
		if p.risky = p.risky || long; p.risky && t.checked == nil {
			t.checked = map[string]*Invalid{}
		}
	}
	return t
}

// cutter cuts the strings of a score one after the other.
type cutter struct {
	whole []byte
	from  int    // where the present part goes on
	part  []byte // what it has so far
	t     *Template
}

// cut cuts the string between two offsets, with its quotes, that is the value of a field,
// and says which of its places are risky.
func (c *cutter) cut(begin, end int, f field) {
	if !f.filled() {
		return
	}
	text := string(c.whole[begin:end])
	host := 0 // where the path of the host ends
	if f.name == "volumes" && text[1] == '/' {
		host = bytes.IndexByte(c.whole[begin:end], ':')
	}
	first := len(c.t.places)
	for _, p := range score.Places(text) {
		c.part = append(c.part, c.whole[c.from:begin+p.Begin]...)
		c.from = begin + p.End
		if p.Literal {
			c.part = append(c.part, score.PlaceBegins...)
			continue
		}
		c.t.parts = append(c.t.parts, c.part)
		c.part = nil
		c.t.places = append(c.t.places, place{label: p.Label, field: f.name, chosen: f.name == "image" || p.Begin < host})
	}
	places := c.t.places[first:]
	long := len(places) > 0 && utf8.RuneCountInString(text)+len(places)*maxValue > f.chars()
	for i := range places {
		p := &places[i]
		harmless := p.label == "" && p.chosen && f.name == "volumes" // an id in a path of the host
		p.risky = long || f.name == "image" || f.name == "volumes" && !harmless || f.name == "command" && f.index == 0
	}
}

// walker goes through JSON without white space, and knows where it is.
type walker struct {
	decoder *json.Decoder
	steps   []step // into objects and lists
}

type step struct {
	object bool
	key    string // of an object: where it is
	keyed  bool   // of an object: the next thing is the value of key
	index  int    // of a list: how many values came
}

// next goes to the next thing, and says whether it is a text that is a value, and where.
func (w *walker) next() (begin, end int, value bool, err error) {
	begin = int(w.decoder.InputOffset())
	token, err := w.decoder.Token()
	if err != nil {
		return 0, 0, false, err
	}
	end = int(w.decoder.InputOffset())
	delim, isDelim := token.(json.Delim)
	if isDelim && (delim == '}' || delim == ']') {
		w.steps = w.steps[:len(w.steps)-1]
		w.valued()
		return begin, end, false, nil
	}
	text, isText := token.(string)
	if n := len(w.steps); n > 0 {
		s := &w.steps[n-1]
		if s.object && !s.keyed {
			s.key, s.keyed = text, true
			return begin, end, false, nil
		}
		if s.object || s.index > 0 {
			begin++ // past the ':' or ','
		}
	}
	if isDelim {
		w.steps = append(w.steps, step{object: delim == '{', index: 0})
		return begin, end, false, nil
	}
	w.valued()
	return begin, end, isText, nil
}

// valued: a value is complete.
func (w *walker) valued() {
	if n := len(w.steps); n > 0 {
		w.steps[n-1].keyed = false
		w.steps[n-1].index++
	}
}

// field is what the text belongs to that next gave last.
type field struct {
	name  string // of a service; empty: it belongs to no service
	deep  bool   // it is in a list or a map
	index int    // there
}

func (w *walker) field() field {
	s := w.steps
	if len(s) < 4 || len(s) > 5 || s[0].key != "data" || s[1].key != "services" || s[2].object || !s[3].object {
		return field{}
	}
	f := field{name: s[3].key, deep: len(s) == 5}
	if f.deep {
		f.index = s[4].index - 1
	}
	return f
}

// filled says whether the field is one of those that are filled in.
func (f field) filled() bool {
	switch f.name {
	case "image":
		return !f.deep
	case "command", "args", "volumes", "env", "configs":
		return f.deep
	}
	return false
}

// chars is how many characters a text of the field may have.
func (f field) chars() int {
	shape := score.Data().Fields["services"].Each.Fields[f.name]
	if shape.Each != nil {
		shape = shape.Each
	}
	return shape.Chars
}
