package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/dev"
	"fleet.nationtech.io/deploy/dev/prometheus"
	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
)

const namespace = "default"

// story is what happens while it is recorded.
type story struct {
	fleet *dev.Fleet
	kube  versioned.Interface
	// failed is called once devices of the canary have failed.
	failed func(context.Context) error
}

func newStory(f *dev.Fleet, failed func(context.Context) error) (*story, error) {
	kube, err := versioned.NewForConfig(f.RestConfig)
	if err != nil {
		return nil, err
	}
	return &story{f, kube, failed}, nil
}

// tell is the story: a first revision; a broken one, which a canary batch stops and
// which goes back by itself; a good one, which reaches all devices; beside it another
// Deployment that waits for a person, and one that is paused by its failure.
func (s *story) tell(ctx context.Context) error {
	rollback := `{batches: [{size: 2, soak: 10s}, {size: 20%, soak: 10s}, {soak: 5s}], maxUnavailable: 10%, progressDeadline: 20s, onFailure: Rollback}`
	pause := `{batches: [{size: 2, soak: 2s}, {soak: 2s}], progressDeadline: 12s}`
	approve := `{batches: [{size: 2, soak: 2s, approval: Manual}, {soak: 2s}], maxUnavailable: 50%}`
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"a DisruptionBudget", s.budget},
		{"the first revisions", func(ctx context.Context) error {
			for name, rollout := range map[string]string{"web": rollback, "api": pause, "cart": pause} {
				if err := s.apply(ctx, name, "example.org/"+name+":1", rollout); err != nil {
					return err
				}
			}
			for _, name := range []string{"web", "api", "cart"} {
				if err := s.phase(ctx, name, 1, v1alpha1.RolloutCompleted); err != nil {
					return err
				}
			}
			return nil
		}},
		{"a broken revision, which goes back", func(ctx context.Context) error {
			if err := s.apply(ctx, "web", "fault.test/crash:2", rollback); err != nil {
				return err
			}
			return s.phase(ctx, "web", 2, v1alpha1.RolloutRolledBack)
		}},
		{"a broken revision, which is paused", func(ctx context.Context) error {
			if err := s.apply(ctx, "cart", "fault.test/pull-error:2", pause); err != nil {
				return err
			}
			if err := s.phase(ctx, "cart", 2, v1alpha1.RolloutPaused); err != nil {
				return err
			}
			return s.failed(ctx)
		}},
		{"a second try, and one that waits for a person", func(ctx context.Context) error {
			if err := s.apply(ctx, "api", "example.org/api:2", approve); err != nil {
				return err
			}
			if err := s.apply(ctx, "web", "fault.test/slow:3", rollback); err != nil {
				return err
			}
			return s.phase(ctx, "web", 3, v1alpha1.RolloutCompleted)
		}},
		{"a look at the events", s.events},
		{"a quiet while", func(ctx context.Context) error {
			select {
			case <-time.After(20 * time.Second): // graphs need some of it
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}},
		{"a person's approval", func(ctx context.Context) error {
			if err := s.fleetctl(ctx, "rollout", "promote", "api", "-n", namespace); err != nil {
				return err
			}
			return s.phase(ctx, "api", 2, v1alpha1.RolloutCompleted)
		}},
	}
	for _, step := range steps {
		fmt.Println("record:", step.what)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// events asks the operator for events a few times, as the tables of a dashboard do.
func (s *story) events(ctx context.Context) error {
	operator := prometheus.Target{Address: strings.TrimPrefix(s.fleet.Env.OperatorURL, "http://"), Path: "/api/v1/events?type=rollout."}
	for range 5 {
		body, err := get(ctx, operator)
		if err != nil {
			return err
		}
		if err := body.Close(); err != nil {
			return err
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *story) budget(ctx context.Context) error {
	text := `
apiVersion: fleet.nationtech.io/v1alpha1
kind: DisruptionBudget
metadata: {name: lab}
spec:
  selector: {matchLabels: {site: lab}}
  maxUnavailable: 15%
`
	b, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return err
	}
	_, err = s.kube.FleetV1alpha1().DisruptionBudgets().Patch(ctx, "lab", types.ApplyPatchType, b, metav1.PatchOptions{FieldManager: "kubectl"})
	return err
}

func (s *story) apply(ctx context.Context, name, image, rollout string) error {
	text := fmt.Sprintf(`
apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  targetSelector: {matchLabels: {site: lab}}
  rollout: %[4]s
  score: {type: PodmanV0, data: {services: [{name: main, image: "%[3]s", ports: ["8080"], healthCheck: {http: {port: 8080, path: /healthz}, interval: 2s}}]}}
`, name, namespace, image, rollout)
	b, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return err
	}
	_, err = s.kube.FleetV1alpha1().Deployments(namespace).Patch(ctx, name, types.ApplyPatchType, b, metav1.PatchOptions{FieldManager: "kubectl"})
	return err
}

// patience is how long a step of the story may take.
const patience = 5 * time.Minute

// phase waits until the rollout of a revision is in a phase.
func (s *story) phase(ctx context.Context, name string, revision int64, want v1alpha1.RolloutPhase) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		d, err := s.kube.FleetV1alpha1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			if r := d.Status.Rollout; r != nil && r.Phase == want && d.Status.Revision == revision {
				return nil
			}
			last = fmt.Sprintf("revision %d: %+v", d.Status.Revision, d.Status.Rollout)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is not %s at revision %d; it is: %s", name, want, revision, last)
		}
	}
}

func (s *story) fleetctl(ctx context.Context, args ...string) error {
	env := map[string]string{
		"FLEET_NATS_URL": s.fleet.Env.NATSURL, "FLEET_NATS_USER": s.fleet.Env.User, "FLEET_NATS_PASSWORD": s.fleet.Env.Password,
		"FLEET_NATS_CA": s.fleet.Env.NATSCA,
	}
	code := fleetctl.Run(ctx, cli.Streams{
		Out: os.Stdout, Err: os.Stderr, Name: "fleetctl", Now: time.Now, Getenv: func(k string) string { return env[k] },
	}, args)
	if code != cli.ExitOK {
		return fmt.Errorf("fleetctl %v: exit code %d", args, code)
	}
	return nil
}
