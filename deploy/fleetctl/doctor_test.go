package fleetctl_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/authority"
	"fleet.nationtech.io/deploy/doctor"
	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/buckets"
)

// examined is what doctor answers.
type examined struct {
	Healthy  bool             `json:"healthy"`
	Findings []doctor.Finding `json:"findings"`
}

// runDoctor has a user ask the doctor, on a machine whose clock is ahead.
func runDoctor(t *testing.T, ahead time.Duration, env map[string]string, args ...string) (examined, int) {
	t.Helper()
	var out, errs bytes.Buffer
	code := fleetctl.Run(t.Context(), cli.Streams{
		Out: &out, Err: &errs, Now: func() time.Time { return time.Now().Add(ahead) }, Name: "fleetctl", Getenv: func(k string) string { return env[k] },
	}, append([]string{"doctor", "-o", "json"}, args...))
	var got examined
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("exit code %d: %v\n%s%s", code, err, &out, &errs)
	}
	return got, code
}

func TestTheDoctorFindsNothingInAHealthyFleet(t *testing.T) {
	t.Parallel()
	lab := map[string]string{"site": "lab"}
	r := record(t, map[string]map[string]string{"edge-01": lab, "edge-02": lab})
	r.apply("hello", "app:1", lab)
	r.ready("hello", v1alpha1.ReasonAllSucceeded, 2)
	for _, user := range []string{"alice", "operator"} {
		got, code := runDoctor(t, 0, map[string]string{"FLEET_NATS_URL": r.server.URL(), "FLEET_NATS_USER": user, "FLEET_NATS_PASSWORD": "p"})
		got.isWell(t, user)
		if code != cli.ExitOK {
			t.Errorf("as %s: exit code %d", user, code)
		}
	}
}

// isWell expects nothing but what cannot be looked at.
func (e examined) isWell(t *testing.T, user string) {
	t.Helper()
	for _, f := range e.Findings {
		if f.Status == doctor.Warning && (f.Check == doctor.CheckConnection || f.Check == doctor.CheckClocks) {
			continue // a machine that stalled for a second says nothing of the fleet
		}
		if f.Status != doctor.OK && (f.Status != doctor.LeftOut || f.Check != doctor.CheckKubernetes && f.Check != doctor.CheckDisk && f.Check != doctor.CheckStorage && f.Check != doctor.CheckOperator) {
			t.Errorf("as %s: %+v", user, f)
		}
	}
	if !e.Healthy {
		t.Errorf("as %s it is not healthy", user)
	}
}

// ward is a real server with a fleet's log, its buckets and one device that pulses, and
// what a test breaks of it.
type ward struct {
	t      *testing.T
	server interface {
		URL() string
		Connect(testing.TB, ...nats.Option) (*nats.Conn, jetstream.JetStream)
	}
	js    jetstream.JetStream // the operator's
	env   map[string]string
	args  []string
	ahead time.Duration // of the clock of the machine on which fleetctl runs
}

