package install

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"fleet.nationtech.io/deploy/chart/names"
)

// Why a server's certificate is not trusted.
const (
	foreign  = "foreign"  // of an authority that is not known
	misnamed = "misnamed" // for other names
	expired  = "expired"  // it ended, or is not valid yet
	unfit    = "unfit"    // by another rule of RFC 5280, such as its usage
)

// distrust says why a server's certificate is not trusted; empty for other errors.
func distrust(err error) string {
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	switch {
	case errors.As(err, &hostname):
		return misnamed
	case errors.As(err, &unknown):
		return foreign
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return expired
	case errors.As(err, &invalid), errors.As(err, &verification):
		return unfit
	}
	return ""
}

// unreachable is what to do where the servers are not reached by the way that devices
// take.
func unreachable(url, secret string, err error) *CheckError {
	const what = "the certificate at "
	behind := "Where devices come by the servers' own ports it is that of Secret " + secret
	switch distrust(err) {
	case misnamed:
		return &CheckError{
			what + url + " is not trusted", err,
			"What answers there shows a certificate for other names. Set devices.host to the name that devices use, and install again. Behind an ingress set devices.ingress.tlsSecret. " + behind + ".",
		}
	case foreign:
		return &CheckError{
			what + url + " is not trusted", err,
			"What answers there shows a certificate of an authority that this machine does not know, such as an ingress controller's own. Set devices.ingress.tlsSecret or the Route's certificate, then install again; or use --skip-check, and give the authority to the devices.",
		}
	case expired:
		return &CheckError{
			what + url + " is not trusted", err,
			"What answers there shows a certificate that has ended, or is not valid yet by this machine's clock. Renew it, and install again. Behind an ingress it is that of devices.ingress.tlsSecret or the Route's. " + behind + ".",
		}
	case unfit:
		return &CheckError{
			what + url + " is not trusted", err,
			"What answers there shows a certificate that is not fit for a server. Replace it, and install again. Behind an ingress it is that of devices.ingress.tlsSecret or the Route's. " + behind + ".",
		}
	}
	return &CheckError{
		"the NATS servers cannot be reached at " + url, err,
		"Check that devices.host leads to the cluster and that no firewall is before the port. Then install again. Where this machine may not reach it, use --skip-check.",
	}
}

// unreadable is what to do where the event log is not read within the cluster. There the
// servers show the certificate of a Secret, with nothing before them.
func unreadable(namespace, secret string, err error) *CheckError {
	what, in := "the NATS servers' certificate is not trusted", "Secret "+namespace+"/"+secret
	switch distrust(err) {
	case misnamed:
		return &CheckError{what, err, "The certificate in " + in + " must be for " + innerName(namespace) + ", too: operator and callout come by it. Replace it, and install again."}
	case foreign:
		return &CheckError{what, err, "ConfigMap " + namespace + "/" + names.ConfigMapCA + " must have the authority of the certificate in " + in + " under key " + names.KeyCA + ". Correct it, and install again."}
	case expired:
		return &CheckError{what, err, "The certificate in " + in + " has ended, or is not valid yet by this machine's clock. Renew it, and install again."}
	case unfit:
		return &CheckError{what, err, "The certificate in " + in + " is not fit for a server. Replace it, and install again."}
	}
	return &CheckError{
		"the event log cannot be read through the Kubernetes API", err,
		"Read the operator's log: kubectl -n " + namespace + " logs deployment/" + names.Operator + ". Then install again, or use --skip-check.",
	}
}

// innerName is how the cluster's own pods call the servers.
func innerName(namespace string) string { return names.NATS + "." + namespace + ".svc" }
