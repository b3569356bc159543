package eventlog

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Strategies of a rollout.
const (
	StrategyBatched   = "Batched"
	StrategyImmediate = "Immediate"
)

// What a rollout does about a batch that failed.
const (
	OnFailurePause    = "Pause"
	OnFailureRollback = "Rollback"
	OnFailureContinue = "Continue"
)

// Whether a batch is judged while a device of it is offline.
const (
	OfflineSkip = "Skip"
	OfflineWait = "Wait"
)

// Who lets a rollout go on after a batch.
const (
	ApprovalAutomatic = "Automatic"
	ApprovalManual    = "Manual"
)

// RolloutSettings is spec.rollout in the JSON of the custom resource, as its author
// wrote it: what was not said is absent. projections/rollout fills in the defaults.
type RolloutSettings struct {
	Strategy         string          `json:"strategy,omitempty"`
	Batches          []BatchSettings `json:"batches,omitempty"`
	SuccessThreshold *Amount         `json:"successThreshold,omitempty"`
	MaxUnavailable   *Amount         `json:"maxUnavailable,omitempty"`
	ProgressDeadline *Duration       `json:"progressDeadline,omitempty"`
	OfflineDevices   string          `json:"offlineDevices,omitempty"`
	OnFailure        string          `json:"onFailure,omitempty"`
	Paused           bool            `json:"paused,omitempty"`
	DependsOn        []string        `json:"dependsOn,omitempty"` // names in the same namespace
	Windows          []Window        `json:"windows,omitempty"`
	Rate             *Rate           `json:"rate,omitempty"`
}

// BatchSettings is one batch of a rollout. It has a size, a selector, or (the last
// one) neither.
type BatchSettings struct {
	Size     *Amount   `json:"size,omitempty"` // cumulative
	Selector *Selector `json:"selector,omitempty"`
	Soak     *Duration `json:"soak,omitempty"`
	Approval string    `json:"approval,omitempty"`
	FourEyes bool      `json:"fourEyes,omitempty"`
	Gates    []Gate    `json:"gates,omitempty"`
}

// Gate is a question that must be answered well before a batch succeeds.
type Gate struct {
	Name       string          `json:"name"` // unique in its batch
	Prometheus *PrometheusGate `json:"prometheus,omitempty"`
}

// PrometheusGate asks a Prometheus server. At least one of Max and Min is set; they are
// numbers in decimal.
type PrometheusGate struct {
	Server string    `json:"server"` // by the name that the operator gave it
	Query  string    `json:"query"`
	Max    string    `json:"max,omitempty"`
	Min    string    `json:"min,omitempty"`
	For    *Duration `json:"for,omitempty"` // for so long it must hold; nil: projections/rollout's default
}

// Amount is a number of devices, or a percentage: in JSON 5 or "10%".
type Amount struct {
	N       int
	Percent bool
}

// Of gives the number that an amount is of n devices; percentages round up.
func (a Amount) Of(n int) int {
	if !a.Percent {
		return a.N
	}
	return (a.N*n + 99) / 100
}

// String is 5 or 10%.
func (a Amount) String() string {
	if a.Percent {
		return strconv.Itoa(a.N) + "%"
	}
	return strconv.Itoa(a.N)
}

// MarshalJSON writes 5 or "10%".
func (a Amount) MarshalJSON() ([]byte, error) {
	if a.Percent {
		return json.Marshal(a.String())
	}
	return json.Marshal(a.N)
}

// UnmarshalJSON reads 5, "5" or "10%".
func (a *Amount) UnmarshalJSON(b []byte) error {
	s := string(b)
	if strings.HasPrefix(s, `"`) {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	}
	number, percent := strings.CutSuffix(s, "%")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is neither a number of devices nor a percentage such as 10%%", s)
	}
	*a = Amount{N: n, Percent: percent}
	return nil
}

// Duration is a time.Duration that is written as in 1h30m.
type Duration time.Duration

