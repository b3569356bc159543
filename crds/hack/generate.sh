#!/usr/bin/env bash
# Generates what is derived from the Go types of v1alpha1: deep copies, the
# CRDs in manifests/, and clientset, listers, informers and apply
# configurations in client/. Running it again changes nothing; `make verify`
# checks that. The tools are pinned in tools/go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."
export GOWORK=off

pkg=fleet.nationtech.io/crds
header=hack/boilerplate.go.txt
tool() { go tool -modfile=../tools/go.mod "$@"; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

tool controller-gen object:headerFile=$header paths=./v1alpha1
tool controller-gen crd paths=./v1alpha1 output:crd:dir="$out/crds"
rm -f manifests/*.yaml
go run ./hack/crdgen "$out/crds" manifests

tool applyconfiguration-gen --go-header-file $header \
	--output-dir "$out/client/applyconfiguration" --output-pkg $pkg/client/applyconfiguration \
	$pkg/v1alpha1
tool client-gen --go-header-file $header --clientset-name versioned \
	--input-base "" --input $pkg/v1alpha1 \
	--apply-configuration-package $pkg/client/applyconfiguration \
	--output-dir "$out/client/clientset" --output-pkg $pkg/client/clientset
tool lister-gen --go-header-file $header \
	--output-dir "$out/client/listers" --output-pkg $pkg/client/listers \
	$pkg/v1alpha1
tool informer-gen --go-header-file $header \
	--versioned-clientset-package $pkg/client/clientset/versioned \
	--listers-package $pkg/client/listers \
	--output-dir "$out/client/informers" --output-pkg $pkg/client/informers \
	$pkg/v1alpha1

rm -rf client
mv "$out/client" client
