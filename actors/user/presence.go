package user

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// When a user who does nothing is shown as away, and one who no longer syncs as offline.
const (
	awayAfter    = 5 * time.Minute
	offlineAfter = 30 * time.Second
	presenceStep = 15 * time.Second
)

// presence is the user's own presence (client-server API, "Presence").
type presence struct {
	state      string // "" before the first sync of this activation
	lastActive time.Time
	lastSync   time.Time
	ticking    bool
}

type presenceTick struct{}

// active reports whether the user is to be kept in memory because a change to offline is still to be told.
func (p *presence) active(now time.Time) bool {
	return p.state == "online" || p.state == "unavailable" && now.Sub(p.lastSync) < awayAfter
}

// synced takes in that a device of the user synced with this set_presence parameter.
func (a *actor) synced(set string) {
	if !a.deps.Presence || set == "offline" {
		return
	}
	now := a.deps.Now()
	p := &a.presence
	p.lastSync = now
	if set == "" || set == "online" {
		set = "online"
		p.lastActive = now
	}
	a.becomes(set)
	a.tickPresence()
}

// presenceTick ages the presence of a user who has stopped syncing.
func (a *actor) presenceTick() {
	p := &a.presence
	p.ticking = false
	now := a.deps.Now()
	if len(a.waiters) > 0 {
		p.lastSync = now
	}
	switch {
	case now.Sub(p.lastSync) > offlineAfter:
		a.becomes("offline")
		return
	case p.state == "online" && now.Sub(p.lastActive) > awayAfter:
		a.becomes("unavailable")
	}
	a.tickPresence()
}

// becomes stores and tells a changed state. Presence is the one thing that may be lost: an overfull lane drops it.
func (a *actor) becomes(state string) {
	p := &a.presence
	if p.state == state {
		return
	}
	lastActive := p.lastActive
	store := func(ctx context.Context, o *Op, _ proto.Message) (proto.Message, error) {
		return &messages.Done{}, storePresence(ctx, o, state, nil, lastActive)
	}
	if a.lane.push(job{message: cluster.NewMessage(nil, nil), handler: Handler{name: "presence", run: store}}) {
		p.state = state
		a.runLane()
	}
}

// setPresence stores what the user said. A later sync may say otherwise.
func (a *actor) setPresence(m cluster.Message, req *messages.SetPresence) {
	now := a.deps.Now()
	a.presence.state, a.presence.lastSync = req.State, now
	if req.State != "offline" {
		a.presence.lastActive = now
	}
	store := func(ctx context.Context, o *Op, _ proto.Message) (proto.Message, error) {
		status := req.StatusMsg
		if status == nil {
			status = new(string)
		}
		return &messages.Done{}, storePresence(ctx, o, req.State, status, now)
	}
	if !a.lane.push(job{message: m, request: req, handler: Handler{name: "presence", run: store}}) {
		m.Fail(mxerr.LimitExceeded(1000))
		return
	}
	a.tickPresence()
	a.runLane()
}

func (a *actor) tickPresence() {
	if !a.presence.ticking {
		a.presence.ticking = true
		a.self.After(presenceStep, presenceTick{})
	}
}

// storePresence writes the user's presence and tells those who share a room. A nil status message keeps the old one.
func storePresence(ctx context.Context, o *Op, state string, statusMsg *string, lastActive time.Time) error {
	row, ok, err := schema.Presences.Get(ctx, o.Store, schema.Presence{UserID: o.UserID})
	if err != nil {
		return err
	}
	was := row
	row.State = state
	if statusMsg != nil {
		row.StatusMsg = *statusMsg
	}
	if !lastActive.IsZero() {
		row.LastActiveTS = lastActive.UnixMilli()
	}
	if ok && was.State == row.State && was.StatusMsg == row.StatusMsg {
		return nil
	}
	rooms, err := reader.JoinedRooms(ctx, o.Store, o.UserID)
	if err != nil {
		return err
	}
	_, err = o.Commit(ctx, []persistence.Mutation{schema.Presences.Put(row)}, nil,
		Notices{Presence: &messages.PresenceNotice{Rooms: rooms}})
	return err
}
