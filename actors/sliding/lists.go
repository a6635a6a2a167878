package sliding

import (
	"cmp"
	"maps"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence/schema"
)

// room is a room of the user's, while an answer is built.
type room struct {
	id     string
	stamps *messages.SlidingStamps
	sent   *messages.SlidingRoom // nil if the connection has not been sent it
	// invitation is the user's membership, of rooms to which the user is invited or that the user knocks on.
	invitation schema.Membership

	// Why and how the request chooses the room.
	lists      []string
	subscribed bool
	matched    bool // a list lets it through, in its window or not
	config     Config

	// What the answer holds of it.
	postponed bool           // the answer was full
	begins    bool           // from scratch
	timeline  []schema.Event // nil unless the timeline begins or was expanded
	rows      []schema.Event // the timeline
}

// look finds the rooms that lists are about: those that the user is in, is invited to or knocks on, or was thrown out of. Those that the
// user left by themself are among them until the connection has been told.
func (b *builder) look() error {
	var err error
	if b.ignored, err = b.reader.IgnoredBy(b.ctx, b.req.UserID); err != nil {
		return err
	}
	b.invites = b.reader.InviteFilter(b.req.UserID, b.ignored)
	if b.direct, err = b.directRooms(); err != nil {
		return err
	}
	b.rooms = make([]*room, 0, len(b.plan.Rooms))
	for _, stamps := range b.plan.Rooms {
		r := &room{id: stamps.RoomId, stamps: stamps, sent: b.sent[stamps.RoomId]}
		listed, err := b.listed(r)
		if err != nil {
			return err
		}
		if listed {
			b.rooms = append(b.rooms, r)
		}
	}
	slices.SortFunc(b.rooms, func(x, y *room) int {
		return cmp.Or(cmp.Compare(y.stamps.Activity, x.stamps.Activity), cmp.Compare(x.id, y.id))
	})
	return nil
}

func (b *builder) listed(r *room) (bool, error) {
	switch r.stamps.Membership {
	case "join":
		return true, nil
	case "invite":
		if ok, err := b.readInvitation(r); err != nil || !ok {
			return false, err
		}
		return b.invites.Shows(b.ctx, r.invitation.Sender)
	case "knock":
		return b.readInvitation(r)
	}
	if r.stamps.Removed && !r.stamps.Forgotten {
		return true, nil
	}
	return r.sent != nil && !gone(r.sent.Membership), nil
}

func gone(membership string) bool { return membership == "leave" || membership == "ban" }

// readInvitation reads the membership; it is false when that has changed since the plan, of which the next plan tells.
func (b *builder) readInvitation(r *room) (bool, error) {
	m, _, err := schema.Memberships.Get(b.ctx, b.reader.Store(), schema.Membership{UserID: b.req.UserID, RoomID: r.id})
	r.invitation = m
	return m.Membership == r.stamps.Membership, err
}

// directRooms are the rooms in m.direct.
func (b *builder) directRooms() (map[string]bool, error) {
	row, ok, err := schema.AccountDatas.Get(b.ctx, b.reader.Store(), schema.AccountData{UserID: b.req.UserID, Type: "m.direct"})
	rooms := map[string]bool{}
	if err != nil || !ok {
		return rooms, err
	}
	gjson.ParseBytes(row.Content).ForEach(func(_, list gjson.Result) bool {
		for _, roomID := range list.Array() {
			rooms[roomID.Str] = true
		}
		return true
	})
	return rooms, nil
}

// choose applies the lists and the subscriptions. Subscribed rooms come first: these are what the user looks at.
func (b *builder) choose() error {
	for _, name := range slices.Sorted(maps.Keys(b.req.Lists)) {
		list := b.req.Lists[name]
		kept, err := b.keep(&list.Filters)
		if err != nil {
			return err
		}
		for _, r := range kept {
			r.matched = true
		}
		b.resp.Lists[name] = ListResult{Count: len(kept), Ops: window(name, &list, kept)}
	}
	byID := make(map[string]*room, len(b.rooms))
	for _, r := range b.rooms {
		byID[r.id] = r
	}
	for _, stamps := range b.plan.Rooms {
		config, ok := b.req.Subscriptions[stamps.RoomId]
		if !ok {
			continue
		}
		r := byID[stamps.RoomId]
		if r == nil {
			if !gone(stamps.Membership) {
				continue // an invite that the user is not to see
			}
			r = &room{id: stamps.RoomId, stamps: stamps, sent: b.sent[stamps.RoomId]}
		}
		r.choose(config)
		r.subscribed = true
		b.chosen = append(b.chosen, r)
	}
	for _, r := range b.rooms {
		if len(r.lists) > 0 && !r.subscribed {
			b.chosen = append(b.chosen, r)
		}
	}
	return nil
}

// choose adds a reason to give the room.
func (r *room) choose(c Config) {
	if !r.subscribed && len(r.lists) == 0 {
		r.config = c
	} else {
		r.config = r.config.combine(c)
	}
}

// keep gives the rooms that the filters let through.
func (b *builder) keep(f *Filters) ([]*room, error) {
	pass, err := b.sieve(f)
	if err != nil {
		return nil, err
	}
	var kept []*room
	for _, r := range b.rooms {
		ok, err := pass(r)
		if err != nil {
			return nil, err
		}
		if ok {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

// window chooses the rooms within the list's ranges.
func window(name string, list *List, kept []*room) []Op {
	ranges := list.Ranges
	if ranges == nil {
		ranges = [][2]int{{0, max(len(kept)-1, 0)}}
	}
	var ops []Op
	for _, span := range ranges {
		op := Op{Op: "SYNC", Range: span, RoomIDs: []string{}}
		for i := span[0]; i <= span[1] && i < len(kept); i++ {
			r := kept[i]
			op.RoomIDs = append(op.RoomIDs, r.id)
			if !slices.Contains(r.lists, name) {
				r.choose(list.Config)
				r.lists = append(r.lists, name)
			}
		}
		ops = append(ops, op)
	}
	return ops
}
