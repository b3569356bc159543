package accounts

import (
	"fmt"
	"strings"
	"time"
)

// BatchTimeout is how long a batch of appends may stay open. A hostile client
// can hold all of a stream's batches open; they fall after this time, so it is
// short, and still ten times what a full batch of the operator takes.
const BatchTimeout = 2 * time.Second

// tlsTimeout bounds a TLS handshake. The server's default of 2 s is short for a
// small device, and for a fleet that comes back all at once.
const tlsTimeout = 5 * time.Second

// webSocketTimeout bounds a WebSocket handshake, for the same reason.
const webSocketTimeout = 10 * time.Second

// Server is what one server needs beside the accounts. A text that begins with $ names a
// variable of the server's environment, as in $POD_NAME: many servers then share one file.
type Server struct {
	Name     string
	Host     string // empty: all addresses
	Port     int
	HTTPPort int // monitoring; 0: none
	StoreDir string
	// MaxFile and MaxMemory bound JetStream's storage on this server, as 45Gi; empty: what
	// the server finds. MaxFile must be less than the disk, or the disk fills.
	MaxFile, MaxMemory string
	// SyncAlways writes each append to the disk before it is acknowledged: what
	// a single server must do that is to survive power cuts.
	SyncAlways bool
	TLS        *TLS // nil: clients connect in plaintext
	// WebSocketPort lets clients in over WebSocket too; 0: none. It takes TLS, or
	// WebSocketPlain.
	WebSocketPort int
	// WebSocketPlain serves WebSocket without TLS, behind a proxy that ends TLS.
	WebSocketPlain bool
	Cluster        *Cluster
	Limits         Limits
	// LameDuck is how long the server takes to send its clients away before it ends,
	// as 30s, which is the shortest that it accepts; empty: the server's default.
	LameDuck string
	// Include is the file with the accounts, beside this one; empty: they follow this text.
	Include string
}

// Limits bound what clients do to one server. Zero values are the server's defaults.
type Limits struct {
	MaxConnections string        // as 65536
	MaxPayload     string        // bytes of one message, as 1MB
	WriteDeadline  time.Duration // a client that takes no data for longer is ended
	// PingInterval is how often the server asks an idle client whether it is there. Proxies
	// end connections that are idle for 30 s.
	PingInterval time.Duration
	MaxPings     int // without an answer
}

// TLS is what a server shows: files in PEM, which it reads again when it is reloaded.
type TLS struct {
	CertFile string
	KeyFile  string
	// CAFile verifies the other servers. Routes need it; clients show no certificate.
	CAFile string
}

// Cluster joins servers.
type Cluster struct {
	Name   string
	Host   string
	Port   int
	Routes []string // URLs of the others, or of all; or one variable that has the list
	// TLS of routes; nil: plaintext. Each server verifies the others' certificates, which
	// must serve for servers and for clients.
	TLS *TLS
	// NoAdvertise keeps the servers' addresses from clients, who could not reach them.
	NoAdvertise bool
}

// Render writes the server's part of the configuration. The accounts follow it where
// Include is empty.
func (s Server) Render() []byte {
	w := &writer{}
	w.line("server_name: %s", value(s.Name))
	if s.Host != "" {
		w.line("host: %s", quote(s.Host))
	}
	w.line("port: %d", s.Port)
	if s.HTTPPort != 0 {
		w.line("http: %s", quote(fmt.Sprintf("%s:%d", s.Host, s.HTTPPort)))
	}
	w.limits(s.Limits)
	if s.LameDuck != "" {
		w.line("lame_duck_duration: %s", value(s.LameDuck))
	}
	if s.TLS != nil {
		w.line("%s", s.TLS.block())
	}
	w.webSocket(s)
	w.open("jetstream: {")
	w.line("store_dir: %s", quote(s.StoreDir))
	if s.MaxFile != "" {
		w.line("max_file_store: %s", s.MaxFile)
	}
	if s.MaxMemory != "" {
		w.line("max_memory_store: %s", s.MaxMemory)
	}
	if s.SyncAlways {
		w.line("sync_interval: always")
	}
	w.line("limits: { batch: { timeout: %s } }", quote(BatchTimeout.String()))
	w.close("}")
	w.cluster(s.Cluster)
	if s.Include != "" {
		w.line("include %s", quote(s.Include))
	}
	return w.b.Bytes()
}

func (w *writer) limits(l Limits) {
	if l.MaxConnections != "" {
		w.line("max_connections: %s", l.MaxConnections)
	}
	if l.MaxPayload != "" {
		w.line("max_payload: %s", l.MaxPayload)
	}
	if l.WriteDeadline != 0 {
		w.line("write_deadline: %s", quote(duration(l.WriteDeadline)))
	}
	if l.PingInterval != 0 {
		w.line("ping_interval: %s", quote(duration(l.PingInterval)))
	}
	if l.MaxPings != 0 {
		w.line("ping_max: %d", l.MaxPings)
	}
}

func (w *writer) webSocket(s Server) {
	if s.WebSocketPort == 0 || s.TLS == nil && !s.WebSocketPlain {
		return
	}
	w.open("websocket: {")
	if s.Host != "" {
		w.line("host: %s", quote(s.Host))
	}
	w.line("port: %d", s.WebSocketPort)
	if s.WebSocketPlain {
		w.line("no_tls: true")
	} else {
		w.line("%s", s.TLS.block())
	}
	w.line("handshake_timeout: %s", quote(duration(webSocketTimeout)))
	w.close("}")
}

func (w *writer) cluster(c *Cluster) {
	if c == nil {
		return
	}
	w.open("cluster: {")
	w.line("name: %s", quote(c.Name))
	if c.Host != "" {
		w.line("host: %s", quote(c.Host))
	}
	w.line("port: %d", c.Port)
	if len(c.Routes) == 1 && isVariable(c.Routes[0]) {
		w.line("routes: %s", c.Routes[0])
	} else {
		w.line("routes: [%s]", quoteAll(c.Routes))
	}
	if c.NoAdvertise {
		w.line("no_advertise: true")
	}
	if c.TLS != nil {
		w.line("%s", c.TLS.block())
	}
	w.close("}")
}

// block is the tls block. With a CAFile, who connects must show a certificate of it.
func (t *TLS) block() string {
	verify := ""
	if t.CAFile != "" {
		verify = fmt.Sprintf("ca_file: %s, verify: true, ", quote(t.CAFile))
	}
	return fmt.Sprintf("tls: { cert_file: %s, key_file: %s, %stimeout: %.0f }", quote(t.CertFile), quote(t.KeyFile), verify, tlsTimeout.Seconds())
}

func isVariable(s string) bool { return strings.HasPrefix(s, "$") }

// value writes a text, or the variable that has it.
func value(s string) string {
	if isVariable(s) {
		return s
	}
	return quote(s)
}
