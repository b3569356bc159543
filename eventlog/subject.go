package eventlog

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Streams. LogStream is the one truth; PulseStream holds the last pulse of each
// device in memory.
const (
	LogStream   = "FLEET"
	PulseStream = "PULSE"
)

// Buckets of the contract. Each is a projection that the NATS server keeps.
const (
	BucketDesired   = "desired-state"
	BucketState     = "device-state"
	BucketInfo      = "device-info"
	BucketHeartbeat = "device-heartbeat"
)

// Buckets lists the four buckets in the order in which they are ensured.
func Buckets() []string {
	return []string{BucketDesired, BucketState, BucketInfo, BucketHeartbeat}
}

// BucketCheckpoints is the object-store bucket in which folds are saved. It is a
// cache: whatever is in it can be made again from the log.
const BucketCheckpoints = "fleet-checkpoints"

// BucketSessions holds the sessions of persons at the dashboard, each sealed by what its
// browser alone has. It is in memory, and account PEOPLE does not reach it.
const BucketSessions = "dashboard-sessions"

// Family is the second token of an event's subject: the kind of aggregate.
type Family string

// The families of the log, and the pulse, which is no event.
const (
	FamilyLeader     Family = "leader"
	FamilyDeployment Family = "deployment"
	FamilyDesired    Family = "desired"
	FamilyDevice     Family = "device"
	FamilyInfo       Family = "info"
	FamilyState      Family = "state"
	FamilyAgent      Family = "agent"
	FamilyCommand    Family = "command"
	FamilyRequest    Family = "request"
	FamilyAuth       Family = "auth"
	FamilyAccess     Family = "access"
	FamilySeal       Family = "seal"
	FamilyBudget     Family = "budget"
)

// OfDevices says whether devices write the family, each on subjects of its own.
func (f Family) OfDevices() bool {
	return f == FamilyState || f == FamilyInfo || f == FamilyAgent
}

// Families lists every family of the log.
func Families() []Family {
	return []Family{
		FamilyLeader, FamilyDeployment, FamilyDesired, FamilyDevice, FamilyInfo, FamilyState,
		FamilyAgent, FamilyCommand, FamilyRequest, FamilyAuth, FamilyAccess, FamilySeal, FamilyBudget,
	}
}

const (
	logPrefix     = "fleet.evt."
	pulsePrefix   = "fleet.pulse."
	syncPrefix    = "fleet.sync."
	livePrefix    = "fleet.live.desired."
	commandPrefix = "device-commands."
	kvPrefix      = "$KV."
	inboxPrefix   = "_INBOX."
	any1          = "*"
)

// AnySubject matches every subject.
const AnySubject = ">"

// LogSubjects is what the stream FLEET listens on.
const LogSubjects = logPrefix + ">"

// RestoringSubject is what the stream FLEET listens on while it is being
// restored: none that anybody publishes to, so that nothing comes in between.
const RestoringSubject = "fleet.restoring"

// PulseSubjects is what the stream PULSE listens on.
const PulseSubjects = pulsePrefix + any1

// LeaderSubject holds the elections; its last sequence is the fencing token.
const LeaderSubject = logPrefix + string(FamilyLeader)

// SealSubject holds the signed tree heads.
const SealSubject = logPrefix + string(FamilySeal)

// Wildcard stands for any one token in the functions that make subjects.
const Wildcard = any1

// DeploymentSubject is the aggregate of one Deployment.
func DeploymentSubject(namespace, name string) string {
	return logPrefix + string(FamilyDeployment) + "." + namespace + "." + name
}

// AboutDeviceSubjects match the events about one device with as few filters as that takes: a
// server looks through a log once for each. They match other events now and then, such as those
// of a DisruptionBudget that is called as the device; the Address of an event says which it is.
func AboutDeviceSubjects(device string) []string {
	return []string{logPrefix + any1 + "." + device, logPrefix + any1 + "." + device + "." + any1, DeviceRequestSubject(any1, device)}
}

