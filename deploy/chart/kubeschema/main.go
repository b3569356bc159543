// Command kubeschema writes what the tests of the chart hold objects against: of Kubernetes'
// own OpenAPI, for some versions, the definitions of the kinds that the chart makes, as JSON
// Schema that refuses unknown fields. It downloads each version's Go module (80 MB unpacked),
// and so is no part of `make generate`:
//
//	go run ./deploy/chart/kubeschema v1.30.14 v1.34.4 v1.37.2
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// kinds that the chart makes, of Kubernetes' own.
var kinds = map[string]bool{
	"v1 ConfigMap": true, "v1 Namespace": true, "v1 Service": true, "v1 ServiceAccount": true,
	"batch/v1 CronJob": true, "apps/v1 Deployment": true, "apps/v1 StatefulSet": true, "policy/v1 PodDisruptionBudget": true,
	"networking.k8s.io/v1 NetworkPolicy": true, "networking.k8s.io/v1 Ingress": true,
	"rbac.authorization.k8s.io/v1 ClusterRole": true, "rbac.authorization.k8s.io/v1 ClusterRoleBinding": true,
	"rbac.authorization.k8s.io/v1 Role": true, "rbac.authorization.k8s.io/v1 RoleBinding": true,
}

func main() {
	dir := flag.String("dir", "deploy/chart/testdata/kubernetes", "where the files are written, one a version")
	flag.Parse()
	for _, version := range flag.Args() {
		if err := write(*dir, version); err != nil {
			fmt.Fprintf(os.Stderr, "kubeschema: %s: %v\n", version, err)
			os.Exit(1)
		}
	}
}

type swagger struct {
	Definitions map[string]map[string]any `json:"definitions"`
}

func write(dir, version string) error {
	out, err := exec.CommandContext(context.Background(), "go", "mod", "download", "-json", "k8s.io/kubernetes@"+version).Output()
	if err != nil {
		return err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(module.Dir, "api", "openapi-spec", "swagger.json"))
	if err != nil {
		return err
	}
	var api swagger
	if err := json.Unmarshal(b, &api); err != nil {
		return err
	}
	roots, definitions := map[string]string{}, map[string]any{}
	for name, d := range api.Definitions {
		if kind := kindOf(d); kinds[kind] {
			roots[kind] = name
			api.take(name, definitions)
		}
	}
	if len(roots) != len(kinds) {
		return fmt.Errorf("it has %d of %d kinds", len(roots), len(kinds))
	}
	b, err = json.MarshalIndent(map[string]any{"kinds": roots, "definitions": definitions}, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, version+".json"), append(b, '\n'), 0o644)
}

// kindOf is "group/version Kind" of a definition; empty where it is of no kind, or of several.
func kindOf(d map[string]any) string {
	all, _ := d["x-kubernetes-group-version-kind"].([]any)
	if len(all) != 1 {
		return ""
	}
	k := all[0].(map[string]any)
	return strings.TrimPrefix(fmt.Sprintf("%s/%s %s", k["group"], k["version"], k["kind"]), "/")
}

const ref = "#/definitions/"

// take adds a definition, and those that it refers to.
func (s swagger) take(name string, taken map[string]any) {
	if taken[name] != nil {
		return
	}
	taken[name] = true // it may refer to itself
	taken[name] = s.schema(s.Definitions[name], taken)
}

func (s swagger) schema(d map[string]any, taken map[string]any) map[string]any {
	if at, ok := d["$ref"].(string); ok {
		s.take(strings.TrimPrefix(at, ref), taken)
		return map[string]any{"$ref": at}
	}
	out := map[string]any{}
	if t, ok := d["type"]; ok {
		out["type"] = t
	}
	if d["format"] == "int-or-string" {
		out["type"] = []string{"string", "integer"}
	}
	if text, _ := d["description"].(string); strings.HasPrefix(text, "Quantity is a fixed-point") {
		out["type"] = []string{"string", "number"}
	}
	if r, ok := d["required"]; ok {
		out["required"] = r
	}
	if properties, ok := d["properties"].(map[string]any); ok {
		kept := map[string]any{}
		for k, p := range properties {
			kept[k] = s.schema(p.(map[string]any), taken)
		}
		out["properties"], out["additionalProperties"] = kept, false
	}
	for _, k := range []string{"items", "additionalProperties"} {
		if inner, ok := d[k].(map[string]any); ok {
			out[k] = s.schema(inner, taken)
		}
	}
	return out
}
