package viewdiff

import (
	"encoding/json"
	"slices"
	"strings"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/selectors"
)

// SpecFields says what differs between two specs of a Deployment, in the words of the
// spec: selector, rollout.strategy, services[web].image. A nil before lists all
// that after brings, leaf by leaf.
func SpecFields(before *eventlog.Deployment, after eventlog.Deployment) []Field {
	var was eventlog.Deployment
	selector := ""
	if before != nil {
		was, selector = *before, selectors.SelectorText(before.Selector)
	}
	return slices.Concat(
		TextFields("selector", selector, selectors.SelectorText(after.Selector)),
		Leaves(Fields("rollout", was.Rollout, after.Rollout)),
		ScoreFields(was.Score, after.Score))
}

// ScoreFields says what differs between two scores (ReconcileScore JSON; nil is
// none). Paths begin below the score's data, as a person wrote it; type is
// score.type. Where only the order of a list of named things differs, the field
// is score itself, with both hashes.
func ScoreFields(before, after []byte) []Field {
	a, okA := scoreOf(before)
	b, okB := scoreOf(after)
	if !okA || !okB {
		return Fields("score", before, after)
	}
	out := slices.Concat(TextFields("score.type", a.Type, b.Type), Leaves(Fields("", a.Data, b.Data)))
	for i := range out {
		if out[i].Path == "" {
			out[i].Path = "score.data" // it is no object
		}
	}
	if len(out) == 0 && string(before) != string(after) {
		return TextFields("score", eventlog.Hash(before), eventlog.Hash(after))
	}
	return out
}

// scoreOf reads a score; nothing is a score without type and data.
func scoreOf(b []byte) (eventlog.Score, bool) {
	if len(b) == 0 {
		return eventlog.Score{}, true
	}
	s, err := eventlog.DecodeScore(b)
	return s, err == nil
}

// Leaves takes apart what came or went as a whole, so that a service that is
// added shows its image, and not one line of JSON.
func Leaves(fields []Field) []Field {
	var out []Field
	for _, f := range fields {
		switch {
		case f.Before == nil:
			f.apart(f.After, &out, func(path string, v json.RawMessage) Field { return Field{Path: path, After: v} })
		case f.After == nil:
			f.apart(f.Before, &out, func(path string, v json.RawMessage) Field { return Field{Path: path, Before: v} })
		default:
			out = append(out, f)
		}
	}
	return out
}

func (f Field) apart(value json.RawMessage, out *[]Field, leaf func(string, json.RawMessage) Field) {
	var inner []Field
	switch v := decode(value).(type) {
	case map[string]any:
		name, _ := v["name"].(string)
		for _, k := range keys(v, nil) {
			if k == "name" && len(v) > 1 && strings.HasSuffix(f.Path, "["+name+"]") {
				continue // the path says it already
			}
			inner = append(inner, Field{Path: join(f.Path, k), After: encode(v[k])})
		}
	case []any:
		m, ok := byName(v)
		if !ok {
			break
		}
		for _, k := range keys(m, nil) {
			inner = append(inner, Field{Path: f.Path + "[" + k + "]", After: encode(m[k])})
		}
	}
	if len(inner) == 0 {
		*out = append(*out, leaf(f.Path, value))
		return
	}
	for _, i := range inner {
		i.apart(i.After, out, leaf)
	}
}

// ValueText is one side of a Field for people: strings bare where nothing is
// lost by it, lists of plain words with commas, else JSON. Nothing is "".
func ValueText(v json.RawMessage) string {
	switch x := decode(v).(type) {
	case absent:
		return ""
	case string:
		return wordText(x)
	case []any:
		words := make([]string, len(x))
		for i, e := range x {
			s, ok := e.(string)
			if !ok || wordText(s) != s || strings.ContainsAny(s, ", ") {
				return string(v)
			}
			words[i] = s
		}
		if len(words) > 0 {
			return strings.Join(words, ", ")
		}
	}
	return string(v)
}

// wordText quotes a string that could be taken for something else.
func wordText(s string) string {
	if s == "" || strings.TrimSpace(s) != s || strings.ContainsAny(s, "\n\r\t") || json.Valid([]byte(s)) {
		return string(encode(s))
	}
	return s
}
