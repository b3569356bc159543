package eventlog

import "strings"

// Subjects of NATS servers' own, in their system account and in that of the auth
// callout (nats-server, server/events.go and auth_callout.go). They belong to
// subject.go, and stand beside it because it is long.

const (
	// AccountAuth holds the auth callout and nobody else.
	AccountAuth = "AUTH"
	// AccountGlobal is that of everybody, where servers have no accounts.
	AccountGlobal = "$G"
	// AccountSystem is the servers' own.
	AccountSystem = "SYS"

	// AuthRequestSubject is where servers ask the auth callout.
	AuthRequestSubject = "$SYS.REQ.USER.AUTH"
	// HeaderServerXKey has the curve key of a server that seals its request to the
	// auth callout.
	HeaderServerXKey = "Nats-Server-Xkey"
	// AuthReplySubjects matches where servers wait for its answers.
	AuthReplySubjects = "$SYS._INBOX.>"
	// ConnectionsSubject is where every server names its connections.
	ConnectionsSubject = "$SYS.REQ.SERVER.PING.CONNZ"
	// HealthSubject is where every server says whether it is healthy, its streams
	// included.
	HealthSubject = "$SYS.REQ.SERVER.PING.HEALTHZ"
	// StorageSubject is where every server says what its JetStream stores and may store, and
	// how it does.
	StorageSubject = "$SYS.REQ.SERVER.PING.JSZ"

	// MaxTokenBytes bounds a token. A NATS server's default max_control_line of 4,096
	// bytes bounds the line with which a client introduces itself: one of 3,800 bytes
	// passes, one of 3,950 does not.
	MaxTokenBytes = 3500

	// UserInfoAPI is where a server says whose a connection is, and of which account.
	UserInfoAPI = "$SYS.REQ.USER.INFO"

	// CalloutInboxPrefix is the callout's own, for nats.CustomInboxPrefix.
	CalloutInboxPrefix = inboxPrefix + "callout"
)

// KickSubject is where one server is told to end a connection.
func KickSubject(server string) string { return "$SYS.REQ.SERVER." + server + ".KICK" }

// ReloadSubject is where one server is told to read its configuration again.
func ReloadSubject(server string) string { return "$SYS.REQ.SERVER." + server + ".RELOAD" }

// VariablesSubject is where one server says what it runs with, its configuration's digest
// included.
func VariablesSubject(server string) string { return "$SYS.REQ.SERVER." + server + ".VARZ" }

// ConnectedSubject is where servers tell that a client of an account came.
func ConnectedSubject(account string) string { return "$SYS.ACCOUNT." + account + ".CONNECT" }

// DisconnectedSubject is where servers tell that a client of an account went.
func DisconnectedSubject(account string) string { return "$SYS.ACCOUNT." + account + ".DISCONNECT" }

// IsDisconnected says whether a subject is a DisconnectedSubject.
func IsDisconnected(subject string) bool {
	return strings.HasPrefix(subject, "$SYS.ACCOUNT.") && strings.HasSuffix(subject, ".DISCONNECT")
}
