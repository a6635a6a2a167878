package syncer

import (
	"cmp"
	"context"
	"slices"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/persistence/schema"
)

// heroCount is how many members name a nameless room (client-server API, "Room summary").
const heroCount = 5

// summary counts the members, and names some of them for a room without a name, when that may have changed.
func (b *builder) summary(st stretch, t timeline, changed bool) (*Summary, error) {
	if !st.fresh && !st.whole && !b.req.FullState && !changed && !slices.ContainsFunc(t.rows, b.inSummary) {
		return nil, nil
	}
	room, err := b.reader.Room(b.ctx, st.room)
	if err != nil {
		return nil, err
	}
	s := &Summary{}
	if partial, _, err := b.partial(st.room, b.plan.Pos); err != nil {
		return nil, err
	} else if !partial { // else nobody knows how many there are
		s.JoinedMembers, s.InvitedMembers = &room.JoinedMembers, &room.InvitedMembers
	}
	s.Heroes, err = b.heroes(st.room)
	return s, err
}

// inSummary reports whether an event may change the summary of its room.
func (b *builder) inSummary(row schema.Event) bool {
	return row.StateKey != nil && b.summarized(row.Type, *row.StateKey)
}

func (b *builder) changesSummary(e reader.Entry) bool { return b.summarized(e.Type, e.StateKey) }

// summarized leaves out the user's own member event: in a room that goes on being joined, only the profile can have changed.
func (b *builder) summarized(typ, stateKey string) bool {
	return typ == "m.room.member" && stateKey != b.req.UserID || typ == "m.room.name" || typ == "m.room.canonical_alias"
}

// heroes are the Heroes of a room, unless its name or alias names it.
func (b *builder) heroes(roomID string) ([]string, error) {
	if known, ok := b.named[roomID]; ok {
		return known, nil
	}
	room, err := b.reader.Room(b.ctx, roomID)
	if err != nil || room.Name != "" || room.CanonicalAlias != "" {
		return nil, err
	}
	heroes, err := Heroes(b.ctx, b.reader, roomID, b.req.UserID)
	if err != nil {
		return nil, err
	}
	if b.named == nil {
		b.named = map[string][]string{}
	}
	b.named[roomID] = heroes
	return heroes, nil
}

// Heroes are the first of the user's fellow members to have come: those in the room or invited, or else those who were.
func Heroes(ctx context.Context, r *reader.Reader, roomID, userID string) ([]string, error) {
	members, err := r.CurrentOf(ctx, roomID, "m.room.member")
	if err != nil {
		return nil, err
	}
	slices.SortFunc(members, func(a, b schema.CurrentState) int { return cmp.Compare(a.Seq, b.Seq) })
	var present, gone []string
	for _, m := range members {
		switch {
		case m.StateKey == userID:
		case m.Membership == "join" || m.Membership == "invite":
			present = append(present, m.StateKey)
		default:
			gone = append(gone, m.StateKey)
		}
	}
	if len(present) == 0 {
		present = gone
	}
	return append([]string{}, present[:min(len(present), heroCount)]...), nil
}
