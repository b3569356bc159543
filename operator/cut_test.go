package operator_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/operator"
)

// wire is a way to the NATS server that can be cut.
type wire struct {
	to string
	l  net.Listener

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (w *world) wire() *wire {
	w.t.Helper()
	l, err := new(net.ListenConfig).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	x := &wire{to: strings.TrimPrefix(w.server.URL(), "nats://"), l: l}
	w.t.Cleanup(func() { _ = l.Close(); x.set(true) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			x.carry(c)
		}
	}()
	return x
}

func (x *wire) carry(c net.Conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cut {
		_ = c.Close()
		return
	}
	up, err := net.Dial("tcp", x.to)
	if err != nil {
		_ = c.Close()
		return
	}
	x.conns = append(x.conns, c, up)
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}
	go pass(up, c)
	go pass(c, up)
}

func (x *wire) set(cut bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cut = cut
	if cut {
		for _, c := range x.conns {
			_ = c.Close()
		}
		x.conns = nil
	}
}

// The log changed hands while this operator could not see it. It folds that before
// it does anything, so that it does not depose the right one.
func TestAnOperatorThatMissedTheAdoptionOfItsLogDeposesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	x := w.wire()
	nc, err := nats.Connect("nats://"+x.l.Addr().String(), nats.Timeout(20*time.Second), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	op := w.operate(func(o *operator.Options) { o.Conn = nc })
	is := func(metric string, want float64) {
		t.Helper()
		eventually(t, metric, func() string {
			if n := op.metric(t, metric); n != want {
				return fmt.Sprint(n)
			}
			return ""
		})
	}
	is("fleet_operator_leader", 1)

	x.set(true)
	const flood = 30_000 // what takes a while to be folded
	heir, _ := w.dial(t)
	js, err := jetstream.New(heir, jetstream.WithPublishAsyncMaxPending(flood))
	if err != nil {
		t.Fatal(err)
	}
	for range flood {
		if _, err := js.PublishMsgAsync(msg(eventlog.StateSubject("pi-01", "web"), `{"device_id":"pi-01","deployment":"web","phase":"Running"}`)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	a, err := appender.New(heir, appender.Options{Source: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Elect(t.Context(), eventlog.Leader{Identity: "heir", ClusterUID: "another"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	elections := len(w.told(eventlog.FamilyLeader))
	x.set(false)
	is("fleet_operator_cluster_mismatch", 1)
	is("fleet_operator_leader", 0)
	if got := w.told(eventlog.FamilyLeader); len(got) != elections {
		t.Errorf("%d elections after the log changed hands", len(got)-elections)
	}
}
