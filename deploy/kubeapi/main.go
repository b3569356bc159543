// Command kubeapi is a real Kubernetes API server in one process, with its
// store: embedded etcd, the generic control plane of k8s.io/kubernetes, and the
// three controllers without which namespaces, service accounts and dependents
// would not behave as anywhere else. It knows no pods, services or nodes.
//
// It is for development and tests: one data directory, one process, one admin.
package main

import (
	"os"
	_ "time/tzdata" // as in kube-apiserver: rules of CRDs ask for time zones
)

func main() {
	os.Exit(execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
