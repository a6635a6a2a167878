package client

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/syncer"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/canonicaljson"
	"github.com/matrixon/matrixon/matrix/filter"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of the older ways to sync.
const (
	oldSyncSize, oldSyncMost = 20, 100 // events of a room
	// peekPause is how often a room is looked at for somebody who is not in it and waits.
	peekPause = 500 * time.Millisecond
)

// OldSyncOptions are what the older ways to sync need besides Deps.
type OldSyncOptions struct {
	Reader *reader.Reader
	Syncer *syncer.Syncer
}

type oldSync struct {
	rooms
	syncer *syncer.Syncer
}

// OldSync are the ways to sync before GET /sync, which the specification still has, and those to follow a room without
// being in it. They say the same as GET /sync in other words, but leave the device's messages and keys alone.
func OldSync(d Deps, o OldSyncOptions) []api.Endpoint {
	h := &oldSync{rooms{d, RoomOptions{Reader: o.Reader}}, o.Syncer}
	return []api.Endpoint{
		{Methods: get, Path: v3 + "/events", R0: true, Auth: api.User, Handler: h.listen},
		{Methods: get, Path: v3 + "/events/{eventId}", R0: true, Auth: api.User, Limit: api.LimitRead, Handler: h.oneEvent},
		{Methods: get, Path: v3 + "/initialSync", R0: true, Auth: api.User, Limit: api.LimitRead, Handler: h.initialSync},
		{Methods: get, Path: aRoom + "/initialSync", R0: true, Auth: api.User, Limit: api.LimitRead, Handler: h.roomInitialSync},
	}
}

// eventStream is a stretch of events.
type eventStream struct {
	Start string           `json:"start"`
	End   string           `json:"end"`
	Chunk []jsontext.Value `json:"chunk"`
}

// listen waits for events: of one room, or of all in which the user is.
func (h *oldSync) listen(r *api.Request) (any, error) {
	timeout, err := r.Int("timeout", 0, 0, longestPoll)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(r.Ctx)
	defer cancel()
	defer r.OnDrain(cancel)()
	wait := time.Duration(timeout) * time.Millisecond
	if r.Query().Has("room_id") {
		return h.peek(ctx, r, wait)
	}
	return h.everything(ctx, r, wait)
}

// everything answers with what a sync brings, one after another.
func (h *oldSync) everything(ctx context.Context, r *api.Request, wait time.Duration) (any, error) {
	from := r.Param("from")
	if from == "" {
		var err error
		if from, err = h.now(r); err != nil {
			return nil, err
		}
	}
	f := &filter.Filter{}
	f.Room.Timeline.Limit = oldSyncMost
	resp, err := h.syncer.Sync(ctx, syncer.Request{UserID: r.User(), Since: from, Timeout: wait, Filter: f, SetPresence: "online"})
	if err != nil && ctx.Err() != nil && r.Ctx.Err() == nil {
		return eventStream{from, from, []jsontext.Value{}}, nil
	}
	if err != nil {
		return nil, err
	}
	end, err := streamToken(resp.NextBatch, from)
	if err != nil {
		return nil, err
	}
	chunk, err := h.flatten(r, resp)
	return eventStream{from, end, chunk}, err
}

// streamToken is the token of a sync without what it says about messages to the device, which the stream does not have: about them it
// says what the token before did, so that a sync that goes on from here still gives them.
func streamToken(next, before string) (string, error) {
	t, err := token.ParseSync(next)
	if err != nil {
		return "", err
	}
	t.ToDevice = 0
	if before != "" {
		b, err := token.ParseSync(before)
		if err != nil {
			return "", err
		}
		t.ToDevice = b.ToDevice
	}
	return t.String(), nil
}

// now is the token after everything that has happened.
func (h *oldSync) now(r *api.Request) (string, error) {
	f := &filter.Filter{}
	f.Room.Rooms = &[]string{}
	resp, err := h.syncer.Sync(r.Ctx, syncer.Request{UserID: r.User(), Filter: f, SetPresence: "online"})
	if err != nil {
		return "", err
	}
	return streamToken(resp.NextBatch, "")
}

