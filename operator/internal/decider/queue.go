package decider

import (
	"sync"

	"k8s.io/client-go/util/workqueue"

	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// Input is what one decision is about: an input of Decide, a device whose pulse
// began or ended, the log's next seal, or what a gate's server answered.
type Input struct {
	decide.Input
	Presence string
	Seal     bool
	Wake     bool           // the log's clock reached a moment at which something falls due
	Answer   *decide.Answer // each is an input of its own; nil: none
}

// ofObject says whether the input is about an object of the Kubernetes API, whose
// status can say how the decision went.
func (in Input) ofObject() bool {
	return in.Presence == "" && !in.Seal && !in.Wake && in.Answer == nil
}

// next is what is asked once the events of an input are folded: the same again, but for an
// answer, which is one event: the rollout that it is about can go on by it.
func (in Input) next() Input {
	if in.Answer != nil {
		return Input{Input: decide.OfProgress(in.Answer.Key)}
	}
	return in
}

// Queue takes what is to be decided about, from all who notice that something
// changed. While no Decider runs it forgets what it is given: the next run begins
// with a pass over everything.
type Queue struct {
	mu      sync.Mutex
	items   items              // nil while no Decider runs
	initial map[Input]struct{} // what the initial pass asks about; nil once that is known
}

type items = workqueue.TypedDelayingInterface[Input]

// NewQueue makes a queue.
func NewQueue() *Queue { return &Queue{} }

// Add asks for decisions.
func (q *Queue) Add(ins ...Input) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.items == nil {
		return
	}
	for _, in := range ins {
		q.items.Add(in)
		if q.initial != nil {
			q.initial[in] = struct{}{}
		}
	}
}

// AddDeployment asks about a Deployment whose CR changed.
func (q *Queue) AddDeployment(key fleet.Key) { q.Add(Input{Input: decide.OfDeployment(key)}) }

// AddProgress asks about Deployments whose devices reported.
func (q *Queue) AddProgress(keys ...fleet.Key) {
	ins := make([]Input, len(keys))
	for i, key := range keys {
		ins[i] = Input{Input: decide.OfProgress(key)}
	}
	q.Add(ins...)
}

// AddDevices asks about devices.
func (q *Queue) AddDevices(ids ...string) {
	ins := make([]Input, len(ids))
	for i, id := range ids {
		ins[i] = Input{Input: decide.OfDevice(id)}
	}
	q.Add(ins...)
}

// AddBudget asks about a DisruptionBudget whose CR changed.
func (q *Queue) AddBudget(name string) { q.Add(Input{Input: decide.OfBudget(name)}) }

// AddPresence asks about devices whose pulse began or ended.
func (q *Queue) AddPresence(ids ...string) {
	ins := make([]Input, len(ids))
	for i, id := range ids {
		ins[i] = Input{Presence: id}
	}
	q.Add(ins...)
}

// AddAnswer gives what a gate's server answered.
func (q *Queue) AddAnswer(a decide.Answer) { q.Add(Input{Answer: &a}) }

// AddSeal asks for the log's next seal.
func (q *Queue) AddSeal() { q.Add(Input{Seal: true}) }

// open lets the queue take inputs; those that come until initialPass is asked for
// are the initial pass.
func (q *Queue) open() (its items, shut func()) {
	its = workqueue.NewTypedDelayingQueue[Input]()
	q.mu.Lock()
	q.items, q.initial = its, map[Input]struct{}{}
	q.mu.Unlock()
	return its, func() {
		q.mu.Lock()
		if q.items == its { // else the next run has begun
			q.items = nil
		}
		q.mu.Unlock()
		its.ShutDown()
	}
}

// initialPass gives what was asked since open.
func (q *Queue) initialPass() map[Input]struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	initial := q.initial
	q.initial = nil
	return initial
}
