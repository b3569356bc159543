package migration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/export"
	"fleet.nationtech.io/deploy/migration"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/buckets"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/verify"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

// eventually polls until nothing speaks against the condition.
func eventually(t *testing.T, what string, against func() string) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		why := against()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: still: %s", what, why)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestDevicesKeepTheirContainersThroughAMigration(t *testing.T) {
	t.Parallel()
	early, late, kept := []string{"new-1", "new-2"}, []string{"new-3", "new-4"}, []string{"old-1", "old-2"}
	devices := append(append([]string{}, early...), late...)

	// The containers come from agents whose fleet is given up.
	past := newTarget(t, devices, nil)
	pastNC, pastJS := past.Connect(t, nats.UserInfo("operator", "p"))
	if _, err := logstream.Ensure(t.Context(), pastJS, logstream.Config{}); err != nil {
		t.Fatal(err)
	}
	if _, err := buckets.Ensure(t.Context(), pastJS, buckets.Config{}); err != nil {
		t.Fatal(err)
	}
	natstest.AnswerSync(t, pastNC, pastJS)
	nodes := map[string]*node{}
	for _, id := range devices {
		nodes[id] = newNode(t, id)
		nodes[id].agent(t, past.URL())
		for name, image := range images() {
			if _, err := appender.Unfenced(t.Context(), pastJS, "test", eventlog.Draft{
				Subject: eventlog.DesiredSubject(id, name), Type: eventlog.DesiredAssigned, Time: time.Now(), Namespace: "default", Revision: 1, Data: canonical(t, scoreOn(name, image)),
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, id := range devices {
		eventually(t, id+" runs all", func() string { return cmp.Diff(len(images()), nodes[id].running(t)) })
	}

	// Four buckets, as the original operator and agents left them.
	source := newOriginal(t)
	for _, id := range devices {
		source.put(eventlog.BucketInfo, eventlog.InfoKey(id), eventlog.DeviceInfo{DeviceID: id, Labels: map[string]string{"site": "lab"}})
	}
	for _, id := range append(append([]string{}, devices...), kept...) {
		for name, image := range images() {
			source.put(eventlog.BucketDesired, eventlog.DesiredKey(id, name), scoreOn(name, image))
		}
	}
	source.settle()
	olds := map[string]*old{}
	for _, id := range kept {
		olds[id] = &old{id: id, runs: map[string]any{}}
		olds[id].watch(t, source.js, map[string]string{"site": "lab"})
		eventually(t, id+" runs all", func() string { return cmp.Diff(len(images()), olds[id].changes()) })
	}
	for _, id := range devices {
		for name := range images() {
			source.put(eventlog.BucketState, eventlog.StateKey(id, name), originalState{id, name, "Running", time.Now(), nil})
		}
	}
	source.settle()
	for _, id := range kept {
		for name := range images() {
			eventually(t, id+" has reported "+name, func() string {
				_, err := source.kv[eventlog.BucketState].Get(t.Context(), eventlog.StateKey(id, name))
				return errText(err)
			})
		}
	}
	before := map[string][]string{}
	for id, n := range nodes {
		n.stop()
		before[id] = n.containers(t)
		n.engine.n.Store(0)
	}

	// Some agents are connected to the new servers before anything is there.
	server := newTarget(t, devices, kept)
	nc, js := server.Connect(t, nats.UserInfo("operator", "p"))
	for _, id := range early {
		nodes[id].agent(t, server.URL())
	}
	r := run(t, source.read(), nc, js)
	if len(r.Refused) > 0 || len(r.Differences) > 0 {
		t.Fatalf("refused %v, differences %v", r.Refused, r.Differences)
	}
	imported, err := logstream.Inspect(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}

	// The custom resources: one from the person's own file, one out of the log, and one
	// that nobody applies.
	v, err := asof.At(t.Context(), js, asof.Moment{}, asof.Options{})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := export.Of(v)
	if err != nil {
		t.Fatal(err)
	}
	api := localapitest.Private(t)
	crs, err := versioned.NewForConfig(api.Config)
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(objects.Deployments, []fleet.Key{{Namespace: "shop", Name: "camera"}, {Namespace: "shop", Name: "hello"}, {Namespace: "shop", Name: "lonely"}}) {
		t.Fatalf("objects: %v", objects.Deployments)
	}
	known := slices.DeleteFunc(splitYAML(objects.YAML), func(doc []byte) bool { return bytes.Contains(doc, []byte("name: lonely")) })
	applyObjects(t, api, crs, "kubectl", bytes.Join(known, []byte("---\n")), []byte(`
apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata: {name: hello, namespace: shop}
spec:
  targetSelector: {matchLabels: {site: lab}}
  score:
    type: PodmanV0
    data:
      services:
      - ports: ["8081:80"]
        image: hello:1
        name: hello
`))
	operate(t, server, api)
	placed := func(name string) {
		t.Helper()
		eventually(t, name+" is on all its devices", func() string {
			d, err := crs.FleetV1alpha1().Deployments("shop").Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
			if a := d.Status.Aggregate; c == nil || a == nil || a.MatchedDeviceCount != 6 || a.Succeeded != 6 {
				return fmt.Sprintf("%+v %+v", c, a) // the operator's own rollout soaks for minutes, and gives no device anything
			}
			return ""
		})
	}
	placed("hello")
	placed("camera")

	// The other agents are changed one by one; the old ones go on over the KV API.
	for _, id := range late {
		nodes[id].agent(t, server.URL())
		eventually(t, id+" reports to the log itself", func() string {
			m, err := reader.LastMessage(t.Context(), js, eventlog.LogStream, eventlog.StateSubject(id, "hello"))
			if err != nil {
				return err.Error()
			}
			return cmp.Diff("", eventlog.HeaderValue(m.Header, eventlog.HeaderSource))
		})
	}
	for _, id := range kept {
		olds[id].end()
		_, theirs := server.Connect(t, nats.UserInfo(accounts.LegacyUser(id), "p"))
		olds[id].watch(t, theirs, map[string]string{"site": "lab"})
	}
	placed("hello")
	placed("camera")
	eventually(t, "the Deployment without a custom resource is orphaned", func() string {
		m, err := reader.LastMessage(t.Context(), js, eventlog.LogStream, eventlog.DeploymentSubject("shop", "lonely"))
		if err != nil {
			return err.Error()
		}
		e, err := eventlog.Decode(m.Subject, m.Header, m.Data, m.Sequence, m.Time)
		if err != nil || e.Type != eventlog.DeploymentOrphaned {
			return fmt.Sprintf("the last is %s (%v)", e.Type, err)
		}
		return ""
	})
	time.Sleep(2 * time.Second) // a window in which anything that is owed would come
	for id, n := range nodes {
		if touched := n.engine.n.Load(); touched != 0 || !cmp.Equal(before[id], n.containers(t)) {
			t.Errorf("%s: containers were touched %d times:\n%s", id, touched, cmp.Diff(before[id], n.containers(t)))
		}
	}
	for id, o := range olds {
		if n := o.changes(); n != len(images()) {
			t.Errorf("%s started or stopped something %d times after the change", id, n-len(images()))
		}
	}
	for e, err := range reader.Read(t.Context(), js, reader.Options{From: imported.Last + 1}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Address.Family == eventlog.FamilyDesired {
			t.Errorf("the operator told a device something: %s on %s, revision %d", e.Type, e.Subject, e.Revision)
		}
	}
	got, err := verify.Run(t.Context(), js, verify.Options{})
	if err != nil || got.Differences() > 0 {
		t.Errorf("verify: %v, %+v", err, got)
	}
}

// All hangs on what the import does to select the devices: it marks those that nothing
// else tells from the others, one that talks to the new log already among them, and when
// a refused device is mended it finds another selector.
func TestMarkedEarlyAndMendedDevicesKeepTheirDeployments(t *testing.T) {
	t.Parallel()
	const all, marked, cameras, early, mended, labelled = 14, 10, 3, 4, 2, 5
	source := newOriginal(t)
	labels := func(i int) map[string]string {
		if i < cameras {
			return map[string]string{"site": "lab", "pool": "cam"}
		}
		return map[string]string{"site": "lab"}
	}
	for i := range all {
		id := deviceID(i)
		source.put(eventlog.BucketInfo, eventlog.InfoKey(id), eventlog.DeviceInfo{DeviceID: id, Labels: labels(i)})
		if i < marked {
			source.put(eventlog.BucketDesired, eventlog.DesiredKey(id, "hello"), scoreOn("hello", "hello:1"))
		}
		if i < cameras && i != mended {
			source.put(eventlog.BucketDesired, eventlog.DesiredKey(id, "camera"), scoreOn("camera", "camera:7"))
		}
	}
	source.put(eventlog.BucketDesired, eventlog.DesiredKey(deviceID(mended), "camera"), []byte(`{"type":`))
	source.settle()
	server := newTarget(t, nil, nil)
	nc, js := server.Connect(t, nats.UserInfo("operator", "p"))
	if _, err := logstream.Ensure(t.Context(), js, logstream.Config{}); err != nil {
		t.Fatal(err)
	}
	info, err := json.Marshal(eventlog.DeviceInfo{DeviceID: deviceID(early), Labels: labels(early)})
	if err == nil {
		_, err = js.Publish(t.Context(), eventlog.InfoSubject(deviceID(early)), info)
	}
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.MaxIDs = marked - 1
	found := func(refused int, want map[string]string) {
		t.Helper()
		r, err := migration.Import(t.Context(), source.read(), nc, js, o)
		if err != nil || len(r.Refused) != refused || len(r.Differences) > 0 {
			t.Fatalf("%v, refused %v, differences %v", err, r.Refused, r.Differences)
		}
		got := map[string]string{}
		for _, d := range r.Deployments {
			got[d.Name] = d.Guessed
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("selectors (-want +got):\n%s", diff)
		}
	}
	found(1, map[string]string{"hello": migration.ByMarking, "camera": migration.ByIDs})
	source.put(eventlog.BucketDesired, eventlog.DesiredKey(deviceID(mended), "camera"), scoreOn("camera", "camera:7"))
	source.settle()
	found(0, map[string]string{"hello": "", "camera": migration.ByLabels})
	imported, err := logstream.Inspect(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	v, err := asof.At(t.Context(), js, asof.Moment{}, asof.Options{})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := export.Of(v)
	if err != nil {
		t.Fatal(err)
	}
	api := localapitest.Private(t)
	crs, err := versioned.NewForConfig(api.Config)
	if err != nil {
		t.Fatal(err)
	}
	// The operator makes the Devices with their labels, but for one to which a person gave
	// labels before: that one is marked by the objects of the log, which another field
	// manager applies.
	applyObjects(t, api, crs, "labels", []byte("apiVersion: fleet.nationtech.io/v1alpha1\nkind: Device\nmetadata: {name: "+deviceID(labelled)+", labels: {rack: r7}}\n"))
	applyObjects(t, api, crs, "kubectl", bytes.Join(slices.DeleteFunc(splitYAML(objects.YAML), func(doc []byte) bool {
		return bytes.Contains(doc, []byte("kind: Device\n")) && !bytes.Contains(doc, []byte("name: "+deviceID(labelled)+"\n"))
	}), []byte("---\n")))
	operate(t, server, api)
	eventually(t, "all devices are there, and the right ones are selected", func() string {
		mark, err := crs.FleetV1alpha1().Devices().List(t.Context(), metav1.ListOptions{LabelSelector: "import.fleet.nationtech.io/hello=true"})
		if err != nil {
			return err.Error()
		}
		every, err := crs.FleetV1alpha1().Devices().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err.Error()
		}
		got := []int{len(every.Items), len(mark.Items)}
		for _, name := range []string{"hello", "camera"} {
			d, err := crs.FleetV1alpha1().Deployments("shop").Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			if d.Status.Aggregate == nil {
				return "no status yet"
			}
			got = append(got, int(d.Status.Aggregate.MatchedDeviceCount))
		}
		return cmp.Diff([]int{all, marked, marked, cameras}, got)
	})
	d, err := crs.FleetV1alpha1().Devices().Get(t.Context(), deviceID(labelled), metav1.GetOptions{})
	if err != nil || d.Labels["rack"] != "r7" || d.Labels["site"] != "lab" {
		t.Errorf("the Device that a person labelled: %v, labels %v", err, d.Labels)
	}
	for e, err := range reader.Read(t.Context(), js, reader.Options{From: imported.Last + 1}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Address.Family == eventlog.FamilyDesired {
			t.Errorf("the operator told a device something: %s on %s", e.Type, e.Subject)
		}
	}
}

func errText(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

// images are what each Deployment runs.
func images() map[string]string {
	return map[string]string{"hello": "hello:1", "camera": "camera:7", "lonely": "lonely:3"}
}

// scoreOn is a desired value with a port of its own for each Deployment.
func scoreOn(name, image string) []byte {
	port := map[string]string{"hello": "8081:80", "camera": "8082:80", "lonely": "8083:80"}[name]
	return []byte(`{"type":"PodmanV0","data":{"services":[{"name":"` + name + `","image":"` + image + `","ports":["` + port + `"]}]}}`)
}