// flatten lists the events of a sync: those of rooms with the rooms' ids.
func (h *oldSync) flatten(r *api.Request, resp *syncer.Response) ([]jsontext.Value, error) {
	chunk := []jsontext.Value{}
	if resp.Presence != nil {
		chunk = append(chunk, resp.Presence.Events...)
	}
	if resp.Rooms == nil {
		return chunk, nil
	}
	for _, roomID := range slices.Sorted(maps.Keys(resp.Rooms.Invite)) {
		invite, err := h.ownMember(r, roomID)
		if err != nil {
			return nil, err
		}
		chunk = append(chunk, invite...)
	}
	for _, roomID := range slices.Sorted(maps.Keys(resp.Rooms.Join)) {
		room := resp.Rooms.Join[roomID]
		if room.Timeline != nil {
			chunk = append(chunk, withRoomID(roomID, room.Timeline.Events)...)
		}
		if room.Ephemeral != nil {
			chunk = append(chunk, withRoomID(roomID, room.Ephemeral.Events)...)
		}
	}
	for _, roomID := range slices.Sorted(maps.Keys(resp.Rooms.Leave)) {
		if t := resp.Rooms.Leave[roomID].Timeline; t != nil {
			chunk = append(chunk, withRoomID(roomID, t.Events)...)
		}
	}
	return chunk, nil
}

// ownMember is the user's own member event in a room, if it is known here.
func (h *oldSync) ownMember(r *api.Request, roomID string) ([]jsontext.Value, error) {
	a, err := h.Reader.Access(r.Ctx, roomID, r.User())
	if err != nil {
		return nil, err
	}
	row, ok, err := h.Reader.Event(r.Ctx, roomID, a.Member.EventID)
	if err != nil || !ok {
		return nil, err
	}
	return a.Client(r.Ctx, reader.View{RoomID: true}, row)
}

// withRoomID puts the id of their room into events that a sync shows without.
func withRoomID(roomID string, shown []jsontext.Value) []jsontext.Value {
	head := append(canonicaljson.AppendString([]byte(`{"room_id":`), roomID), ',')
	whole := make([]jsontext.Value, len(shown))
	for i, e := range shown {
		whole[i] = append(slices.Clip(head), e[1:]...) // an event has members, so that a comma is right
	}
	return whole
}

// peek waits for events of a room that the user may read.
func (h *oldSync) peek(ctx context.Context, r *api.Request, wait time.Duration) (any, error) {
	r.Vars["roomId"] = r.Param("room_id")
	a, err := h.readable(r)
	if err != nil {
		return nil, err
	}
	from := r.Param("from")
	page := reader.Page{Limit: oldSyncMost}
	if page.From, err = a.Gap(r.Ctx, from, false); err != nil {
		return nil, err
	}
	if from == "" {
		if page.From, err = h.end(r, a.RoomID); err != nil {
			return nil, err
		}
	}
	return h.follow(ctx, r, page, wait)
}

// end is the number of the room's last event.
func (h *oldSync) end(r *api.Request, roomID string) (uint64, error) {
	last, _, err := h.Reader.Last(r.Ctx, roomID, math.MaxUint64)
	return last.Seq, err
}

// follow looks at a room until there is something after the page's beginning, or the time is out. Nobody tells of a room in which
// the user is not.
func (h *oldSync) follow(ctx context.Context, r *api.Request, page reader.Page, wait time.Duration) (any, error) {
	start := token.Timeline{Seq: page.From}.String()
	page.To = math.MaxUint64
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		a, err := h.readable(r) // it may have been closed meanwhile
		if err != nil {
			return nil, err
		}
		found, err := a.Read(r.Ctx, page)
		if err != nil {
			return nil, err
		}
		stream := eventStream{Start: start, End: token.Timeline{Seq: found.End}.String()}
		if len(found.Events) > 0 || wait == 0 {
			stream.Chunk, err = events(r, a, found.Events)
			return stream, err
		}
		page.From = found.End
		stream.Chunk = []jsontext.Value{}
		pause := time.NewTimer(peekPause)
		select {
		case <-pause.C:
		case <-timeout.C:
			pause.Stop()
			return stream, nil
		case <-ctx.Done():
			pause.Stop()
			return stream, r.Ctx.Err()
		}
	}
}

// oneEvent finds an event in the rooms where the user is or was.
func (h *oldSync) oneEvent(r *api.Request) (any, error) {
	eventID := r.Vars["eventId"]
	for m, err := range schema.Memberships.Scan(r.Ctx, h.Store, persistence.Range[schema.Membership]{Prefix: schema.Membership{UserID: r.User()}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		_, ok, err := schema.EventsByID.Get(r.Ctx, h.Store, schema.EventByID{RoomID: m.RoomID, EventID: eventID})
		if err != nil {
			return nil, err
		}
		if ok {
			r.Vars["roomId"] = m.RoomID
			return h.event(r)
		}
	}
	return nil, mxerr.NotFound("the event %.255s is not known, or you may not see it", eventID)
}
