package identity_test

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
)

// answerSync answers devices that sync, as the operator does: the bucket as it is, then
// the end.
func (w *world) answerSync() {
	w.t.Helper()
	_, err := w.fleet.Subscribe(eventlog.SyncSubject(eventlog.Wildcard), func(m *nats.Msg) {
		if err := w.answer(m); err != nil && w.t.Context().Err() == nil {
			w.t.Logf("sync: %v", err)
		}
	})
	w.must(err)
}

func (w *world) answer(m *nats.Msg) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	id, _ := eventlog.DeviceOfSync(m.Subject)
	log, err := logstream.Inspect(ctx, w.js)
	if err != nil {
		return err
	}
	stream, err := w.js.Stream(ctx, eventlog.BucketStream(eventlog.BucketDesired))
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(eventlog.KVSubject(eventlog.BucketDesired, eventlog.DesiredKey(id, eventlog.Wildcard))))
	if err != nil {
		return err
	}
	nonce := m.Header.Get(eventlog.HeaderSync)
	for subject := range info.State.Subjects {
		value, err := stream.GetLastMsgForSubject(ctx, subject)
		if err != nil {
			return err
		}
		_, deployment, _ := eventlog.ParseDesiredKV(subject)
		out := &nats.Msg{Subject: m.Reply, Data: value.Data, Header: nats.Header{}}
		for _, h := range []string{eventlog.HeaderStreamSource, eventlog.HeaderKVOperation, eventlog.HeaderNamespace, eventlog.HeaderRevision} {
			if v := value.Header.Get(h); v != "" {
				out.Header.Set(h, v)
			}
		}
		out.Header.Set(eventlog.HeaderSync, nonce)
		out.Header.Set(eventlog.HeaderKey, eventlog.DesiredKey(id, deployment))
		if err := w.fleet.PublishMsg(out); err != nil {
			return err
		}
	}
	body, err := json.Marshal(eventlog.SyncEnd{LogID: log.ID, LogSequence: log.Last, Count: len(info.State.Subjects)})
	if err != nil {
		return err
	}
	return w.fleet.PublishMsg(&nats.Msg{Subject: m.Reply, Data: body, Header: nats.Header{
		eventlog.HeaderSync: {nonce}, eventlog.HeaderSyncEnd: {"true"},
	}})
}
