package viewdiff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Field is one place in which two values differ. Before is nil where there was
// nothing, After where there is nothing any more; both are JSON.
type Field struct {
	Path   string          `json:"path"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// Fields compares two JSON values place by place, in the order of their paths. A
// list whose elements all have names of their own (services) is compared by
// name, another one as a whole: which of its elements became which is a guess.
// What is no JSON is compared as a string.
func Fields(prefix string, before, after []byte) []Field {
	var out []Field
	walk(prefix, decode(before), decode(after), &out)
	return out
}

// absent stands for what is not there: nil is JSON's null.
type absent struct{}

func decode(b []byte) any {
	if len(b) == 0 {
		return absent{}
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return string(b)
	}
	return v
}

func walk(path string, before, after any, out *[]Field) {
	a, isObjectA := before.(map[string]any)
	b, isObjectB := after.(map[string]any)
	if isObjectA && isObjectB {
		for _, k := range keys(a, b) {
			walk(join(path, k), at(a, k), at(b, k), out)
		}
		return
	}
	if a, b, ok := named(before, after); ok {
		for _, k := range keys(a, b) {
			walk(path+"["+k+"]", at(a, k), at(b, k), out)
		}
		return
	}
	x, y := encode(before), encode(after)
	if !bytes.Equal(x, y) {
		*out = append(*out, Field{Path: path, Before: x, After: y})
	}
}

// named reads two lists as maps, where every element has a name of its own.
func named(before, after any) (a, b map[string]any, ok bool) {
	if a, ok = byName(before); !ok {
		return nil, nil, false
	}
	b, ok = byName(after)
	return a, b, ok
}

func byName(v any) (map[string]any, bool) {
	list, ok := v.([]any)
	if !ok {
		return nil, false
	}
	m := make(map[string]any, len(list))
	for _, e := range list {
		object, _ := e.(map[string]any)
		name, _ := object["name"].(string)
		if _, twice := m[name]; twice || name == "" {
			return nil, false
		}
		m[name] = e
	}
	return m, true
}

func keys(a, b map[string]any) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func at(m map[string]any, k string) any {
	if v, ok := m[k]; ok {
		return v
	}
	return absent{}
}

// join makes the path of a key; one that is not a plain word is quoted, so that
// the dots of /etc/x.conf do not look like a path.
func join(path, key string) string {
	if strings.ContainsAny(key, ".[]\" ") || key == "" {
		return path + "[" + strconv.Quote(key) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// encode gives the canonical JSON of a decoded value: maps are sorted. Absent is
// nil.
func encode(v any) json.RawMessage {
	if _, ok := v.(absent); ok {
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return json.RawMessage(strconv.Quote(fmt.Sprint(v))) // never: it came out of a decoder
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// TextFields is a field about strings; empty ones are absent.
func TextFields(path, before, after string) []Field {
	if before == after {
		return nil
	}
	return []Field{{Path: path, Before: quote(before), After: quote(after)}}
}

// TimeFields is a field about moments, written as RFC 3339; a zero one is absent.
func TimeFields(path string, before, after time.Time) []Field {
	text := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	return TextFields(path, text(before), text(after))
}

func quote(s string) json.RawMessage {
	if s == "" {
		return nil
	}
	return encode(s)
}

// number is a field about counts; zero is absent only where zero means nothing.
func number[N int | int64 | uint64](path string, before, after N) []Field {
	if before == after {
		return nil
	}
	return []Field{{Path: path, Before: encode(before), After: encode(after)}}
}
