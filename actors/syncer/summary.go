package syncer

import (
	"cmp"
	"slices"

	"github.com/matrixon/matrixon/persistence/schema"
)

// heroCount is how many members name a nameless room (client-server API, "Room summary").
const heroCount = 5

// summary counts the members, and names some of them for a room without a name, when that may have changed.
func (b *builder) summary(st stretch, t timeline, delta []schema.Event) (*Summary, error) {
	isMember := func(row schema.Event) bool { return row.Type == "m.room.member" }
	if !st.fresh && !b.req.FullState && !slices.ContainsFunc(t.rows, isMember) && !slices.ContainsFunc(delta, isMember) {
		return nil, nil
	}
	room, err := b.reader.Room(b.ctx, st.room)
	if err != nil {
		return nil, err
	}
	s := &Summary{JoinedMembers: room.JoinedMembers, InvitedMembers: room.InvitedMembers}
	if room.Name == "" && room.CanonicalAlias == "" {
		s.Heroes, err = b.heroes(st.room)
	}
	return s, err
}

// heroes are the first of the other members to have come: those in the room or invited, or else those who were.
func (b *builder) heroes(roomID string) ([]string, error) {
	members, err := b.reader.CurrentOf(b.ctx, roomID, "m.room.member")
	if err != nil {
		return nil, err
	}
	slices.SortFunc(members, func(a, b schema.CurrentState) int { return cmp.Compare(a.Seq, b.Seq) })
	var present, gone []string
	for _, m := range members {
		switch {
		case m.StateKey == b.req.UserID:
		case m.Membership == "join" || m.Membership == "invite":
			present = append(present, m.StateKey)
		default:
			gone = append(gone, m.StateKey)
		}
	}
	if len(present) == 0 {
		present = gone
	}
	return present[:min(len(present), heroCount)], nil
}
