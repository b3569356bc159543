package examine_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/doctor"
	"fleet.nationtech.io/deploy/doctor/examine"
	"fleet.nationtech.io/eventlog/natstest"
)

// A server says by its monitoring port what it was configured to do, not what a file says.
func TestAServerTellsOfItselfByItsMonitoringPort(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		config string
		want   doctor.Member
	}{
		"it writes each message through": {"sync_interval: always", doctor.Member{Synced: true}},
		"it writes at intervals":         {`sync_interval: "10s"`, doctor.Member{Interval: 10 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := natstest.FreePort(t)
			s := natstest.Start(t, natstest.Config(t, fmt.Sprintf("http: \"127.0.0.1:%d\"\njetstream { max_file_store: 1Gi, store_dir: %q, %s }", port, t.TempDir(), tc.config)))
			_, js := s.Connect(t)
			for _, c := range []jetstream.StreamConfig{
				{Name: "BOUND", Subjects: []string{"bound"}, MaxBytes: 64 << 20, Discard: jetstream.DiscardNew},
				{Name: "DROPS", Subjects: []string{"drops"}, MaxBytes: 16 << 20},
				{Name: "MEMORY", Subjects: []string{"memory"}, Storage: jetstream.MemoryStorage, Discard: jetstream.DiscardNew},
			} {
				if _, err := js.CreateStream(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := js.Publish(t.Context(), "bound", make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			got, err := examine.Monitored(t.Context(), http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d", port), "nats-0", time.Now)
			if err != nil {
				t.Fatal(err)
			}
			if got.Room.Used < 1000 || got.Streams[0].Bytes != got.Room.Used {
				t.Errorf("1000 bytes were published, and it has %+v", got)
			}
			if off := max(0, got.Ahead.Abs()-got.Blur); off > time.Second {
				t.Errorf("the clocks are one, and its is ahead by %s, give or take %s", got.Ahead, got.Blur)
			}
			want := tc.want
			want.Server, want.Room = "nats-0", doctor.Room{Limit: 1 << 30, Promised: 80 << 20}
			want.Streams = []doctor.Stream{{Name: "BOUND", MaxBytes: 64 << 20}, {Name: "DROPS", MaxBytes: 16 << 20, Drops: true}, {Name: "MEMORY", Memory: true}}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(doctor.Clock{}, "Ahead", "Blur"), cmpopts.IgnoreFields(doctor.Room{}, "Used"), cmpopts.IgnoreFields(doctor.Stream{}, "Bytes"),
				cmpopts.IgnoreFields(doctor.Member{}, map[bool]string{true: "Interval", false: "Synced"}[want.Synced])); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEachServerIsAskedByItsPodUntilOneCannotBeReached(t *testing.T) {
	t.Parallel()
	port := natstest.FreePort(t)
	natstest.Start(t, natstest.Config(t, fmt.Sprintf("http: \"127.0.0.1:%d\"", port)))
	var asked []string
	open := 0
	way := func(_ context.Context, pod string) (string, func(), error) {
		if asked = append(asked, pod); len(asked) == 3 {
			return "", nil, errors.New("pods/portforward is forbidden")
		}
		open++
		return fmt.Sprintf("http://127.0.0.1:%d", port), func() { open-- }, nil
	}
	members, unread := examine.Pods(t.Context(), 4, way)
	if diff := cmp.Diff([]string{"fleet-nats-0", "fleet-nats-1", "fleet-nats-2"}, asked); diff != "" {
		t.Errorf("the pods that were asked: %s", diff)
	}
	if len(members) != 2 || members[0].Server != "fleet-nats-0" || members[1].Server != "fleet-nats-1" || open != 0 {
		t.Errorf("%d ways are open, and the servers are %+v", open, members)
	}
	if diff := cmp.Diff([]string{"what the NATS servers say of themselves, by their pods: pods/portforward is forbidden"}, unread); diff != "" {
		t.Error(diff)
	}
}
