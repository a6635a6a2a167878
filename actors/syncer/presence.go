package syncer

import (
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

// presenceScan bounds how many users' presence one answer looks at.
const presenceScan = 20_000

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

// metAtOnce is how many users may be met before it is cheaper to look at everybody's presence.
const metAtOnce = 100

// presenceRows are the presences that the client may not know: those the plan names and those of users who were met, or all.
func (b *builder) presenceRows() ([]schema.Presence, error) {
	met, err := b.meetings()
	if err != nil {
		return nil, err
	}
	if b.initial || b.plan.PresenceAll || len(met.came) > metAtOnce {
		return schema.Presences.All(b.ctx, b.reader.Store(), persistence.Range[schema.Presence]{Limit: presenceScan})
	}
	var rows []schema.Presence
	wanted := map[string]bool{}
	for _, userID := range b.plan.Presence {
		wanted[userID] = true
	}
	maps.Copy(wanted, met.came)
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

// shares reports whether another user is in a room with the user, or is the user.
func (b *builder) shares(userID string) (bool, error) {
	if b.mine == nil {
		var err error
		if b.mine, err = joined(b.ctx, b.reader.Store(), b.req.UserID); err != nil {
			return false, err
		}
	}
	return sharesWith(b.ctx, b.reader.Store(), b.req.UserID, b.mine, userID)
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
