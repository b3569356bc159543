package walkthrough

import (
	"fmt"
	"regexp"
	"strings"

	"fleet.nationtech.io/eventlog/testlog"
)

// screen is what a terminal shows, with marks where steps begin.
type screen struct{ testlog.Buffer }

// mark is what is printed before a step: signs that no program prints.
func mark(step int, again bool) string {
	if again {
		return fmt.Sprintf("\x1e%d again\x1e", step)
	}
	return fmt.Sprintf("\x1e%d\x1e", step)
}

// control are the commands to a terminal: colours, and where the next text goes.
var control = regexp.MustCompile(`\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]`)

// of is what a step printed, line below line: the first time and the second.
func (s *screen) of(step int) (first, second string) {
	text := control.ReplaceAllString(s.String(), "")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	after := func(m string) string {
		_, rest, _ := strings.Cut(text, m)
		rest, _, _ = strings.Cut(rest, "\x1e")
		return rest
	}
	return after(mark(step, false)), after(mark(step, true))
}

// last is the last step that began; -1 where none did.
func (s *screen) last() int {
	last, text := -1, s.String()
	for strings.Contains(text, mark(last+1, false)) {
		last++
	}
	return last
}