// MarshalJSON writes the duration as time.Duration.String does.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads what time.ParseDuration reads; negative ones are refused.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("a duration must be a string such as 5m: %w", err)
	}
	t, err := time.ParseDuration(s)
	if err != nil {
		return err
	}
	if t < 0 {
		return fmt.Errorf("a duration must not be negative: %s", s)
	}
	*d = Duration(t)
	return nil
}

// Budget is the payload of budget.applied: a DisruptionBudget's spec as the operator
// saw it. Exactly one of MaxUnavailable and MinAvailable is set.
type Budget struct {
	UID            string   `json:"uid"`
	Generation     int64    `json:"generation"`
	Selector       Selector `json:"selector"`
	MaxUnavailable *Amount  `json:"maxUnavailable,omitempty"`
	MinAvailable   *Amount  `json:"minAvailable,omitempty"`
	// GroupBy are label keys, at most 4: devices with the same values of them share one
	// budget. A label that a device does not have counts as the empty value.
	GroupBy []string `json:"groupBy,omitempty"`
	// Problem is why the budget binds nothing; empty: it binds.
	Problem string `json:"problem,omitempty"`
}

// BudgetEnd is the payload of budget.deleted.
type BudgetEnd struct {
	UID    string `json:"uid,omitempty"`
	Reason string `json:"reason"` // ReasonBudgetDeleted or ReasonBudgetMissing
}

// Reasons of budget.deleted. One whose object is missing, though nobody was seen
// deleting it, binds nothing either; a restore of the custom resources writes it.
const (
	ReasonBudgetDeleted = "CRDeleted"
	ReasonBudgetMissing = "CRMissing"
)

// Window is a maintenance window, in the JSON of the custom resource.
type Window struct {
	Schedule string   `json:"schedule"`           // cron, five fields
	TimeZone string   `json:"timeZone,omitempty"` // of the IANA database; empty: UTC
	Duration Duration `json:"duration"`           // for so long it is open after each start
}

// Rate is how many devices are given something in how much time, in the JSON of the
// custom resource.
type Rate struct {
	Devices  int           `json:"devices"`
	Per      *Duration     `json:"per,omitempty"` // DefaultRatePer
	Increase *RateIncrease `json:"increase,omitempty"`
}

// RateIncrease lets a rate grow each time that so many more devices succeeded.
type RateIncrease struct {
	AfterSucceeded int `json:"afterSucceeded"`
	Percent        int `json:"percent"`
	MaxDevices     int `json:"maxDevices,omitempty"` // the most devices in the rate's time; 0: MaxRateDevices
}

const (
	// DefaultRatePer is a rate's time where it says none.
	DefaultRatePer = Duration(time.Minute)
	// MaxRateDevices is the most devices of a rate.
	MaxRateDevices = 1_000_000
	// rateBurst is the time in which devices are given something at once rather than one
	// after the other.
	rateBurst = time.Second
)

// Interval is the time that each device takes of the rate once so many devices
// succeeded: at least a nanosecond.
func (r *Rate) Interval(succeeded int) time.Duration {
	per := DefaultRatePer
	if r.Per != nil {
		per = *r.Per
	}
	return max(1, time.Duration(per)/time.Duration(r.Now(succeeded)))
}

// Now is how many devices there are in the rate's time once so many devices succeeded.
func (r *Rate) Now(succeeded int) int {
	n := min(max(1, r.Devices), MaxRateDevices)
	up := r.Increase
	if up == nil || up.AfterSucceeded < 1 {
		return n
	}
	most := MaxRateDevices
	if up.MaxDevices > 0 {
		most = min(most, max(up.MaxDevices, n))
	}
	for range succeeded / up.AfterSucceeded {
		if n >= most {
			break
		}
		n = min(most, max(n+1, n+int(int64(n)*int64(max(0, up.Percent))/100)))
	}
	return n
}

// Burst is how many devices may be given something at once: as many as a second has.
func (r *Rate) Burst(succeeded int) int {
	return max(1, int(rateBurst/r.Interval(succeeded)))
}
