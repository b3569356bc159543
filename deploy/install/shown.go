package install

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/tunnel"
)

// leaf is the first certificate of a file, which is the one that its owner shows.
func leaf(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// shown is the certificate that a server shows to clients.
func (r *run) shown(ctx context.Context, pod string) (*x509.Certificate, error) {
	way, err := tunnel.Open(ctx, r.Config, r.Namespace, pod, names.PortNATS)
	if err != nil {
		return nil, err
	}
	defer way.Close()
	return certificateAt(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(int(way.Port))))
}

// certificateAt is the certificate that a NATS server shows there. Nothing is told to the
// server, so it need not be trusted.
func certificateAt(ctx context.Context, address string) (*x509.Certificate, error) {
	fail := func(err error) error { return fmt.Errorf("look at the certificate of the NATS server: %w", err) }
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fail(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(connectTimeout)); err != nil {
		return nil, fail(err)
	}
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil { // the server speaks first, in plain text
		return nil, fail(err)
	}
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // what it shows is looked at
	if err := client.HandshakeContext(ctx); err != nil {
		return nil, fail(err)
	}
	return client.ConnectionState().PeerCertificates[0], nil
}
