package rules

func platformAlerts() []alert {
	return []alert{
		{
			name: "FleetNoLeader", severity: Critical, lasts: "2m",
			expr:    "sum(fleet_operator_leader) == 0 or absent(fleet_operator_leader)",
			summary: "No replica of the operator leads: nothing is decided, and no status is written.",
			act:     "Look at the replicas: kubectl get lease, their logs, and whether they reach NATS and the Kubernetes API. Devices keep what they run.",
		},
		{
			name: "FleetOperatorBehind", severity: Critical, lasts: "5m",
			expr:    "max by (instance) (fleet_operator_fold_lag_seconds) > 60",
			summary: "The operator {{ $labels.instance }} has not folded events of the log up to {{ $value | humanizeDuration }} old: it decides by the past, or not at all.",
			act:     "Look at its log, its CPU and its connection to NATS. If it stands still, restart it: it goes on from the newest checkpoint.",
		},
		{
			name: "FleetAccessBehind", severity: Critical, lasts: "5m",
			expr:    "max by (instance) (fleet_callout_access_lag_seconds) > 60",
			summary: "The auth callout {{ $labels.instance }} has not read for {{ $value | humanizeDuration }} whose access is revoked.",
			act:     "Look at its log and at its connection to the log on NATS. After an hour it lets nobody in by a token.",
		},
		{
			name: "FleetClusterMismatch", severity: Critical, lasts: "1m",
			expr:    "max(fleet_operator_cluster_mismatch) == 1",
			summary: "The event log belongs to another Kubernetes cluster, so the operator decides nothing.",
			act:     "If this cluster is to take the fleet over, start the operator with --adopt-cluster. If not, correct the operator's NATS address.",
		},
		{
			name: "FleetCalloutDown", severity: Critical, lasts: "2m",
			expr:    `max(up{job="fleet-callout"}) == 0 or max(fleet_callout_subscribed) == 0`,
			summary: "No replica of the auth callout takes requests: nobody who needs a token gets in.",
			act:     "Start a replica, and look at its log for what it lacks. Connections go on until their tokens end.",
		},
		{
			name: "FleetCalloutRefusesLogins", severity: Critical, lasts: "10m",
			expr: `
sum(rate(fleet_callout_decisions_total{reason!="Granted"}[10m])) / (sum(rate(fleet_callout_decisions_total[10m])) > 0) > 0.5
and sum(increase(fleet_callout_decisions_total{reason!="Granted"}[10m])) > 10`,
			summary: "The auth callout refuses {{ $value | humanizePercentage }} of the logins.",
			act:     "The dashboard Platform shows the reasons. fleetctl device why ID says why one device is refused; where all are, look at the identity provider and at the clocks.",
		},
		{
			name: "FleetTargetDown", severity: Warning, lasts: "5m",
			expr:    `up{job=~"fleet-(operator|callout)"} == 0`,
			summary: "Prometheus cannot scrape {{ $labels.instance }} of {{ $labels.job }}.",
			act:     "See whether the process runs and whether Prometheus reaches its address. Other alerts are blind to this replica.",
		},
	}
}
