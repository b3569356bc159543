package operator

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator/status"
)

const (
	logCheck = 15 * time.Second // how often the log's size is looked at
	logAlarm = 0.8              // share of the log's size
)

// Reasons of the operator's own Events.
const (
	// ReasonUnknownFields: a Deployment's score has fields that this version does
	// not know.
	ReasonUnknownFields = "UnknownFields"
	// ReasonOrphaned: a Deployment's CR is missing, though nobody was seen
	// deleting it; its devices are left as they are.
	ReasonOrphaned = "DeploymentOrphaned"
	// ReasonDeviceReturns: a Device was deleted and is made again, because the
	// device is still of the fleet.
	ReasonDeviceReturns = "DeviceReturns"
	// ReasonLogFull: the log takes no more events.
	ReasonLogFull = status.ReasonLogFull
	// ReasonLogReserve: the log has reached its size, and its reserve was opened.
	ReasonLogReserve = "LogReserveOpen"
	// ReasonLogFilling: the log has passed 80 % of its size.
	ReasonLogFilling = "LogFilling"
)

// appended is told what the log acknowledged: only then is it said elsewhere.
func (r *replica) appended(drafts []eventlog.Draft) {
	r.metrics.appended(drafts)
	r.hasRoom()
	for _, d := range drafts {
		if d.Type != eventlog.DeploymentOrphaned {
			continue
		}
		a, err := eventlog.ParseSubject(d.Subject)
		if err != nil {
			continue // Decide made it of the same package
		}
		r.options.Logger.Warn("a Deployment is orphaned: its CR is missing, its devices are left as they are", "deployment", a.Namespace+"/"+a.Name)
		r.events.Warn(ReasonOrphaned, "Orphan", fmt.Sprintf(
			"Deployment %s/%s is in the log and its object is missing, though nobody was seen deleting it. Its devices go on running it. "+
				"Apply it again to adopt it, or end it by: fleetctl withdraw deployment/%s -n %s", a.Namespace, a.Name, a.Name, a.Namespace),
			&corev1.ObjectReference{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Deployment", Namespace: a.Namespace, Name: a.Name})
	}
}

// watchLog looks at the log's size until the context ends.
func (r *replica) watchLog(ctx context.Context) error {
	tick := time.NewTicker(logCheck)
	defer tick.Stop()
	alarmed, said := false, false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		info, err := logstream.Inspect(ctx, r.js)
		if err != nil {
			r.options.Logger.Debug("the log's size is not known", "error", err)
			continue
		}
		ratio := 0.0
		if info.MaxBytes > 0 {
			ratio = float64(info.Bytes) / float64(info.MaxBytes)
		}
		r.metrics.logBytes.Set(float64(info.Bytes))
		r.metrics.logRatio.Set(ratio)
		r.metrics.logEvents.Set(float64(info.Last))
		if ratio >= logAlarm && !alarmed {
			r.options.Logger.Error("the log is filling up: raise --log-max-bytes", "bytes", info.Bytes, "max_bytes", info.MaxBytes)
		}
		if ratio >= logAlarm && !said && r.leads.Load() { // one Event, though every replica looks
			r.events.Warn(ReasonLogFilling, "Append", fmt.Sprintf("the log has %d of %d bytes; raise --log-max-bytes", info.Bytes, info.MaxBytes), nil)
		}
		alarmed = ratio >= logAlarm
		said = alarmed && r.leads.Load()
	}
}
