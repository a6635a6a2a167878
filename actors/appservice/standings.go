package appservice

import (
	"context"
	"math"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/matrix/appservice"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// roomsMost bounds of how many rooms it is remembered how many of the application service's users are in them. Beyond it all are
// forgotten, and counted again when something happens there.
const roomsMost = 100_000

// standings are how many of an application service's users are in each room, at the point of the feed that has been read. A room is
// counted once, in the state before the first event that is looked at; from then on memberships change the number.
type standings struct {
	reader *reader.Reader
	of     *appservice.Registration
	rooms  map[string]standing
}

// standing is that of one room.
type standing struct {
	next    uint64 // the event before which it holds
	members int
}

func newStandings(r *reader.Reader, of *appservice.Registration) *standings {
	return &standings{reader: r, of: of, rooms: map[string]standing{}}
}

// before is how many users are in the room before the event with this number.
func (s *standings) before(ctx context.Context, roomID string, seq uint64) (int, error) {
	if known, ok := s.rooms[roomID]; ok && known.next == seq {
		return known.members, nil
	}
	row, err := s.reader.EventAt(ctx, roomID, seq)
	if err != nil {
		return 0, err
	}
	state, err := s.reader.Before(ctx, &row) // the room's, whichever side of a fork the event is on
	if err != nil {
		return 0, err
	}
	return s.countIn(ctx, roomID, seq, state)
}

// after is how many are in the room after that event.
func (s *standings) after(ctx context.Context, roomID string, seq uint64) (int, error) {
	if known, ok := s.rooms[roomID]; ok && known.next == seq+1 {
		return known.members, nil
	}
	row, err := s.reader.EventAt(ctx, roomID, seq)
	if err != nil {
		return 0, err
	}
	return s.count(ctx, roomID, seq+1, row.RoomStateRoot())
}

// lately is how many are in the room, at a point that need not be exact.
func (s *standings) lately(ctx context.Context, roomID string) (int, error) {
	if known, ok := s.rooms[roomID]; ok {
		return known.members, nil
	}
	last, ok, err := s.reader.Last(ctx, roomID, math.MaxUint64)
	if err != nil || !ok {
		return 0, err
	}
	return s.count(ctx, roomID, last.Seq+1, last.RoomStateRoot())
}

// step takes in an event before which the room's standing is known, and gives the number of users after it.
func (s *standings) step(ctx context.Context, roomID string, e *messages.RoomEvent) (int, error) {
	now := s.rooms[roomID]
	now.next = e.Seq + 1
	if e.Status == schema.Accepted && e.Type == "m.room.member" && e.StateKey != nil && s.of.Owns(*e.StateKey) {
		is, was := e.Membership == "join", e.PrevMembership == "join"
		switch {
		case is && !was:
			now.members++
		case was && !is && now.members == 1: // whether it is really the last one, the state says
			row, err := s.reader.EventAt(ctx, roomID, e.Seq)
			if err != nil {
				return 0, err
			}
			return s.count(ctx, roomID, now.next, row.RoomStateRoot())
		case was && !is:
			now.members--
		}
	}
	s.rooms[roomID] = now
	return now.members, nil
}

// count counts in the state with this root.
func (s *standings) count(ctx context.Context, roomID string, next uint64, root []byte) (int, error) {
	state, err := s.reader.StateAt(ctx, roomID, root)
	if err != nil {
		return 0, err
	}
	return s.countIn(ctx, roomID, next, state)
}

// forget has the room counted again: a resolution of a fork has changed who is in it, without an event.
func (s *standings) forget(roomID string) { delete(s.rooms, roomID) }

func (s *standings) countIn(ctx context.Context, roomID string, next uint64, state *reader.State) (int, error) {
	own, err := state.Entries(func(t event.Tuple) bool { return t.Type == "m.room.member" && s.of.Owns(t.StateKey) })
	if err != nil {
		return 0, err
	}
	n := 0
	for _, e := range own {
		row, err := s.reader.EventAt(ctx, roomID, e.Seq)
		if err != nil {
			return 0, err
		}
		if gjson.GetBytes(row.JSON, "content.membership").Str == "join" {
			n++
		}
	}
	if len(s.rooms) >= roomsMost {
		clear(s.rooms)
	}
	s.rooms[roomID] = standing{next: next, members: n}
	return n, nil
}

// named reports whether the application service has to do with the room by its id or one of its aliases.
func (s *standings) named(ctx context.Context, roomID string) (bool, error) {
	if s.of.OwnsRoom(roomID) {
		return true, nil
	}
	if len(s.of.Aliases) == 0 {
		return false, nil
	}
	aliases := persistence.Range[schema.AliasByRoom]{Prefix: schema.AliasByRoom{RoomID: roomID}, Keys: 1}
	for row, err := range schema.AliasesByRoom.Scan(ctx, s.reader.Store(), aliases) {
		if err != nil {
			return false, err
		}
		if s.of.OwnsAlias(row.Alias) {
			return true, nil
		}
	}
	return false, nil
}

// concerned reports whether the application service has to do with the room lately.
func (s *standings) concerned(ctx context.Context, roomID string) (bool, error) {
	if named, err := s.named(ctx, roomID); err != nil || named {
		return named, err
	}
	n, err := s.lately(ctx, roomID)
	return n > 0, err
}
