// Package devicelists knows the devices and cross-signing keys of users of other servers (server-server API, "Device Management"). While a
// user shares a room with one of this server, their server tells of every change, so that the list is kept; it is fetched anew when a
// change was missed. The lists of all others are asked for each time.
package devicelists

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Options are what Lists need.
type Options struct {
	ServerName string
	Store      persistence.Store
	Caller     federation.Caller
	// Leads reports whether this node does the work that one node does for all.
	Leads func() bool
	Now   func() time.Time
	Log   *slog.Logger
}

// Lists are the device lists of users of other servers. They are safe for concurrent use, on several nodes too.
type Lists struct {
	o      Options
	flight singleflight.Group

	mu      sync.Mutex
	waiting map[string]pending // users whose lists are to be fetched
	wake    chan struct{}

	// turns let those of this node who change the list of a user do so one after the other.
	seed  maphash.Seed
	turns [turnsKept]chan struct{}
}

// turnsKept is how many lists this node changes at once; users share them.
const turnsKept = 64

// New makes Lists; Run fetches what is missing.
func New(o Options) *Lists {
	l := &Lists{o: o, waiting: map[string]pending{}, wake: make(chan struct{}, 1), seed: maphash.MakeSeed()}
	for i := range l.turns {
		l.turns[i] = make(chan struct{}, 1)
	}
	return l
}

// The bounds of looking for what a user shares with this server.
const (
	roomsLooked = 2000
	// skew is how far the clocks of nodes may differ.
	skew = 5 * time.Second
)

// shared gives the rooms in which the user is together with users of this server. One of them has been so since the time (ms) without a
// break; it is never when there is none.
func (l *Lists) shared(ctx context.Context, userID string) (rooms []string, since int64, err error) {
	since = math.MaxInt64
	for m, err := range schema.Memberships.Scan(ctx, l.o.Store, persistence.Range[schema.Membership]{
		Prefix: schema.Membership{UserID: userID}, Keys: 1, Limit: roomsLooked}) {
		if err != nil {
			return nil, 0, err
		}
		if m.Membership != "join" {
			continue
		}
		ours, _, err := schema.RoomServers.Get(ctx, l.o.Store, schema.RoomServer{RoomID: m.RoomID, Server: l.o.ServerName})
		if err != nil {
			return nil, 0, err
		}
		if ours.Joined == 0 {
			continue
		}
		rooms = append(rooms, m.RoomID)
		theirs, err := l.received(ctx, m.RoomID, m.JoinedSeq)
		if err != nil {
			return nil, 0, err
		}
		own, err := l.received(ctx, m.RoomID, ours.JoinedSeq)
		if err != nil {
			return nil, 0, err
		}
		since = min(since, max(theirs, own))
	}
	return rooms, since, nil
}

// received is when the event came (ms). Of one that is not known it is never.
func (l *Lists) received(ctx context.Context, roomID string, seq uint64) (int64, error) {
	row, ok, err := schema.Events.Get(ctx, l.o.Store, schema.Event{RoomID: roomID, Seq: seq})
	if !ok {
		return math.MaxInt64, err
	}
	return row.ReceivedTS, err
}

// current reports whether the stored list is the user's now, if the user has shared a room with this server since then.
func current(row schema.RemoteDeviceList, since int64) bool {
	return !row.Stale && row.FetchedTS-skew.Milliseconds() >= since
}

// change is what becomes of a list.
type change struct {
	row  *schema.RemoteDeviceList // nil: it stays as it is
	tell []string                 // the rooms whose members learn that the user's devices have changed
}

// alterations is how often a change is tried while others change the same list.
const alterations = 20

// alter changes the list of a user, alone: whoever else does so at the same time, on another node, begins anew. It must not be called within
// itself.
func (l *Lists) alter(ctx context.Context, userID string, decide func(row schema.RemoteDeviceList, there bool) (change, error)) error {
	turn := l.turns[maphash.String(l.seed, userID)%turnsKept]
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-turn }()
	for range alterations {
		stream := persistence.Stream{Kind: "remote_devices", ID: userID}
		claimed, err := l.o.Store.Claim(ctx, stream)
		if err != nil {
			return err
		}
		row, there, err := schema.RemoteDeviceLists.Get(ctx, l.o.Store, schema.RemoteDeviceList{UserID: userID})
		if err != nil {
			return err
		}
		c, err := decide(row, there)
		if err != nil || c.row == nil && c.tell == nil {
			return err
		}
		commit := &persistence.Commit{Stream: stream, Epoch: claimed.Epoch, Seq: claimed.Seq, Advance: 1}
		if c.row != nil {
			commit.Write = append(commit.Write, schema.RemoteDeviceLists.Put(*c.row))
		}
		if c.tell != nil {
			commit.Write = append(commit.Write, schema.DeviceListChanges.Put(schema.DeviceListChange{UserID: userID}),
				schema.DeviceListLogs.Put(schema.DeviceListLog{UserID: userID}))
			commit.Notices = []proto.Message{&messages.DeviceListNotice{UserId: userID, Rooms: slices.Clone(c.tell)}}
		}
		if _, err = persistence.Await(ctx, l.o.Store, commit); !errors.Is(err, persistence.ErrFenced) && !errors.Is(err, persistence.ErrConflict) {
			return err
		}
	}
	return persistence.ErrOverloaded
}
