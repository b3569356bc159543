package score

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// Shape is a field's place in the score: what kind of JSON value it is, how much
// it may hold, and what is in it. It is made from the Go types that a score is
// read into, and is the CRD's schema of spec.score.data in other words.
type Shape struct {
	Kind   string            // as JSON schema names it: object, array, string, integer, boolean
	Items  int               // the most items of an array, or keys of a map; 0 for no limit
	Chars  int               // the most characters of a string; 0 for no limit
	Bits   int               // of an integer
	Match  *regexp.Regexp    // what a string must match; nil for anything
	Each   *Shape            // of an array's items or a map's values
	Fields map[string]*Shape // of an object with fields; nil for a map
}

// Data is the shape of a PodmanV0 score's data as its author writes it.
func Data() *Shape { return shapeOfData(authored) }

// shapes are made once: they are looked at for each device, and never changed.
var shapes = [...]func() *Shape{
	filledIn: sync.OnceValue(func() *Shape { return shapeOf(reflect.TypeFor[wireData](), "", filledIn) }),
	authored: sync.OnceValue(func() *Shape { return shapeOf(reflect.TypeFor[wireData](), "", authored) }),
}

func shapeOfData(f form) *Shape { return shapes[f]() }

func shapeOf(t reflect.Type, tag reflect.StructTag, form form) *Shape {
	number := func(key string) int { n, _ := strconv.Atoi(tag.Get(key)); return n }
	switch t.Kind() {
	case reflect.Pointer:
		return shapeOf(t.Elem(), tag, form)
	case reflect.Slice, reflect.Map:
		s := &Shape{Kind: "object", Items: number("items"), Each: shapeOf(t.Elem(), tag, form)}
		if t.Kind() == reflect.Slice {
			s.Kind = "array"
		}
		return s
	case reflect.Struct:
		s := &Shape{Kind: "object", Fields: map[string]*Shape{}}
		for f := range t.Fields() {
			s.Fields[f.Tag.Get("json")] = shapeOf(f.Type, f.Tag, form)
		}
		return s
	case reflect.Bool:
		return &Shape{Kind: "boolean"}
	case reflect.Int32, reflect.Int64:
		return &Shape{Kind: "integer", Bits: t.Bits()}
	default:
		s := &Shape{Kind: "string", Chars: number("chars")}
		switch texts := tag.Get("text"); {
		case texts == "plain" && form == authored:
			s.Match = isAuthoredPlain
		case texts == "plain":
			s.Match = isPlain
		case texts == "places" && form == authored:
			s.Match = isAuthored
		}
		return s
	}
}

// problem says where a value is not of the shape, in the API server's words where
// those do not depend on its version; empty where it is.
func (s *Shape) problem(at string, v any) string {
	got := kindOf(v)
	if got == "number" && s.Kind == "integer" {
		return at + ": it has a fraction, or too many digits, and must be a whole number"
	}
	if got != s.Kind {
		return fmt.Sprintf("%s in body must be of type %s: %q", at, s.Kind, got)
	}
	switch v := v.(type) {
	case json.Number:
		if f, err := v.Float64(); s.Bits == 32 && (err != nil || math.Abs(f) > math.MaxInt32) {
			return fmt.Sprintf("Checked value must be of type integer with format int%d in %s", s.Bits, at)
		}
	case string:
		if n := utf8.RuneCountInString(v); s.Chars > 0 && n > s.Chars {
			return fmt.Sprintf("%s: it has %d characters, and may have %d", at, n, s.Chars)
		}
		if (s.Match == isAuthored || s.Match == isAuthoredPlain) && !isAuthored.MatchString(v) {
			return at + `: it has a "$(device." that is neither $(device.id) nor $(device.labels.KEY): correct it, or write $$(device. for the text itself`
		}
		if s.Match != nil && !s.Match.MatchString(v) {
			return fmt.Sprintf("%s in body should match '%s'", at, s.Match)
		}
	case []any:
		if s.Items > 0 && len(v) > s.Items {
			return fmt.Sprintf("%s: it has %d items, and may have %d", at, len(v), s.Items)
		}
		for i, item := range v {
			if p := s.Each.problem(at+"["+strconv.Itoa(i)+"]", item); p != "" {
				return p
			}
		}
	case map[string]any:
		if s.Items > 0 && len(v) > s.Items {
			return fmt.Sprintf("%s: it has %d keys, and may have %d", at, len(v), s.Items)
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			of := s.Each
			if s.Fields != nil {
				if of = s.Fields[key]; of == nil {
					continue // see Unknown
				}
			}
			if v[key] == nil {
				continue // the API server takes it for absent, and so does Go
			}
			if p := of.problem(at+"."+key, v[key]); p != "" {
				return p
			}
		}
	}
	return ""
}

// known is what of a value this version knows, named as it knows it: encoding/json
// alone would take "Image" for "image".
func (s *Shape) known(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = s.Each.known(item)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		if s.Fields == nil {
			for key, value := range v {
				if value != nil {
					out[key] = value
				}
			}
			return out
		}
		for key, of := range s.Fields {
			if field := v[key]; field != nil {
				out[key] = of.known(field)
			}
		}
		return out
	case json.Number:
		if f, err := v.Float64(); err == nil && strings.ContainsAny(v.String(), ".eE") {
			return int64(f)
		}
	}
	return v
}

// kindOf names a decoded JSON value's kind as JSON schema does.
func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case json.Number:
		if _, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return "integer"
		}
		if f, err := v.Float64(); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<63 {
			return "integer"
		}
		return "number"
	default:
		return "object"
	}
}

// decodeData reads a score's data with its numbers as they were written.
func decodeData(data []byte) (any, error) {
	if len(data) == 0 {
		return map[string]any{}, nil
	}
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return v, nil
}
