package chart_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/rolling"
	"fleet.nationtech.io/eventlog/natstest"
)

// authority signs certificates for the names of a server.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.cert, a.key = a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	a.file = filepath.Join(t.TempDir(), names.KeyCA)
	a.write(t, a.file, "CERTIFICATE", a.cert.Raw)
	return a
}

func (a *authority) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := template, key
	if a.cert != nil {
		parent, by = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (a *authority) write(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// secret is the folder that a pod has of the Secret with the servers' certificate.
func (a *authority) secret(t *testing.T, uses ...x509.ExtKeyUsage) string {
	t.Helper()
	cert, key := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: names.NATS}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: uses,
		DNSNames: names.CertificateNames(names.Namespace), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
	dir := t.TempDir()
	a.write(t, filepath.Join(dir, names.KeyCert), "CERTIFICATE", cert.Raw)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, filepath.Join(dir, names.KeyKey), "PRIVATE KEY", der)
	a.write(t, filepath.Join(dir, names.KeyCA), "CERTIFICATE", a.cert.Raw)
	return dir
}

// layout is how the servers of a rendered chart are run on one machine.
type layout struct {
	objects    []*unstructured.Unstructured
	container  corev1.Container
	tls        string // folder of the certificate
	env        map[string]string
	routes     []int
	webSockets []int
}

