package rules

func logAlerts() []alert {
	return []alert{
		{
			name: "FleetLogNearlyFull", severity: Warning, lasts: "5m",
			expr:    "max(fleet_operator_log_bytes_ratio) > 0.8",
			summary: "The event log has used {{ $value | humanizePercentage }} of what it may take.",
			act:     "Raise the operator's --log-max-bytes, and find out who writes so much: the dashboard Platform shows the growth.",
		},
		{
			name: "FleetLogFull", severity: Critical,
			expr:    "max(fleet_operator_log_full) == 1 or max(fleet_operator_log_reserve_open) == 1",
			summary: "The event log is full or lives on its reserve: reports of devices are refused, and soon nothing can be decided.",
			act:     "Raise the operator's --log-max-bytes now. Devices keep what they run.",
		},
		{
			name: "FleetBucketStalled", severity: Critical, lasts: "3m",
			expr:    "max by (bucket) (fleet_operator_bucket_stalled) == 1",
			summary: "NATS does not copy the log into the bucket {{ $labels.bucket }}, so all that read it see the past.",
			act:     "The operator moves a bucket past a message that the server refuses within a minute. As it has not, look at the NATS servers' logs and disks, then run fleetctl rebuild {{ $labels.bucket }}.",
		},
		{
			name: "FleetBucketOutOfService", severity: Critical, lasts: "5m",
			expr:    "max by (bucket) (fleet_operator_bucket_out_of_service) == 1",
			summary: "The bucket {{ $labels.bucket }} is missing, is being rebuilt, or is configured wrongly, so changes of it reach nobody live.",
			act:     "The operator that leads mends it within seconds where it can. As it has not, look at its log and at the NATS servers, then run fleetctl rebuild {{ $labels.bucket }}.",
		},
		{
			name: "FleetBucketBehind", severity: Warning, lasts: "5m",
			expr:    "max by (bucket) (fleet_operator_bucket_lag_seconds) > 60",
			summary: "The bucket {{ $labels.bucket }} lacks messages of the log up to {{ $value | humanizeDuration }} old, so all that read it see the past.",
			act:     "Look at the load, the disks and the logs of the NATS servers; FleetBucketStalled fires where the bucket does not move at all.",
		},
		{
			name: "FleetSealsBehind", severity: Warning, lasts: "15m",
			expr:    "max(fleet_operator_seal_lag_seconds) > 3600",
			summary: "Events of the log up to {{ $value | humanizeDuration }} old have no seal: a change of them would not be seen.",
			act:     "Look at the log of the operator that leads: it says why it does not seal. Where --seal-interval is longer than an hour, change the alert.",
		},
		{
			name: "FleetSealBroken", severity: Critical,
			expr:    "max(fleet_operator_seal_broken) == 1",
			summary: "A seal contradicts the event log: what was sealed has been changed, or the log was replaced.",
			act:     "Run fleetctl verify: it names the messages. Keep the NATS servers' disks as they are, and take the fleet for tampered with until you know.",
		},
	}
}
