// Package dev runs a whole fleet on one machine: a NATS server with the accounts
// of a real one, a Kubernetes API, the operator, and agents on Podman or on an
// in-memory engine. Its data is kept, so that starting it again is a recovery.
package dev