// BudgetSubject is the aggregate of one DisruptionBudget.
func BudgetSubject(name string) string { return logPrefix + string(FamilyBudget) + "." + name }

// DesiredSubject is what one device should run of one Deployment.
func DesiredSubject(device, deployment string) string {
	return logPrefix + string(FamilyDesired) + "." + device + "." + deployment
}

// StateSubject is what one device reports of one Deployment.
func StateSubject(device, deployment string) string {
	return logPrefix + string(FamilyState) + "." + device + "." + deployment
}

// DeviceSubject is the operator's record of one device.
func DeviceSubject(device string) string { return logPrefix + string(FamilyDevice) + "." + device }

// InfoSubject is what one device reports of itself.
func InfoSubject(device string) string { return logPrefix + string(FamilyInfo) + "." + device }

// AgentSubject is the journal of one device's agent.
func AgentSubject(device string) string { return logPrefix + string(FamilyAgent) + "." + device }

// CommandSubject is the audit of the commands sent to one device.
func CommandSubject(device string) string { return logPrefix + string(FamilyCommand) + "." + device }

// AccessSubject holds whether one device may connect.
func AccessSubject(device string) string { return logPrefix + string(FamilyAccess) + "." + device }

// AuthSubject is the callout's record of one device.
func AuthSubject(device string) string { return logPrefix + string(FamilyAuth) + "." + device }

// AuthSubjectOfActor stands in the families auth and access for a person or a
// service, by its actor. No device's id begins so.
func AuthSubjectOfActor(actor string) string { return "_" + actor }

// IsTokenSubject says whether a token's subject can name a person or a service in subjects. It
// is stricter than NATS, so that a subject means the same in a log.
func IsTokenSubject(subject string) bool { return tokenSubject.MatchString(subject) }

var tokenSubject = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)

// AuthUnknown stands in the family auth for all whose identity could not be
// established.
const AuthUnknown = "_unknown"

// RequestSubject is where a person asks something of the operator. The
// permissions fix the user's token, so the actor cannot be forged.
func RequestSubject(user, namespace, name string) string {
	return logPrefix + string(FamilyRequest) + "." + user + "." + namespace + "." + name
}

// DeviceRequestSubject is where a person asks something about a device. A device
// belongs to no namespace, so the subject is one token shorter than that of a
// Deployment, and no Deployment's request can be mistaken for it.
func DeviceRequestSubject(user, device string) string {
	return logPrefix + string(FamilyRequest) + "." + user + "." + device
}

// FamilySubjects matches every subject of a family.
func FamilySubjects(f Family) string {
	switch f {
	case FamilyLeader, FamilySeal:
		return logPrefix + string(f)
	default:
		return logPrefix + string(f) + ".>"
	}
}

// PulseSubject is where a device says that it lives.
func PulseSubject(device string) string { return pulsePrefix + device }

// SyncSubject is where a device asks for its whole desired state.
func SyncSubject(device string) string { return syncPrefix + device }

// LiveSubject is where the server republishes one desired value.
func LiveSubject(device, deployment string) string { return livePrefix + device + "." + deployment }

// Command verbs of the contract.
const (
	VerbPing = "ping"
	VerbSync = "sync"
	VerbLogs = "logs"
	VerbExec = "exec"
	VerbKey  = "key" // KeyRequest and KeyAnswer
)

// PersonVerbs are the commands that persons may send who are no admins: all but
// VerbKey, whose answer is an assertion by which a token of the device can be got.
func PersonVerbs() []string { return []string{VerbPing, VerbSync, VerbLogs, VerbExec} }

// DeviceCommandSubject is where a device listens for one command.
func DeviceCommandSubject(device, verb string) string { return commandPrefix + device + "." + verb }

// DeviceCommandSubjects matches the commands of all devices.
const DeviceCommandSubjects = commandPrefix + ">"

