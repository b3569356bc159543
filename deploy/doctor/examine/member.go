package examine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/deploy/doctor"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/attention/present"
)

// storageOf is what a server says of its JetStream (nats-server, server/monitor.go: JSInfo).
type storageOf struct {
	Now      time.Time `json:"now"`
	Disabled bool      `json:"disabled"`
	Used     uint64    `json:"storage"`
	Config   struct {
		MaxStore   int64         `json:"max_storage"`
		Interval   time.Duration `json:"sync_interval"`
		SyncAlways bool          `json:"sync_always"`
	} `json:"config"`
	Meta *struct {
		Size int `json:"cluster_size"`
	} `json:"meta_cluster"`
	Accounts []struct {
		Streams []struct {
			Name  string `json:"name"`
			State struct {
				Bytes uint64 `json:"bytes"`
			} `json:"state"`
			Config struct {
				Storage  string `json:"storage"`
				Discard  string `json:"discard"`
				MaxBytes int64  `json:"max_bytes"`
			} `json:"config"`
		} `json:"stream_detail"`
	} `json:"account_details"`
}

// member is the server that answered between two moments of this machine.
func (s storageOf) member(name string, asked, answered time.Time) doctor.Member {
	m := doctor.Member{Synced: s.Config.SyncAlways, Interval: s.Config.Interval, Room: doctor.Room{Used: s.Used, Limit: uint64(max(0, s.Config.MaxStore))}}
	m.Server = name
	m.Ahead, m.Blur = present.Ahead(asked, answered, s.Now)
	for _, a := range s.Accounts {
		for _, one := range a.Streams {
			m.Streams = append(m.Streams, doctor.Stream{
				Name: one.Name, Bytes: one.State.Bytes, MaxBytes: uint64(max(0, one.Config.MaxBytes)), Memory: one.Config.Storage == "memory", Drops: one.Config.Discard != "new",
			})
		}
	}
	slices.SortFunc(m.Streams, func(a, b doctor.Stream) int { return cmp.Compare(a.Name, b.Name) })
	m.Room.Promised = doctor.Promised(m.Streams)
	return m
}

// silence ends a question to all servers. One of a cluster that has not answered is waited for
// longer, and so is the first: it may be away, or busy.
const silence, silenceOfOne = time.Second, 4 * time.Second

// members asks each server of itself, in the servers' own account. There are none where the user
// is of another account.
func (l *look) members(ctx context.Context) ([]doctor.Member, error) {
	inbox := l.Conn.NewInbox()
	sub, err := l.Conn.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
	asked := l.Now()
	if err := l.Conn.PublishRequest(eventlog.StorageSubject, inbox, []byte(`{"accounts":true,"streams":true,"config":true}`)); err != nil {
		return nil, err
	}
	var all []doctor.Member
	known := 0 // servers with JetStream of the cluster; 0: none has answered, or they are no cluster
	for known == 0 || len(all) < known {
		patience := silenceOfOne
		if known == 0 && len(all) > 0 {
			patience = silence
		}
		brief, cancel := context.WithTimeout(ctx, patience)
		m, err := sub.NextMsgWithContext(brief)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrNoResponders):
			return all, nil
		case err != nil:
			return nil, err
		}
		var said struct {
			Server struct {
				Name string `json:"name"`
			} `json:"server"`
			Data storageOf `json:"data"`
		}
		if err := json.Unmarshal(m.Data, &said); err != nil {
			return nil, fmt.Errorf("what a server says of its storage: %w", err)
		}
		if !said.Data.Disabled && said.Server.Name != "" {
			all = append(all, said.Data.member(said.Server.Name, asked, l.Now()))
			if said.Data.Meta != nil {
				known = max(known, said.Data.Meta.Size)
			}
		}
	}
	return all, nil
}

// Monitored asks the server of a name of itself, by the monitoring port at an address such as
// http://127.0.0.1:8222.
//
// Errors: those of the request, and that the answer is none of a server with JetStream.
func Monitored(ctx context.Context, client *http.Client, address, name string, now func() time.Time) (doctor.Member, error) {
	ctx, cancel := asking(ctx)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/jsz?accounts=true&streams=true&config=true", nil)
	if err != nil {
		return doctor.Member{}, err
	}
	asked := now()
	answer, err := client.Do(request)
	if err != nil {
		return doctor.Member{}, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return doctor.Member{}, fmt.Errorf("the monitoring port answers %s", answer.Status)
	}
	var said storageOf
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		return doctor.Member{}, fmt.Errorf("what the monitoring port says of storage: %w", err)
	}
	if said.Disabled || said.Now.IsZero() {
		return doctor.Member{}, errors.New("the server has no JetStream")
	}
	return said.member(name, asked, now()), nil
}
