package migration_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/deploy/migration"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
)

// The connection is cut at any moment, as a kill does, so what was sent last may or may
// not be in the log.
func TestAnImportThatIsCutAnywhereGoesOnToTheSameLog(t *testing.T) {
	t.Parallel()
	source := newOriginal(t)
	source.fill(80)
	source.put(eventlog.BucketDesired, eventlog.DesiredKey(deviceID(7), "hello"), score("hello:2"))
	source.remove(eventlog.BucketDesired, eventlog.DesiredKey(deviceID(8), "camera"))
	s := source.read()
	whole := &cutter{}
	nc, js := natstest.Start(t).Connect(t, nats.SetCustomDialer(whole))
	run(t, s, nc, js)
	want, sent := logOf(t, js), whole.sent.Load()

	server := natstest.Start(t)
	_, look := server.Connect(t)
	cuts, partial := 0, 0
	for try := range 40 {
		line := &cutter{}
		ctx, cancel := context.WithCancel(t.Context())
		nc, js := server.Connect(t, nats.NoReconnect(), nats.SetCustomDialer(line), nats.ClosedHandler(func(*nats.Conn) { cancel() }))
		o := options()
		if try < 15 {
			o.Elected = func(uint64) { line.cutAfter(rand.Int64N(sent / 3)) }
		}
		_, err := migration.Import(ctx, s, nc, js, o)
		cancel()
		nc.Close()
		if err == nil {
			break
		}
		cuts++
		if n := len(logOf(t, look)); n > 0 && n < len(want) {
			partial++
		}
	}
	t.Logf("cut %d times, %d times with a part of the log", cuts, partial)
	if cuts == 0 || partial == 0 {
		t.Error("no part of the import was in the log when it was cut, so this proves nothing")
	}
	if diff := cmp.Diff(want, logOf(t, look)); diff != "" {
		t.Errorf("the log (-in one go +cut and resumed):\n%s", diff)
	}
}

// cutter is a line to the server that is cut after so many bytes.
type cutter struct{ sent, most atomic.Int64 }

func (c *cutter) cutAfter(more int64) { c.most.Store(c.sent.Load() + more + 1) }

// Dial implements nats.CustomDialer.
func (c *cutter) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	return &cutLine{conn, c}, err
}

type cutLine struct {
	net.Conn
	*cutter
}

func (l *cutLine) Write(b []byte) (int, error) {
	sent, most := l.sent.Add(int64(len(b))), l.most.Load()
	if most == 0 || sent < most {
		return l.Conn.Write(b)
	}
	n, err := l.Conn.Write(b[:max(0, int64(len(b))-(sent-most))])
	return n, errors.Join(err, l.Close(), net.ErrClosed)
}
