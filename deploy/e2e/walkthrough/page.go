// Package walkthrough follows a page of the documentation word for word, as a reader at a
// terminal does: it makes a script of the page's code blocks, and holds what the script
// prints to what the page says.
//
// A page is read by these rules:
//   - A block marked sh is a step. So is each command in a block without a mark whose lines
//     begin with "$ ", and what stands below it in the block is what it shows.
//   - A block without a mark that follows a step, with nothing between, is what the step shows.
//   - In a sentence with "it says", code spans are what the step before prints. In one that
//     begins with "Run again, it says" they are what the step prints the second time.
//   - "In another terminal" leaves the step before running, and goes on in another shell.
package walkthrough

import (
	"regexp"
	"strings"
)

// Step is what a reader runs at once.
type Step struct {
	Section string // the heading that it is below
	Line    int    // of its block in the page, from 1
	Code    string // for bash
	Shown   string // the output that the page shows
	// Says is what it prints by the page's sentences, and Again what it prints when it is
	// run once more; empty where the page has it run once.
	Says, Again []string
	Stays       bool // it runs until a person ends it, and the next steps are for another terminal
}

var (
	heading  = regexp.MustCompile(`^#{1,6} +(.*?) *$`)
	again    = regexp.MustCompile(`^Run again, it says\b`)
	says     = regexp.MustCompile(`\b[Ii]t says\b`)
	codeSpan = regexp.MustCompile("`[^`]+`")
	// A sentence ends before a capital letter or a link; not within a code span, since
	// those are taken out first.
	sentence = regexp.MustCompile(`[.!?:]\)?\s+([A-Z\[])`)
)

const anotherTerminal = "n another terminal"

// Read finds the steps of a page.
func Read(markdown string) []Step {
	r := reader{lines: strings.Split(markdown, "\n")}
	for r.at < len(r.lines) {
		if line := r.lines[r.at]; strings.HasPrefix(line, "```") {
			r.block(strings.TrimPrefix(line, "```"))
			continue
		}
		r.text(r.lines[r.at])
		r.at++
	}
	r.endProse()
	return r.steps
}

type reader struct {
	lines   []string
	at      int // of the line that is read next
	section string
	first   int // of the steps below that heading
	steps   []Step
	prose   []string // since the last block
}

// text reads a line that is in no block.
func (r *reader) text(line string) {
	if m := heading.FindStringSubmatch(line); m != nil {
		r.endProse() // what comes is said of steps below it
		r.section, r.first = m[1], len(r.steps)
	}
	r.prose = append(r.prose, line)
}

// block reads the block that begins at the present line.
func (r *reader) block(mark string) {
	first := r.at + 1
	end := first
	for end < len(r.lines) && !strings.HasPrefix(r.lines[end], "```") {
		end++
	}
	text := r.lines[first:end]
	direct := strings.TrimSpace(strings.Join(r.prose, "")) == ""
	r.endProse()
	r.at = end + 1
	switch {
	case mark == "sh":
		r.steps = append(r.steps, Step{Section: r.section, Line: first + 1, Code: strings.Join(text, "\n") + "\n"})
	case mark == "" && len(text) > 0 && strings.HasPrefix(text[0], "$ "):
		for i, line := range text {
			if command, is := strings.CutPrefix(line, "$ "); is {
				r.steps = append(r.steps, Step{Section: r.section, Line: first + i + 1, Code: command + "\n"})
			} else {
				r.steps[len(r.steps)-1].Shown += line + "\n"
			}
		}
	case mark == "" && direct && len(r.steps) > r.first:
		r.steps[len(r.steps)-1].Shown = strings.Join(text, "\n") + "\n"
	}
}

// endProse gives the last step what the text below it says.
func (r *reader) endProse() {
	text := strings.Join(r.prose, "\n")
	r.prose = nil
	if len(r.steps) == r.first {
		return
	}
	step := &r.steps[len(r.steps)-1]
	step.Stays = step.Stays || strings.Contains(text, anotherTerminal)
	for _, paragraph := range strings.Split(text, "\n\n") {
		for _, s := range sentences(paragraph) {
			switch at := says.FindStringIndex(s); {
			case again.MatchString(s):
				step.Again = append(step.Again, spans(s)...)
			case at != nil:
				step.Says = append(step.Says, spans(s[at[1]:])...)
			}
		}
	}
}

// sentences splits a text where no code span is.
func sentences(text string) []string {
	masked := codeSpan.ReplaceAllStringFunc(text, func(s string) string { return strings.Repeat("`", len(s)) })
	var all []string
	from := 0
	for _, at := range sentence.FindAllStringSubmatchIndex(masked, -1) {
		all = append(all, strings.TrimSpace(text[from:at[2]]))
		from = at[2]
	}
	return append(all, strings.TrimSpace(text[from:]))
}

func spans(text string) []string {
	var all []string
	for _, s := range codeSpan.FindAllString(text, -1) {
		all = append(all, strings.Trim(s, "`"))
	}
	return all
}
