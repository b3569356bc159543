package promtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages gives the text of each runbook, and of each alert's description, by its name.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../../docs/runbooks/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("runbooks: %v, %v", files, err)
	}
	all := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(f)] = string(b)
	}
	for _, g := range ruleGroups(t) {
		for _, r := range g.Rules {
			if r.Alert != "" {
				all["the description of "+r.Alert] = r.Annotations["description"]
			}
		}
	}
	return all
}

var (
	command = regexp.MustCompile(`fleetctl ([a-z]+)(?: ([a-z-]+))?([^\n#` + "`" + `]*)`)
	option  = regexp.MustCompile(`--[a-z-]+`)
	linked  = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
)

func TestRunbooksNameCommandsThatThereAre(t *testing.T) {
	b, err := os.ReadFile("../../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	reference := map[string]string{} // of each command
	for part := range strings.SplitSeq(string(b), "\n## ") {
		head, text, _ := strings.Cut(part, "\n")
		reference[head] = text
	}
	for page, text := range pages(t) {
		for _, m := range command.FindAllStringSubmatch(text, -1) {
			of, is := reference["fleetctl "+m[1]+" "+m[2]]
			if !is {
				of, is = reference["fleetctl "+m[1]]
			}
			if !is {
				t.Errorf("%s names a command that is not there: %s", page, m[0])
			}
			for _, o := range option.FindAllString(m[0], -1) {
				if is && !strings.Contains(of, o+" ") {
					t.Errorf("%s: the command has no flag %s: %s", page, o, m[0])
				}
			}
		}
	}
}

func TestLinksOfRunbooksLeadSomewhere(t *testing.T) {
	for page, text := range pages(t) {
		for _, m := range linked.FindAllStringSubmatch(text, -1) {
			target, err := os.ReadFile(filepath.Join("../../../docs/runbooks", m[1]))
			if err != nil {
				t.Errorf("%s links to %s, which is not there", page, m[1])
				continue
			}
			if m[2] != "" && !strings.Contains(anchors(string(target)), m[2]+"\n") {
				t.Errorf("%s links to %s%s, a heading that is not there", page, m[1], m[2])
			}
		}
	}
}

// anchors gives those of a page's headings, one a line, as they are in links.
func anchors(text string) string {
	var all strings.Builder
	for line := range strings.Lines(text) {
		if head, is := strings.CutPrefix(line, "## "); is {
			head = strings.ToLower(strings.TrimSpace(head))
			head = regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(head, "")
			all.WriteString("#" + strings.ReplaceAll(head, " ", "-") + "\n")
		}
	}
	return all.String()
}

func TestTheReadmeSaysHowManyAlertsThereAre(t *testing.T) {
	b, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	alerts := 0
	for _, g := range ruleGroups(t) {
		for _, r := range g.Rules {
			if r.Alert != "" {
				alerts++
			}
		}
	}
	if want := fmt.Sprintf(" and %d alerts, each with a runbook", alerts); !strings.Contains(string(b), want) {
		t.Errorf("README.md does not say %q", want)
	}
}
