package reader

import (
	"context"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/matrix/visibility"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Served is what another server may see of a room that its users are in: what one of them may see. It is made for one request and is not
// safe for concurrent use.
type Served struct {
	r      *Reader
	RoomID string
	Server string
	users  []string // of the server that are or were in the room
	listed bool
	bests  map[string]string // the best membership of them by the root of the state
	// partial is the number from which on the states do not tell all members, 0 for none; since is that of the event with which the server came.
	partial, since uint64
	given          *State // the state before that event
}

// Served looks up the standing of a server in the room: 404 M_NOT_FOUND when this server does not know the room, 403 M_FORBIDDEN when the
// other has no user in it.
func (r *Reader) Served(ctx context.Context, roomID, server string) (*Served, error) {
	if _, err := r.Room(ctx, roomID); err != nil {
		return nil, err
	}
	in, ok, err := schema.RoomServers.Get(ctx, r.store, schema.RoomServer{RoomID: roomID, Server: server})
	if err != nil {
		return nil, err
	}
	if !ok || in.Joined <= 0 {
		return nil, mxerr.Forbidden("%s has no user in the room %s", server, roomID)
	}
	s := &Served{r: r, RoomID: roomID, Server: server, bests: map[string]string{}, since: in.JoinedSeq}
	if joined, ok, err := JoinedPartially(ctx, r.store, roomID); err != nil {
		return nil, err
	} else if ok && !joined.Whole {
		s.partial = joined.Seq
	}
	return s, nil
}

// RoomsOf lists the rooms that have an event with this id. There is one, except where servers choose the ids themselves (room versions 1 and 2).
func (r *Reader) RoomsOf(ctx context.Context, eventID string) ([]string, error) {
	rows, err := schema.EventRooms.All(ctx, r.store, persistence.Range[schema.EventRoom]{Prefix: schema.EventRoom{EventID: eventID}, Keys: 1, Limit: mostRooms})
	rooms := make([]string, len(rows))
	for i, row := range rows {
		rooms[i] = row.RoomID
	}
	return rooms, err
}

// mostRooms is how many rooms with an event of one id are looked at.
const mostRooms = 10

// Event reads an event that the server may ask for, in any room state but rejected; 404 M_NOT_FOUND when there is none.
func (s *Served) Event(ctx context.Context, eventID string) (schema.Event, error) {
	row, ok, err := s.r.Stored(ctx, s.RoomID, eventID)
	if err == nil && (!ok || row.Status == schema.Rejected) {
		err = mxerr.NotFound("the event %.255s is not known in the room %s", eventID, s.RoomID)
	}
	return row, err
}

// Placed is Event for events whose place in the room is known, and with it the state before them: 403 M_UNABLE_DUE_TO_PARTIAL_STATE when not
// all of that is (MSC3895).
func (s *Served) Placed(ctx context.Context, eventID string) (schema.Event, error) {
	row, err := s.Event(ctx, eventID)
	if err == nil && row.Seq >= schema.OutlierBase {
		err = mxerr.NotFound("the state at the event %.255s is not known", eventID)
	}
	if err == nil && s.unknown(row.Seq) {
		err = room.PartialState(s.RoomID)
	}
	return row, err
}

// unknown reports whether the state at the event with this number lacks members.
func (s *Served) unknown(seq uint64) bool { return s.partial != 0 && seq >= s.partial }

// Sees decides whether the server may see the event (client-server API, "Room history visibility"). What has no place in the room is
// seen: it is part of a state, or authorises something.
func (s *Served) Sees(ctx context.Context, row *schema.Event) (bool, error) {
	if row.Seq >= schema.OutlierBase {
		return true, nil
	}
	if s.unknown(row.Seq) && s.since < row.Seq {
		return true, nil // its users were in the room, whoever they are
	}
	sees, err := s.at(ctx, row.StateAfter)
	if err != nil || sees {
		return sees, err
	}
	own := row.Type == "m.room.member" && row.StateKey != nil && id.ServerOf(*row.StateKey) == s.Server
	if row.Type == "m.room.history_visibility" || own {
		if sees, err = s.at(ctx, row.StateBefore); err != nil || sees {
			return sees, err
		}
	}
	return s.had(ctx, row)
}

// had reports whether the event is of the state that the server was given when it came, all of it, or may ask for since it joined without members.
func (s *Served) had(ctx context.Context, row *schema.Event) (bool, error) {
	if row.StateKey == nil || s.since == 0 || s.since >= schema.OutlierBase {
		return false, nil
	}
	if s.given == nil {
		came, err := s.r.EventAt(ctx, s.RoomID, s.since)
		if err != nil {
			return false, err
		}
		if s.given, err = s.r.StateAt(ctx, s.RoomID, came.StateBefore); err != nil {
			return false, err
		}
	}
	seq, ok, err := s.given.Number(row.Type, *row.StateKey)
	return ok && seq == row.Seq, err
}

// at decides by one state. Users of the server are in the room now.
func (s *Served) at(ctx context.Context, root []byte) (bool, error) {
	q := visibility.Query{JoinedLater: true}
	var err error
	if q.Visibility, err = s.r.visibilityAt(ctx, s.RoomID, root); err != nil {
		return false, err
	}
	if visibility.Allowed(q) {
		return true, nil
	}
	q.Membership, err = s.best(ctx, root)
	return visibility.Allowed(q), err
}

// best is the membership in the state with this root that opens most: of the server's users who were in the room ever.
func (s *Served) best(ctx context.Context, root []byte) (string, error) {
	if best, ok := s.bests[string(root)]; ok {
		return best, nil
	}
	if err := s.list(ctx); err != nil {
		return "", err
	}
	state, err := s.r.StateAt(ctx, s.RoomID, root)
	if err != nil {
		return "", err
	}
	best := "leave"
	for _, userID := range s.users {
		row, ok, err := state.Get(ctx, "m.room.member", userID)
		if err != nil {
			return "", err
		}
		if !ok {
			continue
		}
		membership := gjson.GetBytes(row.JSON, "content.membership").Str
		if membership == "join" || membership == "invite" {
			best = membership
		}
		if best == "join" {
			break
		}
	}
	s.bests[string(root)] = best
	return best, nil
}

func (s *Served) list(ctx context.Context) error {
	if s.listed {
		return nil
	}
	members, err := s.r.CurrentOf(ctx, s.RoomID, "m.room.member")
	if err != nil {
		return err
	}
	for _, m := range members {
		if id.ServerOf(m.StateKey) == s.Server {
			s.users = append(s.users, m.StateKey)
		}
	}
	s.listed = true
	return nil
}

// Shown is the PDU as the server is given it: redacted when it may not see the event, so that the graph it verifies stays whole.
func (s *Served) Shown(ctx context.Context, row *schema.Event) ([]byte, error) {
	sees, err := s.Sees(ctx, row)
	if err != nil {
		return nil, err
	}
	erased, err := s.erases(ctx, row)
	if err != nil || sees && !erased {
		return row.JSON, err
	}
	return s.Redacted(ctx, row)
}

// Redacted is the PDU without what its content says.
func (s *Served) Redacted(ctx context.Context, row *schema.Event) ([]byte, error) {
	return s.r.redacted(ctx, row)
}

// Walked reads an event for whoever walks through the graph: one that has a place in it, rejected ones too; nil when there is none.
func (s *Served) Walked(ctx context.Context, eventID string) (*schema.Event, error) {
	row, ok, err := s.r.Stored(ctx, s.RoomID, eventID)
	if err != nil || !ok || row.Seq >= schema.OutlierBase {
		return nil, err
	}
	return &row, nil
}

// Prevs are the ids of the events before the event in the graph.
func (s *Served) Prevs(ctx context.Context, row *schema.Event) ([]string, error) {
	version, err := s.r.Version(ctx, s.RoomID)
	if err != nil {
		return nil, err
	}
	e, err := stored(row, version)
	if err != nil {
		return nil, err
	}
	return slices.Clone(e.PrevEvents()), nil
}

// NearTimestamp is Access.NearTimestamp for what the server sees.
func (s *Served) NearTimestamp(ctx context.Context, ts int64, backwards bool) (schema.Event, error) {
	return s.r.nearTimestamp(ctx, s.RoomID, ts, backwards, func(row *schema.Event) (bool, error) { return s.Sees(ctx, row) })
}
