package rollouts

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/lint"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

// fromStdin is the file name that means standard input.
const fromStdin = "-"

// planFlags are the flags of plan.
type planFlags struct {
	about
	file    string
	devices bool
}

// namesShown is how many devices of a batch are named, where not all are.
const namesShown = 5

func (e env) newPlan() *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use:   "plan -f FILE | plan " + argsHelp,
		Short: "Show what a rollout would do: batches, devices, disruptions and time",
		Long: `Show what a rollout would do: batches, devices, disruptions and time. Nothing is
changed: the operator's own decisions are asked in memory, over the log as it is now.

-f FILE (or - for standard input) tells what applying the manifest would begin. Without
it: the rollout that is on its way, as it was frozen when it began, and where none is,
what a next revision would do, whatever it says.

Which devices are online and match can change until the rollout begins.`,
		Example: `  fleetctl rollout plan -f web.yaml
  kustomize build . | fleetctl rollout plan web -f - --devices
  fleetctl rollout plan deployment/web -n shop -o json | jq '.batches[].devices'`,
		Args: cobra.RangeArgs(0, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.plan(cmd.Context(), cmd, f, args)
		},
	}
	e.bind(cmd, &f.about)
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "filename", "f", "", "the manifest of a Deployment, or - for standard input")
	flags.BoolVar(&f.devices, "devices", false, "name all devices")
	_ = cmd.MarkFlagFilename("filename", "json", "yaml", "yml")
	return cmd
}

func (e env) plan(ctx context.Context, cmd *cobra.Command, f planFlags, args []string) error {
	try := e.s.Program() + " rollout plan -f web.yaml, or " + e.s.Program() + " rollout plan deployment/web"
	if len(args) == 0 && f.file == "" {
		return cli.Misused(errors.New("plan takes a manifest or a Deployment's name"), try)
	}
	var manifest *v1alpha1.Deployment
	if len(args) == 0 {
		args = []string{"deployment/any"} // the manifest names it
	}
	named := cmd.Flags().NArg() > 0
	if err := f.read(e.s, cmd.Name(), args); err != nil {
		return err
	}
	if f.file != "" {
		only := ""
		if named {
			only = f.key.Name
		}
		m, err := readManifest(cmd.InOrStdin(), f.file, only)
		if err != nil {
			return cli.Failed(err, e.s.Program()+" lint -f "+f.file)
		}
		if m.Namespace == "" {
			m.Namespace = f.namespace
		}
		manifest, f.key = &m, fleet.Key{Namespace: m.Namespace, Name: m.Name}
	}
	nc, js, err := e.c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	v, err := e.view(ctx, nc, js, query.Moment{})
	if err != nil {
		return err
	}
	d := v.Deployments[f.key]
	most := namesShown
	if f.devices {
		most = len(v.Devices)
	}
	cat := resource.NewCatalog(v, e.s.Now())
	var p resource.Plan
	switch {
	case manifest != nil:
		p, err = cat.PlanManifest(*manifest, most)
	case d == nil || d.Lifecycle == "":
		return e.unknown(ctx, nc, js, f.key, "plan", query.Moment{})
	case d.Lifecycle != fleet.Applied:
		return cli.Failed(fmt.Errorf("%s has no custom resource any more, so nothing is planned", f.key), "the plan of its manifest: "+e.s.Program()+" rollout plan -f FILE")
	default:
		p, err = cat.PlanNext(f.key, most)
	}
	if err != nil {
		return cli.Failed(err, "mend the manifest: "+e.s.Program()+" lint -f FILE")
	}
	if f.asJSON {
		return document(e.s, p)
	}
	render.RolloutPlan(e.s, p)
	return nil
}

// readManifest reads the one Deployment of a file, or the one of a name.
func readManifest(stdin io.Reader, file, name string) (d v1alpha1.Deployment, err error) {
	var text []byte
	if file == fromStdin {
		text, err = io.ReadAll(stdin)
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return d, err
	}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	var found []v1alpha1.Deployment
	var names []string
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return d, fmt.Errorf("%s: %w", file, err)
		}
		var one v1alpha1.Deployment
		if err := yaml.Unmarshal(document, &one.TypeMeta); err != nil {
			return d, fmt.Errorf("%s: %w", file, err)
		}
		if one.Kind != "Deployment" || one.GroupVersionKind().Group != v1alpha1.GroupName {
			continue
		}
		var report lint.Report
		if err := report.Add(file, bytes.NewReader(document)); err != nil {
			return d, err
		}
		for _, f := range report.Findings {
			if f.Kind == lint.Invalid {
				return d, fmt.Errorf("%s: %s: %s", f.File, f.Object, f.Message)
			}
		}
		if err := yaml.Unmarshal(document, &one); err != nil {
			return d, fmt.Errorf("%s: %w", file, err)
		}
		if names = append(names, one.Name); name == "" || one.Name == name {
			found = append(found, one)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], eventlog.CheckName("deployment", found[0].Name)
	case len(names) == 0:
		return d, fmt.Errorf("%s has no Deployment of %s", file, v1alpha1.GroupName)
	case len(found) == 0:
		return d, fmt.Errorf("%s has no Deployment %s; it has %s", file, name, strings.Join(names, ", "))
	}
	return d, fmt.Errorf("%s has %d Deployments: name one of %s", file, len(found), strings.Join(names, ", "))
}
