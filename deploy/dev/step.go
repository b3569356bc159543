package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/samples"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

const namespace = "default"

func (s *story) apply(ctx context.Context) error { return s.applyYAML(ctx, samples.Hello) }

// applyYAML is `kubectl apply --server-side`.
func (s *story) applyYAML(ctx context.Context, text []byte) error {
	b, err := yaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	d, err := s.kube.FleetV1alpha1().Deployments(namespace).Patch(ctx, s.name, types.ApplyPatchType, b, metav1.PatchOptions{FieldManager: "kubectl"})
	if err != nil {
		return err
	}
	s.tell("deployment.fleet.nationtech.io/%s serverside-applied (generation %d)", d.Name, d.Generation)
	return nil
}

func (s *story) ready(revision int64) func(context.Context) error {
	return func(ctx context.Context) error {
		return until(ctx, 60*time.Second, func(ctx context.Context) (bool, string, error) {
			d, err := s.kube.FleetV1alpha1().Deployments(namespace).Get(ctx, s.name, metav1.GetOptions{})
			if err != nil {
				return false, "", err
			}
			c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
			if c == nil {
				return false, "no condition Ready", nil
			}
			saw := fmt.Sprintf("Ready=%s %s: %s", c.Status, c.Reason, c.Message)
			a := d.Status.Aggregate
			if c.Status != metav1.ConditionTrue || d.Status.ObservedGeneration != d.Generation || d.Status.Revision != revision ||
				a == nil || int(a.Succeeded) != len(s.devices) {
				return false, saw, nil
			}
			s.tell("%s", saw)
			return true, "", nil
		})
	}
}

// containersAnswer looks for each device's container at the host port that its
// state reports. Without Podman, the state has to do. A state may reach its bucket
// after the operator has counted it.
func (s *story) containersAnswer(greeting string) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, d := range s.devices {
			err := until(ctx, 30*time.Second, func(ctx context.Context) (bool, string, error) {
				states, err := s.states(ctx)
				if err != nil {
					return false, "", err
				}
				st := states[d]
				if st.Phase != eventlog.PhaseRunning || len(st.Services) != 1 {
					return false, fmt.Sprintf("it reports %q with %d services", st.Phase, len(st.Services)), nil
				}
				sv := st.Services[0]
				if s.fleet.Engine == EngineMemory {
					s.tell("%s  %.12s  %s (in memory)", d, sv.ContainerID, sv.State)
					return true, "", nil
				}
				url, body, err := ask(ctx, sv)
				if err != nil || !strings.Contains(body, greeting) {
					return false, fmt.Sprint(body, err), nil
				}
				s.tell("%s  %.12s  %s  %s", d, sv.ContainerID, url, body)
				return true, "", nil
			})
			if err != nil {
				return fmt.Errorf("device %s did not answer with %q: %w", d, greeting, err)
			}
		}
		return nil
	}
}

// ask makes one request to a service's first host port.
func ask(ctx context.Context, sv eventlog.ServiceState) (url, body string, err error) {
	if len(sv.Ports) == 0 {
		return "", "", fmt.Errorf("service %s reports no port", sv.Name)
	}
	host, _, _ := strings.Cut(sv.Ports[0], ":")
	url = "http://127.0.0.1:" + host + "/"
	// A connection that was begun while its container was dying stays with the
	// dead address (conntrack), so a try is short, and the next one is a new one.
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return url, "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return url, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	return url, strings.TrimSpace(string(b)), err
}

