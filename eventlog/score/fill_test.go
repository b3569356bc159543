package score_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog/score"
)

func TestPlacesOfAText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]score.Place{
		"":                                   nil,
		"$(device.id)":                       {{Begin: 0, End: 12}},
		"a$(device.labels.x.example/y_z-1)b": {{Begin: 1, End: 33, Label: "x.example/y_z-1"}},
		"$(device.id)$(device.labels.a)":     {{Begin: 0, End: 12}, {Begin: 12, End: 30, Label: "a"}},
		"$$(device.id)":                      {{Begin: 0, End: 10, Literal: true}},
		"$$$(device.":                        {{Begin: 1, End: 11, Literal: true}},
		"$$(device.$(device.id)":             {{Begin: 0, End: 10, Literal: true}, {Begin: 10, End: 22}},
		"$(date) $(device $(devices.id) $device.": nil,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(want, score.Places(text)); diff != "" {
				t.Errorf("places of %q (-want +got):\n%s", text, diff)
			}
		})
	}
}

// What is accepted has no place that is none: each $(device. in it is filled in, or means
// itself.
func TestWhatIsAcceptedIsFilledInWholly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := []string{"$", "(", "device", ".", "id", ")", "labels.", "a", "x.y/z", "-", "/", "$(device.id)", "$(device.labels.a)", "$$(device.", "$(dev", "\n"}
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(parts), 0, 12).Draw(t, "text"), "")
		places := score.Places(text)
		accepted := score.CheckAuthored(podman(`{"name":"a","image":"b","args":[`+quoted(text)+`]}`)) == nil
		if whole := strings.Count(text, score.PlaceBegins) == len(places); whole != accepted {
			t.Fatalf("%q is accepted: %v, and its places are %+v", text, accepted, places)
		}
	})
}

func quoted(text string) string { return `"` + strings.ReplaceAll(text, "\n", `\n`) + `"` }
