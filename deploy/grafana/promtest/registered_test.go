package promtest

import (
	"os"
	"strings"
	"testing"
)

// registered gives the metrics that the binaries register, with their labels. The tests
// of deploy/dev hold the file against the registries of a running fleet.
func registered(t *testing.T) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("testdata/registered.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		var labels []string
		if len(fields) > 2 {
			labels = strings.Split(fields[2], ",")
		}
		all[fields[1]] = labels
	}
	return all
}
