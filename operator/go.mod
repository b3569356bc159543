module fleet.nationtech.io/operator

go 1.26.0

require (
	fleet.nationtech.io/crds v0.0.0
	fleet.nationtech.io/eventlog v0.0.0
	fleet.nationtech.io/projections v0.0.0
	github.com/google/go-cmp v0.7.0
	k8s.io/api v0.37.2
	k8s.io/apimachinery v0.37.2
	k8s.io/client-go v0.37.2
	pgregory.net/rapid v1.3.0
)

replace (
	fleet.nationtech.io/crds => ../crds
	fleet.nationtech.io/eventlog => ../eventlog
	fleet.nationtech.io/projections => ../projections
)
