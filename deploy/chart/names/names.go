// Package names has the names by which the chart, the installer and a person find the
// fleet's objects in a cluster.
package names

import (
	"net"
	"strconv"
)

// Namespace is where the fleet is, unless a person says another.
const Namespace = "fleet-system"

// Objects that the chart makes.
const (
	NATS         = "fleet-nats"          // StatefulSet, Service of clients, ConfigMap, PodDisruptionBudget
	NATSHeadless = "fleet-nats-headless" // Service of each server
	Operator     = "fleet-operator"      // Deployment, Service, ServiceAccount, roles
	Dashboard    = "fleet-dashboard"     // Ingress by which persons reach the operator's dashboard
	Callout      = "fleet-callout"       // Deployment, Service, ConfigMap
	Devices      = "fleet-devices"       // how devices reach NATS from outside: Service, Ingress, Route or HTTPRoute
)

// Ports of the pods and of their Services.
const (
	PortNATS      = 4222
	PortWebSocket = 8080
	PortRoutes    = 6222
	PortMonitor   = 8222
	PortOperator  = 18082
	PortDashboard = 18080 // of the operator's pods, where the dashboard listens to the network
	PortCallout   = 18081
)

// Secrets and ConfigMaps that must be there before the pods start. They are made once
// and never overwritten: the chart has none of them.
const (
	SecretAccounts = "fleet-nats-accounts" // the NATS accounts and users: deploy/accounts renders it
	KeyAccounts    = "accounts.conf"

	SecretTLS = "fleet-nats-tls" // what the NATS servers show to clients and to each other
	KeyCert   = "tls.crt"
	KeyKey    = "tls.key"
	KeyCA     = "ca.crt"

	ConfigMapCA = "fleet-ca" // KeyCA: by which our own pods trust the NATS servers

	SecretOperator = "fleet-operator-nats" // the operator's user in account FLEET
	SecretSystem   = "fleet-nats-system"   // a user in the system account, to reload servers; no pod has it
	SecretAdmin    = "fleet-nats-admin"    // an administrator's login; the CronJob of backups has it
	KeyUser        = "user"
	KeyPassword    = "password"

	SecretCallout   = "fleet-callout-nats" // the callout's three passwords and its two seeds
	KeyAuthPassword = "auth-password"
	KeyLogPassword  = "log-password"
	KeySysPassword  = "sys-password"
	KeyIssuerSeed   = "issuer.seed"
	KeyXKeySeed     = "xkey.seed"
	// With callout.previousSeeds: those of before, by which servers are answered that do not
	// have the new ones yet.
	KeyPreviousIssuerSeed = "issuer-previous.seed"
	KeyPreviousXKeySeed   = "xkey-previous.seed"

	ConfigMapIssuerCA = "fleet-issuer-ca" // KeyCA of the identity provider; with callout.issuerCA

	SecretIntrospection = "fleet-callout-introspection" // key of an API application; with callout.introspection
	KeyIntrospection    = "key.json"

	SecretSealKey = "fleet-seal-key" // the operator makes it; it seals the event log
)

// NATSURL is where pods of the cluster reach the NATS servers.
func NATSURL(namespace string) string {
	return "tls://" + net.JoinHostPort(NATS+"."+namespace+".svc", strconv.Itoa(PortNATS))
}

// CertificateNames are the DNS names that the certificate of the NATS servers needs, beside
// those by which devices reach them. Between servers each one is a client too: the
// certificate must allow both uses.
func CertificateNames(namespace string) []string {
	return []string{
		NATS, NATS + "." + namespace + ".svc", NATS + "." + namespace + ".svc.cluster.local",
		"*." + NATSHeadless + "." + namespace + ".svc", "*." + NATSHeadless + "." + namespace + ".svc.cluster.local",
		"localhost", // by kubectl port-forward
	}
}
