package eventlog_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
)

func TestAFilterCoversWhatAServersFilterCovers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		token := func(of ...string) []string { return rapid.SliceOfN(rapid.SampledFrom(of), 1, 4).Draw(t, "tokens") }
		parts := token("a", "b", "*")
		if rapid.Bool().Draw(t, "open") {
			parts = append(parts, ">")
		}
		filter, subject := strings.Join(parts, "."), strings.Join(token("a", "b", "c"), ".")
		if got, want := eventlog.Covers(filter, subject), server.SubjectsCollide(filter, subject); got != want {
			t.Fatalf("%s covers %s: %v; a server says %v", filter, subject, got, want)
		}
	})
}
