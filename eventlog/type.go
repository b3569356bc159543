package eventlog

import (
	"strconv"
	"strings"
)

// Type names what happened, in the past tense: the ce-type without its prefix
// and version.
type Type string

// The catalogue. The prefix of a type is the family of the subject it lives on,
// but for rollouts, which belong to their Deployment's aggregate.
const (
	LeaderElected Type = "leader.elected"

	DeploymentApplied  Type = "deployment.applied"
	DeploymentDeleted  Type = "deployment.deleted"
	DeploymentOrphaned Type = "deployment.orphaned"
	DeploymentAdopted  Type = "deployment.adopted"
	DeploymentRefused  Type = "deployment.refused"

	RolloutStarted        Type = "rollout.started"
	RolloutBatchStarted   Type = "rollout.batch_started"
	RolloutBatchSucceeded Type = "rollout.batch_succeeded"
	RolloutPaused         Type = "rollout.paused"
	RolloutResumed        Type = "rollout.resumed"
	RolloutStalled        Type = "rollout.stalled"
	RolloutAborted        Type = "rollout.aborted"
	RolloutRolledBack     Type = "rollout.rolled_back"
	RolloutCompleted      Type = "rollout.completed"
	RolloutBatchFailed    Type = "rollout.batch_failed"
	RolloutPromoted       Type = "rollout.promoted"
	RolloutSuperseded     Type = "rollout.superseded"
	RolloutRequestRefused Type = "rollout.request_refused"
	RolloutGateMeasured   Type = "rollout.gate_measured"

	DesiredAssigned  Type = "desired.assigned"
	DesiredWithdrawn Type = "desired.withdrawn"

	DeviceRegistered     Type = "device.registered"
	DeviceRelabeled      Type = "device.relabeled"
	DeviceOnline         Type = "device.online"
	DeviceOffline        Type = "device.offline"
	DeviceDecommissioned Type = "device.decommissioned"

	InfoReported Type = "info.reported"
	InfoCleared  Type = "info.cleared"

	StateReported Type = "state.reported"
	StateCleared  Type = "state.cleared"

	AgentStarted       Type = "agent.started"
	AgentStepSucceeded Type = "agent.step_succeeded"
	AgentStepFailed    Type = "agent.step_failed"
	AgentDriftDetected Type = "agent.drift_detected"
	AgentDriftRepaired Type = "agent.drift_repaired"
	AgentRolledBack    Type = "agent.rolled_back"

	CommandRequested Type = "command.requested"
	CommandCompleted Type = "command.completed"

	RequestMade Type = "request.made"

	AuthGranted Type = "auth.granted"
	AuthDenied  Type = "auth.denied"

	AccessRevoked Type = "access.revoked"
	AccessAllowed Type = "access.allowed"

	SealCreated Type = "seal.created"

	BudgetApplied Type = "budget.applied"
	BudgetDeleted Type = "budget.deleted"
)

// familyOf maps every type of the catalogue to the family whose subjects carry it.
var familyOf = map[Type]Family{
	LeaderElected:         FamilyLeader,
	DeploymentApplied:     FamilyDeployment,
	DeploymentDeleted:     FamilyDeployment,
	DeploymentOrphaned:    FamilyDeployment,
	DeploymentAdopted:     FamilyDeployment,
	DeploymentRefused:     FamilyDeployment,
	RolloutStarted:        FamilyDeployment,
	RolloutBatchStarted:   FamilyDeployment,
	RolloutBatchSucceeded: FamilyDeployment,
	RolloutPaused:         FamilyDeployment,
	RolloutResumed:        FamilyDeployment,
	RolloutStalled:        FamilyDeployment,
	RolloutAborted:        FamilyDeployment,
	RolloutRolledBack:     FamilyDeployment,
	RolloutCompleted:      FamilyDeployment,
	RolloutBatchFailed:    FamilyDeployment,
	RolloutPromoted:       FamilyDeployment,
	RolloutSuperseded:     FamilyDeployment,
	RolloutRequestRefused: FamilyDeployment,
	RolloutGateMeasured:   FamilyDeployment,
	DesiredAssigned:       FamilyDesired,
	DesiredWithdrawn:      FamilyDesired,
	DeviceRegistered:      FamilyDevice,
	DeviceRelabeled:       FamilyDevice,
	DeviceOnline:          FamilyDevice,
	DeviceOffline:         FamilyDevice,
	DeviceDecommissioned:  FamilyDevice,
	InfoReported:          FamilyInfo,
	InfoCleared:           FamilyInfo,
	StateReported:         FamilyState,
	StateCleared:          FamilyState,
	AgentStarted:          FamilyAgent,
	AgentStepSucceeded:    FamilyAgent,
	AgentStepFailed:       FamilyAgent,
	AgentDriftDetected:    FamilyAgent,
	AgentDriftRepaired:    FamilyAgent,
	AgentRolledBack:       FamilyAgent,
	CommandRequested:      FamilyCommand,
	CommandCompleted:      FamilyCommand,
	RequestMade:           FamilyRequest,
	AuthGranted:           FamilyAuth,
	AuthDenied:            FamilyAuth,
	AccessRevoked:         FamilyAccess,
	AccessAllowed:         FamilyAccess,
	SealCreated:           FamilySeal,
	BudgetApplied:         FamilyBudget,
	BudgetDeleted:         FamilyBudget,
}

// Types lists the catalogue, in no order.
func Types() []Type {
	ts := make([]Type, 0, len(familyOf))
	for t := range familyOf {
		ts = append(ts, t)
	}
	return ts
}

// Family is the family whose subjects carry the type, empty for an unknown one.
func (t Type) Family() Family { return familyOf[t] }

// Removes says whether the event takes its key out of the bucket it projects into.
func (t Type) Removes() bool {
	return t == DesiredWithdrawn || t == StateCleared || t == InfoCleared
}

const typePrefix = "io.nationtech.fleet."

// CloudEventType is the value of the attribute type, such as
// io.nationtech.fleet.rollout.started.v1. Which versions there are says
// Type.Version.
func CloudEventType(t Type, version int) string {
	return typePrefix + string(t) + ".v" + strconv.Itoa(version)
}

// named is what a ce-type names.
type named struct {
	typ     Type
	version int
	family  Family
}

// known maps the ce-types of the catalogue, in the versions that this program
// knows, to what they name: nearly every event has one of them.
var known = func() map[string]named {
	m := make(map[string]named, 2*len(familyOf))
	for t, f := range familyOf {
		for v := 1; v <= t.Version(); v++ {
			m[CloudEventType(t, v)] = named{t, v, f}
		}
	}
	return m
}()

// lookUpType reads a ce-type; ok is false when it is none of ours, and the
// family is empty when it is none of the catalogue.
func lookUpType(s string) (t Type, version int, f Family, ok bool) {
	if n, ok := known[s]; ok {
		return n.typ, n.version, n.family, true
	}
	t, version, ok = parseCloudEventType(s)
	return t, version, t.Family(), ok
}

// parseCloudEventType reads a ce-type; ok is false when it is none of ours. A type
// or version that this program does not know is one of ours all the same.
func parseCloudEventType(s string) (t Type, version int, ok bool) {
	rest, ok := strings.CutPrefix(s, typePrefix)
	if !ok {
		return "", 0, false
	}
	dot := strings.LastIndex(rest, ".v")
	if dot <= 0 {
		return "", 0, false
	}
	version, err := strconv.Atoi(rest[dot+2:])
	if err != nil || version < 1 {
		return "", 0, false
	}
	return Type(rest[:dot]), version, true
}
