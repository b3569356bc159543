package eventlog

import (
	"encoding/json"
	"time"
)

// Phase is what a device says of one Deployment on it. docs/status.md has the
// predicate of each.
type Phase string

// The phases of the contract.
const (
	PhasePending Phase = "Pending"
	PhaseRunning Phase = "Running"
	PhaseFailed  Phase = "Failed"
)

// Valid says whether the phase is one of the contract's.
func (p Phase) Valid() bool { return p == PhasePending || p == PhaseRunning || p == PhaseFailed }

// DeploymentState is the value of device-state and the payload of state.reported.
type DeploymentState struct {
	DeviceID    string    `json:"device_id"`
	Deployment  string    `json:"deployment"`
	Phase       Phase     `json:"phase"`
	LastEventAt time.Time `json:"last_event_at"`
	LastError   *string   `json:"last_error"`
	Reason      string    `json:"reason,omitempty"`
	ScoreHash   string    `json:"score_hash,omitempty"`
	Revision    uint64    `json:"revision,omitempty"`
	// Assignment is the log's sequence of the desired value that it speaks of; 0
	// where an agent does not say it.
	Assignment uint64         `json:"assignment,omitempty"`
	Services   []ServiceState `json:"services,omitempty"`
}

// ServiceState is one container of a Deployment, as the device sees it.
type ServiceState struct {
	Name        string   `json:"name"`
	ContainerID string   `json:"container_id,omitempty"`
	ImageDigest string   `json:"image_digest,omitempty"`
	State       string   `json:"state"`
	Health      string   `json:"health,omitempty"` // healthy, unhealthy, starting; empty without a check
	Restarts    int      `json:"restarts"`
	Ports       []string `json:"ports,omitempty"` // "<host>:<container>"
	// Revision is the earlier revision that the service is kept in, where its update
	// waits; 0 where it is as the report's revision says.
	Revision uint64 `json:"revision,omitempty"`
}

// DeviceInfo is the value of device-info and the payload of info.reported.
type DeviceInfo struct {
	DeviceID  string            `json:"device_id"`
	Labels    map[string]string `json:"labels"`
	Inventory Inventory         `json:"inventory"`
	UpdatedAt time.Time         `json:"updated_at"`
	// KeyExpires is when the provider lets the device's key end; zero where the device
	// has no key, its key file does not say, or its agent is older than this field.
	KeyExpires time.Time `json:"key_expires,omitzero"`
}

// Inventory is the hardware and software of a device.
type Inventory struct {
	Hostname      string `json:"hostname"`
	Arch          string `json:"arch"`
	OS            string `json:"os"`
	Kernel        string `json:"kernel"`
	CPUCores      int    `json:"cpu_cores"`
	MemoryMB      int    `json:"memory_mb"` // MiB of memory
	AgentVersion  string `json:"agent_version"`
	PodmanVersion string `json:"podman_version"`
}

// Leader is the payload of leader.elected.
type Leader struct {
	Identity   string `json:"identity"`
	ClusterUID string `json:"cluster_uid"` // uid of the namespace kube-system
	Version    string `json:"version"`
}

// Selector is a label selector, in Kubernetes' own JSON shape.
type Selector struct {
	MatchLabels      map[string]string     `json:"matchLabels,omitempty"`
	MatchExpressions []SelectorRequirement `json:"matchExpressions,omitempty"`
}

// SelectorRequirement is one expression: In, NotIn, Exists or DoesNotExist.
type SelectorRequirement struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values,omitempty"`
}

// Deployment is the payload of deployment.applied: the whole spec as the
// operator saw it.
type Deployment struct {
	UID         string          `json:"uid"`
	Generation  int64           `json:"generation"`
	Revision    uint64          `json:"revision"` // +1 each time the score of namespace/name changes, for ever
	Selector    Selector        `json:"selector"`
	Score       json.RawMessage `json:"score"` // canonical (RFC 8785)
	ScoreHash   string          `json:"score_hash"`
	Rollout     json.RawMessage `json:"rollout,omitempty"`
	ChangeCause string          `json:"change_cause,omitempty"` // kubernetes.io/change-cause
	RequestedBy Requester       `json:"requested_by,omitzero"`  // from version 2 on
}

