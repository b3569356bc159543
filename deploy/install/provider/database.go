package provider

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/deploy/install/cluster"
)

// database is what of a connection string is not secret.
type database struct {
	host, port, sslMode, rootCert string

	// unread says that the string may be right, and is not of the plain kind that this
	// program reads: several servers, quoted words, a service file.
	unread bool
	ownCA  bool   // the Secret has the authority of its certificate
	mark   string // changes with what the Secret has
}

// caPath is where the chart mounts the authority of the database's certificate.
const caPath = "/db-ssl-ca-crt/ca.crt"

// parseDSN reads a connection string: a URL, or words as NAME=VALUE. Its errors show
// nothing of it, since it has a password.
func parseDSN(text string) (database, error) {
	var words map[string]string
	var known bool
	var err error
	if strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://") {
		words, known, err = urlWords(text)
	} else {
		words, known, err = plainWords(text)
	}
	if err != nil {
		return database{}, err
	}
	host := words["host"]
	if !known || words["service"] != "" || strings.Contains(host, ",") || strings.HasPrefix(host, "/") {
		return database{unread: true}, nil
	}
	d := database{host: host, port: words["port"], sslMode: words["sslmode"], rootCert: words["sslrootcert"]}
	if d.host == "" || words["dbname"] == "" {
		return d, errors.New("it must name the host and the database")
	}
	if d.port == "" {
		d.port = "5432"
	}
	return d, nil
}

// urlWords reads a URL. Its query is stronger than what is before it.
func urlWords(text string) (words map[string]string, known bool, err error) {
	if strings.ContainsFunc(text, unicode.IsControl) { // no URL has it: the driver refuses all of it
		return nil, false, errors.New("it has a line break, or another control character: write the file by printf %s")
	}
	_, authority, _ := strings.Cut(text, "://")
	if end := strings.IndexAny(authority, "/?"); end >= 0 {
		authority = authority[:end]
	}
	if strings.Contains(authority[strings.LastIndex(authority, "@")+1:], ",") { // several servers
		return nil, false, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, false, errors.New("it is no URL: signs such as # and @ of a password are written as %23 and %40")
	}
	words = map[string]string{"host": u.Hostname(), "port": u.Port(), "dbname": strings.TrimPrefix(u.Path, "/")}
	for name, values := range u.Query() {
		words[name] = values[0]
	}
	return words, true, nil
}

