package cluster_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/deploy/install/cluster"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

// The embedded API has neither nodes nor storage: there is none of them, which is
// no failure of reading.
func TestARealAPIIsFoundOut(t *testing.T) {
	t.Parallel()
	local := localapitest.Shared(t)
	namespace := local.Namespace(t)
	f, err := cluster.Look(t.Context(), local.Config, namespace, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if f.Major != 1 || f.Minor < 30 || f.Distribution != cluster.Vanilla {
		t.Errorf("found %s %d.%d", f.Distribution, f.Major, f.Minor)
	}
	if !f.Namespace.Exists || f.Namespace.Ending {
		t.Errorf("namespace: %+v", f.Namespace)
	}
	if f.Skew.Abs() > time.Minute { // which a machine that stalls does not reach
		t.Errorf("the clock of this very machine is %s away", f.Skew)
	}
	if !f.Has("fleet.nationtech.io") || f.Has(cluster.GroupRoute) {
		t.Errorf("groups: %v", f.Groups)
	}
	if len(f.Unread) > 0 {
		t.Errorf("unread: %v", f.Unread)
	}
}

func TestAnAPIThatDoesNotAnswerIsNamed(t *testing.T) {
	t.Parallel()
	_, err := cluster.Look(t.Context(), &rest.Config{Host: "https://127.0.0.1:1"}, "fleet-system", time.Now)
	if err == nil {
		t.Fatal("no error")
	}
}

func TestRightsThatAPersonLacksAreFound(t *testing.T) {
	t.Parallel()
	local := localapitest.Shared(t)
	namespace := local.Namespace(t)
	rights := []cluster.Right{{Verb: "create", Resource: "namespaces"}, {Verb: "patch", Group: "apps", Resource: "deployments", Namespace: namespace}}
	lacking, err := cluster.Lacking(t.Context(), local.Config, rights)
	if err != nil || len(lacking) > 0 {
		t.Fatalf("the administrator lacks %v, %v", lacking, err)
	}
	somebody := rest.CopyConfig(local.Config)
	somebody.Impersonate = rest.ImpersonationConfig{UserName: "somebody", Groups: []string{"system:authenticated"}}
	lacking, err = cluster.Lacking(t.Context(), somebody, rights)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(rights)
	if len(lacking) != 2 || !slices.Contains(lacking, rights[0]) || !slices.Contains(lacking, rights[1]) {
		t.Errorf("somebody lacks %v, want %v", lacking, rights)
	}
}
