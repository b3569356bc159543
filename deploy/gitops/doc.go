// Package gitops has samples for Flux and Argo CD beside it. Its tests hold them to the
// tools' own definitions, to the chart and to the custom resources.
package gitops
