package examine

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/doctor"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/attention/present"
)

// streams looks at each stream that a person may read: at how much it has and may have, and at
// the time of the server that leads it, which answers. A stream that cannot be asked is left out:
// other checks say what is wrong with it.
func (l *look) streams(ctx context.Context) {
	names := map[string]bool{l.Conn.ConnectedServerName(): true}
	for _, name := range eventlog.ReadableStreams() {
		if l.oneStream(ctx, name, names); ctx.Err() != nil || l.Conn.IsClosed() {
			return
		}
	}
	delete(names, "")
	for name := range names {
		l.Server.Names = append(l.Server.Names, name)
	}
	slices.Sort(l.Server.Names)
}

// oneStream looks at a stream, and adds the names of the servers that it is on.
func (l *look) oneStream(ctx context.Context, name string, names map[string]bool) {
	ctx, cancel := asking(ctx)
	defer cancel()
	asked := l.Now()
	s, err := l.JS.Stream(ctx, name)
	if err != nil {
		return
	}
	answered, i := l.Now(), s.CachedInfo()
	l.Streams = append(l.Streams, doctor.Stream{
		Name: name, Bytes: i.State.Bytes, MaxBytes: uint64(max(0, i.Config.MaxBytes)), Memory: i.Config.Storage == jetstream.MemoryStorage, Drops: i.Config.Discard != jetstream.DiscardNew,
	})
	leader := l.Conn.ConnectedServerName() // of a server that is alone
	if c := i.Cluster; c != nil && c.Leader != "" {
		leader = c.Leader
		for _, r := range c.Replicas {
			names[r.Name] = true
		}
	}
	names[leader] = true
	l.time(leader, asked, answered, i.TimeStamp)
}

// time notes what a server said of its time between two moments of this machine.
func (l *look) time(server string, asked, answered, said time.Time) {
	if server == "" || said.IsZero() {
		return
	}
	c := doctor.Clock{Server: server}
	c.Ahead, c.Blur = present.Ahead(asked, answered, said)
	l.Clocks = append(l.Clocks, c)
}

// connected asks the connected server for its time, which it says beside whose the connection is.
// Nobody is asked where the servers did not say it before: this user may not ask.
func (l *look) connected(ctx context.Context) {
	if l.Account == "" {
		return
	}
	ctx, cancel := asking(ctx)
	defer cancel()
	asked := l.Now()
	m, err := l.Conn.RequestWithContext(ctx, eventlog.UserInfoAPI, nil)
	if err != nil {
		return
	}
	var said struct {
		Server struct {
			Name string    `json:"name"`
			Time time.Time `json:"time"`
		} `json:"server"`
	}
	if json.Unmarshal(m.Data, &said) == nil {
		l.time(said.Server.Name, asked, l.Now(), said.Server.Time)
	}
}

// account asks what the account of the log may store. It has nothing to say to those of account
// PEOPLE, which is another.
func (l *look) account(ctx context.Context) {
	if l.Account == eventlog.AccountPeople {
		return
	}
	ctx, cancel := asking(ctx)
	defer cancel()
	i, err := l.JS.AccountInfo(ctx)
	if err != nil {
		l.AccountUnread = l.why(err)
		return
	}
	l.AccountRoom = &doctor.Room{Used: i.Store, Limit: uint64(max(0, i.Limits.MaxStore)), Promised: max(i.Store, i.ReservedStore)}
}