// InboxPrefix is the private inbox of a device, for nats.CustomInboxPrefix.
func InboxPrefix(device string) string { return inboxPrefix + device }

// BucketStream is the stream behind a bucket.
func BucketStream(bucket string) string { return "KV_" + bucket }

// TrialStream is a stream that lives for seconds, in which the server is to try
// whether it can store a message in a bucket.
func TrialStream(bucket string) string { return "FLEET_TRIAL_" + bucket }

// KVSubject is the subject of a key within its bucket's stream.
func KVSubject(bucket, key string) string { return kvPrefix + bucket + "." + key }

// DesiredKey is the key of desired-state.
func DesiredKey(device, deployment string) string { return device + "." + deployment }

// StateKey is the key of device-state.
func StateKey(device, deployment string) string { return "state." + device + "." + deployment }

// InfoKey is the key of device-info.
func InfoKey(device string) string { return "info." + device }

// HeartbeatKey is the key of device-heartbeat.
func HeartbeatKey(device string) string { return "heartbeat." + device }

// SubjectOfKey gives the log's (or the pulse's) subject that projects into a
// bucket's key, for comparing a bucket with the log.
func SubjectOfKey(bucket, key string) (string, error) {
	t := strings.Split(key, ".")
	switch {
	case bucket == BucketDesired && len(t) == 2:
		return DesiredSubject(t[0], t[1]), nil
	case bucket == BucketState && len(t) == 3 && t[0] == "state":
		return StateSubject(t[1], t[2]), nil
	case bucket == BucketInfo && len(t) == 2 && t[0] == "info":
		return InfoSubject(t[1]), nil
	case bucket == BucketHeartbeat && len(t) == 2 && t[0] == "heartbeat":
		return PulseSubject(t[1]), nil
	}
	return "", fmt.Errorf("bucket %s has no key of the form %q", bucket, key)
}

// Address is a parsed subject of the log: which aggregate an event belongs to.
// Fields that a family does not use are empty.
type Address struct {
	Family     Family
	Device     string // desired, device, info, state, agent, command, auth, access; a request about a device
	Deployment string // desired, state: the Deployment's name
	Namespace  string // deployment; a request about a Deployment
	Name       string // deployment; a request about a Deployment; budget
	User       string // request
}

// ErrNoSubject says that a subject is none of the log's.
var ErrNoSubject = errors.New("not a subject of the event log")

// ParseSubject reads a subject of the log. It fails with ErrNoSubject, also on one
// with a wildcard: a server takes that for a subject as any other.
func ParseSubject(subject string) (Address, error) {
	rest, ok := strings.CutPrefix(subject, logPrefix)
	if !ok {
		return Address{}, fmt.Errorf("%w: %q", ErrNoSubject, subject)
	}
	var t [4]string
	n := 0
	for more := true; more; n++ {
		if n == len(t) {
			return Address{}, fmt.Errorf("%w: %q", ErrNoSubject, subject)
		}
		if t[n], rest, more = strings.Cut(rest, "."); t[n] == "" || t[n] == any1 || t[n] == AnySubject {
			return Address{}, fmt.Errorf("%w: %q", ErrNoSubject, subject)
		}
	}
	a := Address{Family: Family(t[0])}
	switch {
	case n == 1 && (a.Family == FamilyLeader || a.Family == FamilySeal):
	case n == 2 && (a.Family == FamilyDevice || a.Family == FamilyInfo || a.Family == FamilyAgent ||
		a.Family == FamilyCommand || a.Family == FamilyAuth || a.Family == FamilyAccess):
		a.Device = t[1]
	case n == 2 && a.Family == FamilyBudget:
		a.Name = t[1]
	case n == 3 && (a.Family == FamilyDesired || a.Family == FamilyState):
		a.Device, a.Deployment = t[1], t[2]
	case n == 3 && a.Family == FamilyDeployment:
		a.Namespace, a.Name = t[1], t[2]
	case n == 3 && a.Family == FamilyRequest:
		a.User, a.Device = t[1], t[2]
	case n == 4 && a.Family == FamilyRequest:
		a.User, a.Namespace, a.Name = t[1], t[2], t[3]
	default:
		return Address{}, fmt.Errorf("%w: %q", ErrNoSubject, subject)
	}
	return a, nil
}

