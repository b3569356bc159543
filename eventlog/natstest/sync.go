package natstest

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
)

// AnswerSync answers devices that sync, as the operator does: the bucket as it is, then
// the end.
func AnswerSync(tb testing.TB, nc *nats.Conn, js jetstream.JetStream) {
	tb.Helper()
	_, err := nc.Subscribe(eventlog.SyncSubject(eventlog.Wildcard), func(m *nats.Msg) {
		if err := answerSync(nc, js, m); err != nil && tb.Context().Err() == nil {
			tb.Logf("sync: %v", err)
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func answerSync(nc *nats.Conn, js jetstream.JetStream, m *nats.Msg) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	id, _ := eventlog.DeviceOfSync(m.Subject)
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return err
	}
	stream, err := js.Stream(ctx, eventlog.BucketStream(eventlog.BucketDesired))
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
		if err := nc.PublishMsg(out); err != nil {
			return err
		}
	}
	body, err := json.Marshal(eventlog.SyncEnd{LogID: log.ID, LogSequence: log.Last, Count: len(info.State.Subjects)})
	if err != nil {
		return err
	}
	return nc.PublishMsg(&nats.Msg{Subject: m.Reply, Data: body, Header: nats.Header{
		eventlog.HeaderSync: {nonce}, eventlog.HeaderSyncEnd: {"true"},
	}})
}
