package promtest

import "time"

// of are the labels of the Deployment that the stories are about; two replicas of the
// operator say the same of it.
const of = `deployment_namespace="shop",deployment_name="web",job="fleet-operator"`

// stories has one for each alert: when it fires, and when it ends.
var stories = map[string]story{
	"FleetRolloutPaused": {
		load: `
fleet_rollout_phase{` + of + `,instance="a",phase="Paused"} 0x4 1x20 0x20
fleet_rollout_phase{` + of + `,instance="b",phase="Paused"} 0x4 1x20 0x20
fleet_rollout_waiting{` + of + `,instance="a",reason="AwaitingDevices"} 1x4 stale
fleet_rollout_waiting{` + of + `,instance="a",reason="BatchFailed"} _x5 1x20 stale
fleet_rollout_waiting{` + of + `,instance="b",reason="BatchFailed"} _x5 1x20 stale`,
		quiet: 4 * time.Minute, fires: 8 * time.Minute, clears: 30 * time.Minute,
		summary: "The rollout of shop/web is paused: BatchFailed.",
	},
	"FleetRollbackFailed": {
		load: `
fleet_rollout_phase{` + of + `,instance="a",phase="RollingBack"} 1x4 0x40
fleet_rollout_phase{` + of + `,instance="a",phase="Paused"} 0x4 1x20 0x20
fleet_rollout_waiting{` + of + `,instance="a",reason="RollbackFailed"} _x5 1x20 stale`,
		quiet: 4 * time.Minute, fires: 8 * time.Minute, clears: 30 * time.Minute,
		summary: "The rollback of shop/web failed: devices are not well on what they were given back either.",
	},
	"FleetRolloutRolledBack": {
		load: `
fleet_rollout_phase{` + of + `,instance="a",phase="RolledBack"} 0x9 1x30 0x20
fleet_rollout_phase{` + of + `,instance="b",phase="RolledBack"} 0x9 1x30 0x20`,
		quiet: 20 * time.Minute, fires: 30 * time.Minute, clears: 42 * time.Minute,
		summary: "The rollout of shop/web went back to what ran before, and the spec is not tried again until it changes.",
	},
	"FleetRolloutStalled": {
		load: `
fleet_rollout_waiting{` + of + `,instance="a",reason="AwaitingDevices"} 1x100
fleet_rollout_phase_start_timestamp_seconds{` + of + `,instance="a"} 0x100
fleet_rollout_batch_start_timestamp_seconds{` + of + `,instance="a"} 60x100
fleet_rollout_devices{` + of + `,instance="a",standing="healthy"} 0 4 8 9x59 30x40`,
		quiet: 35 * time.Minute, fires: 50 * time.Minute, clears: 70 * time.Minute,
		summary: "The rollout of shop/web has brought the change to no further device for 30 minutes; it waits: AwaitingDevices.",
	},
	"FleetRolloutAwaitsApproval": {
		load:  `fleet_rollout_waiting{` + of + `,instance="a",reason="AwaitingApproval"} _x10 1x300 stale`,
		quiet: 200 * time.Minute, fires: 260 * time.Minute, clears: 320 * time.Minute,
		summary: "The rollout of shop/web has waited for a person's approval for 4 hours.",
	},
	"FleetDisruptionBudgetExhausted": {
		load: `
fleet_disruption_budget_devices{instance="a",disruption_budget="lab",state="blocked"} 0x5 12x90 0x20
fleet_disruption_budget_devices{instance="a",disruption_budget="lab",state="down"} 0x5 30x90 0x20`,
		quiet: 50 * time.Minute, fires: 80 * time.Minute, clears: 110 * time.Minute,
		summary: "The DisruptionBudget lab has kept 12 devices waiting for an hour.",
	},
	"FleetPropagationBurnsFast": {
		load: `
fleet_assignment_running_seconds_count{instance="a"} 0+10x30 310+10x60 920+10x180
fleet_assignment_running_seconds_bucket{instance="a",le="300.0"} 0+10x30 305+5x60 615+10x180`,
		quiet: 25 * time.Minute, fires: 85 * time.Minute, clears: 140 * time.Minute,
		summary: "46.61% of assignments to online devices take longer than 5 minutes; the objective is 1%.",
	},
	"FleetPropagationBurnsSlowly": {
		step: 5 * time.Minute,
		load: `
fleet_assignment_running_seconds_count{instance="a"} 0+100x2000
fleet_assignment_running_seconds_bucket{instance="a",le="300"} 0+100x100 10097+97x800 87797+100x1100`,
		quiet: 6 * time.Hour, fires: 70 * time.Hour, clears: 82 * time.Hour,
		summary: "For 3 days 2.643% of assignments to online devices have taken longer than 5 minutes; the objective is 1%.",
	},
	"FleetDevicesOffline": {
		load: `
fleet_operator_devices{instance="a",online="True"} 200x9 160x30 200x30
fleet_operator_devices{instance="a",online="False"} 0x9 40x30 0x30
fleet_operator_devices{instance="a",online="Unknown"} 0x70`,
		quiet: 20 * time.Minute, fires: 30 * time.Minute, clears: 45 * time.Minute,
		summary: "20% of the devices have been offline for 15 minutes.",
	},
	"FleetMostDevicesOffline": {
		load: `
fleet_operator_devices{instance="a",online="True"} 200x9 50x30 200x30
fleet_operator_devices{instance="a",online="False"} 0x9 150x30 0x30`,
		quiet: 12 * time.Minute, fires: 20 * time.Minute, clears: 45 * time.Minute,
		summary: "75% of the devices are offline.",
	},
	"FleetDeploymentsOrphaned": {
		load:  `fleet_operator_orphaned_deployments{instance="a"} 0x4 3x20 0x20`,
		quiet: 7 * time.Minute, fires: 12 * time.Minute, clears: 30 * time.Minute,
		summary: "3 Deployments have lost their object in Kubernetes, and nobody was seen deleting it.",
	},
	"FleetDeviceAccessRevoked": {
		load:  `fleet_operator_access_revoked_devices{instance="a"} 1x29 4x60`,
		quiet: 25 * time.Minute, fires: 44 * time.Minute, clears: 60 * time.Minute,
		summary: "In the last 15 minutes 3 devices lost their access, by a person or because they flooded the log.",
	},
	"FleetDeviceKeysEnd": {
		load: `
fleet_operator_key_expiring_devices{instance="a",reason="ExpiresSoon"} 0x9 2x80 0x20
fleet_operator_key_expiring_devices{instance="a",reason="Expired"} 0x120`,
		quiet: 60 * time.Minute, fires: 80 * time.Minute, clears: 100 * time.Minute,
		summary: "2 devices have a key that ends within 30 days or has ended: ExpiresSoon.",
	},
	"FleetLogNearlyFull": {
		load:  `fleet_operator_log_bytes_ratio{instance="a"} 0.5x9 0.85x20 0.4x20`,
		quiet: 12 * time.Minute, fires: 20 * time.Minute, clears: 35 * time.Minute,
		summary: "The event log has used 85% of what it may take.",
	},
	"FleetLogFull": {
		load: `
fleet_operator_log_full{instance="a"} 0x40
fleet_operator_log_reserve_open{instance="a"} 0x9 1x20 0x20`,
		quiet: 9 * time.Minute, fires: 11 * time.Minute, clears: 32 * time.Minute,
		summary: "The event log is full or lives on its reserve: reports of devices are refused, and soon nothing can be decided.",
	},
	"FleetBucketStalled": {
		load:  `fleet_operator_bucket_stalled{instance="a",bucket="device-state"} 0x9 1x20 0x20`,
		quiet: 11 * time.Minute, fires: 15 * time.Minute, clears: 32 * time.Minute,
		summary: "NATS does not copy the log into the bucket device-state, so all that read it see the past.",
	},
	"FleetBucketOutOfService": {
		load:  `fleet_operator_bucket_out_of_service{instance="a",bucket="desired-state"} 0x9 1x20 0x20`,
		quiet: 13 * time.Minute, fires: 18 * time.Minute, clears: 32 * time.Minute,
		summary: "The bucket desired-state is missing, is being rebuilt, or is configured wrongly, so changes of it reach nobody live.",
	},
	"FleetBucketBehind": {
		load:  `fleet_operator_bucket_lag_seconds{instance="a",bucket="device-state"} 0x9 120x20 0x20`,
		quiet: 13 * time.Minute, fires: 18 * time.Minute, clears: 32 * time.Minute,
		summary: "The bucket device-state lacks messages of the log up to 2m 0s old, so all that read it see the past.",
	},
	"FleetSealsBehind": {
		load:  `fleet_operator_seal_lag_seconds{instance="a"} 600x9 7200x30 0x20`,
		quiet: 20 * time.Minute, fires: 30 * time.Minute, clears: 45 * time.Minute,
		summary: "Events of the log up to 2h 0m 0s old have no seal: a change of them would not be seen.",
	},
	"FleetOperatorBehind": {
		load: `
fleet_operator_fold_lag_seconds{instance="a"} 0x9 60+60x20 0x20
fleet_operator_fold_lag_seconds{instance="b"} 0x60`,
		quiet: 14 * time.Minute, fires: 20 * time.Minute, clears: 35 * time.Minute,
		summary: "The operator a has not folded events of the log up to 11m 0s old: it decides by the past, or not at all.",
	},
	"FleetAccessBehind": {
		load:  `fleet_callout_access_lag_seconds{instance="a"} 0x9 60+60x20 0x20`,
		quiet: 14 * time.Minute, fires: 20 * time.Minute, clears: 35 * time.Minute,
		summary: "The auth callout a has not read for 11m 0s whose access is revoked.",
	},
	"FleetEnginesDown": {
		load: `
fleet_agents_engines_down{instance="a"} 1x9 20x30 0x20
fleet_agents_heard{instance="a",figures="yes"} 190x70
fleet_agents_heard{instance="a",figures="no"} 10x70`,
		quiet: 22 * time.Minute, fires: 30 * time.Minute, clears: 45 * time.Minute,
		summary: "On 10% of the devices Podman has not answered their agent for 15 minutes.",
	},
	"FleetClocksOff": {
		load:  `fleet_agents_clocks_off{instance="a"} 0x9 3x50 0x20`,
		quiet: 35 * time.Minute, fires: 50 * time.Minute, clears: 65 * time.Minute,
		summary: "3 devices have a clock that is more than 5 seconds off.",
	},
	"FleetSealBroken": {
		load:  `fleet_operator_seal_broken{instance="a"} 0x9 1x20 0x20`,
		quiet: 9 * time.Minute, fires: 11 * time.Minute, clears: 32 * time.Minute,
		summary: "A seal contradicts the event log: what was sealed has been changed, or the log was replaced.",
	},
	"FleetNoLeader": {
		load: `
fleet_operator_leader{instance="a"} 1x9 0x20 0x20
fleet_operator_leader{instance="b"} 0x29 1x20`,
		quiet: 9 * time.Minute, fires: 15 * time.Minute, clears: 32 * time.Minute,
		summary: "No replica of the operator leads: nothing is decided, and no status is written.",
	},
	"FleetClusterMismatch": {
		load:  `fleet_operator_cluster_mismatch{instance="a"} 0x9 1x20 0x20`,
		quiet: 9 * time.Minute, fires: 12 * time.Minute, clears: 32 * time.Minute,
		summary: "The event log belongs to another Kubernetes cluster, so the operator decides nothing.",
	},
	"FleetCalloutDown": {
		load: `
up{job="fleet-callout",instance="a"} 1x9 0x20 1x20
up{job="fleet-callout",instance="b"} 0x50
fleet_callout_subscribed{job="fleet-callout",instance="a"} 1x9 _x20 1x20`,
		quiet: 9 * time.Minute, fires: 15 * time.Minute, clears: 33 * time.Minute,
		summary: "No replica of the auth callout takes requests: nobody who needs a token gets in.",
	},
	"FleetCalloutRefusesLogins": {
		load: `
fleet_callout_decisions_total{instance="a",reason="Granted"} 0+20x10 200+1x30 230+20x40
fleet_callout_decisions_total{instance="a",reason="TokenExpired"} 0x10 0+19x30 570x40`,
		quiet: 10 * time.Minute, fires: 35 * time.Minute, clears: 60 * time.Minute,
		summary: "The auth callout refuses 95% of the logins.",
	},
	"FleetTargetDown": {
		load:  `up{job="fleet-operator",instance="op-1"} 1x9 0x20 1x20`,
		quiet: 13 * time.Minute, fires: 18 * time.Minute, clears: 32 * time.Minute,
		summary: "Prometheus cannot scrape op-1 of fleet-operator.",
	},
}
