package score

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/spelling"
)

// How many unknown fields are named, and how much of a name is shown: both are
// chosen by who writes a score.
const (
	maxUnknown = 16
	maxName    = 64
)

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// Unknown names the fields of a score that this version does not know, a sentence
// each: they are kept and sent to the devices, for which they may mean something,
// and nobody here looks at them. Of a score of another type nothing is unknown,
// since nothing is known.
func Unknown(raw []byte) []string {
	tagged, err := eventlog.DecodeScore(raw)
	if err != nil || tagged.Type != TypePodmanV0 {
		return nil
	}
	v, err := decodeData(tagged.Data)
	if err != nil {
		return nil
	}
	shape := Data()
	var found []string
	shape.unknown("spec.score.data", v, shape.paths(""), &found)
	if more := len(found) - maxUnknown; more > 0 {
		found = append(found[:maxUnknown], fmt.Sprintf("%d more fields are not known to this version", more))
	}
	return found
}

func (s *Shape) unknown(at string, v any, paths []string, found *[]string) {
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			if s.Each != nil {
				s.Each.unknown(at+"["+strconv.Itoa(i)+"]", item, paths, found)
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if s.Fields == nil {
				return // a map: each key is as good as another
			}
			if of := s.Fields[key]; of != nil {
				of.unknown(at+"."+key, v[key], paths, found)
				continue
			}
			sentence := at + "." + shown(key) + " is not known to this version"
			if meant := nearest(key, slices.Sorted(maps.Keys(s.Fields)), paths); meant != "" {
				sentence += "; did you mean " + meant + "?"
			}
			*found = append(*found, sentence)
		}
	}
}

// shown is a key as a person can read it.
func shown(key string) string {
	if runes := []rune(key); len(runes) > maxName {
		key = string(runes[:maxName]) + "…"
	}
	if plainName.MatchString(key) {
		return key
	}
	return strconv.Quote(key)
}

// paths lists all fields, each with those that it is below, but for the services'
// own list: image, resources.memory, healthCheck.http.port.
func (s *Shape) paths(above string) []string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(s.Fields)) {
		of, path := s.Fields[key], above+key
		if of.Each != nil && of.Each.Fields != nil {
			all = append(all, of.Each.paths("")...)
			continue
		}
		all = append(append(all, path), of.paths(path+".")...)
	}
	return all
}

// nearest gives the field that a person may have meant: one of another place with
// just that name, or the one here whose name is the likest.
func nearest(key string, here, everywhere []string) string {
	const longest = 2 * maxName
	if len(key) > longest {
		return ""
	}
	word := strings.ToLower(key)
	best, least := "", 0
	for _, name := range here {
		known := strings.ToLower(name)
		d := spelling.Distance(word, known)
		alike := d <= max(1, len(known)/3) || len(word) > 1 && strings.HasPrefix(known, word) || strings.HasPrefix(word, known)
		if alike && (best == "" || d < least) {
			best, least = name, d
		}
	}
	if best != "" {
		return best
	}
	for _, path := range everywhere {
		if strings.EqualFold(path[strings.LastIndexByte(path, '.')+1:], key) {
			return path
		}
	}
	return ""
}
