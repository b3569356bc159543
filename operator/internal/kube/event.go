package kube

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	maxNoteLen   = 1024
	maxEvents    = 256 // that wait to be written; past it they are only logged
	eventTimeout = 10 * time.Second
)

// Events writes Kubernetes Events about what a person must act on, in the operator's
// own namespace. Its callers tell it of changes, not in loops; it never holds them up.
type Events struct {
	client   kubernetes.Interface
	identity string
	about    corev1.ObjectReference
	logger   *slog.Logger
	queue    chan *eventsv1.Event
}

// NewEvents wires Events that hang on an object in the operator's namespace.
func NewEvents(client kubernetes.Interface, identity string, about corev1.ObjectReference, logger *slog.Logger) *Events {
	return &Events{client: client, identity: identity, about: about, logger: logger, queue: make(chan *eventsv1.Event, maxEvents)}
}

// Warn has one Event written. related names another object that it is about; it
// may be nil.
func (e *Events) Warn(reason, action, note string, related *corev1.ObjectReference) {
	e.tell(corev1.EventTypeWarning, reason, action, note, related)
}

func (e *Events) tell(kind, reason, action, note string, related *corev1.ObjectReference) {
	event := &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{GenerateName: FieldManager + "-", Namespace: e.about.Namespace},
		EventTime:           metav1.MicroTime{Time: time.Now()},
		ReportingController: FieldManager,
		ReportingInstance:   clip(e.identity, 128),
		Action:              action,
		Reason:              reason,
		Regarding:           e.about,
		Related:             related,
		Note:                clip(note, maxNoteLen),
		Type:                kind,
	}
	select {
	case e.queue <- event:
	default:
		e.logger.Warn("Event dropped: too many wait to be written", "reason", reason, "note", note)
	}
}

// WarnOf has one Event written about an object, in its own namespace, where
// kubectl describe shows it.
func (e *Events) WarnOf(object corev1.ObjectReference, reason, action, note string) {
	about := *e
	about.about = object
	about.Warn(reason, action, note, nil)
}

// TellOf has one Event written about an object that calls for nobody, as WarnOf does.
func (e *Events) TellOf(object corev1.ObjectReference, reason, action, note string) {
	about := *e
	about.about = object
	about.tell(corev1.EventTypeNormal, reason, action, note, nil)
}

// Run writes until the context ends.
func (e *Events) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-e.queue:
			if err := e.write(ctx, event); err != nil && ctx.Err() == nil {
				e.logger.Warn("cannot write Event", "error", err, "note", event.Note)
			}
		}
	}
}

func (e *Events) write(ctx context.Context, event *eventsv1.Event) error {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	_, err := e.client.EventsV1().Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("write Event %s: %w", event.Reason, err)
	}
	return nil
}
