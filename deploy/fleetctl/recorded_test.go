package fleetctl_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/fleet"
)

// A story of a fleet of real parts: apply, change, rollout, a device that fails,
// rollback, relabel, delete, and the operator killed twice. Then what get says of
// the past is what a fold by brute force says, at any sequence, and what it says
// of now is what Kubernetes and the buckets say. The dashboard's pages say the same of
// the past as get, as the log knew it and as it happened.
func TestWhatGetSaysOfARecordedStoryIsSoAtAnyMoment(t *testing.T) {
	t.Parallel()
	lab, shop := map[string]string{"site": "lab"}, map[string]string{"site": "shop"}
	r := record(t, map[string]map[string]string{
		"edge-01": {"site": "lab", "ring": "canary"}, "edge-02": lab, "edge-03": lab, "edge-04": shop,
	})
	r.tell(lab)
	events := r.messages()
	t.Logf("the story has %d events", len(events))
	r.thePastIsTheBruteForceFold(events)
	r.thePagesAreWhatGetSays(len(events))
	r.nowIsWhatKubernetesAndTheBucketsSay()
}

func (r *recording) tell(lab map[string]string) {
	canary := map[string]string{"ring": "canary"}
	r.apply("hello", "app:1", lab)
	r.ready("hello", v1alpha1.ReasonAllSucceeded, 3)
	r.apply("probe", "probe:1", canary)
	r.ready("probe", v1alpha1.ReasonAllSucceeded, 1)

	r.apply("hello", "app:2", lab)
	r.ready("hello", v1alpha1.ReasonAllSucceeded, 3)

	r.apply("probe", "fault.test/pull-error:2", canary)
	r.ready("probe", v1alpha1.ReasonDeviceFailed, 1)

	r.apply("hello", "fault.test/slow:3", lab) // in the middle of whose rollout the operator dies
	r.started("hello", 3)
	r.kill()
	r.operate("op-2")
	r.ready("hello", v1alpha1.ReasonAllSucceeded, 3)

	r.apply("probe", "probe:1", canary) // the rollback
	r.ready("probe", v1alpha1.ReasonAllSucceeded, 1)

	r.label("edge-03", "shop") // and it dies again
	r.kill()
	r.operate("op-3")
	r.ready("hello", v1alpha1.ReasonAllSucceeded, 2)
	r.apply("sale", "sale:1", map[string]string{"site": "shop"})
	r.ready("sale", v1alpha1.ReasonAllSucceeded, 2)

	c := r.fleet.FleetV1alpha1().Deployments(recordedNamespace)
	if err := c.Delete(r.t.Context(), "probe", metav1.DeleteOptions{}); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "probe goes", func() string {
		if _, err := c.Get(r.t.Context(), "probe", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return "it is there"
		}
		return ""
	})
	r.quiet()
}

// started waits until the last that the log says of a Deployment is that a
// revision's rollout began.
func (r *recording) started(name string, revision uint64) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("revision %d of %s is rolled out", revision, name), func() string {
		m, err := reader.LastMessage(r.t.Context(), r.js, eventlog.LogStream, eventlog.DeploymentSubject(recordedNamespace, name))
		if err != nil {
			return err.Error()
		}
		e, err := eventlog.Decode(m.Subject, m.Header, m.Data, m.Sequence, m.Time)
		if err != nil {
			return err.Error()
		}
		if p, err := eventlog.Payload[eventlog.Rollout](e); err != nil || e.Type != eventlog.RolloutStarted || p.Revision != revision {
			return fmt.Sprintf("the last is %s of revision %d (%v)", e.Type, p.Revision, err)
		}
		return ""
	})
}

// label is a person's kubectl label.
func (r *recording) label(device, site string) {
	r.t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{"site":%q}}}`, site)
	if _, err := r.fleet.FleetV1alpha1().Devices().Patch(r.t.Context(), device, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-label"}); err != nil {
		r.t.Fatal(err)
	}
}

// quiet waits until nothing is appended any more, and the buckets have caught up.
func (r *recording) quiet() {
	r.t.Helper()
	var last uint64
	since := time.Now()
	eventually(r.t, "the log falls quiet", func() string {
		info, err := logstream.Inspect(r.t.Context(), r.js)
		if err != nil {
			return err.Error()
		}
		if info.Last != last {
			last, since = info.Last, time.Now()
		}
		if time.Since(since) < 2*time.Second {
			return fmt.Sprintf("it is at %d", last)
		}
		return ""
	})
}

// messages reads the log raw, by an ordered consumer.
func (r *recording) messages() []jetstream.Msg {
	r.t.Helper()
	info, err := logstream.Inspect(r.t.Context(), r.js)
	if err != nil {
		r.t.Fatal(err)
	}
	cons, err := r.js.OrderedConsumer(r.t.Context(), eventlog.LogStream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		r.t.Fatal(err)
	}
	out := make([]jetstream.Msg, 0, info.Last)
	for uint64(len(out)) < info.Last {
		m, err := cons.Next(jetstream.FetchMaxWait(time.Minute))
		if err != nil {
			r.t.Fatalf("after %d of %d messages: %v", len(out), info.Last, err)
		}
		out = append(out, m)
	}
	return out
}

// bruteForce folds the first messages one by one, from zero.
func bruteForce(t *testing.T, messages []jetstream.Msg) *fleet.View {
	t.Helper()
	v := fleet.New()
	for _, m := range messages {
		at, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		e, err := eventlog.Decode(m.Subject(), m.Headers(), m.Data(), at.Sequence.Stream, at.Timestamp)
		fleet.Apply(v, e, err)
	}
	return v
}

func (r *recording) thePastIsTheBruteForceFold(messages []jetstream.Msg) {
	t := r.t
	kept, err := r.js.ObjectStore(t.Context(), eventlog.BucketCheckpoints)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := kept.List(t.Context()); err != nil || len(list) < 2 {
		t.Errorf("there are %d checkpoints (%v): what is compared does not begin from them", len(list), err)
	}
	seed := rand.Uint64()
	t.Logf("the moments are those of seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	moments := []int{1, len(messages)}
	for range 50 {
		moments = append(moments, 1+random.IntN(len(messages)))
	}
	for _, at := range moments {
		v := bruteForce(t, messages[:at])
		for _, output := range []string{"json", "wide"} {
			var want bytes.Buffer
			if err := fleetctl.PrintAt(cli.Streams{Out: &want, Err: &want, Now: time.Now, Name: "fleetctl"}, v, output, "deployments,devices"); err != nil {
				t.Fatal(err)
			}
			got := r.fleetctl("get", "deployments,devices", "-A", "-o", output, "--at", strconv.Itoa(at))
			if diff := cmp.Diff(want.String(), got); diff != "" {
				t.Errorf("seed %d, sequence %d, -o %s (-brute force +get):\n%s", seed, at, output, diff)
			}
		}
	}
}
