//go:build e2e

package upgrade_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/accounts/accountstest"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/eventlog/natstest"
)

// credentials has a release's fleetctl make what is missing of the credentials, and what
// follows from them.
func (w *world) credentials(of release) {
	w.t.Helper()
	out, err := exec.CommandContext(w.t.Context(), of.program("fleetctl"), "credentials", w.secrets, "--host", "127.0.0.1").CombinedOutput()
	if err != nil {
		w.t.Fatalf("fleetctl credentials of %s: %v: %s", of.version, err, out)
	}
}

// secret is a value that the fleet was given.
func (w *world) secret(name, key string) string {
	w.t.Helper()
	text, err := os.ReadFile(w.secrets)
	w.must(err)
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var about metav1.PartialObjectMetadata
		w.must(yaml.Unmarshal([]byte(document), &about))
		if about.Kind != "Secret" || about.Name != name {
			continue
		}
		var s corev1.Secret
		w.must(yaml.Unmarshal([]byte(document), &s))
		return string(s.Data[key])
	}
	w.t.Fatalf("there is no Secret %s", name)
	return ""
}

// secretFile is a file with such a value.
func (w *world) secretFile(name, key string) string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), key)
	w.must(os.WriteFile(file, []byte(w.secret(name, key)), 0o600))
	return file
}

// startServers starts three NATS servers by the configuration of the previous release.
func (w *world) startServers() {
	w.t.Helper()
	w.credentials(w.old)
	cert, key := w.secretFile(names.SecretTLS, names.KeyCert), w.secretFile(names.SecretTLS, names.KeyKey)
	for _, s := range accountstest.Nodes(w.t, servers) {
		s.TLS = &accounts.TLS{CertFile: cert, KeyFile: key}
		w.conf, w.files = append(w.conf, s), append(w.files, filepath.Join(w.t.TempDir(), "nats.conf"))
	}
	w.configure()
	w.servers = natstest.ClusterOf(w.t, w.files...)
	w.nc, w.js = w.connect(names.SecretOperator)
}

// configure writes the servers' files.
func (w *world) configure() {
	w.t.Helper()
	for i, file := range w.files {
		w.must(os.WriteFile(file, append(w.conf[i].Render(), w.secret(names.SecretAccounts, names.KeyAccounts)...), 0o600))
	}
}

// reconfigure gives the servers the accounts of a release, one server after the other, each
// once the one before it has caught up.
func (w *world) reconfigure(of release) {
	w.t.Helper()
	w.credentials(of)
	w.configure()
	for _, node := range w.servers.Nodes {
		w.eventually("all servers have all streams", w.replicated)
		node.Restart()
	}
	w.eventually("all servers have all streams", w.replicated)
}

// replicated says which stream is not on all servers as it is.
func (w *world) replicated(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // a server that ends just then answers nothing
	defer cancel()
	streams := w.js.ListStreams(ctx)
	n := 0
	for s := range streams.Info() {
		n++
		c := s.Cluster
		if c == nil || c.Leader == "" || len(c.Replicas) != s.Config.Replicas-1 {
			return fmt.Errorf("%s has the peers %+v", s.Config.Name, c)
		}
		for _, peer := range c.Replicas {
			if !peer.Current || peer.Offline {
				return fmt.Errorf("%s: %+v", s.Config.Name, *peer)
			}
		}
	}
	if err := streams.Err(); err != nil {
		return err
	}
	if n == 0 {
		return errors.New("there are no streams")
	}
	return nil
}

func (w *world) url() string { return strings.ReplaceAll(w.servers.URL(), "nats://", "tls://") }

func (w *world) ca() string { return w.secretFile(names.SecretTLS, names.KeyCA) }

// connect connects as the user of a Secret.
func (w *world) connect(secret string) (*nats.Conn, jetstream.JetStream) {
	w.t.Helper()
	return w.servers.Connect(w.t, nats.UserInfo(w.secret(secret, names.KeyUser), w.secret(secret, names.KeyPassword)), nats.RootCAs(w.ca()))
}