func newLayout(t *testing.T, a *authority, o chart.Options) *layout {
	t.Helper()
	l := &layout{objects: render(t, o), env: map[string]string{}}
	l.container = pods(t, l.objects)[names.NATS].Spec.Containers[0]
	l.tls = a.secret(t, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
	for _, e := range l.container.Env {
		l.env[e.Name] = e.Value
	}
	return l
}

// usersOf is accounts.conf with these devices.
func usersOf(t *testing.T, devices ...string) []byte {
	t.Helper()
	u := accounts.Users{Operator: accounts.Login{User: "operator", Password: "o"}, System: accounts.Login{User: "sys", Password: "s"}}
	for _, id := range devices {
		u.Devices = append(u.Devices, accounts.Device{ID: id, Password: "p"})
	}
	text, err := accounts.Render(u, accounts.RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// nodes writes the files of n servers. Only what the loopback does not have is changed: the
// addresses, the folders, and the names of pods in the routes.
func (l *layout) nodes(t *testing.T, n int) []string {
	t.Helper()
	text, _, err := unstructured.NestedString(find(l.objects, "ConfigMap", names.NATS).Object, "data", "nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	users := usersOf(t, "pi-01")
	for range n {
		l.routes = append(l.routes, natstest.FreePort(t))
	}
	var files []string
	for i := range n {
		dir := t.TempDir()
		pod := fmt.Sprintf("%s-%d", names.NATS, i)
		webSocket := natstest.FreePort(t)
		l.webSockets = append(l.webSockets, webSocket)
		changed := strings.NewReplacer(
			"$POD_NAME", pod,
			fmt.Sprintf("port: %d\nhttp: \":%d\"", names.PortNATS, names.PortMonitor), fmt.Sprintf("host: 127.0.0.1\nport: %d\nhttp: \"127.0.0.1:-1\"", natstest.FreePort(t)),
			fmt.Sprintf("port: %d", names.PortWebSocket), fmt.Sprintf("host: 127.0.0.1, port: %d", webSocket),
			fmt.Sprintf("port: %d", names.PortRoutes), fmt.Sprintf("host: 127.0.0.1, port: %d", l.routes[i]),
			`"/data"`, `"`+dir+`"`,
			"/etc/nats-tls", l.tls, "/etc/nats-routes-tls", l.tls,
		).Replace(text)
		files = append(files, filepath.Join(dir, "nats.conf"))
		if err := os.WriteFile(files[i], []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, names.KeyAccounts), users, 0o600); err != nil {
			t.Fatal(err)
		}
		pods := fmt.Sprintf("%s.%s.%s.svc:%d", pod, names.NATSHeadless, names.Namespace, names.PortRoutes)
		routes := strings.Replace(l.env["FLEET_NATS_ROUTES"], pods, fmt.Sprintf("127.0.0.1:%d", l.routes[i]), 1)
		if n > 1 && routes == l.env["FLEET_NATS_ROUTES"] {
			t.Fatalf("the routes %s lack %s", routes, pods)
		}
		l.env["FLEET_NATS_ROUTES"] = routes
	}
	return files
}

// Three real servers of the rendered configuration and environment are one cluster, whose
// routes let no server in without a certificate of the authority. Not parallel: the
// servers read the process's environment.
func TestThreeRenderedServersAreOneClusterOverTLS(t *testing.T) {
	a := newAuthority(t)
	l := newLayout(t, a, chart.Options{Profile: "production", Values: provider()})
	files := l.nodes(t, 3)
	for name, v := range l.env {
		t.Setenv(name, v)
	}
	for i, file := range files {
		o, err := server.ProcessConfigFile(file)
		if err != nil {
			t.Fatal(err)
		}
		const mebi = 1 << 20
		if o.ServerName != fmt.Sprintf("fleet-nats-%d", i) || !o.SyncAlways || o.JetStreamMaxStore != 46080*mebi || o.JetStreamMaxMemory != 256*mebi ||
			o.MaxConn != 120000 || o.PingInterval != 20*time.Second || o.MaxPingsOut != 2 || o.WriteDeadline != 10*time.Second ||
			o.LameDuckDuration != 30*time.Second || o.MaxPayload != mebi || len(o.Routes) != 3 || !o.Cluster.NoAdvertise || o.SystemAccount != accounts.System {
			t.Errorf("the server understood something else: %+v", o)
		}
		if v := o.Cluster.TLSConfig; v == nil || v.ClientAuth != tls.RequireAndVerifyClientCert || v.ClientCAs == nil {
			t.Errorf("routes do not verify certificates: %+v", v)
		}
	}
	servers := natstest.ClusterOf(t, files...)
	url := strings.ReplaceAll(servers.URL(), "nats://", "tls://")
	nc, err := nats.Connect(url, nats.UserInfo("operator", "o"), nats.RootCAs(a.file), nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	natstest.EnsureLog(t, js, 3)
	if len(nc.DiscoveredServers()) > 0 {
		t.Errorf("the servers tell clients their own addresses: %v", nc.DiscoveredServers())
	}
	for _, port := range l.webSockets {
		ws, err := nats.Connect(fmt.Sprintf("wss://127.0.0.1:%d", port), nats.UserInfo(accounts.DeviceUser("pi-01"), "p"), nats.RootCAs(a.file), nats.Timeout(patience))
		if err != nil {
			t.Errorf("WebSocket: %v", err)
			continue
		}
		ws.Close()
	}
	if nc, err := nats.Connect(url, nats.UserInfo("operator", "wrong"), nats.RootCAs(a.file)); err == nil {
		nc.Close()
		t.Error("a wrong password is let in")
	}
	// Another accounts.conf is in force once each server was reloaded, one after the other.
	login := []nats.Option{nats.UserInfo(accounts.DeviceUser("pi-02"), "p"), nats.RootCAs(a.file), nats.Timeout(patience)}
	if nc, err := nats.Connect(url, login...); err == nil {
		nc.Close()
		t.Error("a device is let in that is in no accounts.conf yet")
	}
	for _, file := range files {
		if err := os.WriteFile(filepath.Join(filepath.Dir(file), names.KeyAccounts), usersOf(t, "pi-01", "pi-02"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	system, err := nats.Connect(url, nats.UserInfo("sys", "s"), nats.RootCAs(a.file), nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer system.Close()
	l.mustHaveLoaded(t, system, files, usersOf(t, "pi-01"))
	if err := rolling.Change(t.Context(), rolling.Options{Conn: system, Servers: 3}); err != nil {
		t.Fatal(err)
	}
	l.mustHaveLoaded(t, system, files, usersOf(t, "pi-01", "pi-02"))
	for _, at := range strings.Split(url, ",") {
		nc, err := nats.Connect(at, login...)
		if err != nil {
			t.Errorf("%s after the reload: %v", at, err)
			continue
		}
		nc.Close()
	}

	stranger := newAuthority(t)
	for what, dir := range map[string]string{
		"of another authority": stranger.secret(t, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth),
		"for servers alone":    a.secret(t, x509.ExtKeyUsageServerAuth),
	} {
		cert, err := tls.LoadX509KeyPair(filepath.Join(dir, names.KeyCert), filepath.Join(dir, names.KeyKey))
		if err != nil {
			t.Fatal(err)
		}
		if err := route(l.routes[0], a, cert); !isAlert(err) {
			t.Errorf("a route with a certificate %s is not refused for it: %v", what, err)
		}
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(l.tls, names.KeyCert), filepath.Join(l.tls, names.KeyKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := route(l.routes[0], a, cert); isAlert(err) {
		t.Errorf("a route with the servers' certificate: %v; the refusals above prove nothing", err)
	}
}

// mustHaveLoaded checks that each server gives the digest that is computed of its files and
// its environment, and when its certificate ends.
func (l *layout) mustHaveLoaded(t *testing.T, system *nats.Conn, files []string, users []byte) {
	t.Helper()
	servers, err := rolling.Servers(t.Context(), system, len(files), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(l.tls, names.KeyCert), filepath.Join(l.tls, names.KeyKey))
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range servers {
		text, err := os.ReadFile(files[i])
		if err != nil {
			t.Fatal(err)
		}
		want, err := rolling.Digest(string(text), map[string]string{names.KeyAccounts: string(users)}, l.env)
		if err != nil {
			t.Fatal(err)
		}
		got, err := rolling.Loaded(t.Context(), system, s)
		if err != nil {
			t.Fatal(err)
		}
		if got.Digest != want || !got.CertificateEnds.Equal(pair.Leaf.NotAfter) {
			t.Errorf("server %s runs with %+v, want %s and a certificate until %s", s.Name, got, want, pair.Leaf.NotAfter)
		}
	}
}

// isAlert says whether the other side refused a certificate.
func isAlert(err error) bool {
	var alert tls.AlertError
	return errors.As(err, &alert) || err != nil && strings.Contains(err.Error(), "remote error: tls:")
}

// route shakes hands as another server, and waits for the answer to the certificate.
func route(port int, a *authority, cert tls.Certificate) error {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	c := tls.Client(conn, &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12})
	if err := c.Handshake(); err != nil {
		return err
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 64))
	return err
}

// One server of the lab's configuration keeps the log and lets a device in, over WebSocket in
// clear where an Ingress ends TLS.
func TestALabServerBehindAnIngress(t *testing.T) { // not parallel: the environment
	a := newAuthority(t)
	l := newLayout(t, a, chart.Options{Profile: "lab", Values: provider(exposed("ingress", "devices.example.com"))})
	files := l.nodes(t, 1)
	for name, v := range l.env {
		t.Setenv(name, v)
	}
	servers := natstest.ClusterOf(t, files...)
	nc, err := nats.Connect(strings.ReplaceAll(servers.URL(), "nats://", "tls://"), nats.UserInfo("operator", "o"), nats.RootCAs(a.file), nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	natstest.EnsureLog(t, js, 1)
	system, err := nats.Connect(strings.ReplaceAll(servers.URL(), "nats://", "tls://"), nats.UserInfo("sys", "s"), nats.RootCAs(a.file), nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer system.Close()
	l.mustHaveLoaded(t, system, files, usersOf(t, "pi-01"))
	ws, err := nats.Connect(fmt.Sprintf("ws://127.0.0.1:%d", l.webSockets[0]), nats.UserInfo(accounts.DeviceUser("pi-01"), "p"), nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	ws.Close()
}
