package install

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/cluster"
)

// balancer waits until the cluster's load balancer says where devices come in, and tells
// it: a person has devices.host lead there.
//
// Errors: a *CheckError where it gives no address.
func (r *run) balancer(ctx context.Context) error {
	if r.settings.Devices.Expose != cluster.ExposeLoadBalancer {
		return nil
	}
	within := min(r.Timeout, outsideTimeout)
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		found, err := r.balancerAddresses(ctx)
		if ctx.Err() != nil {
			return &CheckError{
				"Service " + names.Devices + " has no address", fmt.Errorf("the cluster gave it none within %s", within),
				"Install a provider of load balancers, such as MetalLB, or use --set devices.expose=nodePort. Then install again.",
			}
		}
		if err != nil {
			return err
		}
		if len(found) > 0 {
			r.say("check", "%s", balanced(found, r.settings.Devices.Host))
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(tryEvery):
		}
	}
}

// balancerAddresses are the names and addresses that the load balancer has so far.
func (r *run) balancerAddresses(ctx context.Context) ([]string, error) {
	there, err := r.applier.Get(ctx, Ref{"v1", "Service", r.Namespace, names.Devices}.Object())
	if err != nil {
		return nil, err
	}
	if there == nil {
		return nil, errors.New("service " + names.Devices + " is not there any more")
	}
	var service corev1.Service
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(there.Object, &service); err != nil {
		return nil, fmt.Errorf("%s: %w", apply.Name(there), err)
	}
	var all []string
	for _, i := range service.Status.LoadBalancer.Ingress {
		switch {
		case i.Hostname != "":
			all = append(all, i.Hostname)
		case i.IP != "":
			all = append(all, i.IP)
		}
	}
	return all, nil
}

// balanced says where devices come in, and what a person has to do for it.
func balanced(at []string, host string) string {
	sentence := "The load balancer has " + strings.Join(at, " and ")
	switch {
	case host == "" && strings.Contains(at[0], ":"): // the values take no such address
		return sentence + ". Give a name that leads there: --set devices.host=NAME. Then install again."
	case host == "":
		return sentence + ". Give what devices use, that or a name that leads there: --set devices.host=" + at[0] + ". Then install again."
	case slices.Contains(at, host):
		return sentence + "."
	}
	return sentence + ". " + host + " must lead there."
}
