//go:build !race

package natstest

// AuthTimeout is authorization.timeout, in seconds, of a server whose logins a callout
// decides: as deploy/accounts renders it.
const AuthTimeout = 1.8
