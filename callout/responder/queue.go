package responder

import (
	"context"
	"sync"
	"time"
)

// job is one request on its way.
type job struct {
	data    []byte
	peer    string // the server's xkey; empty for a plain request
	arrived time.Time
	probe   bool
	respond func([]byte) error

	decoded *request // after the first attempt
}

// queue gives jobs newest first: who came last is the likeliest still to wait. It
// forgets the oldest where it is full, and those that are past the deadline.
type queue struct {
	deadline time.Duration
	now      func() time.Time
	forgot   func(why string)

	mu    sync.Mutex
	next  *job // given before all others
	ring  []*job
	first int // the oldest
	count int
	ready chan struct{} // of one place: there may be jobs
}

const (
	forgotFull = "queue full"
	forgotOld  = "deadline passed"
)

func newQueue(size int, deadline time.Duration, now func() time.Time, forgot func(why string)) *queue {
	return &queue{deadline: deadline, now: now, forgot: forgot, ring: make([]*job, size), ready: make(chan struct{}, 1)}
}

func (q *queue) push(j *job) {
	q.mu.Lock()
	if q.count == len(q.ring) {
		q.dropOldest(forgotFull)
	}
	q.ring[(q.first+q.count)%len(q.ring)] = j
	q.count++
	q.mu.Unlock()
	q.wake()
}

// pushFirst puts a job before all others: the question whether the replica still
// answers, which would be buried under newer ones.
func (q *queue) pushFirst(j *job) {
	q.mu.Lock()
	q.next = j
	q.mu.Unlock()
	q.wake()
}

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *queue) dropOldest(why string) {
	q.ring[q.first] = nil
	q.first = (q.first + 1) % len(q.ring)
	q.count--
	q.forgot(why)
}

// pop waits for a job that is within the deadline; nil when the context ends.
func (q *queue) pop(ctx context.Context) *job {
	for {
		if j := q.take(); j != nil {
			return j
		}
		select {
		case <-ctx.Done():
			return nil
		case <-q.ready:
		}
	}
}

// take gives the newest job, or nil where none is within the deadline.
func (q *queue) take() *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j := q.next; j != nil {
		q.next = nil
		if q.count > 0 {
			q.wake()
		}
		return j
	}
	old := q.now().Add(-q.deadline)
	for q.count > 0 && q.ring[q.first].arrived.Before(old) {
		q.dropOldest(forgotOld)
	}
	if q.count == 0 {
		return nil
	}
	q.count--
	at := (q.first + q.count) % len(q.ring)
	j := q.ring[at]
	q.ring[at] = nil
	if q.count > 0 {
		q.wake() // another worker may sleep
	}
	return j
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count
}
