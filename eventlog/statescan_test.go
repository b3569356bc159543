package eventlog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
)

// Report must say of every payload what State says of it, without the services.
func FuzzReport(f *testing.F) {
	oops := "no “image”"
	full, err := json.Marshal(eventlog.DeploymentState{
		DeviceID: "pi-01", Deployment: "web", Phase: eventlog.PhaseFailed, LastEventAt: at, LastError: &oops, Reason: "ImagePullFailed",
		ScoreHash: "sha256:00", Revision: 3, Assignment: 4711, Services: []eventlog.ServiceState{
			{Name: "a", ContainerID: "c1", ImageDigest: "sha256:11", State: "running", Health: "healthy", Restarts: 2, Ports: []string{"43117:80", "1:2"}}, {},
		},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	for _, s := range []string{
		`{"device_id":"pi-01","deployment":"web","phase":"Running"}`, ` { "phase" : "Pending" , "revision":0 } `, `{}`, ``, `null`, `[]`, `{"phase":"Running"}x`, `{"phase":"Running",}`, `{,}`,
		`{"device_id":"pi-01","deployment":"web","phase":"Running","PHASE":"Failed"}`, `{"phase":"Run\u006eing"}`, `{"reason":null}`, `{"revision":-1}`, `{"revision":1.0}`, `{"revision":01}`,
		`{"revision":99999999999999999999}`, `{"last_error":null}`, `{"last_error":nul}`, `{"last_event_at":"noon"}`, `{"last_event_at":"2026-11-24T14:03:00,5Z"}`,
		`{"services":null}`, `{"services":[]}`, `{"services":[{"ports":[]}]}`, `{"services":[{"ports":["1",2]}]}`, `{"services":[{"restarts":-1}]}`, `{"services":[[]]}`, "{\"reason\":\"\xff\"}", "{\"reason\":\"a\tb\"}", "{}\x00", "\x00{}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e := eventlog.Event{Address: eventlog.Address{Device: "pi-01", Deployment: "web"}, Type: eventlog.StateReported, Data: data}
		want, wantErr := e.State()
		got, err := e.Report("sha256:00", nil)
		if (err == nil) != (wantErr == nil) || errors.Is(err, eventlog.ErrForeign) != errors.Is(wantErr, eventlog.ErrForeign) {
			t.Fatalf("report of %q: %v, want %v", data, err, wantErr)
		}
		if want.Services = nil; err != nil {
			return
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("report of %q (-want +got):\n%s", data, diff)
		}
	})
}

// ReportedInfo must say of every payload what Info says of it.
func FuzzReportedInfo(f *testing.F) {
	full, err := json.Marshal(eventlog.DeviceInfo{
		DeviceID: "pi-01", Labels: map[string]string{"site": "lab", "ring": "canary"}, UpdatedAt: at, KeyExpires: at.AddDate(2, 0, 0),
		Inventory: eventlog.Inventory{Hostname: "pi", Arch: "arm64", OS: "linux", Kernel: "6.1", CPUCores: 4, MemoryMB: 3906, AgentVersion: "1", PodmanVersion: "2"},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	for _, s := range []string{
		`{"device_id":"pi-01"}`, `{"device_id":"pi-01","labels":null}`, `{"device_id":"pi-01","labels":{}}`, `{"device_id":"pi-01","labels":{"a":"b"},"labels":{"c":"d"}}`,
		`{"device_id":"pi-01","labels":{"a":"b"},"labels":null}`, `{"device_id":"pi-01","labels":{"a":1}}`, `{"device_id":"pi-01","labels":{"a"}}`, `{"device_id":"pi-01","labels":{"a":"b",}}`,
		`{"device_id":"pi-01","inventory":{"arch":"a"},"inventory":{"os":"b"}}`, `{"device_id":"pi-01","inventory":null}`, `{"device_id":"pi-01","inventory":{"cpu_cores":-1}}`,
		`{"updated_at":"2026-11-24T14:03:00+01:00","device_id":"pi-01"}`, `{"device_id":"pi-01","more":[1]}`, `{"device_id":"pi-01","key_expires":"2028-11-24T14:03:00Z"}`, `{"device_id":"pi-01","key_expires":null}`, `{"device_id":"pi-01","key_expires":1}`, ` { "device_id" : "pi-01" } `,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e := eventlog.Event{Address: eventlog.Address{Device: "pi-01"}, Type: eventlog.InfoReported, Data: data}
		want, wantErr := e.Info()
		got, err := e.ReportedInfo(nil)
		if (err == nil) != (wantErr == nil) || errors.Is(err, eventlog.ErrForeign) != errors.Is(wantErr, eventlog.ErrForeign) {
			t.Fatalf("info of %q: %v, want %v", data, err, wantErr)
		}
		if diff := cmp.Diff(want, got); err == nil && diff != "" {
			t.Fatalf("info of %q (-want +got):\n%s", data, diff)
		}
	})
}

// A byte that matters is seen wherever in a string it stands.
func TestReportLooksAtEachByte(t *testing.T) {
	t.Parallel()
	for length := range 20 {
		for at := range length {
			for _, c := range []byte{0x00, 0x1f, ' ', '!', '[', '\\', ']', 0x7f, 0x80, 0xff} {
				text := bytes.Repeat([]byte{'!'}, length)
				text[at] = c
				e := eventlog.Event{Type: eventlog.StateReported, Data: slices.Concat([]byte(`{"phase":"Running","reason":"`), text, []byte(`"}`))}
				want, wantErr := e.State()
				got, err := e.Report("sha256:00", nil)
				if (err == nil) != (wantErr == nil) || err == nil && !cmp.Equal(want, got) {
					t.Fatalf("report of %q: %+v (%v), want %+v (%v)", e.Data, got, err, want, wantErr)
				}
			}
		}
	}
}
