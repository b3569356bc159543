package samples_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/crds/v1alpha1"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

// Each sample decodes strictly, is accepted by a real API, and publishes no
// fixed host port, since several devices can share one machine.
func TestSamplesRunAnywhere(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			in, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var deployment v1alpha1.Deployment
			if err := yaml.UnmarshalStrict(in, &deployment); err != nil {
				t.Fatal(err)
			}
			services, err := deployment.Spec.Score.PodmanV0()
			if err != nil {
				t.Fatal(err)
			}
			for _, service := range services {
				for _, port := range service.Ports {
					if port != "8080" {
						t.Errorf("service %s publishes %q; a sample takes a free host port", service.Name, port)
					}
				}
			}
			client := versioned.NewForConfigOrDie(localapitest.Shared(t).Config)
			_, err = client.FleetV1alpha1().Deployments(deployment.Namespace).Create(context.Background(), &deployment,
				metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
