package manifests

import (
	"bytes"
	_ "embed"
)

//go:embed argocd/health.yaml
var argoHealth []byte

// ArgoHealth returns the patch of Argo CD's ConfigMap argocd-cm by which Argo CD
// reads the health of Deployments and DisruptionBudgets, as YAML.
func ArgoHealth() []byte { return bytes.Clone(argoHealth) }
