package installing

import (
	"errors"
	"strings"
	"testing"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/install/health"
)

func TestAnUpgradeThatStopsSaysHowToGoBack(t *testing.T) {
	t.Parallel()
	const back = "To go back instead: install, by the fleetctl of version v0.1.0"
	known := &health.NotReady{State: health.State{Reasons: []health.Reason{{Sentence: "It cannot pull its image.", Remedy: "Check images.operator."}}}}
	for name, tt := range map[string]struct {
		err    error
		former string
		says   []string
		not    string
	}{
		"a reason that is known":      {known, "v0.1.0", []string{"Check images.operator.", "it goes on where it stopped", back}, ""},
		"a reason that is not known":  {&health.NotReady{}, "v0.1.0", []string{"once that is mended", back}, ""},
		"an installation":             {known, "", []string{"Check images.operator."}, "go back"},
		"another error of an upgrade": {errors.New("connection refused"), "v0.1.0", []string{"kubectl version"}, "go back"},
	} {
		var warned strings.Builder
		cli.Streams{Err: &warned}.Report(explainFrom(tt.err, "fleetctl", tt.former), "fleetctl upgrade")
		for _, part := range tt.says {
			if !strings.Contains(warned.String(), part) {
				t.Errorf("%s: %q lacks %q", name, warned.String(), part)
			}
		}
		if tt.not != "" && strings.Contains(warned.String(), tt.not) {
			t.Errorf("%s: %q has %q", name, warned.String(), tt.not)
		}
	}
}
