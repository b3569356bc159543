package rules

func deviceAlerts() []alert {
	const offline = `max(fleet_operator_devices{online="False"}) / (sum(max by (online) (fleet_operator_devices)) > 0)`
	return []alert{
		{
			name: "FleetDevicesOffline", severity: Warning, lasts: "15m",
			expr:    offline + " > 0.1",
			summary: "{{ $value | humanizePercentage }} of the devices have been offline for 15 minutes.",
			act:     "Find what they share with kubectl get fleetdev -o wide --show-labels: a site, a network, an image. Their containers run on; what they are to run waits for them.",
		},
		{
			name: "FleetMostDevicesOffline", severity: Critical, lasts: "5m",
			expr:    offline + " > 0.5",
			summary: "{{ $value | humanizePercentage }} of the devices are offline.",
			act:     "Suspect what all devices share before the devices: the NATS servers, their certificates, the auth callout, the identity provider. Pause rollouts with fleetctl rollout pause until it is found.",
		},
		{
			name: "FleetEnginesDown", severity: Warning, lasts: "15m",
			expr:    "max(fleet_agents_engines_down) / (max(sum by (instance) (fleet_agents_heard)) > 0) > 0.02",
			summary: "On {{ $value | humanizePercentage }} of the devices Podman has not answered their agent for 15 minutes.",
			act:     "Run fleetctl log --type agent.step_failed to see which and why. Suspect what they share: an update of the system, a full disk.",
		},
		{
			name: "FleetClocksOff", severity: Warning, lasts: "30m",
			expr:    "max(fleet_agents_clocks_off) > 0",
			summary: "{{ $value }} devices have a clock that is more than 5 seconds off.",
			act:     "Run fleetctl doctor, which names the worst. Tokens and certificates are refused where a clock is far off: look at the devices' NTP.",
		},
		{
			name: "FleetDeploymentsOrphaned", severity: Warning, lasts: "5m",
			expr:    "max(fleet_operator_orphaned_deployments) > 0",
			summary: "{{ $value }} Deployments have lost their object in Kubernetes, and nobody was seen deleting it.",
			act:     "Apply the same files again, or what fleetctl restore --crs writes. Devices keep what they run; fleetctl withdraw takes an orphan off them for good.",
		},
		{
			name: "FleetDeviceAccessRevoked", severity: Warning,
			expr:    "max(fleet_operator_access_revoked_devices) - max(fleet_operator_access_revoked_devices offset 15m) > 0",
			summary: "In the last 15 minutes {{ $value }} devices lost their access, by a person or because they flooded the log.",
			act:     "Run fleetctl log --type access to see which and why. Where a device flooded the log, find out what is wrong with it before fleetctl device allow ID lets it in again.",
		},
		{
			name: "FleetDeviceKeysEnd", severity: Warning, lasts: "1h",
			expr:    "max by (reason) (fleet_operator_key_expiring_devices) > 0",
			summary: "{{ $value }} devices have a key that ends within 30 days or has ended: {{ $labels.reason }}.",
			act:     "Give them new keys with fleetctl enroll rotate while they are connected. A device whose key has ended does not come back by itself.",
		},
	}
}
