// crdgen puts our CEL rules into the CRDs that controller-gen made:
//
//	crdgen FROM TO
//
// reads every .yaml in folder FROM and writes it, rules included, to folder TO, and
// to its folder policies the policy that warns of fields that the schema lacks.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/internal/rules"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "crdgen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: crdgen FROM TO")
	}
	files, err := filepath.Glob(filepath.Join(args[0], "*.yaml"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no .yaml in %s", args[0])
	}
	for _, file := range files {
		if err := convert(file, filepath.Join(args[1], filepath.Base(file))); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
	}
	return nil
}

func convert(from, to string) error {
	in, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(in, &crd); err != nil {
		return err
	}
	if err := rules.Apply(&crd); err != nil {
		return err
	}
	out, err := yaml.Marshal(manifest{TypeMeta: crd.TypeMeta, Metadata: metadata{Name: crd.Name, Annotations: crd.Annotations}, Spec: crd.Spec})
	if err != nil {
		return err
	}
	if err := write(to, out); err != nil || crd.Spec.Names.Kind != "Deployment" {
		return err
	}
	policy, err := rules.UnknownFields(&crd)
	if err != nil {
		return err
	}
	return write(filepath.Join(filepath.Dir(to), "policies", "unknown-fields.yaml"), policy)
}

func write(to string, out []byte) error {
	return os.WriteFile(to, append([]byte("# Made by hack/generate.sh from v1alpha1/ and internal/rules/. Don't edit.\n"), out...), 0o644)
}
