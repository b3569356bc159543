package eventlog_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

var update = flag.Bool("update", false, "write the golden files")

// golden is one message as it lies in the log.
type golden struct {
	Subject string          `json:"subject"`
	Header  nats.Header     `json:"header"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// examples has one payload of each type of the catalogue, with every field set.
func examples() map[eventlog.Type]struct {
	subject string
	payload any
} {
	type ex = struct {
		subject string
		payload any
	}
	oops := "manifest unknown"
	deployment, desired := eventlog.DeploymentSubject("shop", "web"), eventlog.DesiredSubject("pi-01", "web")
	device, agent := eventlog.DeviceSubject("pi-01"), eventlog.AgentSubject("pi-01")
	rollout := eventlog.Rollout{
		Revision: 2, Strategy: eventlog.StrategyBatched, Devices: 3, Reason: "Test",
		ScoreHash: "sha256:00", Run: 41, Batch: 1, Message: "1 of 1 devices failed", Request: 40, Verb: eventlog.RequestPromote, Full: true,
		Counts:   &eventlog.RolloutCounts{Given: 7, Proven: 1, Bad: 6, Silent: 2, Lost: 1, Offline: 4, Waiting: 3, Allowed: 5},
		Examples: []eventlog.DeviceExample{{Device: "pi-01", Reason: "ImagePullFailed", Error: oops}},
	}
	started := rollout
	started.Run, started.Kind, started.Online, started.Restart, started.From = 0, eventlog.RunRollback, 2, 1, 3
	started.Score, started.Shape = json.RawMessage(`{"data":{"services":[]},"type":"PodmanV0"}`), "pin,10%,rest"
	started.Batches = []eventlog.PlannedBatch{{Pinned: true, Size: 1}, {Cut: 1844674407370955161, Size: 1}, {Cut: math.MaxUint64, Size: 1}}
	step := eventlog.Step{Deployment: "web", Service: "main", Step: "create", Reason: "Test", Error: oops, Revision: 2, Duration: 0.25, At: at}
	score := eventlog.Score{Type: "PodmanV0", Data: json.RawMessage(`{"services":[{"image":"app:1","name":"main"}]}`)}
	end := eventlog.DeploymentEnd{UID: "8b0c", Reason: "CRDeleted"}
	presence := eventlog.Presence{Reason: "PulseMissed", LastSeen: at, Timeout: 90}
	m := map[eventlog.Type]ex{
		eventlog.LeaderElected: {eventlog.LeaderSubject, eventlog.Leader{Identity: "operator-0", ClusterUID: "c1", Version: "v1.0.0"}},
		eventlog.DeploymentApplied: {deployment, eventlog.Deployment{
			UID: "8b0c", Generation: 4, Revision: 2,
			Selector: eventlog.Selector{MatchLabels: map[string]string{"site": "lab"}, MatchExpressions: []eventlog.SelectorRequirement{{Key: "zone", Operator: "In", Values: []string{"a"}}}},
			Score:    json.RawMessage(`{"data":{"services":[]},"type":"PodmanV0"}`), ScoreHash: "sha256:00", Rollout: json.RawMessage(`{"strategy":"Immediate"}`), ChangeCause: "new menu",
			RequestedBy: eventlog.Requester{Name: "ada", By: eventlog.RequestedByAdmission},
		}},
		eventlog.DeploymentDeleted:    {deployment, end},
		eventlog.DeploymentOrphaned:   {deployment, end},
		eventlog.DeploymentAdopted:    {deployment, end},
		eventlog.DeploymentRefused:    {deployment, eventlog.Refusal{UID: "8b0c", Generation: 5, Reason: "TooLarge", Message: "the score is too large"}},
		eventlog.DesiredAssigned:      {desired, score},
		eventlog.DesiredWithdrawn:     {desired, nil},
		eventlog.DeviceRegistered:     {device, eventlog.Registration{AgentVersion: "v1.0.0"}},
		eventlog.DeviceRelabeled:      {device, eventlog.Labels{Labels: map[string]eventlog.OwnedLabel{"site": {Value: "lab", Owner: eventlog.OwnerDevice}}}},
		eventlog.DeviceOnline:         {device, presence},
		eventlog.DeviceOffline:        {device, presence},
		eventlog.DeviceDecommissioned: {device, eventlog.Removal{Reason: "Sold"}},
		eventlog.InfoReported: {eventlog.InfoSubject("pi-01"), eventlog.DeviceInfo{
			DeviceID: "pi-01", Labels: map[string]string{"site": "lab"}, UpdatedAt: at,
			Inventory: eventlog.Inventory{Hostname: "pi", Arch: "arm64", OS: "Debian", Kernel: "6.1", CPUCores: 4, MemoryMB: 3906, AgentVersion: "v1.0.0", PodmanVersion: "4.3.1"},
		}},
		eventlog.InfoCleared: {eventlog.InfoSubject("pi-01"), nil},
		eventlog.StateReported: {eventlog.StateSubject("pi-01", "web"), eventlog.DeploymentState{
			DeviceID: "pi-01", Deployment: "web", Phase: eventlog.PhaseFailed, LastEventAt: at, LastError: &oops, Reason: "ImagePullFailed", ScoreHash: "sha256:00", Revision: 2,
			Services: []eventlog.ServiceState{{Name: "main", ContainerID: "c0ffee", ImageDigest: "sha256:11", State: "running", Health: "healthy", Restarts: 1, Ports: []string{"43117:80"}}},
		}},
		eventlog.StateCleared:     {eventlog.StateSubject("pi-01", "web"), nil},
		eventlog.AgentStarted:     {agent, eventlog.AgentStart{AgentVersion: "v1.0.0", Engine: "podman", At: at}},
		eventlog.CommandRequested: {eventlog.CommandSubject("pi-01"), eventlog.Command{Verb: "exec", Args: []string{"ls"}}},
		eventlog.CommandCompleted: {eventlog.CommandSubject("pi-01"), eventlog.Command{Verb: "exec", Error: "exit code 1"}},
		eventlog.RequestMade: {eventlog.RequestSubject("ada", "shop", "web"), eventlog.Request{
			Verb: eventlog.RequestUndo, Reason: "too slow", Revision: 2, Run: 41, Batch: 1, ToRevision: 1, Full: true,
		}},
		eventlog.AuthGranted: {eventlog.AuthSubject("pi-01"), eventlog.Auth{
			Subject: "u1", Actor: "person-u1", Label: "Ada", Account: "PEOPLE", Roles: []string{"viewer"}, KeyID: "k1", Grant: "sha256:00", Reason: "FirstSeen",
		}},
		eventlog.AuthDenied: {eventlog.AuthSubject("pi-01"), eventlog.Auth{
			Subject: "pi-01", Actor: "device-pi-01", KeyID: "k1", Grant: "sha256:00", Reason: "Expired", Message: "the token expired", Count: 3,
		}},
		eventlog.AccessRevoked: {eventlog.AccessSubject("pi-01"), eventlog.Access{Reason: "Flooding", Message: "too much"}},
		eventlog.AccessAllowed: {eventlog.AccessSubject("pi-01"), eventlog.Access{Reason: "Forgiven"}},
		eventlog.BudgetApplied: {eventlog.BudgetSubject("racks"), eventlog.Budget{
			UID: "8b0d", Generation: 3,
			Selector:       eventlog.Selector{MatchLabels: map[string]string{"tier": "edge"}},
			MaxUnavailable: &eventlog.Amount{N: 10, Percent: true}, MinAvailable: &eventlog.Amount{N: 2},
			GroupBy: []string{"site"}, Problem: "maxUnavailable and minAvailable are both set",
		}},
		eventlog.BudgetDeleted: {eventlog.BudgetSubject("racks"), eventlog.BudgetEnd{UID: "8b0d", Reason: eventlog.ReasonBudgetDeleted}},
		eventlog.SealCreated:   {eventlog.SealSubject, eventlog.Seal{TreeSize: 7, RootHash: []byte{1}, Sequence: 7, SealedAt: at, PublicKey: "UA", Signature: []byte{2}, Peaks: [][]byte{{3}, {4}, {5}}}},
	}
	for _, t := range eventlog.Types() {
		switch {
		case t == eventlog.RolloutStarted:
			m[t] = ex{deployment, started}
		case strings.HasPrefix(string(t), "rollout."):
			m[t] = ex{deployment, rollout}
		case t.Family() == eventlog.FamilyAgent && t != eventlog.AgentStarted:
			m[t] = ex{agent, step}
		}
	}
	return m
}

// Every type of the catalogue stays readable for ever: its golden file is what
// a writer of that version left in the log.
func TestGoldenFilesOfEveryTypeAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	ex := examples()
	types := eventlog.Types()
	slices.Sort(types)
	for _, typ := range types {
		t.Run(string(typ), func(t *testing.T) {
			t.Parallel()
			file := goldenFile(typ, typ.Version())
			e, ok := ex[typ]
			if !ok {
				t.Fatalf("type %s has no example", typ)
			}
			if *update {
				writeGolden(t, file, typ, e.subject, e.payload)
			}
			got := readGolden(t, file)
			if got.Type != typ || got.Version != typ.Version() {
				t.Errorf("type %s version %d, want %s version %d", got.Type, got.Version, typ, typ.Version())
			}
			if e.payload != nil {
				want, err := json.Marshal(e.payload)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), string(got.Data)); diff != "" {
					t.Errorf("payload (-today's shape +golden file):\n%s", diff)
				}
			}
		})
	}
}

func goldenFile(typ eventlog.Type, version int) string {
	return filepath.Join("testdata", "golden", fmt.Sprintf("%s.v%d.json", typ, version))
}

func readGolden(t *testing.T, file string) eventlog.Event {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run the test with -update once the shape is what you want for ever", err)
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	e, err := eventlog.Decode(g.Subject, g.Header, compact(t, g.Data), 7, at)
	if err == nil {
		err = eventlog.Check(e)
	}
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	return e
}

func compact(t *testing.T, raw json.RawMessage) []byte {
	t.Helper()
	if len(raw) == 0 {
		return nil
	}
	b, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeGolden(t *testing.T, file string, typ eventlog.Type, subject string, payload any) {
	t.Helper()
	d, err := eventlog.NewDraft(subject, typ, at, payload)
	if err != nil {
		t.Fatal(err)
	}
	d.CorrelationID, d.CausationID, d.Actor = "shop/web@2", "01JDF0000000000000000CAUSE", "ada"
	d.Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if typ.Family() == eventlog.FamilyDesired {
		d.Namespace, d.Revision = "shop", 2
	}
	m := d.Message("operator", "01JDF00000000000000000EVENT")
	b, err := json.MarshalIndent(golden{Subject: m.Subject, Header: m.Header, Data: m.Data}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheEnvelopeIsLean(t *testing.T) {
	t.Parallel()
	d := eventlog.Draft{
		Subject: eventlog.DesiredSubject("pi-01", "hello"), Type: eventlog.DesiredAssigned, Time: time.Now(),
		CorrelationID: "default/hello@3", CausationID: "01JDF00000000000000000CAUSE", Namespace: "default", Revision: 3,
	}
	said := func(h nats.Header) (n int) {
		for k, vs := range h {
			n += len(k) + len(vs[0])
		}
		return n
	}
	without := said(d.Message("operator", "01JDF00000000000000000EVENT").Header)
	if without >= 300 {
		t.Errorf("the envelope's names and values are %d bytes, want under 300", without)
	}
	d.Traceparent = eventlog.TraceOfChange("u", 1).String()
	if n := said(d.Message("operator", "01JDF00000000000000000EVENT").Header) - without; n != 66 {
		t.Errorf("the trace adds %d bytes to the envelope, want 66", n)
	}
}

// Outside of a run there is no batch, and no header that says so.
func TestAnAssignmentSaysTheBatchThatGaveIt(t *testing.T) {
	t.Parallel()
	envelopes := eventlog.Envelopes{Source: "operator"}
	for _, batch := range []int{2, 0, 3, 3} {
		d := eventlog.Draft{
			Subject: eventlog.DesiredSubject("pi-01", "hello"), Type: eventlog.DesiredAssigned, Time: at,
			Namespace: "default", Revision: 3, Batch: batch, Data: []byte(`{"type":"PodmanV0"}`),
		}
		m := envelopes.Message(&d, "01JDF00000000000000000EVENT")
		e, err := eventlog.Decode(m.Subject, m.Header, m.Data, 7, at)
		if err != nil || e.Batch != batch {
			t.Errorf("batch %d was read as %d, error %v", batch, e.Batch, err)
		}
		line, err := eventlog.CloudEventJSON(e, nil)
		said := strings.Contains(string(line), fmt.Sprintf(`"fleetbatch":"%d"`, batch))
		if err != nil || said != (batch > 0) {
			t.Errorf("batch %d as CloudEvents JSON: %s, %v", batch, line, err)
		}
	}
}

func TestForeignMessagesAreToldApart(t *testing.T) {
	t.Parallel()
	typ := func(t eventlog.Type) nats.Header {
		return nats.Header{eventlog.HeaderType: {eventlog.CloudEventType(t, 1)}}
	}
	tests := map[string]struct {
		subject string
		header  nats.Header
		data    string
		foreign bool
	}{
		"a plain KV put of a state is no foreigner":        {subject: eventlog.StateSubject("pi-01", "web"), data: `{"device_id":"pi-01","deployment":"web","phase":"Running"}`},
		"a plain KV delete of a state is no foreigner":     {subject: eventlog.StateSubject("pi-01", "web"), header: nats.Header{eventlog.HeaderKVOperation: {"DEL"}}},
		"a type that this version does not know is none":   {subject: eventlog.DeviceSubject("pi-01"), header: typ("device.painted"), data: `{}`},
		"an unknown family":                                {subject: "fleet.evt.weather.today", data: `{}`, foreign: true},
		"a desired value without an envelope":              {subject: eventlog.DesiredSubject("pi-01", "web"), data: `{"type":"PodmanV0"}`, foreign: true},
		"a withdrawal that does not remove":                {subject: eventlog.DesiredSubject("pi-01", "web"), header: typ(eventlog.DesiredWithdrawn), foreign: true},
		"an assignment that removes":                       {subject: eventlog.DesiredSubject("pi-01", "web"), header: nats.Header{eventlog.HeaderType: {eventlog.CloudEventType(eventlog.DesiredAssigned, 1)}, eventlog.HeaderKVOperation: {"DEL"}}, foreign: true},
		"a batch that is no number":                        {subject: eventlog.DesiredSubject("pi-01", "web"), header: nats.Header{eventlog.HeaderType: {eventlog.CloudEventType(eventlog.DesiredAssigned, 1)}, eventlog.HeaderBatch: {"0"}}, data: `{"type":"PodmanV0"}`, foreign: true},
		"a budget's subject with a dot too many":           {subject: "fleet.evt.budget.a.b", header: typ(eventlog.BudgetApplied), data: `{}`, foreign: true},
		"a budget that is none":                            {subject: eventlog.BudgetSubject("racks"), header: typ(eventlog.BudgetApplied), data: `{"maxUnavailable":"many"}`, foreign: true},
		"a time that is none":                              {subject: eventlog.DeviceSubject("pi-01"), header: nats.Header{eventlog.HeaderType: {eventlog.CloudEventType(eventlog.DeviceOnline, 1)}, eventlog.HeaderTime: {"noon"}}, data: `{}`, foreign: true},
		"a payload that is not JSON":                       {subject: eventlog.InfoSubject("pi-01"), data: `}`, foreign: true},
		"an info of another device":                        {subject: eventlog.InfoSubject("pi-01"), data: `{"device_id":"pi-02"}`, foreign: true},
		"a copy that a server handed out, by its stream":   {subject: eventlog.StateSubject("pi-01", "web"), header: nats.Header{"Nats-Stream": {"FLEET"}}, data: `{"device_id":"pi-01","deployment":"web","phase":"Running"}`, foreign: true},
		"a copy that a server handed out, by its subject":  {subject: eventlog.StateSubject("pi-01", "web"), header: nats.Header{"Nats-Subject": {""}}, data: `{"device_id":"pi-01","deployment":"web","phase":"Running"}`, foreign: true},
		"a copy that a server handed out, by its sequence": {subject: eventlog.StateSubject("pi-01", "web"), header: nats.Header{"Nats-Sequence": {"7"}}, data: `{"device_id":"pi-01","deployment":"web","phase":"Running"}`, foreign: true},
		"another type of CloudEvent":                       {subject: eventlog.DeviceSubject("pi-01"), header: nats.Header{eventlog.HeaderType: {"com.example.x.v1"}}, data: `{}`, foreign: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := eventlog.Decode(tt.subject, tt.header, []byte(tt.data), 7, at)
			if err == nil {
				err = eventlog.Check(e)
			}
			if got := errors.Is(err, eventlog.ErrForeign); got != tt.foreign || (err != nil) != tt.foreign {
				t.Errorf("error %v, want foreign = %v", err, tt.foreign)
			}
			line, err := eventlog.CloudEventJSON(e, err)
			if err != nil || !json.Valid(line) {
				t.Errorf("as CloudEvents JSON: %s, %v", line, err)
			}
		})
	}
}

func TestCloudEventJSONFillsTheEnvelopeIn(t *testing.T) {
	t.Parallel()
	e, err := eventlog.Decode(eventlog.StateSubject("pi-01", "web"), nil, []byte(`{"phase":"Running"}`), 42, at)
	if err != nil {
		t.Fatal(err)
	}
	line, err := eventlog.CloudEventJSON(e, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"specversion":"1.0","id":"FLEET-42","source":"devices/pi-01","type":"io.nationtech.fleet.state.reported.v1",` +
		`"subject":"fleet.evt.state.pi-01.web","time":"2026-11-24T14:03:00Z","sequence":"42","recordedtime":"2026-11-24T14:03:00Z",` +
		`"datacontenttype":"application/json","data":{"phase":"Running"}}`
	if diff := cmp.Diff(want, string(line)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
