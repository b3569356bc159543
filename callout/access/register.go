package access

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/callout/identity"
	"fleet.nationtech.io/eventlog"
)

// connection is one client of one server.
type connection struct {
	server string
	id     uint64
	actor  string
	began  time.Time
}

func (c connection) key() connectionKey { return connectionKey{c.server, c.id} }

type connectionKey struct {
	server string
	id     uint64
}

// register has the open connections of each identity. It is pure.
type register struct {
	byKey   map[connectionKey]connection
	byActor map[string]map[connectionKey]bool
}

func newRegister() *register {
	return &register{byKey: map[connectionKey]connection{}, byActor: map[string]map[connectionKey]bool{}}
}

// opened notes a connection and gives those of its identity that are too many: the
// oldest, which may be one whose end its server has not noticed. A client that was cut
// off from the network gets in again.
func (r *register) opened(c connection) (tooMany []connection) {
	r.byKey[c.key()] = c
	of := r.byActor[c.actor]
	if of == nil {
		of = map[connectionKey]bool{}
		r.byActor[c.actor] = of
	}
	of[c.key()] = true
	most := LimitsOf(c.actor).Connections
	if len(of) <= most {
		return nil
	}
	all := r.of(c.actor)
	return all[:len(all)-most]
}

func (r *register) closed(k connectionKey) {
	c, ok := r.byKey[k]
	if !ok {
		return
	}
	delete(r.byKey, k)
	delete(r.byActor[c.actor], k)
	if len(r.byActor[c.actor]) == 0 {
		delete(r.byActor, c.actor)
	}
}

// of gives the connections of an identity, the oldest first; every replica puts
// them into the same order.
func (r *register) of(actor string) []connection {
	all := make([]connection, 0, len(r.byActor[actor]))
	for k := range r.byActor[actor] {
		all = append(all, r.byKey[k])
	}
	slices.SortFunc(all, func(a, b connection) int {
		return cmp.Or(a.began.Compare(b.began), cmp.Compare(a.server, b.server), cmp.Compare(a.id, b.id))
	})
	return all
}

// subjectOf gives what stands for a user of NATS in the family access; false for
// one that is no identity, such as the operator.
func subjectOf(actor string) (string, bool) {
	if id, ok := strings.CutPrefix(actor, string(identity.Device)+"-"); ok {
		return id, eventlog.CheckName("device id", id) == nil
	}
	if strings.HasPrefix(actor, string(identity.Person)+"-") || strings.HasPrefix(actor, string(identity.Service)+"-") {
		return eventlog.AuthSubjectOfActor(actor), true
	}
	return "", false
}

// actorOf is the reverse of subjectOf.
func actorOf(subject string) string {
	if actor, ok := strings.CutPrefix(subject, eventlog.AuthSubjectOfActor("")); ok {
		return actor
	}
	return string(identity.Device) + "-" + subject
}
