package user

import (
	"context"

	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// presenceMemory bounds how many users' presence changes one activation remembers; beyond it every older token
// makes the reader look at all of them.
const presenceMemory = 10_000

// stamps say at which position each thing that a user is told of last changed.
type stamps struct {
	begun uint64 // the activation's first position: nothing below it is known in detail
	pos   uint64 // everything at or below it has been seen

	rooms       map[string]*roomStamps
	accountData uint64
	deviceLists uint64
	keys        uint64
	profiles    uint64 // of users who share a room
	// threadSubscriptions is when the user last subscribed to a thread or unsubscribed (MSC4306).
	threadSubscriptions uint64
	toDevice            map[string]uint64 // by device
	presences           map[string]uint64 // by user
	// acknowledged is up to where each device's inbox has been asked to be emptied.
	acknowledged map[string]uint64

	// ephemeral counts the changes of typing that this activation saw.
	ephemeral uint64
}

// roomStamps are those of one room of the user's.
type roomStamps struct {
	membership  string
	member      uint64 // position of the user's membership event
	forgotten   bool   // left for good: other devices are still told of the leave
	stayed      bool   // the user has been in it
	removed     bool   // the user was in it, and was kicked or banned
	events      uint64
	activity    uint64 // exactly the position of the newest event, 0 when it is not known
	receipts    uint64
	accountData uint64
	typing      []string
	typingAt    uint64 // in the ephemeral stream
}

// load reads the user's rooms, left ones too.
func (s *stamps) load(ctx context.Context, r persistence.Reader, userID string) error {
	s.rooms = map[string]*roomStamps{}
	for m, err := range schema.Memberships.Scan(ctx, r, persistence.Range[schema.Membership]{Prefix: schema.Membership{UserID: userID}, Keys: 1}) {
		if err != nil {
			return err
		}
		r := &roomStamps{forgotten: m.Forgotten, stayed: m.JoinedSeq > 0}
		r.becomes(m.Membership, m.Pos, m.Sender != userID)
		s.rooms[m.RoomID] = r
	}
	return nil
}

// begin stamps everything that the activation did not see with the position at which it began.
func (s *stamps) begin(pos uint64) {
	s.begun, s.pos = pos, pos
	s.accountData, s.deviceLists, s.keys, s.profiles, s.threadSubscriptions = pos, pos, pos, pos, pos
	for _, r := range s.rooms {
		r.accountData = pos
		if r.membership == "join" {
			r.events, r.receipts = pos, pos
		}
	}
}

func (s *stamps) joined() []string {
	var rooms []string
	for id, r := range s.rooms {
		if r.membership == "join" {
			rooms = append(rooms, id)
		}
	}
	return rooms
}

func (s *stamps) saw(pos uint64) { s.pos = max(s.pos, pos) }

// room takes in what happened in a room.
func (s *stamps) room(userID string, n *messages.RoomNotice) {
	for _, e := range n.Events {
		if e.Type == "m.room.member" && e.StateKey != nil && *e.StateKey == userID && e.Status == schema.Accepted {
			r := s.ensure(n.RoomId)
			r.becomes(e.Membership, n.Pos, e.Sender != userID)
			r.forgotten = r.forgotten && (e.Membership == "leave" || e.Membership == "ban")
			r.events, r.activity = n.Pos, n.Pos
		}
	}
	s.saw(n.Pos)
	r := s.rooms[n.RoomId]
	if r == nil || r.membership != "join" {
		return
	}
	if len(n.Events) > 0 || n.Sticky {
		r.events, r.activity = n.Pos, n.Pos
	}
	if n.Whole {
		r.events = n.Pos
	}
	if len(n.Receipts) > 0 {
		r.receipts = n.Pos
	}
	if n.TypingChanged {
		s.ephemeral++
		r.typing, r.typingAt = n.Typing, s.ephemeral
	}
}

// becomes takes in a membership of the user, and whether somebody else gave it.
func (r *roomStamps) becomes(membership string, pos uint64, byOther bool) {
	r.membership, r.member = membership, pos
	r.stayed = r.stayed || membership == "join"
	r.removed = r.stayed && (membership == "ban" || membership == "leave" && byOther)
}

func (s *stamps) ensure(roomID string) *roomStamps {
	r := s.rooms[roomID]
	if r == nil {
		r = &roomStamps{}
		s.rooms[roomID] = r
	}
	return r
}

// user takes in that rows of the user were committed.
func (s *stamps) user(n *messages.UserNotice) {
	s.saw(n.Pos)
	if n.AccountData {
		s.accountData = n.Pos
	}
	for _, room := range n.AccountRooms {
		if r := s.rooms[room]; r != nil {
			r.accountData = n.Pos
		}
	}
	for _, device := range n.ToDevice {
		if s.toDevice == nil {
			s.toDevice = map[string]uint64{}
		}
		s.toDevice[device] = n.Pos
	}
	for _, device := range n.LoggedOutDevices {
		delete(s.toDevice, device)
		delete(s.acknowledged, device)
	}
	if n.Keys {
		s.keys = n.Pos
	}
	if n.ThreadSubscriptions {
		s.threadSubscriptions = n.Pos
	}
	for _, room := range n.ForgottenRooms {
		if r := s.rooms[room]; r != nil {
			r.forgotten = true
		}
	}
}

func (s *stamps) deviceList(n *messages.DeviceListNotice) {
	s.saw(n.Pos)
	s.deviceLists = n.Pos
}

func (s *stamps) presence(n *messages.PresenceNotice) {
	s.saw(n.Pos)
	if s.presences == nil {
		s.presences = map[string]uint64{}
	}
	if len(s.presences) >= presenceMemory {
		clear(s.presences)
		s.begun = s.pos
	}
	s.presences[n.UserId] = n.Pos
}

func (s *stamps) acknowledge(device string, upTo uint64) {
	if s.acknowledged == nil {
		s.acknowledged = map[string]uint64{}
	}
	s.acknowledged[device] = upTo
}
