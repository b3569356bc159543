//go:build race

package responder_test

import "time"

// deadline is when a request is given up: earlier than usual. nats-server 2.15.2 has a
// data race of its own where an answer comes just when the server refuses the client
// for want of one (auth_callout.go, authViolation), and the race detector would hold
// it against the test.
const deadline = 600 * time.Millisecond
