// Package doctor judges what was gathered of a fleet: what is as it should be, what is
// not, and what to do. It is pure; package examine gathers.
package doctor

import "fmt"

// Status is how a check came out.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Warning Status = "warning" // it works, and will not for long, or not as well as it could
	Failed  Status = "failed"
	LeftOut Status = "left out" // it cannot be looked at from here
)

// Finding is what one check says, or one of the things that it found wrong.
type Finding struct {
	Check   string `json:"check"`
	Status  Status `json:"status"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"` // what to do, of what is not as it should be
}

// Examine makes each check of the facts, in the order in which a person should mend what
// they find. Each check has at least one finding. Where the servers cannot be reached there
// are that and what the cluster says, which may be why.
func Examine(f Facts) []Finding {
	var all []Finding
	if t := f.Unreachable; t != nil {
		all = append(all, Finding{Check: CheckConnection, Status: Failed, Message: t.Message, Remedy: t.Remedy})
		if f.Kubernetes != nil {
			r := report{check: CheckKubernetes}
			kubernetes(f, &r)
			all = append(all, r.found...)
		}
		return all
	}
	for _, c := range checks() {
		r := report{check: c.name}
		if why := f.LeftOut[c.name]; why != "" {
			r.add(LeftOut, why, "")
		} else if c.look(f, &r); len(r.found) == 0 {
			r.add(LeftOut, "nothing is known of it", "")
		}
		all = append(all, r.found...)
	}
	return all
}

// Healthy says whether no check failed.
func Healthy(all []Finding) bool {
	for _, f := range all {
		if f.Status == Failed {
			return false
		}
	}
	return true
}

// Checks names the checks, in their order.
func Checks() []string {
	var names []string
	for _, c := range checks() {
		names = append(names, c.name)
	}
	return names
}

// check looks at the facts for one thing.
type check struct {
	name string
	look func(Facts, *report)
}

func checks() []check {
	return []check{
		{CheckConnection, connection},
		{CheckAccount, account},
		{CheckLog, log},
		{CheckDisk, disk},
		{CheckStorage, storage},
		{CheckBuckets, checkBuckets},
		{CheckOperator, operator},
		{CheckPulses, pulses},
		{CheckClocks, clocks},
		{CheckVersions, versions},
		{CheckKeys, keys},
		{CheckSeals, seals},
		{CheckCheckpoints, checkpoints},
		{CheckKubernetes, kubernetes},
	}
}

// The checks.
const (
	CheckConnection  = "connection"
	CheckAccount     = "account"
	CheckLog         = "log"
	CheckDisk        = "disk"
	CheckStorage     = "storage"
	CheckBuckets     = "buckets"
	CheckOperator    = "operator"
	CheckPulses      = "pulses"
	CheckClocks      = "clocks"
	CheckVersions    = "versions"
	CheckKeys        = "keys"
	CheckSeals       = "seals"
	CheckCheckpoints = "checkpoints"
	CheckKubernetes  = "kubernetes"
)

// report collects what one check found.
type report struct {
	check string
	found []Finding
}

func (r *report) add(s Status, message, remedy string) {
	r.found = append(r.found, Finding{Check: r.check, Status: s, Message: message, Remedy: remedy})
}

func (r *report) fail(remedy, format string, args ...any) {
	r.add(Failed, fmt.Sprintf(format, args...), remedy)
}

func (r *report) warn(remedy, format string, args ...any) {
	r.add(Warning, fmt.Sprintf(format, args...), remedy)
}

// well says what is as it should be, where nothing was found that is not.
func (r *report) well(format string, args ...any) {
	if len(r.found) == 0 {
		r.add(OK, fmt.Sprintf(format, args...), "")
	}
}
