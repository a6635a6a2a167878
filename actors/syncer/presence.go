package syncer

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of whose presence one answer looks at.
const (
	// presenceFew is how many users' presence is looked through to find who shares a room.
	presenceFew = 500
	// presenceMost is how many users who share a room are looked at where the presence of more is known, those of small rooms first.
	presenceMost = 10_000
)

// activeFor is how long after the last activity a user counts as currently active.
const activeFor = 5 * time.Minute

// Presence is the content of m.presence and the answer to GET /presence/{userId}/status.
type Presence struct {
	Presence        string `json:"presence"`
	LastActiveAgo   *int64 `json:"last_active_ago,omitzero"`
	StatusMsg       string `json:"status_msg,omitempty"`
	CurrentlyActive bool   `json:"currently_active"`
}

// PresenceOf shows a stored presence at a time.
func PresenceOf(row schema.Presence, now time.Time) Presence {
	p := Presence{Presence: row.State, StatusMsg: row.StatusMsg}
	if p.Presence == "" {
		p.Presence = "offline"
	}
	if row.LastActiveTS > 0 {
		ago := max(now.UnixMilli()-row.LastActiveTS, 0)
		p.LastActiveAgo = &ago
		p.CurrentlyActive = row.State == "online" && ago < activeFor.Milliseconds()
	}
	return p
}

// presenceEvents adds the presence of users who share a room.
func (b *builder) presenceEvents(resp *Response) (bool, error) {
	if !b.presence {
		return false, nil
	}
	rows, err := b.presenceRows()
	if err != nil {
		return false, err
	}
	met, err := b.meetings()
	if err != nil {
		return false, err
	}
	var events []jsontext.Value
	for _, row := range rows {
		if row.Pos <= b.plan.SincePos && !met.came[row.UserID] || b.ignored[row.UserID] || !b.req.Filter.Presence.Keeps(row.UserID, "m.presence") {
			continue
		}
		if shares, err := b.shares(row.UserID); err != nil {
			return false, err
		} else if !shares {
			continue
		}
		content, err := json.Marshal(PresenceOf(row, b.now()))
		if err != nil {
			return false, err
		}
		events = append(events, clientEvent("m.presence", row.UserID, content))
	}
	if len(events) == 0 {
		return false, nil
	}
	resp.Presence = &Events{events}
	return true, nil
}

// metAtOnce is how many users may be met before it is cheaper to look at everybody's presence, if that is that of few.
const metAtOnce = 100

// presenceRows are the presences that the client may not know: those the plan names and those of users who were met, or all.
func (b *builder) presenceRows() ([]schema.Presence, error) {
	met, err := b.meetings()
	if err != nil {
		return nil, err
	}
	everybody := b.initial || b.plan.PresenceAll
	if everybody || len(met.came) > metAtOnce {
		rows, err := schema.Presences.All(b.ctx, b.reader.Store(), persistence.Range[schema.Presence]{Limit: presenceFew + 1})
		if err != nil || len(rows) <= presenceFew {
			return rows, err
		}
	}
	wanted := map[string]bool{}
	if everybody {
		if err := b.meetAll(); err != nil {
			return nil, err
		}
		wanted = b.near
	} else {
		for _, userID := range b.plan.Presence {
			wanted[userID] = true
		}
		maps.Copy(wanted, met.came)
	}
	var rows []schema.Presence
	for _, userID := range slices.Sorted(maps.Keys(wanted)) {
		row, ok, err := schema.Presences.Get(b.ctx, b.reader.Store(), schema.Presence{UserID: userID})
		if err != nil {
			return nil, err
		}
		if ok {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// meetAll learns who shares a room with the user, from the smallest rooms to the largest.
func (b *builder) meetAll() error {
	if err := b.findMine(); err != nil {
		return err
	}
	var rooms []schema.Room
	for roomID := range b.mine {
		room, _, err := schema.Rooms.Get(b.ctx, b.reader.Store(), schema.Room{RoomID: roomID})
		if err != nil {
			return err
		}
		rooms = append(rooms, room)
	}
	slices.SortFunc(rooms, func(a, b schema.Room) int {
		return cmp.Or(cmp.Compare(a.JoinedMembers, b.JoinedMembers), cmp.Compare(a.RoomID, b.RoomID))
	})
	b.near = map[string]bool{b.req.UserID: true}
	for _, room := range rooms {
		for m, err := range schema.CurrentStates.Scan(b.ctx, b.reader.Store(), persistence.Range[schema.CurrentState]{
			Prefix: schema.CurrentState{RoomID: room.RoomID, Type: "m.room.member"}, Keys: 2}) {
			if err != nil {
				return err
			}
			if m.Membership != "join" {
				continue
			}
			if b.near[m.StateKey] = true; len(b.near) >= presenceMost {
				return nil
			}
		}
	}
	return nil
}

// shares reports whether another user is in a room with the user, or is the user.
func (b *builder) shares(userID string) (bool, error) {
	if b.near[userID] {
		return true, nil
	}
	if err := b.findMine(); err != nil {
		return false, err
	}
	return sharesWith(b.ctx, b.reader.Store(), b.req.UserID, b.mine, userID)
}

func (b *builder) findMine() (err error) {
	if b.mine == nil {
		b.mine, err = joined(b.ctx, b.reader.Store(), b.req.UserID)
	}
	return err
}

// Share reports whether two users are in a room together, or are the same.
func Share(ctx context.Context, r persistence.Reader, userID, other string) (bool, error) {
	mine, err := joined(ctx, r, userID)
	if err != nil {
		return false, err
	}
	return sharesWith(ctx, r, userID, mine, other)
}

// joined are the rooms that the user is in.
func joined(ctx context.Context, r persistence.Reader, userID string) (map[string]bool, error) {
	rooms, err := reader.JoinedRooms(ctx, r, userID)
	mine := make(map[string]bool, len(rooms))
	for _, roomID := range rooms {
		mine[roomID] = true
	}
	return mine, err
}

func sharesWith(ctx context.Context, r persistence.Reader, userID string, mine map[string]bool, other string) (bool, error) {
	if userID == other {
		return true, nil
	}
	if len(mine) == 0 {
		return false, nil
	}
	for m, err := range schema.Memberships.Scan(ctx, r, persistence.Range[schema.Membership]{
		Prefix: schema.Membership{UserID: other}, Keys: 1}) {
		if err != nil {
			return false, err
		}
		if m.Membership == "join" && mine[m.RoomID] {
			return true, nil
		}
	}
	return false, nil
}