func newWard(t *testing.T) *ward {
	text, err := accounts.Render(accounts.Users{
		Operator: accounts.Login{User: "operator", Password: "p"},
		People:   []accounts.Person{{Login: accounts.Login{User: "victor", Password: "p"}, Level: callout.Viewer}},
		Devices:  []accounts.Device{{ID: "edge-01", Password: "p"}},
	}, accounts.RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := natstest.Start(t, natstest.Config(t, string(text)))
	w := &ward{t: t, server: s, env: map[string]string{"FLEET_NATS_URL": s.URL(), "FLEET_NATS_USER": "victor", "FLEET_NATS_PASSWORD": "p"}}
	_, w.js = s.Connect(t, nats.UserInfo("operator", "p"))
	return w
}

// furnish makes what a fleet has.
func (w *ward) furnish() *ward {
	w.t.Helper()
	w.furnishWithoutOperator()
	s, err := w.js.Stream(w.t.Context(), eventlog.LogStream)
	if err != nil {
		w.t.Fatal(err)
	}
	w.operates(func(m *nats.Msg) {
		m.Header.Set(eventlog.HeaderSyncEnd, "true")
		m.Data, _ = json.Marshal(eventlog.SyncEnd{LogID: logstream.IDOf(s.CachedInfo().Config), LogSequence: 1 << 40})
	})
	return w
}

// operates answers who asks for its desired state, as an operator does.
func (w *ward) operates(answer func(*nats.Msg)) {
	w.t.Helper()
	_, err := w.js.Conn().Subscribe(eventlog.SyncSubject(eventlog.Wildcard), func(m *nats.Msg) {
		out := &nats.Msg{Subject: m.Reply, Header: nats.Header{}}
		out.Header.Set(eventlog.HeaderSync, m.Header.Get(eventlog.HeaderSync))
		answer(out)
		if err := m.RespondMsg(out); err != nil && !w.js.Conn().IsClosed() {
			w.t.Error(err)
		}
	})
	if err == nil {
		err = w.js.Conn().Flush()
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// furnishWithoutOperator makes what a fleet has whose operators are all gone.
func (w *ward) furnishWithoutOperator() *ward {
	w.t.Helper()
	natstest.Settle(w.t, func(ctx context.Context) error {
		_, err := logstream.Ensure(ctx, w.js, logstream.Config{MaxBytes: 64 << 20})
		return err
	})
	natstest.Settle(w.t, func(ctx context.Context) error {
		_, err := buckets.Ensure(ctx, w.js, buckets.Config{})
		return err
	})
	w.leads("v1.2.0", 0)
	w.informs("v1.2.3", time.Time{})
	w.say(eventlog.DeviceSubject("edge-01"), eventlog.DeviceRegistered, 0, eventlog.Registration{})
	w.say(eventlog.DeviceSubject("edge-01"), eventlog.DeviceOnline, 0, eventlog.Presence{Reason: "PulseReceived"})
	w.pulses(0)
	for _, b := range eventlog.Buckets() {
		if err := buckets.WaitFor(w.t.Context(), w.js, b, 1); err != nil {
			w.t.Fatal(err)
		}
	}
	return w
}

func (w *ward) say(subject string, kind eventlog.Type, ahead time.Duration, payload any) {
	w.t.Helper()
	d, err := eventlog.NewDraft(subject, kind, time.Now().Add(ahead), payload)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.js.PublishMsg(w.t.Context(), d.Message("operator", ulid.Make().String())); err != nil {
		w.t.Fatal(err)
	}
}

func (w *ward) leads(version string, ahead time.Duration) {
	w.t.Helper()
	w.say(eventlog.LeaderSubject, eventlog.LeaderElected, ahead, eventlog.Leader{Identity: "op-1", Version: version})
}

func (w *ward) informs(agent string, keyEnds time.Time) {
	w.t.Helper()
	w.say(eventlog.InfoSubject("edge-01"), eventlog.InfoReported, 0, eventlog.DeviceInfo{
		DeviceID: "edge-01", KeyExpires: keyEnds, Inventory: eventlog.Inventory{AgentVersion: agent},
	})
}

func (w *ward) pulses(ahead time.Duration) {
	w.t.Helper()
	w.pulse(ahead, nil)
}

// pulse has the device pulse with its agent's figures; nil: it sends none.
func (w *ward) pulse(ahead time.Duration, figures *eventlog.AgentFigures) {
	w.t.Helper()
	b, err := json.Marshal(eventlog.Heartbeat{DeviceID: "edge-01", At: time.Now().Add(ahead), Agent: figures})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.js.Publish(w.t.Context(), eventlog.PulseSubject("edge-01"), b); err != nil {
		w.t.Fatal(err)
	}
}

// changes writes another configuration of a stream.
func (w *ward) changes(stream string, change func(*jetstream.StreamConfig)) {
	w.t.Helper()
	s, err := w.js.Stream(w.t.Context(), stream)
	if err != nil {
		w.t.Fatal(err)
	}
	c := s.CachedInfo().Config
	change(&c)
	if _, err := w.js.UpdateStream(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

// fills appends to the log until it takes no more.
func (w *ward) fills() {
	w.t.Helper()
	for range 500 {
		d, err := eventlog.NewDraft(eventlog.AgentSubject("edge-01"), eventlog.AgentStarted, time.Now(), eventlog.AgentStart{Engine: strings.Repeat("x", 4000)})
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.js.PublishMsg(w.t.Context(), d.Message("agent", ulid.Make().String())); err != nil {
			return
		}
	}
	w.t.Fatal("the log takes all")
}

// Each set-up is of real parts, is broken in one way, and is found by the line of that:
// nothing else is called failed but what follows from it.
func TestTheDoctorFindsEachBrokenSetUpByItsLine(t *testing.T) {
	t.Parallel()
	furnished := func(breaks func(*ward)) func(*testing.T) *ward {
		return func(t *testing.T) *ward {
			w := newWard(t).furnish()
			breaks(w)
			return w
		}
	}
	for name, tc := range map[string]struct {
		set    func(*testing.T) *ward
		check  string
		says   string
		remedy string
		also   []string // checks that fail as well
	}{
		"no server is there": {
			func(t *testing.T) *ward {
				w := newWard(t)
				w.env["FLEET_NATS_URL"] = fmt.Sprintf("nats://127.0.0.1:%d", natstest.FreePort(t))
				return w
			}, doctor.CheckConnection, "no servers available for connection", "is the server up?", nil,
		},
		"the password is wrong": {
			furnished(func(w *ward) { w.env["FLEET_NATS_PASSWORD"] = "q" }), doctor.CheckConnection, "the server does not know this user or password", "--password", nil,
		},
		"the servers have no log": {newWard, doctor.CheckLog, "have no event log yet", "start an operator", nil},
		"a device asks": {
			furnished(func(w *ward) { w.env["FLEET_NATS_USER"] = accounts.DeviceUser("edge-01") }), doctor.CheckLog, "the servers refuse the event log to user", "the user of a viewer", nil,
		},
		"the log drops its oldest events": {
			furnished(func(w *ward) {
				w.changes(eventlog.LogStream, func(c *jetstream.StreamConfig) { c.MaxAge, c.Discard = time.Hour, jetstream.DiscardOld })
			}), doctor.CheckLog, "drops its oldest events in place of refusing new ones; events are dropped after 1h0m0s", "restart the operator", nil,
		},
		"the log is full": {
			furnished(func(w *ward) {
				if err := logstream.OpenReserve(w.t.Context(), w.js, logstream.Config{MaxBytes: 1 << 20}); err != nil {
					w.t.Fatal(err)
				}
				w.fills()
			}), doctor.CheckDisk, "it is full, its reserve too: nothing is recorded", "--log-max-bytes", nil,
		},
		"the log has reached its size": {
			furnished(func(w *ward) {
				if _, err := logstream.Ensure(w.t.Context(), w.js, logstream.Config{MaxBytes: 1 << 20}); err != nil {
					w.t.Fatal(err)
				}
				w.fills()
			}), doctor.CheckDisk, "the operator opens its reserve", "--log-max-bytes", nil,
		},
		"a bucket is gone": {
			furnished(func(w *ward) {
				if err := w.js.DeleteStream(w.t.Context(), eventlog.BucketStream(eventlog.BucketState)); err != nil {
					w.t.Fatal(err)
				}
			}), doctor.CheckBuckets, "bucket device-state: its stream is not there", "fleetctl rebuild device-state", nil,
		},
		"a bucket forgets": {
			furnished(func(w *ward) {
				w.changes(eventlog.BucketStream(eventlog.BucketInfo), func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour })
			}), doctor.CheckBuckets, "bucket device-info: its stream is not configured as it should be", "fleetctl rebuild device-info", nil,
		},
		"no operator ever ran": {
			func(t *testing.T) *ward {
				w := newWard(t)
				if _, err := logstream.Ensure(t.Context(), w.js, logstream.Config{}); err != nil {
					t.Fatal(err)
				}
				if _, err := buckets.Ensure(t.Context(), w.js, buckets.Config{}); err != nil {
					t.Fatal(err)
				}
				return w
			}, doctor.CheckOperator, "no operator ever led this log", "start an operator", nil,
		},
		"an event was taken out of the log": {
			furnished(func(w *ward) {
				w.changes(eventlog.LogStream, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 })
				w.changes(eventlog.LogStream, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = -1 })
			}), doctor.CheckLog, "the log is not whole: 1 of its messages are missing", "fleetctl verify", nil,
		},
		"the servers have no JetStream": {
			func(t *testing.T) *ward {
				s := natstest.Start(t, natstest.Config(t, "accounts { PLAIN { users: [{user: u, password: p}] } }"))
				return &ward{t: t, server: s, env: map[string]string{"FLEET_NATS_URL": s.URL(), "FLEET_NATS_USER": "u", "FLEET_NATS_PASSWORD": "p"}}
			}, doctor.CheckLog, "no JetStream answers user", "run the servers with JetStream", nil,
		},
		"the stream of pulses is gone": {
			furnished(func(w *ward) {
				if err := w.js.DeleteStream(w.t.Context(), eventlog.PulseStream); err != nil {
					w.t.Fatal(err)
				}
			}), doctor.CheckPulses, "the stream of pulses is not as it should be: it is not there", "restart the operator", nil,
		},
		"the stream of pulses is gone, and a bucket is": {
			furnished(func(w *ward) {
				for _, s := range []string{eventlog.PulseStream, eventlog.BucketStream(eventlog.BucketState)} {
					if err := w.js.DeleteStream(w.t.Context(), s); err != nil {
						w.t.Fatal(err)
					}
				}
			}), doctor.CheckBuckets, "bucket device-state: its stream is not there", "fleetctl rebuild device-state", []string{doctor.CheckPulses},
		},
		"no pulse is taken": {
			furnished(func(w *ward) {
				w.changes(eventlog.PulseStream, func(c *jetstream.StreamConfig) { c.Subjects = []string{"x"} })
			}), doctor.CheckPulses, "it takes the subjects [x], and not [fleet.pulse.*]", "restart the operator", nil,
		},
		"no device is heard": {
			furnished(func(w *ward) {
				s, err := w.js.Stream(w.t.Context(), eventlog.PulseStream)
				if err == nil {
					err = s.Purge(w.t.Context())
				}
				if err != nil {
					w.t.Fatal(err)
				}
				w.say(eventlog.DeviceSubject("edge-01"), eventlog.DeviceOffline, 0, eventlog.Presence{Reason: "PulseMissed"})
			}), doctor.CheckPulses, "the servers hold no device's pulse", "fleetctl device why", nil,
		},
		"this machine's clock is ahead": {
			furnished(func(w *ward) { w.ahead = 10 * time.Minute }), doctor.CheckClocks, "the NATS server's clock is behind this machine's by", "NTP", nil,
		},
		"the operator's clock is behind": {
			furnished(func(w *ward) { w.leads("v1.2.0", -2*time.Hour) }), doctor.CheckClocks, "the operator's clock is behind the NATS server's by 1h59m", "NTP", nil,
		},
		"a device's clock is ahead": {
			furnished(func(w *ward) { w.pulses(time.Hour) }), doctor.CheckClocks, "the clock of 1 device is off, the worst that of edge-01, by", "NTP", nil,
		},
		"agents are newer than the operator": {
			furnished(func(w *ward) { w.informs("v1.4.0", time.Time{}) }), doctor.CheckVersions, "the agents of 1 device are v1.4.0, newer than the operator, which is v1.2.0", "upgrade the operator first", nil,
		},
		"a device's key has ended": {
			furnished(func(w *ward) { w.informs("v1.2.3", time.Now().Add(-time.Hour)) }), doctor.CheckKeys, "the keys of 1 device have ended (edge-01)", "fleetctl device why edge-01", nil,
		},
		"the servers' certificate ends tomorrow": {
			func(t *testing.T) *ward {
				made := time.Now().AddDate(0, -3, 0)
				a, err := authority.New("test", made)
				if err != nil {
					t.Fatal(err)
				}
				pair, err := a.Server(authority.Server{Name: "nats", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Until: time.Now().Add(23 * time.Hour)}, made)
				if err != nil {
					t.Fatal(err)
				}
				dir := t.TempDir()
				files := map[string][]byte{"ca.pem": a.Pair().Certificate, "cert.pem": pair.Certificate, "key.pem": pair.Key}
				for name, content := range files {
					if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				s := natstest.Start(t, natstest.Config(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q }", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))))
				ca := filepath.Join(dir, "ca.pem")
				w := &ward{t: t, server: s, env: map[string]string{"FLEET_NATS_URL": s.URL(), "FLEET_NATS_CA": ca}}
				_, w.js = s.Connect(t, nats.RootCAs(ca))
				return w.furnish()
			}, doctor.CheckConnection, "ends in 2", "renew it", nil,
		},
		"one disk of three has the log": {
			func(t *testing.T) *ward {
				c := natstest.Cluster(t, 3)
				w := &ward{t: t, server: c, env: map[string]string{"FLEET_NATS_URL": c.URL()}}
				_, w.js = c.Connect(t)
				return w.furnish()
			}, doctor.CheckLog, "the log has 1 replica, and there are 3 servers: it is lost with one disk", "--replicas 3", nil,
		},
		"one disk of a cluster has the log whose servers advertise no others": {
			func(t *testing.T) *ward {
				c := natstest.Cluster(t, 3, func(o *server.Options) { o.Cluster.NoAdvertise = true })
				w := &ward{t: t, server: c, env: map[string]string{"FLEET_NATS_URL": c.Nodes[0].URL()}}
				_, w.js = c.Connect(t)
				return w.furnish()
			}, doctor.CheckLog, "it is lost with one disk", "--replicas 3", nil,
		},
		"the cluster that was named is in no kubeconfig": {
			furnished(func(w *ward) { w.args = []string{"--kubeconfig", filepath.Join(w.t.TempDir(), "gone")} }), doctor.CheckKubernetes, "gone", "--kube-context", nil,
		},
		"the Kubernetes API does not answer": {
			furnished(func(w *ward) {
				file := filepath.Join(w.t.TempDir(), "kubeconfig")
				text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"a","contexts":[{"name":"a","context":{"cluster":"dead"}}],
					"clusters":[{"name":"dead","cluster":{"server":"http://127.0.0.1:%d"}}]}`, natstest.FreePort(w.t))
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					w.t.Fatal(err)
				}
				w.args = []string{"--kubeconfig", file}
			}), doctor.CheckKubernetes, "the cluster dead does not answer", "kubectl version", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := tc.set(t)
			got, code := runDoctor(t, w.ahead, w.env, w.args...)
			hit := slices.ContainsFunc(got.Findings, func(f doctor.Finding) bool {
				return f.Check == tc.check && f.Status == doctor.Failed && strings.Contains(f.Message, tc.says) && f.Remedy != "" && strings.Contains(f.Remedy, tc.remedy)
			})
			if !hit || code != cli.ExitFailed || got.Healthy {
				t.Errorf("exit code %d, and no line of %s says %q:", code, tc.check, tc.says)
			}
			for _, f := range got.Findings {
				if !hit || f.Status == doctor.Failed && f.Check != tc.check && !slices.Contains(tc.also, f.Check) {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

func TestTheDoctorFindsNothingInASetUpBeforeItIsBroken(t *testing.T) {
	t.Parallel()
	w := newWard(t).furnish()
	got, _ := runDoctor(t, 0, w.env)
	got.isWell(t, "victor")
}

func TestTheOperatorsClockIsThatOfItsNewestEvent(t *testing.T) {
	t.Parallel()
	w := newWard(t).furnish()
	w.leads("v1.2.0", time.Hour)
	w.say(eventlog.DeviceSubject("edge-01"), eventlog.DeviceRelabeled, 0, eventlog.Labels{}) // its clock was set since
	got, _ := runDoctor(t, 0, w.env)
	got.isWell(t, "victor")
	w.say(eventlog.DeviceSubject("edge-01"), eventlog.DeviceRelabeled, time.Hour, eventlog.Labels{})
	got, _ = runDoctor(t, 0, w.env)
	if !slices.ContainsFunc(got.Findings, func(f doctor.Finding) bool {
		return f.Check == doctor.CheckClocks && f.Status == doctor.Failed && strings.Contains(f.Message, "the operator's clock is ahead of the NATS server's by ")
	}) {
		t.Errorf("%+v", got.Findings)
	}
}

// What is wrong for how long is told by the servers' clock. One hour fast or slow, this
// machine calls no operator silent that was asked just now.
func TestTheClockOfThisMachineDecidesNothing(t *testing.T) {
	t.Parallel()
	w := newWard(t).furnish()
	w.say(eventlog.DeviceRequestSubject("ada", "edge-01"), eventlog.RequestMade, 0, eventlog.Request{Verb: eventlog.RequestDecommission})
	for _, ahead := range []time.Duration{-time.Hour, 0, time.Hour} {
		var out, errs bytes.Buffer
		code := fleetctl.Run(t.Context(), cli.Streams{
			Out: &out, Err: &errs, Now: func() time.Time { return time.Now().Add(ahead) }, Name: "fleetctl", Getenv: func(k string) string { return w.env[k] },
		}, []string{"top", "-o", "json"})
		var got struct {
			Time  time.Time
			Items []attention.Item
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || code != cli.ExitOK {
			t.Fatalf("exit code %d: %v\n%s%s", code, err, &out, &errs)
		}
		for _, i := range got.Items {
			t.Errorf("a clock that is %s ahead: %+v", ahead, i)
		}
		if off := time.Since(got.Time).Abs(); off > 30*time.Minute {
			t.Errorf("a clock that is %s ahead: the list is of %s", ahead, got.Time)
		}
	}
}

func TestTheDoctorWarnsOfServersThatAskNobodyWhoTheyAre(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	w := &ward{t: t, server: s, env: map[string]string{"FLEET_NATS_URL": s.URL()}}
	_, w.js = s.Connect(t)
	got, _ := runDoctor(t, 0, w.furnish().env)
	got.says(t, doctor.CheckAccount, doctor.Warning, "in account $G, so the servers have no accounts of a fleet: any client that connects may do all")
}
