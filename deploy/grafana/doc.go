// Package grafana makes the dashboards of a fleet: Fleet, Rollouts, Device and Platform.
//
// A dashboard is built by Grafana's own SDK, so that its JSON is of the schema that
// Grafana reads. Queries name metrics of the operator, the callout and the agents
// alone; the tests hold them against what those register. generate/ writes the files.
package grafana
