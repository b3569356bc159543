package walkthrough

import (
	"regexp"
	"strings"
)

// changing are the words that another run prints otherwise: times, durations, counts,
// positions in the log, ids, keys, versions. A number of one digit stays what it is.
var changing = []*regexp.Regexp{
	regexp.MustCompile(`^\d{4}-\d\d-\d\d(?:T[\d:.]+Z?)?$`),
	regexp.MustCompile(`^\d\d:\d\d:\d\d(?:\.\d+)?$`),
	regexp.MustCompile(`^(?:\d+[hms])+$`),
	regexp.MustCompile(`^#\d+$`),
	regexp.MustCompile(`^\d{2,}$`),
	regexp.MustCompile(`^(?:v\d+\.\d+\.\d+\S*|[0-9a-f]{7,40}(?:-dirty)?)$`),
	regexp.MustCompile(`^[0-9A-Z]{26}$`),
	regexp.MustCompile(`^U[A-Z2-7]{7}(?:…|[A-Z2-7]{48})$`),
}

// word is a word without the signs around it.
var word = regexp.MustCompile(`^([("'\x60]*)(.*?)([)"'\x60.,:;]*)$`)

// Missing names what a page says that an output has, and it lacks. A … in what the page
// says stands for whatever is there.
func Missing(says []string, output string) []string {
	var missing []string
	for _, s := range says {
		if !regexp.MustCompile(line(s, exactly)).MatchString(output) {
			missing = append(missing, s)
		}
	}
	return missing
}

// Unseen names the lines that a page shows of an output, and it lacks, wherever its lines
// are broken and in whichever order: two things that happen at once do so in either. A …
// stands for whatever is there, and a word that is another one in each run for any other
// one of its kind.
func Unseen(shown, output string) []string {
	var unseen []string
	for _, l := range strings.Split(shown, "\n") {
		if !regexp.MustCompile(`(?:^|\s)` + line(l, ofItsKind) + `(?:\s|$)`).MatchString(output) {
			unseen = append(unseen, strings.TrimSpace(l))
		}
	}
	return unseen
}

// line is a pattern for a line's words, wherever it is broken.
func line(text string, word func(string) string) string {
	var all []string
	for _, w := range strings.Fields(text) {
		all = append(all, word(w))
	}
	return strings.Join(all, `\s+`)
}

// exactly is a pattern for a word and no other one.
func exactly(w string) string {
	parts := strings.Split(w, "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return strings.Join(parts, `[\s\S]*?`)
}

// ofItsKind is a pattern for a word, and for those that another run may print for it.
func ofItsKind(w string) string {
	m := word.FindStringSubmatch(w)
	for _, kind := range changing {
		if kind.MatchString(m[2]) {
			return regexp.QuoteMeta(m[1]) + strings.TrimSuffix(strings.TrimPrefix(kind.String(), "^"), "$") + regexp.QuoteMeta(m[3])
		}
	}
	return exactly(w)
}
