package doclinks_test

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/doclinks"
)

const root = "../.."

func TestALinkThatLeadsNowhereIsNamed(t *testing.T) {
	t.Parallel()
	site := fstest.MapFS{
		"docs/b.md":    {Data: []byte("# B\n## `fleetctl get`: what, when?\n## Twice\n## Twice\n## See [a](a.md)\n<a id=\"here\"></a>\n")},
		"docs/x/y.go":  {},
		"docs/p 1.svg": {},
	}
	for name, c := range map[string]struct {
		page string
		want []string
	}{
		"a file, a folder, an image, another site": {
			page: "[b](b.md), [x](x/), ![p](p%201.svg \"p\"), [go](x/y.go#L3), [w](https://example.org/nothing), [m](mailto:a@b.c)",
		},
		"headings": {
			page: "# A b\n[1](b.md#b) [2](b.md#fleetctl-get-what-when) [3](b.md#twice) [4](b.md#twice-1) [5](b.md#see-a) [6](b.md#here) [7](#a-b)",
		},
		"a missing file":             {page: "\n[b](../b.md)", want: []string{"docs/a.md:2: ../b.md: there is no file b.md"}},
		"a missing image":            {page: "![b](b.svg)", want: []string{"docs/a.md:1: b.svg: there is no file docs/b.svg"}},
		"an image within a link":     {page: "[![b](b.svg)](c.md)", want: []string{"docs/a.md:1: b.svg: there is no file docs/b.svg", "docs/a.md:1: c.md: there is no file docs/c.md"}},
		"a missing heading":          {page: "[b](b.md#c)", want: []string{"docs/a.md:1: b.md#c: docs/b.md has no heading #c"}},
		"a missing heading here":     {page: "[b](#b)", want: []string{"docs/a.md:1: #b: docs/a.md has no heading #b"}},
		"a heading once too often":   {page: "[b](b.md#twice-2)", want: []string{"docs/a.md:1: b.md#twice-2: docs/b.md has no heading #twice-2"}},
		"a way out":                  {page: "[b](../../b.md)", want: []string{"docs/a.md:1: ../../b.md: it leads out of the repository"}},
		"an absolute path":           {page: "[b](/docs/b.md)", want: []string{"docs/a.md:1: /docs/b.md: an absolute path means another place on each site; write it from the page's folder"}},
		"HTML":                       {page: `<img alt="c" src="c.svg">`, want: []string{"docs/a.md:1: c.svg: there is no file docs/c.svg"}},
		"references":                 {page: "[b][B], [c][], [c][d]\n\n[b]: b.md\n[c]: c.md", want: []string{"docs/a.md:1: [c][d]: the page defines no such reference", "docs/a.md:4: c: there is no file docs/c.md"}},
		"code has no links":          {page: "`[b](c.md)` ``[b](`c.md`)``\n```sh\n[b](c.md) # no heading\n```\n   ~~~~\n~~~\n[b](c.md)\n~~~~\n"},
		"after code come links":      {page: "```\n```\n`a` [`b`](c.md) `d`", want: []string{"docs/a.md:3: c.md: there is no file docs/c.md"}},
		"a heading in code is none":  {page: "```\n# c\n```\n[c](#c)", want: []string{"docs/a.md:4: #c: docs/a.md has no heading #c"}},
		"an address that is not one": {page: "[b](%zz)", want: []string{`docs/a.md:1: %zz: parse "%zz": invalid URL escape "%zz"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pages := fstest.MapFS{"docs/a.md": {Data: []byte(c.page)}}
			for name, f := range site {
				pages[name] = f
			}
			got, err := doclinks.Broken(pages, "docs/a.md")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("broken links (-want +got):\n%s", diff)
			}
		})
	}
}

// pages are the repository's Markdown pages, and llms.txt.
func pages(t *testing.T) []string {
	t.Helper()
	all := []string{"README.md", "ARCHITECTURE.md", "llms.txt"}
	if err := fs.WalkDir(os.DirFS(root), "docs", func(file string, _ fs.DirEntry, err error) error {
		if path.Ext(file) == ".md" {
			all = append(all, file)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(all) < 40 {
		t.Fatalf("only %d pages were found, so the test proves nothing: %v", len(all), all)
	}
	return all
}

func TestEachLinkOfTheDocumentationLeadsSomewhere(t *testing.T) {
	t.Parallel()
	broken, err := doclinks.Broken(os.DirFS(root), pages(t)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range broken {
		t.Error(b)
	}
}

// llmstxt.org: a title, a summary in a quote, text, and then under headings nothing but
// lists of links with what each page is for.
func TestTheFileForLanguageModelsHasItsForm(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSpace(read(t, "llms.txt")), "\n")
	if len(lines) < 3 || !strings.HasPrefix(lines[0], "# ") || !strings.HasPrefix(lines[2], "> ") {
		t.Fatalf("llms.txt begins with a title and a quoted summary, not with %q", lines[:min(3, len(lines))])
	}
	item, items, listing := regexp.MustCompile(`^- \[[^\]]+\]\([^)]+\): \S`), 0, false
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "## "):
			listing = true
		case listing && item.MatchString(line):
			items++
		case listing && line != "":
			t.Errorf("llms.txt:%d: no link with what its page is for: %s", i+1, line)
		}
	}
	if items < 10 {
		t.Errorf("llms.txt has %d links", items)
	}
}

func TestTheFileForLanguageModelsHasEveryPage(t *testing.T) {
	t.Parallel()
	llms := read(t, "llms.txt")
	entries, err := os.ReadDir(path.Join(root, "docs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if page := path.Join("docs", e.Name()); path.Ext(page) == ".md" && !strings.Contains(llms, "]("+page+"): ") {
			t.Errorf("llms.txt does not say what %s is for", page)
		}
	}
}

func TestTheCommandsOfTheFileForLanguageModelsExist(t *testing.T) {
	t.Parallel()
	llms, makefile, reference := read(t, "llms.txt"), read(t, "Makefile"), read(t, "docs/cli.md")
	known := regexp.MustCompile(`(?m)^## fleetctl (.+)$`).FindAllStringSubmatch(reference, -1)
	commands := regexp.MustCompile("(?m)`(make|fleetctl) ([a-z][a-z0-9 -]*)").FindAllStringSubmatch(llms, -1)
	if len(commands) < 5 {
		t.Fatalf("llms.txt names %d commands", len(commands))
	}
	for _, c := range commands {
		words := strings.Fields(c[2])
		found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(words[0]) + `:`).MatchString(makefile)
		if c[1] == "fleetctl" {
			found = slices.ContainsFunc(known, func(k []string) bool {
				name := strings.Fields(k[1])
				return len(name) <= len(words) && slices.Equal(name, words[:len(name)])
			})
		}
		if !found {
			t.Errorf("llms.txt names a command that there is not: %s %s", c[1], c[2])
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(path.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
