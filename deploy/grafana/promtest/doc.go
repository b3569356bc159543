// Package promtest tests what deploy/grafana makes with Prometheus' own code: its parser,
// its engine and its tests of alerts. It is a module of its own, since
// Prometheus would raise the versions of what the binaries are made of.
package promtest
