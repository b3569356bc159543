// Package devicetest has devices for tests: they speak NATS as an agent does, keep their
// containers in memory alone, and do with each image what the test says.
package devicetest

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
)

// Nature is what an image does to a device.
type Nature string

// Natures.
const (
	Runs    Nature = "runs"    // the device reports Running; so does an image of which nothing is said
	Fails   Nature = "fails"   // the device reports Failed
	Accepts Nature = "accepts" // the device reports Pending, and no more
	Silent  Nature = "silent"  // the device says nothing about it
	Bricks  Nature = "bricks"  // the device goes off the network for good
)

// Fleet is devices that pulse each second and report what they were told.
type Fleet struct {
	tb testing.TB
	nc *nats.Conn
	js jetstream.JetStream

	mu      sync.Mutex
	labels  map[string]map[string]string // by device
	natures map[string]Nature            // by image
	most    map[string]int               // by image: so many devices run it, the others are silent
	off     map[string]bool              // devices that are off the network
	desired map[string]map[string]value  // by device and name
	earlier map[string]map[string]value  // what was there before
	ran     map[string]string            // by device: the image that it last said it runs
}

type value struct {
	image, hash string
	sequence    uint64
	told        Nature // what the device said about it
}

// Start starts devices with their labels. The log has to be there. They end with the test.
func Start(tb testing.TB, nc *nats.Conn, js jetstream.JetStream, labels map[string]map[string]string) *Fleet {
	tb.Helper()
	f := &Fleet{
		tb: tb, nc: nc, js: js, labels: map[string]map[string]string{},
		natures: map[string]Nature{}, most: map[string]int{}, off: map[string]bool{},
		desired: map[string]map[string]value{}, earlier: map[string]map[string]value{}, ran: map[string]string{},
	}
	if _, err := nc.Subscribe(eventlog.LiveSubject(eventlog.Wildcard, eventlog.Wildcard), f.told); err != nil {
		tb.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		tb.Fatal(err)
	}
	f.Join(labels)
	ctx, end := context.WithCancel(context.Background())
	var pulsing sync.WaitGroup
	pulsing.Go(func() { f.pulse(ctx) })
	tb.Cleanup(func() { end(); pulsing.Wait() })
	return f
}

// Join starts more devices.
func (f *Fleet) Join(labels map[string]map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, of := range labels {
		f.labels[id] = of
		f.json(eventlog.InfoSubject(id), eventlog.DeviceInfo{DeviceID: id, Labels: of, UpdatedAt: time.Now()})
	}
}

