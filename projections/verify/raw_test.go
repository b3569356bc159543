package verify_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections"
	"fleet.nationtech.io/projections/verify"
)

// A device with a client of its own can publish a header that no other client
// can read. It is a foreign message, and no more.
func TestAHeaderThatCannotBeReadStopsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.story()
	w.raw(eventlog.StateSubject("pi-01", "web"), "NATS/1.0\r\nno colon\r\n\r\n", "{}")
	w.raw(eventlog.InfoSubject("pi-01"), "garbage", "{}")
	wantKinds(t, w.verify(verify.Options{}), map[verify.Kind]uint64{verify.Foreign: 2})
	w.seal(w.key, nil)
	wantKinds(t, w.verify(verify.Options{}), map[verify.Kind]uint64{verify.Foreign: 2})
	w.ensure()
	if err := projections.Rebuild(t.Context(), w.js, projections.Config{}, eventlog.BucketState, nil); err != nil {
		t.Fatal(err)
	}
	wantKinds(t, w.verify(verify.Options{}), map[verify.Kind]uint64{verify.Foreign: 2})
}

// raw publishes by the protocol itself, and waits for the log's answer.
func (w *world) raw(subject, header, data string) {
	w.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(w.server.URL(), "nats://"))
	if err != nil {
		w.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "CONNECT {\"headers\":true,\"verbose\":false,\"pedantic\":false}\r\nSUB answer 1\r\n")
	fmt.Fprintf(c, "HPUB %s answer %d %d\r\n%s%s\r\nPING\r\n", subject, len(header), len(header)+len(data), header, data)
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if strings.Contains(lines.Text(), `"seq":`) {
			return
		}
	}
	w.Fatal("no answer")
}
