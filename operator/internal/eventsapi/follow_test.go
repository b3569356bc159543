package eventsapi_test

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
)

// Any of three servers answers, one that is behind too, and the events are on several
// subjects. Who goes on after the last of each answer gets each event once and in order
// while the log grows.
func TestWhoFollowsTheGrowingLogOfAClusterMissesNothing(t *testing.T) {
	t.Parallel()
	_, js := natstest.Cluster(t, 3).Connect(t)
	natstest.EnsureLog(t, js, 3)
	l := serve(t, js)
	const events = 400
	wrote := make(chan error, 1)
	var want []uint64
	go func() {
		for i := range events {
			subject, typ := eventlog.DeploymentSubject("shop", "web"), eventlog.DeploymentOrphaned
			switch i % 4 {
			case 1:
				subject, typ = eventlog.StateSubject("pi-1", "web"), eventlog.StateReported
			case 2:
				subject, typ = eventlog.RequestSubject("ada", "shop", "web"), eventlog.RequestMade
			case 3:
				subject, typ = eventlog.DeviceSubject("pi-1"), eventlog.DeviceOnline // is not asked for
			}
			d := eventlog.Draft{Subject: subject, Type: typ, Time: time.Now(), Data: []byte("{}")}
			ack, err := js.PublishMsg(t.Context(), d.Message("test", fmt.Sprintf("ID-%d", i)))
			for tries := 1; err != nil && tries < 12; tries++ { // a busy cluster may lose an answer: by its id it is the same event
				ack, err = js.PublishMsg(t.Context(), d.Message("test", fmt.Sprintf("ID-%d", i)))
			}
			if err != nil {
				wrote <- err
				return
			}
			if i%4 < 3 {
				want = append(want, ack.Sequence)
			}
		}
		wrote <- nil
	}()
	var got []uint64
	after, written, deadline := uint64(0), false, time.Now().Add(2*time.Minute)
	for {
		select {
		case err := <-wrote:
			if err != nil {
				t.Fatal(err)
			}
			written = true
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("within two minutes the API gives %d events", len(got))
		}
		resp, b := l.get("namespace=shop&deployment=web&order=asc&limit=7&after=" + strconv.FormatUint(after, 10))
		if resp.StatusCode == http.StatusServiceUnavailable {
			continue // a busy cluster may lose a question: who follows asks again
		}
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%d: %s", resp.StatusCode, b.Error)
		}
		for _, e := range b.Events {
			got = append(got, uint64(e["sequence"].(float64)))
		}
		switch next, err := strconv.ParseUint(b.Next, 10, 64); {
		case b.Next != "" && err != nil:
			t.Fatal(err)
		case b.Next != "":
			after = next
		default:
			after = max(after, b.Last)
			if written {
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-appended +given):\n%s", diff)
				}
				return
			}
		}
	}
}
