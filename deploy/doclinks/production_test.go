package doclinks_test

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/chart"
)

const (
	quickstart = "docs/quickstart-production.md"
	operations = "docs/operations.md"
)

var (
	shBlock    = regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$")
	anyBlock   = regexp.MustCompile("(?ms)^ *```(?:sh|console)?\n(.*?)^ *```$")
	comment    = regexp.MustCompile(`(?m)\s#.*$|^make .*$`) // and what make is asked for
	codeLine   = regexp.MustCompile("`(fleet(?:ctl)? [^`\n]+)`")
	hereDoc    = regexp.MustCompile(`(?ms)^cat > (\S+\.yaml) <<END\n(.*?)^END$`)
	alias      = regexp.MustCompile(`(?m)(^|[\s;|("])fleet `)
	substitute = regexp.MustCompile(`\$\(([^()]*)\)`)
	invocation = regexp.MustCompile(`(?m)(?:^|[\s;|("])(?:bin/)?fleetctl ([^\n;|]+)`)
	flag       = regexp.MustCompile(`--[a-z][a-z-]*`)
)

// script is what a page's blocks for a shell say, one after the other.
func script(t *testing.T, page string) string {
	t.Helper()
	var all strings.Builder
	for _, block := range shBlock.FindAllStringSubmatch(read(t, page), -1) {
		all.WriteString(block[1])
	}
	return all.String()
}

// commands are the command lines of fleetctl in a page, without the name: those in
// blocks, and those within sentences.
func commands(t *testing.T, page string) []string {
	t.Helper()
	text := ""
	for _, block := range anyBlock.FindAllStringSubmatch(read(t, page), -1) {
		text += block[1]
	}
	text = comment.ReplaceAllString(strings.ReplaceAll(hereDoc.ReplaceAllString(text, ""), "\\\n", " "), "")
	for _, line := range codeLine.FindAllStringSubmatch(read(t, page), -1) {
		text += "\n" + line[1]
	}
	if strings.Contains(text, "fleet() {") { // a page's own short name
		text = alias.ReplaceAllString(text, "${1}fleetctl ")
	}
	for substitute.MatchString(text) { // the inner ones are command lines too
		var inner []string
		text = substitute.ReplaceAllStringFunc(text, func(s string) string {
			inner = append(inner, substitute.FindStringSubmatch(s)[1])
			return "VALUE"
		})
		text += "\n" + strings.Join(inner, "\n")
	}
	var all []string
	for _, c := range invocation.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(c[1], `"$@"`) { // else the command is its caller's
			all = append(all, strings.TrimSpace(c[1]))
		}
	}
	return all
}

// command is the name of the command of a command line. A group of commands, whose lines
// ask for its help, has no section of its own and an empty name.
func command(line string, sections map[string]string) (name string, is bool) {
	words := strings.Fields(line)
	for len(words) > 1 && words[0] != "--help" && strings.HasPrefix(words[0], "--") { // --context NAME
		words = words[2:]
	}
	if len(words) == 0 {
		return "", true
	}
	for i := min(2, len(words)); i > 0; i-- {
		if name := strings.Join(words[:i], " "); sections[name] != "" {
			return name, true
		}
	}
	for section := range sections {
		if strings.HasPrefix(section, words[0]+" ") {
			return "", len(words) == 1
		}
	}
	return "", words[0] == "--help"
}

func TestTheDocumentationNamesCommandsAndFlagsThatThereAre(t *testing.T) {
	t.Parallel()
	reference := read(t, "docs/cli.md")
	everywhere, _, _ := strings.Cut(reference, "\n## fleetctl ")
	sections := map[string]string{}
	for _, section := range strings.Split(reference, "\n## fleetctl ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		sections[name] = text
	}
	least := map[string]int{quickstart: 8, operations: 20, "README.md": 15, "docs/install.md": 15, "docs/airgap.md": 5}
	for _, page := range pages(t) {
		if page == "docs/cli.md" { // it is written by fleetctl itself
			continue
		}
		all := commands(t, page)
		if len(all) < least[page] {
			t.Errorf("%s has %d command lines of fleetctl, so the test proves little: %q", page, len(all), all)
		}
		for _, c := range all {
			name, is := command(c, sections)
			if !is {
				t.Errorf("%s: there is no such command: fleetctl %s", page, c)
				continue
			}
			for _, f := range flag.FindAllString(c, -1) {
				if !slices.Contains(append(flag.FindAllString(sections[name]+everywhere, -1), "--help"), f) {
					t.Errorf("%s: fleetctl %s has no flag %s: %s", page, name, f, c)
				}
			}
		}
	}
}

// A reader gives what the pages write into files to fleetctl install.
func TestTheChartTakesTheValuesOfThePagesForProduction(t *testing.T) {
	t.Parallel()
	files := 0
	for _, page := range []string{quickstart, operations} {
		for _, doc := range hereDoc.FindAllStringSubmatch(script(t, page), -1) {
			files++
			text := substitute.ReplaceAllString(doc[2], "registry.example.com/fleet/x:v1")
			text = strings.ReplaceAll(text, "$HOST", "devices.example.com")
			var v chart.Values
			if err := yaml.UnmarshalStrict([]byte(text), &v); err != nil {
				t.Errorf("%s: %s: %v", page, doc[1], err)
				continue
			}
			if _, err := chart.Effective(chart.Options{Profile: "production", Values: v}); err != nil {
				t.Errorf("%s: %s: %v", page, doc[1], err)
			}
		}
	}
	if files != 2 {
		t.Errorf("the pages write %d files of values, and not 2", files)
	}
}

func TestTheQuickstartIsOneScriptOfAHundredLines(t *testing.T) {
	t.Parallel()
	if lines := strings.Count(read(t, quickstart), "\n"); lines > 100 {
		t.Errorf("%s has %d lines", quickstart, lines)
	}
	check := exec.CommandContext(t.Context(), "bash", "-n")
	check.Stdin = strings.NewReader(script(t, quickstart))
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("bash does not read it: %v: %s", err, said)
	}
}
