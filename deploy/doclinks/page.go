package doclinks

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Page is what a Markdown page links to, and which of its places can be linked to.
type Page struct {
	Links   []Link
	Anchors map[string]bool // of headings, as GitHub makes them, and of HTML ids
}

// Link is a link or an image of a page. An empty target is a reference like [text][name]
// that the page does not define.
type Link struct {
	Line   int // from 1
	Text   string
	Target string
}

var (
	fence      = regexp.MustCompile("^\\s*(`{3,}|~{3,})")
	codeSpan   = regexp.MustCompile("`[^`]+`|``.+?``")
	inline     = regexp.MustCompile(`\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)`)
	reference  = regexp.MustCompile(`\[([^\]\[]+)\]\[([^\]\[]*)\]`)
	definition = regexp.MustCompile(`^ {0,3}\[([^\]]+)\]:\s+<?([^\s>]+)>?`)
	htmlLink   = regexp.MustCompile(`<(?:a|img)\s[^>]*?(?:href|src)="([^"]+)"`)
	htmlID     = regexp.MustCompile(`<[a-z]+\s[^>]*?(?:id|name)="([^"]+)"`)
	heading    = regexp.MustCompile(`^ {0,3}#{1,6}\s+(.*?)(?:\s+#+)?\s*$`)
	linked     = regexp.MustCompile(`!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])`)
)

// Read finds the links and anchors of a page. Code, in blocks and in lines, has neither.
func Read(markdown string) Page {
	p := Page{Anchors: map[string]bool{}}
	defined := map[string]bool{}
	type use struct {
		Link
		name string
	}
	var uses []use
	open := "" // the fence of the code block that we are in
	for i, line := range strings.Split(markdown, "\n") {
		if m := fence.FindStringSubmatch(line); m != nil {
			switch {
			case open == "":
				open = m[1]
			case strings.HasPrefix(m[1], open) && strings.TrimSpace(line) == m[1]:
				open = ""
			}
			continue
		}
		if open != "" {
			continue
		}
		if m := heading.FindStringSubmatch(line); m != nil {
			p.anchor(slug(m[1]))
		}
		line = codeSpan.ReplaceAllString(line, "code")
		for _, m := range htmlID.FindAllStringSubmatch(line, -1) {
			p.Anchors[m[1]] = true
		}
		if m := definition.FindStringSubmatch(line); m != nil {
			defined[strings.ToLower(m[1])] = true
			p.Links = append(p.Links, Link{Line: i + 1, Text: m[1], Target: m[2]})
			continue
		}
		for _, found := range [][][]string{inline.FindAllStringSubmatch(line, -1), htmlLink.FindAllStringSubmatch(line, -1)} {
			for _, m := range found {
				p.Links = append(p.Links, Link{Line: i + 1, Text: m[1], Target: m[1]})
			}
		}
		for _, m := range reference.FindAllStringSubmatch(line, -1) {
			name := m[2]
			if name == "" {
				name = m[1]
			}
			uses = append(uses, use{Link{Line: i + 1, Text: m[0]}, strings.ToLower(name)})
		}
	}
	for _, u := range uses {
		if !defined[u.name] {
			p.Links = append(p.Links, u.Link)
		}
	}
	return p
}

// anchor adds an anchor. GitHub numbers those that come again.
func (p *Page) anchor(name string) {
	unique := name
	for n := 1; p.Anchors[unique]; n++ {
		unique = name + "-" + strconv.Itoa(n)
	}
	p.Anchors[unique] = true
}

// slug is the anchor that GitHub makes of a heading: its text in lower case, with
// hyphens for spaces, and without punctuation.
func slug(heading string) string {
	heading = linked.ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}