// DeviceOfPulse gives the device of a pulse's subject, or false.
func DeviceOfPulse(subject string) (string, bool) {
	d, ok := strings.CutPrefix(subject, pulsePrefix)
	return d, ok && d != "" && d != any1 && d != AnySubject && !strings.Contains(d, ".")
}

// DeviceOfSync gives the device of a sync request's subject, or false.
func DeviceOfSync(subject string) (string, bool) {
	d, ok := strings.CutPrefix(subject, syncPrefix)
	return d, ok && d != "" && !strings.Contains(d, ".")
}

// ParseDeviceCommand gives the device and the verb of a command's subject.
func ParseDeviceCommand(subject string) (device, verb string, ok bool) {
	rest, found := strings.CutPrefix(subject, commandPrefix)
	if !found {
		return "", "", false
	}
	device, verb, ok = strings.Cut(rest, ".")
	return device, verb, ok && device != "" && verb != "" && !strings.Contains(verb, ".")
}

// ParseDesiredKV gives device and deployment of a subject of the desired-state
// bucket, as the header Nats-Subject of a live message carries it.
func ParseDesiredKV(subject string) (device, deployment string, ok bool) {
	rest, found := strings.CutPrefix(subject, kvPrefix+BucketDesired+".")
	if !found {
		return "", "", false
	}
	device, deployment, ok = strings.Cut(rest, ".")
	return device, deployment, ok && device != "" && deployment != "" && !strings.Contains(deployment, ".")
}

// MaxNameLength is the length that RFC 1123 gives a label.
const MaxNameLength = 63

var label1123 = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// CheckName says whether a device id or a Deployment's name can be used: an RFC
// 1123 label, so that it is one token of a subject.
func CheckName(what, name string) error {
	if len(name) > MaxNameLength || !label1123.MatchString(name) {
		return fmt.Errorf("%s %q must be an RFC 1123 label: lower-case letters, digits and '-', "+
			"no dots, at most %d characters, starting and ending with a letter or digit", what, name, MaxNameLength)
	}
	return nil
}

// Mapping says that the server turns a publish on one subject into a publish on
// another: $1 and $2 stand for what the wildcards matched.
type Mapping struct {
	From, To string
}

// KVMappings turn what a plain KV client puts and deletes in the buckets that
// agents write into appends. There is none for desired-state: nobody puts there.
func KVMappings() []Mapping {
	return []Mapping{
		{KVSubject(BucketState, StateKey(any1, any1)), StateSubject("$1", "$2")},
		{KVSubject(BucketInfo, InfoKey(any1)), InfoSubject("$1")},
		{KVSubject(BucketHeartbeat, HeartbeatKey(any1)), PulseSubject("$1")},
	}
}

// Everything under an account's own prefixes, for the permissions of those who
// may do more than a device.
const (
	JetStreamSubjects = "$JS.>"
	KVSubjects        = kvPrefix + ">"
	InboxSubjects     = inboxPrefix + ">"
)

// DeviceInboxSubjects matches the private inbox of a device.
func DeviceInboxSubjects(device string) string { return InboxPrefix(device) + ".>" }

// Covers says whether a filter of subjects covers a subject, as NATS servers do: * stands
// for one token, and > for one or more at the end.
func Covers(filter, subject string) bool {
	for {
		want, filterRest, more := strings.Cut(filter, ".")
		have, subjectRest, goesOn := strings.Cut(subject, ".")
		switch {
		case want == ">":
			return true
		case want != have && want != "*", more != goesOn:
			return false
		case !more:
			return true
		}
		filter, subject = filterRest, subjectRest
	}
}
