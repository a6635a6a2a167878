package syncer

import (
	"context"
	"maps"
	"math"
	"slices"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/actors/token"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/filter"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// deviceLists adds whose devices changed and who is no longer to be tracked; an initial sync has nothing to compare with.
func (b *builder) deviceLists(resp *Response) (bool, error) {
	if b.initial {
		return false, nil
	}
	m, err := b.meetings()
	if err != nil {
		return false, err
	}
	lists, err := b.deviceListsOf(m, b.plan.DeviceLists)
	if err != nil || len(lists.Changed)+len(lists.Left) == 0 {
		return false, err
	}
	resp.DeviceLists = lists
	return true, nil
}

// KeyChanges answers GET /keys/changes for the time between two sync tokens.
func (s *Syncer) KeyChanges(ctx context.Context, userID, from, to string) (*DeviceLists, error) {
	begin, err := token.ParseSync(from)
	if err != nil {
		return nil, err
	}
	end, err := token.ParseSync(to)
	if err != nil {
		return nil, err
	}
	var rooms []string
	for m, err := range schema.Memberships.Scan(ctx, s.reader.Store(), persistence.Range[schema.Membership]{
		Prefix: schema.Membership{UserID: userID}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		rooms = append(rooms, m.RoomID)
	}
	return s.DeviceListsBetween(ctx, userID, rooms, true, begin.Pos, end.Pos)
}

// DeviceListsBetween says whose devices changed between two positions, and who is no longer to be tracked: because of what happened
// in these rooms of the user's, and when devices is set because devices changed.
func (s *Syncer) DeviceListsBetween(ctx context.Context, userID string, rooms []string, devices bool, since, pos uint64) (*DeviceLists, error) {
	b := &builder{Syncer: s, ctx: ctx, req: Request{UserID: userID, Filter: &filter.Filter{}},
		plan: &messages.SyncPlan{SincePos: since, Pos: pos}}
	m, err := b.meetingsIn(rooms)
	if err != nil {
		return nil, err
	}
	return b.deviceListsOf(m, devices)
}

// meetings are the users whom the user began to share a room with since the token, and with whom the user stopped to share one.
type meetings struct {
	came, went map[string]bool
	entered    bool // the user came into a room with others in it
}

// meetings looks at the rooms in which something happened; in an initial sync nobody is new.
func (b *builder) meetings() (*meetings, error) {
	if b.met != nil {
		return b.met, nil
	}
	var rooms []string
	for _, plan := range b.plan.Rooms {
		if plan.Timeline && !b.initial {
			rooms = append(rooms, plan.RoomId)
		}
	}
	var err error
	b.met, err = b.meetingsIn(rooms)
	return b.met, err
}

func (b *builder) meetingsIn(rooms []string) (*meetings, error) {
	m := &meetings{came: map[string]bool{}, went: map[string]bool{}}
	for _, roomID := range rooms {
		if err := b.cameAndWent(roomID, m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// deviceListsOf tells of the members who came and went, and of changed devices.
func (b *builder) deviceListsOf(m *meetings, devices bool) (*DeviceLists, error) {
	came := maps.Clone(m.came)
	if devices {
		for row, err := range schema.DeviceListLogs.Scan(b.ctx, b.reader.Store(), persistence.Range[schema.DeviceListLog]{
			From: &schema.DeviceListLog{Pos: b.plan.SincePos + 1}, Before: &schema.DeviceListLog{Pos: b.plan.Pos + 1}}) {
			if err != nil {
				return nil, err
			}
			came[row.UserID] = true
		}
	}
	lists := &DeviceLists{Changed: []string{}, Left: []string{}}
	for userID := range came {
		shares, err := b.shares(userID)
		if err != nil {
			return nil, err
		}
		if shares {
			lists.Changed = append(lists.Changed, userID)
		}
	}
	for userID := range m.went {
		shares, err := b.shares(userID)
		if err != nil {
			return nil, err
		}
		if !shares {
			lists.Left = append(lists.Left, userID)
		}
	}
	if m.entered && !slices.Contains(lists.Changed, b.req.UserID) {
		lists.Changed = append(lists.Changed, b.req.UserID) // who is in the room as well, for all that the client's other devices know
	}
	slices.Sort(lists.Changed)
	slices.Sort(lists.Left)
	return lists, nil
}

// cameAndWent finds the members of a room with whom the user began or stopped to share it.
func (b *builder) cameAndWent(roomID string, m *meetings) error {
	came, went := m.came, m.went
	access, err := b.reader.Access(b.ctx, roomID, b.req.UserID)
	if err != nil || access.Member.JoinedSeq == 0 || !access.Joined() && access.Member.Pos <= b.plan.SincePos {
		return err
	}
	st, ok, err := b.stretchOf(access, b.plan.Pos)
	if err != nil || !ok {
		return err
	}
	if access.Joined() && !st.fresh && !st.whole {
		return b.changedMembers(st, came, went)
	}
	if access.Joined() && st.whole {
		return b.enter(roomID, m)
	}
	// The user came or went. Those who are there now are met or left behind; so are those who went in the meantime.
	from, ok, err := b.reader.Last(b.ctx, roomID, b.plan.SincePos)
	if err != nil {
		return err
	}
	was := ""
	if ok {
		if was, err = access.MembershipAt(b.ctx, &from); err != nil {
			return err
		}
	}
	if was == "join" {
		// Up to the newest event, as those who are there now: the user is not told any more of those who leave after them.
		if st.last, _, err = b.reader.Last(b.ctx, roomID, math.MaxUint64); err != nil {
			return err
		}
		st.from, st.since = from, from.Seq
		if err := b.changedMembers(st, map[string]bool{}, went); err != nil {
			return err
		}
	}
	switch {
	case was != "join" && access.Joined():
		return b.enter(roomID, m)
	case access.Joined():
		return b.meet(roomID, came)
	case was == "join":
		return b.meet(roomID, went)
	}
	return nil
}

// enter meets the members of a room that the user has come into.
func (b *builder) enter(roomID string, m *meetings) error {
	others := map[string]bool{}
	err := b.meet(roomID, others)
	m.entered = m.entered || len(others) > 0
	maps.Copy(m.came, others)
	return err
}

// meet adds the members of a room but the user.
func (b *builder) meet(roomID string, met map[string]bool) error {
	members, err := b.reader.CurrentOf(b.ctx, roomID, "m.room.member")
	for _, m := range members {
		if m.Membership == "join" && m.StateKey != b.req.UserID {
			met[m.StateKey] = true
		}
	}
	return err
}

// changedMembers finds the members who came and went in the stretch.
func (b *builder) changedMembers(st stretch, came, went map[string]bool) error {
	end, err := b.reader.StateAt(b.ctx, st.room, st.last.RoomStateRoot())
	if err != nil {
		return err
	}
	known, err := b.reader.StateAt(b.ctx, st.room, st.from.RoomStateRoot())
	if err != nil {
		return err
	}
	changes, err := end.Changes(known, func(t event.Tuple) bool { return t.Type == "m.room.member" && t.StateKey != b.req.UserID })
	if err != nil {
		return err
	}
	return b.sortMembers(st, changes, came, went)
}

// sortMembers tells those who came since the token from those who went, and from those who only changed their profile.
func (b *builder) sortMembers(st stretch, changes []reader.Entry, came, went map[string]bool) error {
	for _, c := range changes {
		m, ok, err := schema.Memberships.Get(b.ctx, b.reader.Store(), schema.Membership{UserID: c.StateKey, RoomID: st.room})
		if err != nil {
			return err
		}
		switch {
		case !ok:
		case m.Membership == "join" && m.JoinedSeq > st.since:
			came[c.StateKey] = true
		case m.Membership != "join" && m.JoinedSeq > 0:
			went[c.StateKey] = true
		}
	}
	return nil
}
