// Package callout decides what an identity may do on the bus. It is pure: the NATS
// configuration takes the permissions of its users from here, and the auth callout
// what it grants.
package callout

import (
	"time"

	"fleet.nationtech.io/eventlog"
)

// Permissions is what one user of the bus may do. The server checks them on the
// mapped subject, so a KV put is permitted as the append that it becomes.
type Permissions struct {
	Publish   []string
	Subscribe []string
	// Responses permits answers to what was received; nil permits none.
	Responses *Responses
}

// Responses bounds the answers to one request.
type Responses struct {
	Max int           // answers a request; -1 for any number
	TTL time.Duration // counted from the request; nothing extends it
}

// ResponseTTL is how long a command may be answered: the longest session of logs
// or exec. The agent ends one earlier.
const ResponseTTL = time.Hour

// DevicePermissions is all that a device of account DEVICES may do: report,
// pulse and sync as itself, hear its own desired state, commands and answers, and
// answer the commands it received. It has no JetStream API at all.
func DevicePermissions(device string) Permissions {
	return Permissions{
		Publish: append(reports(device), eventlog.SyncSubject(device)),
		Subscribe: []string{
			eventlog.LiveSubject(device, eventlog.Wildcard),
			eventlog.DeviceCommandSubject(device, eventlog.Wildcard),
			eventlog.DeviceInboxSubjects(device),
		},
		Responses: &Responses{Max: -1, TTL: ResponseTTL},
	}
}

// LabPermissions is what the one shared user of a lab may do in account DEVICES:
// what any device may. Devices of a lab can speak for each other.
func LabPermissions() Permissions { return DevicePermissions(eventlog.Wildcard) }

// LegacyPermissions is what an older agent may do in account FLEET, one that
// knows the KV API alone: bind to the four buckets, watch its own desired state,
// read and put its own keys. It is weaker than DevicePermissions: a reply subject
// of its choice reaches what account FLEET holds, it can list the keys of others,
// and with the default inbox prefix it can read replies to others.
func LegacyPermissions(device string) Permissions {
	desired := eventlog.BucketStream(eventlog.BucketDesired)
	watched := eventlog.KVSubject(eventlog.BucketDesired, eventlog.DesiredKey(device, ">"))
	p := Permissions{
		Publish: append(reports(device),
			eventlog.ConsumerCreateAPI(desired, watched),
			eventlog.ConsumerDeleteAPI(desired),
			eventlog.FlowControlSubjects(desired)),
		Subscribe: []string{eventlog.InboxSubjects},
	}
	for _, b := range eventlog.Buckets() {
		p.Publish = append(p.Publish, eventlog.StreamInfoAPI(eventlog.BucketStream(b)))
	}
	for _, own := range []struct{ bucket, key string }{
		{eventlog.BucketDesired, eventlog.DesiredKey(device, eventlog.Wildcard)},
		{eventlog.BucketState, eventlog.StateKey(device, eventlog.Wildcard)},
		{eventlog.BucketInfo, eventlog.InfoKey(device)},
		{eventlog.BucketHeartbeat, eventlog.HeartbeatKey(device)},
	} {
		p.Publish = append(p.Publish, eventlog.DirectGetAPI(eventlog.BucketStream(own.bucket), eventlog.KVSubject(own.bucket, own.key)))
	}
	return p
}

// DeveloperPermissions is what the person of a development fleet may do: besides what
// an admin may, use all of JetStream and write any event, as tests and experiments
// need. Requests still carry the own name alone.
func DeveloperPermissions(user string) Permissions {
	p := AdminPermissions(user)
	p.Publish = append(p.Publish, eventlog.InboxSubjects, eventlog.PulseSubject(eventlog.Wildcard))
	for _, f := range eventlog.Families() {
		if f != eventlog.FamilyRequest {
			p.Publish = append(p.Publish, eventlog.FamilySubjects(f))
		}
	}
	return p
}

// reports is what a device says of itself.
func reports(device string) []string {
	return []string{
		eventlog.StateSubject(device, eventlog.Wildcard),
		eventlog.InfoSubject(device),
		eventlog.AgentSubject(device),
		eventlog.PulseSubject(device),
	}
}
