package eventsapi_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

var (
	namespaces  = []string{"shop", "lab"}
	deployments = []string{"web", "db", "cache"}
	devices     = []string{"pi-1", "pi-2", "pi-3"}
	people      = []string{"ada", "grace"}
)

// fill appends events of every type.
func (l *log) fill(n int) {
	r := func(i int, of []string) string { return of[(i*7+i/5)%len(of)] }
	types := eventlog.Types()
	slices.Sort(types)
	for i := range n {
		ns, name, device, user := r(i, namespaces), r(i/2, deployments), r(i/3, devices), r(i/7, people)
		t := types[(i*13+i/17)%len(types)]
		if i%3 > 0 { // most of a log are reports
			t = eventlog.StateReported
		}
		d := eventlog.Draft{Type: t, Data: []byte(`{"reason":"Because","revision":3}`)}
		switch t.Family() {
		case eventlog.FamilyDeployment:
			d.Subject = eventlog.DeploymentSubject(ns, name)
		case eventlog.FamilyRequest:
			if d.Subject = eventlog.RequestSubject(user, ns, name); i%2 == 0 {
				d.Subject = eventlog.DeviceRequestSubject(user, device)
			}
		case eventlog.FamilyDesired:
			d.Subject, d.Namespace, d.Revision = eventlog.DesiredSubject(device, name), ns, 3
		case eventlog.FamilyState:
			d.Subject = eventlog.StateSubject(device, name)
		case eventlog.FamilyBudget:
			d.Subject = eventlog.BudgetSubject("floor")
		case eventlog.FamilyLeader:
			d.Subject = eventlog.LeaderSubject
		case eventlog.FamilySeal:
			d.Subject = eventlog.SealSubject
		default:
			d.Subject = map[eventlog.Family]func(string) string{
				eventlog.FamilyDevice: eventlog.DeviceSubject, eventlog.FamilyInfo: eventlog.InfoSubject, eventlog.FamilyAgent: eventlog.AgentSubject,
				eventlog.FamilyCommand: eventlog.CommandSubject, eventlog.FamilyAuth: eventlog.AuthSubject, eventlog.FamilyAccess: eventlog.AccessSubject,
			}[t.Family()](device)
		}
		if t.Removes() {
			d.Data = nil
		}
		l.append(d)
	}
}

// asked is whether an event is about what is asked for, said in another way than the API
// does it.
func asked(e eventlog.Event, q url.Values, from, to time.Time) bool {
	a := e.Address
	namespace, deployment := a.Namespace, a.Name
	if e.Namespace != "" {
		namespace = e.Namespace
	}
	if a.Deployment != "" {
		deployment = a.Deployment
	}
	if a.Family == eventlog.FamilyBudget {
		deployment = ""
	}
	if n := q.Get("namespace"); n != "" && namespace != n && (a.Family != eventlog.FamilyState || q.Get("deployment") == "") {
		return false
	}
	if d := q.Get("deployment"); d != "" && deployment != d {
		return false
	}
	if d := q.Get("device"); d != "" && a.Device != d {
		return false
	}
	if types := q["type"]; len(types) > 0 && !slices.ContainsFunc(types, func(t string) bool {
		return string(e.Type) == t || strings.HasSuffix(t, ".") && strings.HasPrefix(string(e.Type), t)
	}) {
		return false
	}
	return (from.IsZero() || !e.Recorded.Before(from)) && (to.IsZero() || !e.Recorded.After(to))
}

// Whatever is asked for, all pages together are the events of which that holds, each once
// and in order: as a look at each event of the log gives them.
func TestAllPagesTogetherAreWhatALookAtEachEventGives(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.fill(1000)
	var log []eventlog.Event
	for e, err := range reader.Read(t.Context(), l.js, reader.Options{}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			t.Fatal(err)
		}
		e.Data = nil
		log = append(log, e)
	}
	types := []string{"rollout.", "deployment.", "request.", "state.", "auth."}
	for _, typ := range eventlog.Types() {
		types = append(types, string(typ))
	}
	slices.Sort(types)
	found := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		q := url.Values{}
		maybe := func(name string, of ...string) {
			if rapid.IntRange(0, 2).Draw(rt, name+" is asked for") == 0 {
				q.Set(name, rapid.SampledFrom(of).Draw(rt, name))
			}
		}
		maybe("namespace", namespaces...)
		maybe("deployment", deployments...)
		maybe("device", devices...)
		maybe("order", "asc", "desc")
		if rapid.Bool().Draw(rt, "types") {
			q["type"] = rapid.SliceOfNDistinct(rapid.SampledFrom(types), 1, 3, rapid.ID[string]).Draw(rt, "type")
		}
		q.Set("limit", strconv.Itoa(rapid.SampledFrom([]int{1, 3, 20, 100, 1000}).Draw(rt, "limit")))
		var from, to time.Time
		first, last := uint64(1), uint64(len(log))
		if rapid.Bool().Draw(rt, "since") {
			e := rapid.SampledFrom(log).Draw(rt, "from")
			if rapid.Bool().Draw(rt, "by sequence") {
				first = e.Sequence
				q.Set("since", strconv.FormatUint(first, 10))
			} else {
				from = e.Recorded.UTC()
				q.Set("since", from.Format(time.RFC3339Nano))
			}
		}
		if rapid.Bool().Draw(rt, "until") {
			e := rapid.SampledFrom(log).Draw(rt, "to")
			if last = e.Sequence; rapid.Bool().Draw(rt, "milliseconds") {
				last, to = uint64(len(log)), time.UnixMilli(e.Recorded.UnixMilli())
				q.Set("until", strconv.FormatInt(to.UnixMilli(), 10))
			} else {
				q.Set("until", strconv.FormatUint(last, 10))
			}
		}
		var want []uint64
		for _, e := range log {
			if e.Sequence >= first && e.Sequence <= last && asked(e, q, from, to) {
				want = append(want, e.Sequence)
			}
		}
		if q.Get("order") != "asc" {
			slices.Reverse(want)
		}
		if !from.IsZero() && !to.IsZero() && to.Before(from) {
			return // it is refused
		}
		text := q.Encode()
		if resp, b := l.get(text); resp.StatusCode == http.StatusBadRequest {
			if len(want) > 0 || !strings.Contains(b.Error, "no event is of such a type") {
				rt.Fatalf("%s: %s; there are %d events", text, b.Error, len(want))
			}
			return
		}
		if limit, err := strconv.Atoi(q.Get("limit")); err != nil || len(want)/limit > 25 {
			q.Set("limit", strconv.Itoa(len(want)/25)) // more pages show no more, and take long
		}
		if diff := cmp.Diff(want, l.all(maps.Clone(q))); diff != "" {
			rt.Fatalf("%s (-a look at each event +all pages):\n%s", text, diff)
		}
		found[fmt.Sprint(len(want) > 0)]++
	})
	if found["true"] == 0 {
		t.Error("no question had an answer")
	}
}
