package eventlog

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// Accounts of the contract whose names the server writes into what it delivers.
const (
	// AccountFleet holds the log. A command is believed only when the server
	// itself says that a user of this account, or of AccountPeople, sent it.
	AccountFleet = "FLEET"
	// AccountDevices holds the devices, and no JetStream.
	AccountDevices = "DEVICES"
	// AccountPeople holds viewers and operators, without JetStream: they read and
	// ask by imports from FLEET.
	AccountPeople = "PEOPLE"
)

// Headers of a sync. The device asks SyncSubject with HeaderSync and a
// SyncRequest; each answer bears HeaderSync with the same nonce. An answer is
// either one desired value (HeaderKey, HeaderStreamSource as in the bucket, and
// HeaderKVOperation, HeaderNamespace, HeaderRevision, HeaderTraceparent where the bucket has them;
// the payload is the value), or the end (HeaderSyncEnd, the payload a SyncEnd),
// or an error (HeaderSyncError, a reason). No answer bears HeaderSubject: that
// is how a live message and an answer are told apart whatever subject they
// arrive on.
const (
	HeaderSyncEnd   = "Fleet-Sync-End"
	HeaderSyncError = "Fleet-Sync-Error"

	// HeaderStream and HeaderSubject are what the server puts on a message that it
	// republishes or hands out: the stream that it is of, and its subject there.
	HeaderStream  = "Nats-Stream"
	HeaderSubject = "Nats-Subject"
	// HeaderSequence and HeaderLastSequence come with it: its sequence in the
	// bucket's stream, and that of the value before it under the same subject.
	HeaderSequence     = "Nats-Sequence"
	HeaderLastSequence = "Nats-Last-Sequence"
	// HeaderTimestamp and HeaderPending come with what it hands out: when the stream
	// recorded the message, and how many of a batch are still to come.
	HeaderTimestamp = "Nats-Time-Stamp"
	HeaderPending   = "Nats-Num-Pending"
	// HeaderRequestInfo is what the server puts on a request that crosses
	// accounts: who asks. A client cannot forge it.
	HeaderRequestInfo = "Nats-Request-Info"
)

// Reasons of a sync that is refused. All mean: ask again.
const (
	// SyncRebuilding: the bucket desired-state is being rebuilt.
	SyncRebuilding = "Rebuilding"
	// SyncNotReady: the replica that was asked has not folded the log yet.
	SyncNotReady = "NotReady"
	// SyncRestored: the log was restored from an archive, and the leader has not
	// held it against the cluster yet.
	SyncRestored = "Restored"
)

// SyncRequest is the payload of a device's question. The nonce comes back with
// each answer, so that answers to somebody else's question are not believed.
type SyncRequest struct {
	Nonce string `json:"nonce"`
}

// SyncEnd is the payload of the last answer to a sync.
type SyncEnd struct {
	LogID       string `json:"log_id"`
	LogSequence uint64 `json:"log_sequence"` // the log's last sequence when the answer was read
	Count       int    `json:"count"`        // values sent before this, delete markers included
}

// RequestInfo is the part of HeaderRequestInfo that the fleet looks at.
type RequestInfo struct {
	Account string `json:"acc"`
	User    string `json:"user"`
	Kind    string `json:"kind"` // KindClient, or what the server itself is
}

// KindClient is the kind of a request that a client made. What JetStream delivers
// has another, and no user.
const KindClient = "Client"

// ErrNoRequestInfo says that a message does not say who sent it.
var ErrNoRequestInfo = errors.New("no header " + HeaderRequestInfo)

// RequestInfoOf reads who sent a message that crossed accounts. It fails with
// ErrNoRequestInfo, or where the header is not JSON.
func RequestInfoOf(h nats.Header) (RequestInfo, error) {
	var info RequestInfo
	text := HeaderValue(h, HeaderRequestInfo)
	if text == "" {
		return info, ErrNoRequestInfo
	}
	if err := json.Unmarshal([]byte(text), &info); err != nil {
		return info, fmt.Errorf("header %s: %w", HeaderRequestInfo, err)
	}
	return info, nil
}

// IsRemoval says whether a message of a bucket is a delete marker.
func IsRemoval(h nats.Header) bool {
	op := HeaderValue(h, HeaderKVOperation)
	return op == KVDelete || op == kvPurge
}
