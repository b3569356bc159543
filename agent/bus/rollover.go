package bus

// rollover decides which connections there are. It is pure: what happened goes
// in, what to do comes out.
//
// There is one present connection, which says and hears everything. When there is
// a newer proof than the one it showed, a next one is opened, which becomes the
// present one once all parts of the agent can live on it alone. The one before
// retires: it hears nothing new, and is closed when what began on it has ended.
//
// Guarantees:
//   - A connection that the parts live on is closed by the agent only while
//     another that they live on is up, or when it was lost itself.
//   - No more than three connections are open at any time; a server lets one
//     identity have no more.
//   - As long as servers take the newest proof, the agent ends up with one
//     connection, which showed it.
type rollover struct {
	newest uint64 // number of the newest proof; 0: there is none yet
	next   int    // id of the last connection that was opened
	links  []linkState
}

// linkState is one connection.
type linkState struct {
	id      int
	shown   uint64 // number of the proof that it showed at its last connect
	up      bool
	asked   bool   // the parts were asked to live on it
	ready   bool   // they do
	retired bool   // another took its place
	tried   uint64 // number of the proof with which it was told to try at once
}

// action is what a rollover wants done with one connection.
type action struct {
	Do   verb
	Link int
}

type verb string

const (
	toOpen   verb = "open"
	toReady  verb = "ready"  // let the parts get ready to live on it alone
	toRetire verb = "retire" // let it hear nothing new, and tell when it is idle
	toRetry  verb = "retry"  // try to connect at once, as there is a new proof
	toClose  verb = "close"
)

// maxLinks is how many connections one identity may have.
const maxLinks = 3

func (r *rollover) link(id int) *linkState {
	for i := range r.links {
		if r.links[i].id == id {
			return &r.links[i]
		}
	}
	return nil
}

// proof: there is a newer proof.
func (r *rollover) proof(number uint64) []action {
	r.newest = max(r.newest, number)
	return r.decide()
}

// up: a connection stands, for which a proof was shown.
func (r *rollover) up(id int, shown uint64) []action {
	if l := r.link(id); l != nil {
		l.up, l.shown = true, shown
		r.newest = max(r.newest, shown)
	}
	return r.decide()
}

// down: a connection was lost. It tries to come back by itself.
func (r *rollover) down(id int) []action {
	if l := r.link(id); l != nil {
		l.up = false
		l.asked = l.ready // who is not ready yet is asked again
	}
	return r.decide()
}

// ready: the parts can live on a connection alone.
func (r *rollover) ready(id int) []action {
	if l := r.link(id); l != nil {
		l.ready = true
	}
	return r.decide()
}

// idle: what began on a retired connection has ended.
func (r *rollover) idle(id int) []action {
	if l := r.link(id); l != nil && l.retired {
		r.drop(id)
		return append([]action{{toClose, id}}, r.decide()...)
	}
	return r.decide()
}

func (r *rollover) drop(id int) {
	for i, l := range r.links {
		if l.id == id {
			r.links = append(r.links[:i:i], r.links[i+1:]...)
			return
		}
	}
}

// decide says what follows from how things are.
func (r *rollover) decide() (do []action) {
	shut := func(id int) {
		r.drop(id)
		do = append(do, action{toClose, id})
	}
	// A retired connection that was lost would come back as a second one.
	for _, l := range append([]linkState{}, r.links...) {
		if l.retired && !l.up {
			shut(l.id)
		}
	}
	present, next := r.active()
	// A present one that was lost has no claim to wait for: the parts have
	// subscribed on the next one since it was opened.
	if next != nil && next.up && (next.ready || !present.up) {
		next.asked, next.ready = true, true
		present.retired = true
		if present.up {
			do = append(do, action{toRetire, present.id})
		} else {
			shut(present.id)
		}
		present, next = r.active()
	}
	switch {
	case present == nil:
		if r.newest > 0 {
			// The first one: nothing is lost when parts begin on it as they are.
			do = append(do, r.open(true))
		}
		return do
	case next == nil && present.up && present.shown < r.newest:
		if len(r.links) >= maxLinks {
			shut(r.oldestRetired())
		}
		do = append(do, r.open(false))
		return do
	case next != nil && !next.up && !next.asked && present.up && present.shown == r.newest:
		shut(next.id) // the present one came back with the newest proof by itself
	case next != nil && next.up && !next.asked:
		next.asked = true
		do = append(do, action{toReady, next.id})
	}
	present, next = r.active()
	for _, l := range []*linkState{present, next} {
		if l != nil && !l.up && l.tried < r.newest {
			l.tried = r.newest
			do = append(do, action{toRetry, l.id})
		}
	}
	return do
}

func (r *rollover) open(first bool) action {
	r.next++
	r.links = append(r.links, linkState{id: r.next, asked: first, ready: first, tried: r.newest})
	return action{toOpen, r.next}
}

// active gives the connection that is present and the one that is to follow it.
func (r *rollover) active() (present, next *linkState) {
	for i := range r.links {
		switch l := &r.links[i]; {
		case l.retired:
		case present == nil:
			present = l
		default:
			next = l
		}
	}
	return present, next
}

func (r *rollover) oldestRetired() int {
	for _, l := range r.links {
		if l.retired {
			return l.id
		}
	}
	return 0 // there is always one, as two of three links are not retired at most
}