func (s *story) buckets(ctx context.Context) error {
	keys := map[string]string{
		eventlog.BucketDesired:   eventlog.DesiredKey(s.devices[0], s.name),
		eventlog.BucketState:     eventlog.StateKey(s.devices[0], s.name),
		eventlog.BucketInfo:      eventlog.InfoKey(s.devices[0]),
		eventlog.BucketHeartbeat: eventlog.HeartbeatKey(s.devices[0]),
	}
	for _, bucket := range eventlog.Buckets() {
		key := keys[bucket]
		kv, err := s.js.KeyValue(ctx, bucket)
		if err != nil {
			return fmt.Errorf("bucket %s: %w", bucket, err)
		}
		// A pulse of before the servers had a stream for it is in no bucket: the next one is.
		err = until(ctx, 60*time.Second, func(ctx context.Context) (bool, string, error) {
			e, err := kv.Get(ctx, key)
			if errors.Is(err, jetstream.ErrKeyNotFound) {
				return false, "it is not there", nil
			}
			if err == nil {
				s.tell("%-16s %-22s %.90s", bucket, key, e.Value())
			}
			return err == nil, "", err
		})
		if err != nil {
			return fmt.Errorf("bucket %s, key %s: %w", bucket, key, err)
		}
	}
	return nil
}

func (s *story) change(ctx context.Context) error {
	var d v1alpha1.Deployment
	if err := yaml.Unmarshal(samples.Hello, &d); err != nil {
		return err
	}
	sv := d.Spec.Score.Data.Services
	sv[0].Env = map[string]v1alpha1.EnvValue{"GREETING": "bonjour"}
	d.Spec.Score.Data = v1alpha1.ScoreData{Services: sv}
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return s.applyYAML(ctx, b)
}

func (s *story) remove(ctx context.Context) error {
	if err := s.kube.FleetV1alpha1().Deployments(namespace).Delete(ctx, s.name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return until(ctx, 60*time.Second, func(ctx context.Context) (bool, string, error) {
		_, err := s.kube.FleetV1alpha1().Deployments(namespace).Get(ctx, s.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			s.tell("deployment.fleet.nationtech.io \"%s\" deleted", s.name)
			return true, "", nil
		}
		return false, "the CR is still there", err
	})
}

func (s *story) nothingLeft(ctx context.Context) error {
	err := until(ctx, 60*time.Second, func(ctx context.Context) (bool, string, error) {
		for _, bucket := range []string{eventlog.BucketDesired, eventlog.BucketState} {
			for m, err := range reader.Stored(ctx, s.js, eventlog.BucketStream(bucket), 0) {
				if err != nil {
					return false, "", err
				}
				if strings.HasSuffix(m.Subject, "."+s.name) && !eventlog.IsRemoval(m.Header) {
					return false, "message " + m.Subject + " in " + bucket, nil
				}
			}
		}
		return true, "", nil
	})
	if err != nil {
		return err
	}
	n, err := s.fleet.containers(ctx, s.name)
	if err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("%d containers of %s are left", n, s.name)
	}
	s.tell("%s and %s hold no key of %s, and no device a container", eventlog.BucketDesired, eventlog.BucketState, s.name)
	return nil
}

// log tells the story once more, as the log has it.
func (s *story) log(ctx context.Context) error {
	want := map[eventlog.Type]bool{
		eventlog.DeploymentApplied: false, eventlog.DesiredAssigned: false, eventlog.StateReported: false, eventlog.RolloutCompleted: false,
		eventlog.DeviceRelabeled: false, eventlog.DesiredWithdrawn: false, eventlog.DeploymentDeleted: false, eventlog.StateCleared: false,
	}
	n := 0
	for e, err := range reader.Read(ctx, s.js, reader.Options{}) {
		if err != nil {
			return fmt.Errorf("event %d: %w", e.Sequence, err)
		}
		n++
		want[e.Type] = true
		switch e.Address.Family {
		case eventlog.FamilyDeployment, eventlog.FamilyDesired:
			s.tell("%4d  %s  %-22s %s", e.Sequence, e.Time.Local().Format("15:04:05.000"), e.Type, about(e.Address))
		}
	}
	for t, seen := range want {
		if !seen {
			return fmt.Errorf("no %s in the log", t)
		}
	}
	s.tell("… of %d events in all", n)
	return nil
}

// about names an aggregate for a person.
func about(a eventlog.Address) string {
	if a.Family == eventlog.FamilyDeployment {
		return a.Namespace + "/" + a.Name
	}
	return a.Device + "  " + a.Deployment
}
