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
	codeLine   = regexp.MustCompile("`((?:fleetctl|fleet) [^`]+)`")
	hereDoc    = regexp.MustCompile(`(?ms)^cat > (\S+\.yaml) <<END\n(.*?)^END$`)
	substitute = regexp.MustCompile(`\$\(([^()]*)\)`)
	invocation = regexp.MustCompile(`(?m)(?:^|[\s;|("])(?:fleetctl|fleet) ([^\n;|]+)`)
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
	text := strings.ReplaceAll(hereDoc.ReplaceAllString(script(t, page), ""), "\\\n", " ")
	for _, line := range codeLine.FindAllStringSubmatch(read(t, page), -1) {
		text += "\n" + line[1]
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
			all = append(all, c[1])
		}
	}
	return all
}

func TestThePagesForProductionNameCommandsAndFlagsThatThereAre(t *testing.T) {
	t.Parallel()
	reference := read(t, "docs/cli.md")
	everywhere, _, _ := strings.Cut(reference, "\n## fleetctl ")
	sections := map[string]string{}
	for _, section := range strings.Split(reference, "\n## fleetctl ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		sections[name] = text
	}
	for page, least := range map[string]int{quickstart: 8, operations: 20} {
		all := commands(t, page)
		if len(all) < least {
			t.Errorf("%s has %d command lines of fleetctl, so the test proves little: %q", page, len(all), all)
		}
		for _, c := range all {
			words := strings.Fields(c)
			for len(words) > 1 && strings.HasPrefix(words[0], "--") { // --context NAME
				words = words[2:]
			}
			name := ""
			for i := min(2, len(words)); i > 0 && name == ""; i-- {
				if candidate := strings.Join(words[:i], " "); sections[candidate] != "" {
					name = candidate
				}
			}
			if name == "" {
				t.Errorf("%s: there is no such command: fleetctl %s", page, c)
				continue
			}
			for _, f := range flag.FindAllString(c, -1) {
				if !slices.Contains(flag.FindAllString(sections[name]+everywhere, -1), f) {
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
			text = strings.NewReplacer("$EXPOSE", "loadBalancer", "$HOST", "devices.example.com").Replace(text)
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