// plainWords reads words as NAME=VALUE without quotes, escapes and spaces around the sign.
func plainWords(text string) (words map[string]string, known bool, err error) {
	if strings.ContainsAny(text, `'\`) {
		return nil, false, nil
	}
	words = map[string]string{}
	for _, word := range strings.Fields(text) {
		name, value, found := strings.Cut(word, "=")
		switch {
		case !found && !strings.Contains(text, "="):
			return nil, false, errors.New("it is neither a URL nor words as NAME=VALUE")
		case !found, name == "", value == "":
			return nil, false, nil
		}
		words[name] = value
	}
	return words, true, nil
}

// encrypted says whether the connection must be.
func (d database) encrypted() bool {
	return d.sslMode == "require" || d.sslMode == "verify-ca" || d.sslMode == "verify-full"
}

// service is the Service that a host names, as seen from a namespace; empty: it is no
// name of the cluster's.
func service(host, from string) (namespace, name string) {
	parts := strings.Split(strings.TrimSuffix(host, "."), ".")
	switch {
	case net.ParseIP(host) != nil:
		return "", ""
	case len(parts) == 1:
		return from, parts[0]
	case len(parts) == 2 && !strings.Contains(parts[1], "local"), len(parts) > 2 && parts[2] == "svc":
		return parts[1], parts[0]
	}
	return "", ""
}

// databaseFindings says what is wrong with the database, as far as it can be seen
// before a pod asks it.
func (r *run) databaseFindings(ctx context.Context) ([]cluster.Finding, error) {
	name := r.Wanted.DatabaseSecret
	refuse := func(remedy, format string, args ...any) ([]cluster.Finding, error) {
		return []cluster.Finding{{Level: cluster.Refuse, Sentence: fmt.Sprintf(format, args...), Remedy: remedy}}, nil
	}
	values, err := r.read(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(values[keyDSN]) == 0 {
		return refuse(fmt.Sprintf("Make an empty database and its owner, and then: kubectl create namespace %s; kubectl -n %[1]s create secret generic %s --from-file=%s=FILE, with postgresql://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full in FILE.", r.Namespace, name, keyDSN),
			"Zitadel needs a Postgres database of yours, and Secret %s/%s has no key %s with its connection string.", r.Namespace, name, keyDSN)
	}
	d, err := parseDSN(string(values[keyDSN]))
	if err != nil {
		return refuse("Correct it, such as postgresql://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full.", "Key %s of Secret %s cannot be used: %v.", keyDSN, name, err)
	}
	d.ownCA = len(values[keyCA]) > 0
	sum := sha256.Sum256(slices.Concat(values[keyDSN], []byte{0}, values[keyCA]))
	d.mark = hex.EncodeToString(sum[:8])
	r.database = d
	if d.unread {
		return []cluster.Finding{{
			Level:    cluster.Warn,
			Sentence: fmt.Sprintf("The connection string in Secret %s names several servers, or has quotes or a service: whether the database is reached, and by TLS, is not looked at from here.", name),
			Remedy:   "Make sure that the cluster's pods reach it.",
		}}, nil
	}
	if d.ownCA && d.encrypted() && d.sslMode != "require" && d.rootCert != caPath {
		return refuse("Add sslrootcert="+caPath+" to it: there the pods find the authority.", "Secret %s has the authority of the database's certificate, and its connection string does not name it.", name)
	}
	if namespace, name := service(d.host, r.Namespace); name != "" {
		finding, known, err := r.inCluster(ctx, namespace, name)
		if err != nil || known {
			return finding, err
		}
	}
	return r.outsideDatabase(ctx), nil
}

// inCluster looks at a Service of the cluster. known says that there is no other way to
// find the database out.
func (r *run) inCluster(ctx context.Context, namespace, name string) (all []cluster.Finding, known bool, err error) {
	bad := func(remedy, format string, args ...any) ([]cluster.Finding, bool, error) {
		return []cluster.Finding{{Level: cluster.Refuse, Sentence: fmt.Sprintf(format, args...), Remedy: remedy}}, true, nil
	}
	_, err = r.client.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return nil, true, nil
	case apierrors.IsNotFound(err) && strings.Count(r.database.host, ".") == 1: // it may be a name of the internet
		return nil, false, nil
	case apierrors.IsNotFound(err):
		return bad("Install Postgres first, or correct the host in the Secret.", "The database is at %s, and namespace %s has no Service %s.", r.database.host, namespace, name)
	case err != nil:
		return nil, true, fmt.Errorf("service of the database: %w", err)
	}
	endpoints, err := r.client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + name})
	if apierrors.IsForbidden(err) {
		return nil, true, nil
	}
	if err != nil {
		return nil, true, fmt.Errorf("service of the database: %w", err)
	}
	for i := range endpoints.Items {
		for _, e := range endpoints.Items[i].Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				return nil, true, nil
			}
		}
	}
	return bad("Wait until Postgres is ready: kubectl -n "+namespace+" get pods.", "No pod of the database's Service %s/%s is ready.", namespace, name)
}

const databaseTimeout = 5 * time.Second

// outsideDatabase asks a database outside of the cluster whether it is Postgres, and
// whether it speaks TLS. What is not reached from here may be reached by the pods.
func (r *run) outsideDatabase(ctx context.Context) []cluster.Finding {
	d := r.database
	address := net.JoinHostPort(d.host, d.port)
	tls, err := askPostgres(ctx, address)
	var other *notPostgresError
	switch {
	case errors.As(err, &other):
		return []cluster.Finding{{Level: cluster.Refuse, Sentence: fmt.Sprintf("What answers at %s is no Postgres: %v.", address, other), Remedy: "Correct the host and the port in the database's Secret."}}
	case err != nil:
		return []cluster.Finding{{Level: cluster.Warn, Sentence: fmt.Sprintf("The database at %s does not answer here: %v.", address, err), Remedy: "Make sure that the cluster's pods reach it."}}
	case !tls && d.encrypted():
		return []cluster.Finding{{
			Level:    cluster.Refuse,
			Sentence: fmt.Sprintf("The database at %s does not speak TLS, and its connection string says sslmode=%s.", address, d.sslMode),
			Remedy:   "Turn TLS on at the database. Where the network is your own: sslmode=disable.",
		}}
	}
	return nil
}

// notPostgresError says what else answered.
type notPostgresError struct{ said byte }

func (e *notPostgresError) Error() string { return fmt.Sprintf("it answered %q", e.said) }

// askPostgres asks whether a server speaks TLS (SSLRequest of the frontend/backend
// protocol, version 3).
func askPostgres(ctx context.Context, address string) (tls bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return false, err
	}
	defer func() { _ = c.Close() }()
	if end, is := ctx.Deadline(); is {
		if err := c.SetDeadline(end); err != nil {
			return false, err
		}
	}
	const length, code = 8, 80877103
	question := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, length), code)
	if _, err := c.Write(question); err != nil {
		return false, err
	}
	var answer [1]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return false, err
	}
	switch answer[0] {
	case 'S':
		return true, nil
	case 'N':
		return false, nil
	}
	return false, &notPostgresError{answer[0]}
}