// Requester is who asked for a change of a Deployment's spec, and how that is
// known.
type Requester struct {
	Name string `json:"name,omitempty"` // a user or a field manager; empty when unknown
	By   string `json:"by"`
}

// How a Requester is known. docs/audit.md says what each rests on.
const (
	RequestedByAdmission    = "admission"     // the API server authenticated the user and the policy stamped the name
	RequestedByFieldManager = "field-manager" // the client's own word: the manager that last changed the spec
	RequestedByUnknown      = "unknown"       // nothing tells
)

// DeploymentEnd is the payload of deployment.deleted, orphaned and adopted.
type DeploymentEnd struct {
	UID    string `json:"uid,omitempty"`
	Reason string `json:"reason"`
}

// Refusal is the payload of deployment.refused: the operator cannot record the
// custom resource's spec as deployment.applied, so what its devices run stays. It
// holds until the next event on the Deployment's own lifecycle.
type Refusal struct {
	UID        string `json:"uid"`
	Generation int64  `json:"generation"`
	Reason     string `json:"reason"`  // that of the condition Ready
	Message    string `json:"message"` // for a person: what to change
}

// Registration is the payload of device.registered.
type Registration struct {
	AgentVersion string `json:"agent_version,omitempty"`
}

// Labels is the payload of device.relabeled: the labels that select, each with
// the field manager that owns it.
type Labels struct {
	Labels map[string]OwnedLabel `json:"labels"`
}

// OwnedLabel is a label's value and who set it: OwnerDevice for what the agent
// reports, else the field manager's name.
type OwnedLabel struct {
	Value string `json:"value"`
	Owner string `json:"owner"`
}

// OwnerDevice owns the labels that a device reports itself.
const OwnerDevice = "device"

// Presence is the payload of device.online and device.offline.
type Presence struct {
	Reason   string    `json:"reason"`
	LastSeen time.Time `json:"last_seen"`
	Timeout  float64   `json:"timeout_seconds,omitempty"` // the silence that was allowed
}

// Removal is the payload of device.decommissioned.
type Removal struct {
	Reason string `json:"reason"`
}

// AgentStart is the payload of agent.started.
type AgentStart struct {
	AgentVersion string    `json:"agent_version"`
	Engine       string    `json:"engine"`
	At           time.Time `json:"at"`
}

// Step is the payload of the other agent events: one thing done to one service.
type Step struct {
	Deployment string  `json:"deployment"`
	Service    string  `json:"service,omitempty"`
	Step       string  `json:"step"`
	Reason     string  `json:"reason,omitempty"`
	Error      string  `json:"error,omitempty"`
	Revision   uint64  `json:"revision,omitempty"`
	Duration   float64 `json:"duration_seconds,omitempty"`
	// Seconds is how long each of the steps took that Step names with + between them;
	// empty where there is one, or the agent is older than this field.
	Seconds []float64 `json:"seconds,omitempty"`
	At      time.Time `json:"at"`
}

// Command is the payload of command.requested and command.completed.
type Command struct {
	Verb  string   `json:"verb"`
	Args  []string `json:"args,omitempty"`
	Error string   `json:"error,omitempty"`
}

// Request verbs: what a person can ask of the operator beside the CR.
const (
	RequestWithdraw     = "withdraw"     // of an orphaned Deployment: take it off its devices
	RequestDecommission = "decommission" // of a device: take it out of the fleet
	RequestRevoke       = "revoke"       // of a device: end its connections and refuse new ones
	RequestAllow        = "allow"        // of a device: let it in again
)

// Request is the payload of request.made.
type Request struct {
	Verb   string `json:"verb"`
	Reason string `json:"reason,omitempty"`

	// Of a Deployment's rollout, from version 2 on: what the author saw. A request about
	// another revision, run or batch than the present one is refused.
	Revision uint64 `json:"revision,omitempty"`
	Run      uint64 `json:"run,omitempty"`
	Batch    int    `json:"batch,omitempty"`
	// ToRevision is where undo goes; 0: what was stable before.
	ToRevision uint64 `json:"to_revision,omitempty"`
	Full       bool   `json:"full,omitempty"` // of promote: what is left is not judged
}

