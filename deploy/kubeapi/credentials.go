package main

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/util/keyutil"
)

const (
	adminUser  = "admin"
	adminGroup = "system:masters"
	// certMargin is how long a certificate must still be good for at start; the
	// API server makes them for a year, and a process may run for a while.
	certMargin = 30 * 24 * time.Hour
)

// credentials are the files by which the server knows itself and its one user.
// They are kept over restarts, so that a copied kubeconfig goes on working.
type credentials struct {
	// tokenFile is the API server's static token file, of one line.
	tokenFile string
	// token is the admin's.
	token string
	// serviceAccountKey signs and verifies the tokens of service accounts.
	serviceAccountKey string
	// certDir is where the API server keeps its serving certificate.
	certDir string
}

// caFile is what a client must trust: the serving certificate, which is
// self-signed together with its CA.
func (c credentials) caFile() string { return filepath.Join(c.certDir, "apiserver.crt") }

// ensureCredentials loads what dir has and makes what it lacks.
func ensureCredentials(dir string, now time.Time) (credentials, error) {
	c := credentials{
		tokenFile:         filepath.Join(dir, "tokens.csv"),
		serviceAccountKey: filepath.Join(dir, "service-account.key"),
		certDir:           filepath.Join(dir, "certs"),
	}
	var err error
	if c.token, err = ensureToken(c.tokenFile); err != nil {
		return c, fmt.Errorf("admin token: %w", err)
	}
	if err := ensureKey(c.serviceAccountKey); err != nil {
		return c, fmt.Errorf("service account key: %w", err)
	}
	if err := dropUnusableCert(c.certDir, now); err != nil {
		return c, fmt.Errorf("serving certificate: %w", err)
	}
	return c, nil
}

// ensureToken returns the token of the admin's line in path, and writes a fresh
// one if there is none that can be used.
func ensureToken(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	record, err := csv.NewReader(strings.NewReader(string(content))).Read()
	if err == nil && len(record) == 4 && record[0] != "" && record[1] == adminUser && record[3] == adminGroup {
		return record[0], nil
	}
	token := make([]byte, 32)
	if _, err := rand.Read(token); err != nil {
		return "", err
	}
	text := hex.EncodeToString(token)
	line := strings.Join([]string{text, adminUser, adminUser, adminGroup}, ",") + "\n"
	return text, writeFileAtomically(path, []byte(line))
}

func ensureKey(path string) error {
	if _, err := keyutil.PrivateKeyFromFile(path); err == nil {
		return nil
	}
	pem, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		return err
	}
	return writeFileAtomically(path, pem)
}

// dropUnusableCert removes a certificate that is half written (by a process that
// was killed), spoiled or about to expire; the API server then makes another,
// while it would refuse to start with half a pair.
func dropUnusableCert(certDir string, now time.Time) error {
	certFile, keyFile := filepath.Join(certDir, "apiserver.crt"), filepath.Join(certDir, "apiserver.key")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err == nil {
		var leaf *x509.Certificate
		if leaf, err = x509.ParseCertificate(pair.Certificate[0]); err == nil && now.Add(certMargin).Before(leaf.NotAfter) {
			return nil
		}
	}
	return errors.Join(removeIfPresent(certFile), removeIfPresent(keyFile))
}
