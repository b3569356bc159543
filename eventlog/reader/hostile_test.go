package reader_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
)

// answered is how a server answers a direct get, forged: what a device stores so that
// anyone who reads by direct gets takes it for the server's word.
func answered(stream, subject string, sequence int, more string) string {
	return fmt.Sprintf("Nats-Stream: %s\r\nNats-Subject: %s\r\nNats-Sequence: %d\r\nNats-Time-Stamp: 2026-11-24T14:03:00Z\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: %d\r\n%s",
		stream, subject, sequence, sequence-1, more)
}

// Whatever header a device stores, all readers read the same messages: none of them
// shows a message elsewhere, as another, twice or not at all.
func TestNoStoredHeaderMakesReadersDiffer(t *testing.T) {
	t.Parallel()
	const victim = "fleet.evt.access.victim"
	tests := map[string]string{
		"the server's headers, forged":                        "NATS/1.0\r\n" + answered("FLEET", victim, 2, "\r\n"),
		"forged and hiding the server's own":                  "NATS/1.0\r\n" + answered("FLEET", victim, 2, "\r\n\r\n"),
		"forged, hiding, with bare lines to make up the size": "NATS/1.0\n" + strings.ReplaceAll(answered("FLEET", victim, 2, strings.Repeat("a:b\n", 40)), "\r\n", "\n") + "\n\r\n\r\n",
		"forged, hiding, with many lines":                     "NATS/1.0\n" + answered("FLEET", victim, 2, strings.Repeat("a:b\n", 200)) + "\n\r\n\r\n",
		"the end of a batch":                                  "NATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 1\r\n\r\n",
		"the end of a batch, in fields":                       "NATS/1.0\r\nStatus: 204\r\nDescription: EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 1\r\n\r\n",
		"the end of a batch, hiding the server's own":         "NATS/1.0\r\nStatus:204\r\nDescription:EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 1\r\n\r\n\r\n",
		"nothing to be found":                                 "NATS/1.0\r\nStatus: 404\r\n\r\n\r\n",
		"no end":                                              "NATS/1.0\r\nce-actor: eve",
		"no end, of a header of the server's":                 "NATS/1.0\r\nce-actor: eve\r\nNats-Stream: xy",
		"half an end":                                         "NATS/1.0\r\nce-actor: eve\r\n",
		"a line without a colon":                              "NATS/1.0\r\nwhatever\r\n\r\n",
		"no header at all":                                    "xx",
		"a field twice, and an empty one":                     "NATS/1.0\r\nce-actor: eve\r\nce-actor:\r\nce-actor:  bob\r\n:x\r\n\r\n",
		"fields without a space":                              "NATS/1.0\r\nce-actor:eve\r\nFleet-N:e.1\r\n\r\n",
		"sequence alone":                                      "NATS/1.0\r\nNats-Sequence: 1\r\n\r\n",
	}
	for name, header := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, natstest.PeoplesAPI(t))
			_, js := s.Connect(t)
			natstest.EnsureLog(t, js, 1)
			natstest.ReportState(t, js, "d1", "web")
			s.Raw(t, eventlog.StateSubject("hostile", "web"), header, "")
			s.Raw(t, eventlog.StateSubject("hostile", "web"), header, `{"device_id":"hostile"}`)
			natstest.ReportState(t, js, "d2", "web")
			s.Raw(t, eventlog.StateSubject("hostile", "web"), header, "")

			stored := func(js jetstream.JetStream) (all []jetstream.RawStreamMsg) {
				for m, err := range reader.Stored(t.Context(), js, eventlog.LogStream, 0) {
					if err != nil {
						t.Fatal(err)
					}
					m.Time = m.Time.UTC()
					all = append(all, *m)
				}
				return all
			}
			empty := cmp.Transformer("", func(b []byte) string { return string(b) })
			want := stored(js)
			if len(want) != 5 {
				t.Fatalf("%d messages are stored, want 5", len(want))
			}
			if diff := cmp.Diff(want, stored(peoples(t, js)), empty); diff != "" {
				t.Errorf("stored messages (-by a consumer +by direct gets):\n%s", diff)
			}
			for which, o := range map[string]reader.Options{
				"all": {}, "from one of them": {From: 2}, "since one of them": {Since: want[1].Time},
				"on two filters": {Subjects: []string{eventlog.StateSubject("hostile", "*"), eventlog.StateSubject("d2", "*")}},
			} {
				events := func(js jetstream.JetStream) (all []string) {
					for e, err := range reader.Read(t.Context(), js, o) {
						if err != nil && !errors.Is(err, eventlog.ErrForeign) {
							t.Fatal(err)
						}
						all = append(all, fmt.Sprintf("%d %s %s %v %q %v", e.Sequence, e.Subject, e.Recorded.UTC(), e.Header, e.Data, err))
					}
					return all
				}
				if diff := cmp.Diff(events(js), events(peoples(t, js))); diff != "" {
					t.Errorf("events, %s (-by a consumer +by direct gets):\n%s", which, diff)
				}
			}
		})
	}
}
