package walkthrough

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// screen is what a terminal shows, with marks where steps begin.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

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
	s.mu.Lock()
	text := control.ReplaceAllString(s.text.String(), "")
	s.mu.Unlock()
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
	s.mu.Lock()
	defer s.mu.Unlock()
	last := -1
	for strings.Contains(s.text.String(), mark(last+1, false)) {
		last++
	}
	return last
}
