package fleetctl_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
)

// The CronJob of the chart says what fleetctl understands: run with its arguments and
// variables, fleetctl makes a verified backup.
func TestTheChartsCronJobMakesABackup(t *testing.T) {
	t.Parallel()
	w, err := smallFleet(t)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := chart.Render(chart.Options{Profile: "lab", Values: chart.Values{
		"callout": chart.Values{"enabled": false}, "backup": chart.Values{"enabled": true, "claim": "backups", "keepFor": "720h"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var job batchv1.CronJob
	for _, o := range objects {
		if o.GetKind() == "CronJob" {
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &job); err != nil {
				t.Fatal(err)
			}
		}
	}
	container := job.Spec.JobTemplate.Spec.Template.Spec.Containers[0]
	// What the Secrets, the Service and the volumes are here.
	is := map[string]string{"FLEET_NATS_URL": w.server.URL(), "FLEET_NATS_USER": "dev", "FLEET_NATS_PASSWORD": "p", "FLEET_NATS_CA": ""}
	env := map[string]string{}
	for _, e := range container.Env {
		value, known := is[e.Name]
		if !known {
			t.Errorf("the CronJob sets %s", e.Name)
		}
		if s := e.ValueFrom; s != nil && s.SecretKeyRef.Name != names.SecretAdmin {
			t.Errorf("%s is of Secret %s", e.Name, s.SecretKeyRef.Name)
		}
		env[e.Name] = value
	}
	dir := t.TempDir()
	for _, mounted := range []string{"backups", "work"} {
		if err := os.Mkdir(filepath.Join(dir, mounted), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var args []string
	for _, a := range container.Args {
		args = append(args, strings.NewReplacer("/backups/", filepath.Join(dir, "backups")+"/", "/work", filepath.Join(dir, "work")).Replace(a))
	}
	var out, errs bytes.Buffer
	code := fleetctl.Run(t.Context(), cli.Streams{
		Out: &out, Err: &errs, Now: time.Now, Name: "fleetctl", Getenv: func(k string) string { return env[k] },
	}, args)
	var said struct {
		Verified bool
		Events   int
	}
	if err := json.Unmarshal(out.Bytes(), &said); err != nil || code != cli.ExitOK || !said.Verified || said.Events == 0 {
		t.Errorf("exit code %d, %v: %s%s", code, err, out.String(), errs.String())
	}
}
