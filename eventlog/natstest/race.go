//go:build race

package natstest

// AuthTimeout is longer than deploy/accounts renders it: nats-server 2.15.2 has a data
// race of its own where an answer of the callout comes just when the server refuses
// the client for want of one (auth_callout.go, authViolation), and the race detector
// would hold it against the test.
const AuthTimeout = 4.0
