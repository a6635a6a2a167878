package sliding

import (
	"maps"

	"github.com/matrixon/matrixon/messages"
)

// The bounds of what is remembered of lazily loaded members. What is forgotten is merely sent again.
const (
	membersPerRoom       = 500
	membersPerConnection = 10_000
)

// sentRoom is what a connection has been sent of a room, while an answer is built.
type sentRoom struct {
	*messages.SlidingRoom
	state RequiredState
}

// remember takes in what the connection had been sent.
func (b *builder) remember() {
	for _, c := range b.plan.Sent.GetConfigs() {
		b.asked = append(b.asked, restore(c))
	}
	b.sent = make(map[string]*messages.SlidingRoom, len(b.plan.Sent.GetRooms()))
	for _, r := range b.plan.Sent.GetRooms() {
		b.sent[r.RoomId] = r
	}
}

// askedWith is the required state that the client last asked for, of a room that it was sent.
func (b *builder) askedWith(r *messages.SlidingRoom) RequiredState {
	if int(r.Config) < len(b.asked) {
		return b.asked[r.Config]
	}
	return RequiredState{}
}

// becomes gives the state of the room after the answer, to be changed while the answer is built.
func (b *builder) becomes(r *room) *sentRoom {
	if s := b.became[r.id]; s != nil {
		return s
	}
	s := &sentRoom{}
	if r.sent != nil {
		s.SlidingRoom, s.state = copyOf(r.sent), b.askedWith(r.sent)
	} else {
		s.SlidingRoom = &messages.SlidingRoom{RoomId: r.id}
	}
	b.became[r.id] = s
	return s
}

// copyOf copies a room's state, but shares what the copy does not change in place.
func copyOf(r *messages.SlidingRoom) *messages.SlidingRoom {
	return &messages.SlidingRoom{RoomId: r.RoomId, Events: r.Events, Receipts: r.Receipts, AccountData: r.AccountData,
		Membership: r.Membership, TimelineLimit: r.TimelineLimit, Config: r.Config, Members: r.Members, Typing: r.Typing,
		Notifications: r.Notifications, Highlights: r.Highlights, Dm: r.Dm}
}

// hasMember reports whether the client has this membership event.
func (s *sentRoom) hasMember(userID string, seq uint64) bool { return s.Members[userID] == seq }

// addMembers notes membership events that were sent.
func (s *sentRoom) addMembers(members map[string]uint64) {
	if len(members) == 0 {
		return
	}
	if len(s.Members)+len(members) > membersPerRoom {
		s.Members = members
		return
	}
	all := make(map[string]uint64, len(s.Members)+len(members))
	maps.Copy(all, s.Members)
	maps.Copy(all, members)
	s.Members = all
}

// forget drops what was known of a room.
func (b *builder) forget(r *room) { b.became[r.id] = nil }

// next is the state of the connection once the answer has arrived.
func (b *builder) next() *messages.SlidingState {
	n := &successor{state: &messages.SlidingState{Pos: b.pos(), Upto: b.plan.Pos, ProfileFields: b.profileFields}, numbers: map[string]uint32{}}
	for _, r := range b.plan.Sent.GetRooms() {
		if _, touched := b.became[r.RoomId]; !touched {
			n.add(r, b.askedWith(r))
		}
	}
	for _, s := range b.became {
		if s != nil {
			n.add(s.SlidingRoom, s.state)
		}
	}
	return n.state
}

// successor collects a new state.
type successor struct {
	state   *messages.SlidingState
	numbers map[string]uint32 // of configs
	members int
}

// add takes a room in, as a copy if it has to be changed for that.
func (n *successor) add(r *messages.SlidingRoom, s RequiredState) {
	number, ok := n.numbers[s.key]
	if !ok {
		number = uint32(len(n.state.Configs))
		n.numbers[s.key] = number
		n.state.Configs = append(n.state.Configs, s.stored())
	}
	n.members += len(r.Members)
	surplus := n.members > membersPerConnection && len(r.Members) > 0
	if r.Config != number || surplus {
		r = copyOf(r)
		r.Config = number
		if surplus {
			r.Members = nil
		}
	}
	n.state.Rooms = append(n.state.Rooms, r)
}
