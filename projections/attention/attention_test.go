package attention_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/attention/attentiontest"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

func TestWhatIsWrongIsFoundWithItsReasonAndItsCommand(t *testing.T) {
	t.Parallel()
	for name, s := range attentiontest.Stories() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, now, items := s.Look(t)
			if len(items) != 1 {
				t.Fatalf("one thing is wrong, and the list is %+v", items)
			}
			i := items[0]
			key := i.Name
			if i.Namespace != "" {
				key = i.Namespace + "/" + i.Name
			}
			got := []string{string(i.Kind), i.Severity.String(), fmt.Sprintf("%s (%d): %s", key, i.Devices, i.Title), i.Command}
			if diff := cmp.Diff([]string{string(s.Kind), s.Weight.String(), s.Item, s.Run}, got); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(i.Reason, s.Reason) {
				t.Errorf("the reason is %q, and %q is no part of it", i.Reason, s.Reason)
			}
			if i.Since.After(now) {
				t.Errorf("it began at %s, after %s", i.Since, now)
			}
			if len(i.Examples) > i.Devices {
				t.Errorf("%d devices, and the examples are %v", i.Devices, i.Examples)
			}
		})
	}
}

func TestEachKindHasAStory(t *testing.T) {
	t.Parallel()
	var told []attention.Kind
	for _, s := range attentiontest.Stories() {
		told = append(told, s.Kind)
	}
	for _, k := range attention.Kinds() {
		if !slices.Contains(told, k) {
			t.Errorf("no story has %s", k)
		}
	}
}

func TestNothingNeedsAPersonInAHealthyFleet(t *testing.T) {
	t.Parallel()
	s := attentiontest.Wrong{Tell: func(w *storytest.Story) { attentiontest.Out(w, attentiontest.Devices(w, 30)...) }, After: 30 * 24 * time.Hour, Facts: attention.Facts{Log: &attention.LogSize{Bytes: 1, MaxBytes: 1 << 20, Size: 2 << 20}}}
	if _, _, items := s.Look(t); len(items) > 0 {
		t.Errorf("nothing is wrong, and the list is %+v", items)
	}
}

func TestADeviceThatIsOftenAwayIsMissedOnceItIsAwayForLonger(t *testing.T) {
	t.Parallel()
	facts := attention.Facts{Habits: map[string]time.Duration{"pi-01": 12 * time.Hour}}
	for away, missed := range map[time.Duration]bool{11 * time.Hour: false, 13 * time.Hour: true} {
		s := attentiontest.Wrong{Tell: func(w *storytest.Story) { attentiontest.Out(w, attentiontest.Devices(w, 3)...); w.Offline("pi-01") }, After: away, Facts: facts}
		_, _, items := s.Look(t)
		if found := len(items) == 1 && strings.Contains(items[0].Reason, "away for 12h00m at most before"); found != missed {
			t.Errorf("away for %s: %+v", away, items)
		}
	}
}

// A key that has ended cannot be replaced as one can that will end: many of both are two things.
func TestManyKeysThatEndedAndThatEndAreTwoThings(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	for i := range 12 {
		for name, ends := range map[string]time.Duration{"ended": -time.Hour, "ending": time.Hour} {
			id := fmt.Sprintf("%s-%02d", name, i)
			w.Device(id, map[string]string{"site": "lab"})
			w.Online(id)
			w.Say(eventlog.InfoSubject(id), eventlog.InfoReported, eventlog.DeviceInfo{DeviceID: id, KeyExpires: w.Now().Add(ends)})
		}
	}
	v := w.Fleet(timeline.Options{})
	var got []string
	for _, i := range attention.Of(v, v.Recorded, attention.Facts{}) {
		got = append(got, i.Severity.String()+": "+i.Title+": "+i.Command)
	}
	if diff := cmp.Diff([]string{
		"warning: the keys of 12 devices have ended: fleetctl device why ended-00",
		"notice: the keys of 12 devices end soon: fleetctl enroll rotate ending-00 ending-01 ending-02 ending-03 ending-04",
	}, got); diff != "" {
		t.Error(diff)
	}
}
