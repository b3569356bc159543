package accounts

import (
	"fmt"
	"time"
)

// BatchTimeout is how long a batch of appends may stay open. A hostile client
// can hold all of a stream's batches open; they fall after this time, so it is
// short, and still ten times what a full batch of the operator takes.
const BatchTimeout = 2 * time.Second

// tlsTimeout bounds a TLS handshake. The server's default of 2 s is short for a
// small device, and for a fleet that comes back all at once.
const tlsTimeout = 5 * time.Second

// Server is what one server needs beside the accounts.
type Server struct {
	Name     string
	Host     string // empty: all addresses
	Port     int
	HTTPPort int // monitoring; 0: none
	StoreDir string
	// SyncAlways writes each append to the disk before it is acknowledged: what
	// a single server must do that is to survive power cuts.
	SyncAlways bool
	TLS        *TLS // nil: clients connect in plaintext
	// WebSocketPort lets clients in over WebSocket too, for which TLS is needed; 0: none.
	WebSocketPort int
	Cluster       *Cluster
}

// TLS is what a server shows to clients: files in PEM, which it reads again when it
// is reloaded.
type TLS struct {
	CertFile string
	KeyFile  string
}

// Cluster joins servers.
type Cluster struct {
	Name   string
	Host   string
	Port   int
	Routes []string // URLs of the others, or of all
}

// Render writes the server's part of the configuration; the accounts follow it.
func (s Server) Render() []byte {
	w := &writer{}
	w.line("server_name: %s", quote(s.Name))
	if s.Host != "" {
		w.line("host: %s", quote(s.Host))
	}
	w.line("port: %d", s.Port)
	if s.HTTPPort != 0 {
		w.line("http: %s", quote(fmt.Sprintf("%s:%d", s.Host, s.HTTPPort)))
	}
	if t := s.TLS; t != nil {
		tls := fmt.Sprintf("tls: { cert_file: %s, key_file: %s, timeout: %.0f }", quote(t.CertFile), quote(t.KeyFile), tlsTimeout.Seconds())
		w.line("%s", tls)
		if s.WebSocketPort != 0 {
			w.open("websocket: {")
			if s.Host != "" {
				w.line("host: %s", quote(s.Host))
			}
			w.line("port: %d", s.WebSocketPort)
			w.line("%s", tls)
			w.close("}")
		}
	}
	w.open("jetstream: {")
	w.line("store_dir: %s", quote(s.StoreDir))
	if s.SyncAlways {
		w.line("sync_interval: always")
	}
	w.line("limits: { batch: { timeout: %s } }", quote(BatchTimeout.String()))
	w.close("}")
	if c := s.Cluster; c != nil {
		w.open("cluster: {")
		w.line("name: %s", quote(c.Name))
		if c.Host != "" {
			w.line("host: %s", quote(c.Host))
		}
		w.line("port: %d", c.Port)
		w.line("routes: [%s]", quoteAll(c.Routes))
		w.close("}")
	}
	return w.b.Bytes()
}
