package fleetctl_test

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/nats-io/nkeys"
	"github.com/rogpeppe/go-internal/testscript"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/seal"
)

// sealKey is the key of the stories' fleet, the same in each run, and another.
func sealKey(which byte) nkeys.KeyPair {
	seed, err := nkeys.EncodeSeed(nkeys.PrefixByteUser, bytes.Repeat([]byte{which}, 32))
	if err != nil {
		panic(err) // the seed is as long as one is
	}
	key, err := nkeys.FromSeed(seed)
	if err != nil {
		panic(err)
	}
	return key
}

func publicKey(key nkeys.KeyPair) string {
	p, err := key.PublicKey()
	if err != nil {
		panic(err) // it has a seed
	}
	return p
}

// sealCommand is the command seal: it appends a seal over the whole log, by the
// fleet's key or by another's.
func sealCommand(ts *testscript.TestScript, neg bool, args []string) {
	key := sealKey(1)
	if len(args) == 1 && args[0] == "forged" {
		key = sealKey(2)
	} else if neg || len(args) != 0 {
		ts.Fatalf("usage: seal [forged]")
	}
	w := ts.Value("world").(*world)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	t := seal.NewTree()
	for e, err := range reader.Read(ctx, w.js, reader.Options{}) {
		if !errors.Is(err, eventlog.ErrForeign) {
			ts.Check(err)
		}
		ts.Check(t.Add(e))
	}
	signed, err := seal.Sign(key, t, time.Date(2026, 11, 24, 14, 3, 0, 0, time.UTC))
	ts.Check(err)
	d, err := eventlog.NewDraft(eventlog.SealSubject, eventlog.SealCreated, time.Now(), signed)
	ts.Check(err)
	_, err = appender.Unfenced(ctx, w.js, "operator", d)
	ts.Check(err)
}