func (f *Fleet) pulse(ctx context.Context) {
	for ctx.Err() == nil {
		f.mu.Lock()
		for id := range f.labels {
			if !f.off[id] {
				b, err := json.Marshal(eventlog.Heartbeat{DeviceID: id, At: time.Now()})
				if err == nil {
					err = f.nc.Publish(eventlog.PulseSubject(id), b)
				}
				if err != nil && !f.nc.IsClosed() {
					f.tb.Error(err)
				}
			}
		}
		f.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// told keeps a live value. A device that is off the network learns of it when it is back,
// as an agent does that syncs.
func (f *Fleet) told(m *nats.Msg) {
	key, name, _ := eventlog.ParseDesiredKV(m.Header.Get(eventlog.HeaderSubject))
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.labels[key] == nil {
		return
	}
	v := value{}
	if len(m.Data) > 0 {
		_, sequence, _ := eventlog.SourceOf(m.Header)
		_, rest, _ := strings.Cut(string(m.Data), `"image":"`)
		image, _, _ := strings.Cut(rest, `"`)
		v = value{image: image, hash: eventlog.Hash(m.Data), sequence: sequence}
	}
	if f.desired[key] == nil {
		f.desired[key], f.earlier[key] = map[string]value{}, map[string]value{}
	}
	f.earlier[key][name] = f.desired[key][name]
	f.desired[key][name] = v
	f.act(key, name)
}

// act lets a device do what the image makes it do, unless it did.
func (f *Fleet) act(id, name string) {
	v := f.desired[id][name]
	if f.off[id] {
		return
	}
	if v.sequence == 0 {
		f.publish(&nats.Msg{Subject: eventlog.StateSubject(id, name), Header: nats.Header{eventlog.HeaderKVOperation: {eventlog.KVDelete}}})
		return
	}
	nature := f.natures[v.image]
	if n, bounded := f.most[v.image]; bounded {
		nature = Silent
		if f.runs(v.image) < n {
			nature = Runs
		}
	}
	if nature == "" {
		nature = Runs
	}
	if nature == v.told {
		return
	}
	v.told = nature
	f.desired[id][name] = v
	switch nature {
	case Runs:
		f.ran[id] = v.image
		f.report(id, name, v, eventlog.PhaseRunning)
	case Fails:
		f.report(id, name, v, eventlog.PhaseFailed)
	case Accepts:
		f.report(id, name, v, eventlog.PhasePending)
	case Bricks:
		f.off[id] = true
	}
}

// runs is how many devices run an image.
func (f *Fleet) runs(image string) int {
	n := 0
	for _, names := range f.desired {
		for _, v := range names {
			if v.image == image && v.told == Runs {
				n++
			}
		}
	}
	return n
}

func (f *Fleet) report(id, name string, v value, phase eventlog.Phase) {
	s := eventlog.DeploymentState{DeviceID: id, Deployment: name, Phase: phase, ScoreHash: v.hash, Assignment: v.sequence, LastEventAt: time.Now()}
	if phase == eventlog.PhaseFailed {
		failure := "it does not start"
		s.LastError, s.Reason = &failure, "ContainerExited"
	}
	f.json(eventlog.StateSubject(id, name), s)
}

// Set says what an image does, and those who have it do that.
func (f *Fleet) Set(image string, nature Nature) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.most, image)
	f.natures[image] = nature
	f.again(image)
}

// SetFirst makes an image run on the first n devices that have it; the others are silent.
func (f *Fleet) SetFirst(image string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.most[image] = n
}

func (f *Fleet) again(image string) {
	for id, names := range f.desired {
		for name, v := range names {
			if v.image == image {
				f.act(id, name)
			}
		}
	}
}

// Old makes the devices that have an image repeat that what they had before runs, as a
// report does that comes late.
func (f *Fleet) Old(image string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, names := range f.desired {
		for name, v := range names {
			if before := f.earlier[id][name]; v.image == image && before.sequence > 0 {
				f.report(id, name, before, eventlog.PhaseRunning)
			}
		}
	}
}

// Off takes devices off the network.
func (f *Fleet) Off(ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		f.off[id] = true
	}
}

// On brings devices back, bricked ones too. They do what they were told meanwhile.
func (f *Fleet) On(ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		delete(f.off, id)
		for name, v := range f.desired[id] {
			if v.told == Bricks {
				v.told = ""
				f.desired[id][name] = v
			}
			f.act(id, name)
		}
	}
}

// Have lists, in order, the devices that were told to run an image.
func (f *Fleet) Have(image string) (ids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, names := range f.desired {
		for _, v := range names {
			if v.image == image {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// Unlike names a device that is on the network and last said that it runs another image;
// empty: none did.
func (f *Fleet) Unlike(image string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, runs := range f.ran {
		if runs != image && !f.off[id] {
			return id + " runs " + runs + " instead of " + image
		}
	}
	return ""
}

func (f *Fleet) json(subject string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		f.tb.Error(err)
		return
	}
	f.publish(&nats.Msg{Subject: subject, Data: b})
}

// publish appends to the log, and tries again where its stream has no leader.
func (f *Fleet) publish(m *nats.Msg) {
	_, err := f.js.PublishMsgAsync(m, jetstream.WithRetryAttempts(40), jetstream.WithRetryWait(250*time.Millisecond), jetstream.WithStallWait(10*time.Second))
	if err != nil && !f.nc.IsClosed() {
		f.tb.Error(err)
	}
}
