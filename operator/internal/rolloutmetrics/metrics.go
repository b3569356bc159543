// Package rolloutmetrics measures rollouts for Prometheus: how each stands, what each has
// waited for, and how long a change takes to reach the devices. A scrape costs by
// Deployment and by DisruptionBudget, and never by device.
package rolloutmetrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/projections/fleet"
)

// Labels of a Deployment. Prometheus itself sets a label namespace on all that it scrapes.
const (
	labelNamespace = "deployment_namespace"
	labelName      = "deployment_name"
)

func perDeployment(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("fleet_rollout_"+name, help, append([]string{labelNamespace, labelName}, labels...), nil)
}

var (
	descPhase        = perDeployment("phase", "1 for the phase of a Deployment's rollout, 0 for the others.", "phase")
	descBatch        = perDeployment("batch", "Batch of the rollout that is open, from 1.")
	descBatches      = perDeployment("batches", "Batches of the rollout.")
	descRevision     = perDeployment("revision", "Revision that the rollout brings to the devices.")
	descSpecRevision = perDeployment("spec_revision", "Revision of the Deployment's spec.")
	descHeld         = perDeployment("held", "1 while a person holds the rollout, or spec.rollout.paused does.")
	descDevices      = perDeployment("devices", "Devices that match the Deployment, by how they stand in the rollout. Their sum is the number of devices that match.", "standing")
	descUnavailable  = perDeployment("unavailable_devices", "Devices that are unavailable through the rollout.")
	descMost         = perDeployment("max_unavailable_devices", "Devices that may be unavailable through the rollout at a time.")
	descBatchDevices = perDeployment("batch_devices", "Devices of the open batch, by how they count in it: waiting for the target, open (given it, and not judged), proven or bad. Absent while no batch is open.", "class")
	descPhaseStart   = perDeployment("phase_start_timestamp_seconds", "When the present phase of the rollout began, by the log's clock.")
	descBatchStart   = perDeployment("batch_start_timestamp_seconds", "When the open batch was opened, or the rollout resumed, by the log's clock.")
	descWaiting      = perDeployment("waiting", "1 for what a rollout that is not through waits for now: the reason in status.rollout.", "reason")
	descWaited       = perDeployment("wait_seconds_total", "Time that the rollout waited, by what it waited for, by the log's clock and to the second. Grows on the leader alone, and ends with the Deployment.", "reason")

	descBudget = prometheus.NewDesc("fleet_disruption_budget_devices",
		"Devices of a DisruptionBudget, all its groups together: selected by it, down, allowed to be down, and blocked, which wait for it.", []string{"disruption_budget", "state"}, nil)
)

func descriptions() []*prometheus.Desc {
	return []*prometheus.Desc{
		descPhase, descBatch, descBatches, descRevision, descSpecRevision, descHeld, descDevices, descUnavailable, descMost,
		descBatchDevices, descPhaseStart, descBatchStart, descWaiting, descWaited, descBudget,
	}
}

// phases are the states of fleet_rollout_phase.
var phases = []fleet.Phase{
	fleet.PhaseProgressing, fleet.PhaseCompleted, fleet.PhasePaused, fleet.PhaseRollingBack, fleet.PhaseRolledBack, fleet.PhaseAborted,
}

// seconds are the buckets of what takes a tenth of a second on a good day, and a week
// where a device is away.
var seconds = []float64{
	0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 2 * 3600, 6 * 3600, 12 * 3600, 24 * 3600, 3 * 24 * 3600, 7 * 24 * 3600,
}

// lived are the metrics of events as they are folded.
type lived struct {
	events      *prometheus.CounterVec
	propagation prometheus.Histogram
	running     prometheus.Histogram
}

func newLived(reg prometheus.Registerer) lived {
	const live = " What the log held when this replica began to follow it does not count."
	m := lived{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_rollout_events_total",
			Help: "Events of rollouts that the log got, by type and reason." + live,
		}, []string{"type", "reason"}),
		propagation: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fleet_change_propagation_seconds", Buckets: seconds,
			Help: "Time from when the log got a revision of a Deployment to the first report of a device that it runs that revision, once for each device." + live,
		}),
		running: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fleet_assignment_running_seconds", Buckets: seconds,
			Help: "Time from when the log got what a device is to run to the report that the device runs it, for devices that were online then." + live,
		}),
	}
	reg.MustRegister(m.events, m.propagation, m.running)
	return m
}
