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
// variables, and what it mounts, fleetctl makes a verified backup.
func TestTheChartsCronJobMakesABackup(t *testing.T) {
	t.Parallel()
	w, err := smallFleet(t)
	if err != nil {
		t.Fatal(err)
	}
	store, err := fakeStore(t)
	if err != nil {
		t.Fatal(err)
	}
	// What the Secrets, the Service and the store are here.
	is := map[string]string{
		"FLEET_NATS_URL": w.server.URL(), "FLEET_NATS_USER": "dev", "FLEET_NATS_PASSWORD": "p", "FLEET_NATS_CA": "",
		"AWS_ENDPOINT_URL_S3": store, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "very-secret",
	}
	endpoint := []any{chart.Values{"name": "AWS_ENDPOINT_URL_S3", "value": "https://s3.example.org"}}
	for what, values := range map[string]chart.Values{
		"a volume": {"enabled": true, "claim": "backups", "keepFor": "720h"},
		"a store":  {"enabled": true, "store": "s3://backups/fleet", "credentialsSecret": "store", "env": endpoint},
	} {
		container := cronJobOf(t, values).Spec.JobTemplate.Spec.Template.Spec.Containers[0]
		env := map[string]string{}
		for _, e := range container.Env {
			value, known := is[e.Name]
			if !known {
				t.Errorf("%s: the CronJob sets %s", what, e.Name)
			}
			if s := e.ValueFrom; s != nil && s.SecretKeyRef.Name != names.SecretAdmin {
				t.Errorf("%s: %s is of Secret %s", what, e.Name, s.SecretKeyRef.Name)
			}
			env[e.Name] = value
		}
		for _, from := range container.EnvFrom {
			if from.SecretRef.Name == "store" {
				env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"] = is["AWS_ACCESS_KEY_ID"], is["AWS_SECRET_ACCESS_KEY"]
			}
		}
		dir := t.TempDir()
		var paths []string
		for _, m := range container.VolumeMounts {
			at := filepath.Join(dir, m.MountPath)
			if err := os.MkdirAll(at, 0o700); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, m.MountPath, at)
		}
		var args []string
		for _, a := range container.Args {
			args = append(args, strings.NewReplacer(paths...).Replace(a))
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
			t.Errorf("%s: exit code %d, %v: %s%s", what, code, err, out.String(), errs.String())
		}
		// With a volume the archive was made in it, so that a run that is killed leaves what the
		// next one goes on with. Elsewhere its file would have to be copied.
		_, made := os.Stat(filepath.Join(dir, "backups", ".fleet-backup.lock"))
		_, elsewhere := os.Stat(filepath.Join(dir, "work", ".fleet-backup.lock"))
		if (made == nil) != (what == "a volume") || (elsewhere == nil) != (what == "a store") {
			t.Errorf("%s: made in it: %v, elsewhere: %v", what, made, elsewhere)
		}
	}
}

// cronJobOf is the CronJob of the rendered chart with values of its backups.
func cronJobOf(t *testing.T, values chart.Values) (job batchv1.CronJob) {
	t.Helper()
	objects, err := chart.Render(chart.Options{Profile: "lab", Values: chart.Values{"callout": chart.Values{"enabled": false}, "backup": values}})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.GetKind() != "CronJob" {
			continue
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &job); err != nil {
			t.Fatal(err)
		}
	}
	return job
}