// Access is the payload of access.revoked and access.allowed.
type Access struct {
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
}

// Auth is the payload of auth.granted and auth.denied. A denial has Reason,
// Message and Count; of an unknown identity it has nothing else.
type Auth struct {
	Subject string   `json:"subject,omitempty"` // of the token
	Actor   string   `json:"actor,omitempty"`   // the user on NATS
	Label   string   `json:"label,omitempty"`   // a readable name of a person, never a key
	Account string   `json:"account,omitempty"`
	Roles   []string `json:"roles,omitempty"`
	KeyID   string   `json:"key_id,omitempty"` // of the provider's key that signed the token
	// Grant is a digest of account, permissions, key and roles as they were granted
	// last, so that a grant is recorded when it differs.
	Grant   string `json:"grant,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	Count   int    `json:"count,omitempty"` // of denials within a minute
}

// Seal is the payload of seal.created: a signed Merkle tree head (RFC 6962) over
// the messages 1 to TreeSize of the log, see projections/seal and docs/proof.md.
type Seal struct {
	TreeSize  uint64    `json:"tree_size"`
	RootHash  []byte    `json:"root_hash"`
	Sequence  uint64    `json:"sequence"` // the last one that the tree covers
	SealedAt  time.Time `json:"sealed_at"`
	PublicKey string    `json:"public_key"` // Ed25519, as an nkey of the type U
	Signature []byte    `json:"signature"`
	// Peaks are the roots of the perfect trees that make up the tree, from the
	// left: with them the tree can be grown on without what it covers.
	Peaks [][]byte `json:"peaks,omitempty"`
}

// payloadOf gives an empty payload of a type, for decoding; nil where
// the payload is a bucket's opaque value or absent.
func payloadOf(t Type) any {
	switch t {
	case LeaderElected:
		return &Leader{}
	case DeploymentApplied:
		return &Deployment{}
	case DeploymentDeleted, DeploymentOrphaned, DeploymentAdopted:
		return &DeploymentEnd{}
	case DeploymentRefused:
		return &Refusal{}
	case RolloutStarted, RolloutBatchStarted, RolloutBatchSucceeded, RolloutPaused, RolloutResumed,
		RolloutStalled, RolloutAborted, RolloutRolledBack, RolloutCompleted,
		RolloutBatchFailed, RolloutPromoted, RolloutSuperseded, RolloutRequestRefused, RolloutGateMeasured:
		return &Rollout{}
	case BudgetApplied:
		return &Budget{}
	case BudgetDeleted:
		return &BudgetEnd{}
	case DesiredAssigned:
		return &Score{}
	case DeviceRegistered:
		return &Registration{}
	case DeviceRelabeled:
		return &Labels{}
	case DeviceOnline, DeviceOffline:
		return &Presence{}
	case DeviceDecommissioned:
		return &Removal{}
	case InfoReported:
		return &DeviceInfo{}
	case StateReported:
		return &DeploymentState{}
	case AgentStarted:
		return &AgentStart{}
	case AgentStepSucceeded, AgentStepFailed, AgentDriftDetected, AgentDriftRepaired, AgentRolledBack:
		return &Step{}
	case CommandRequested, CommandCompleted:
		return &Command{}
	case RequestMade:
		return &Request{}
	case AccessRevoked, AccessAllowed:
		return &Access{}
	case AuthGranted, AuthDenied:
		return &Auth{}
	case SealCreated:
		return &Seal{}
	}
	return nil
}

// Payload decodes an event's data into T, the struct that this file names for
// its type, in its newest shape whatever the event's version: what an older one
// does not say is filled in. Of a version that is newer than this program it
// gives what it knows, and zeros for what is not there.
//
// It fails with ErrForeign when the data does not have that shape, or with
// ErrNewer when a newer version does not have it any more.
func Payload[T any](e Event) (T, error) {
	var v T
	err := decodeInto(e, &v)
	return v, err
}
