package install

import "strings"

// refusals are what an API server or its admission says, and what to do about it.
var refusals = []struct{ said, remedy string }{
	{"provided port is already allocated", "Choose other ports of the nodes: --set devices.nodePort.nats=PORT,devices.nodePort.websocket=PORT."},
	{"attempting to grant RBAC permissions not currently held", "Install as somebody who has these rights, such as a cluster-admin."},
	{"exceeded quota", "Raise the namespace's ResourceQuota, or ask for less by --set resources of that part."},
	{"is being terminated", "Wait until the namespace is gone."},
	{"admission webhook", "A policy of the cluster refuses it. Change the value that it names, or ask the cluster's administrator."},
	{"ValidatingAdmissionPolicy", "A policy of the cluster refuses it. Change the value that it names, or ask the cluster's administrator."},
	{"certificate signed by unknown authority", "The kubeconfig has another cluster's certificate authority: --kubeconfig, --kube-context."},
	{"connection refused", "Check that the cluster runs and that the kubeconfig has its address: kubectl version."},
	{"no such host", "Check that the cluster runs and that the kubeconfig has its address: kubectl version."},
}

// Remedy is what to do about an error of the Kubernetes API; empty where it is not
// known.
func Remedy(err error) string {
	for _, r := range refusals {
		if strings.Contains(err.Error(), r.said) {
			return r.remedy
		}
	}
	return ""
}
