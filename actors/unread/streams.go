package unread

import (
	"container/heap"
	"context"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// stream reads the events of one room backwards.
type stream struct {
	member schema.Membership
	survey *survey        // nil until an event is looked at: most rooms are opened only to compare
	lowest uint64         // the number of the oldest event to be read
	ahead  []schema.Event // what has been read; the first is next
	chunk  int            // how many events are read at once; it grows, because most rooms are read no further than their end
}

// mostChunk bounds how many events are read at once.
const mostChunk = 64

// streams is a heap of rooms, the one with the newest event first.
type streams []*stream

func (s streams) Len() int { return len(s) }
func (s streams) Less(i, j int) bool {
	a, b := &s[i].ahead[0], &s[j].ahead[0]
	return a.Pos > b.Pos || a.Pos == b.Pos && a.Seq > b.Seq
}
func (s streams) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *streams) Push(x any)   { *s = append(*s, x.(*stream)) }
func (s *streams) Pop() any {
	last := len(*s) - 1
	x := (*s)[last]
	*s = (*s)[:last]
	return x
}

// streams opens the rooms in which the user is, and those of invites at the invite, before the place.
func (c *Counter) streams(ctx context.Context, r *reader.Reader, userID string, before Place) (*streams, error) {
	open := &streams{}
	for m, err := range schema.Memberships.Scan(ctx, c.store, persistence.Range[schema.Membership]{Prefix: schema.Membership{UserID: userID}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		s := &stream{member: m, chunk: 1}
		switch m.Membership {
		case "join":
			s.lowest = m.JoinedSeq + 1
		case "invite":
			s.lowest = m.Seq
		default:
			continue
		}
		newest, ok, err := s.begin(ctx, r, before)
		if err != nil {
			return nil, err
		}
		if ok && newest.Seq >= s.lowest {
			s.ahead = []schema.Event{newest}
			*open = append(*open, s)
		}
	}
	heap.Init(open)
	return open, nil
}

// begin finds the newest event before the place, or the invite if it is.
func (s *stream) begin(ctx context.Context, r *reader.Reader, before Place) (schema.Event, bool, error) {
	if s.member.Membership == "invite" {
		row, ok, err := r.Event(ctx, s.member.RoomID, s.member.EventID)
		return row, ok && (row.Pos < before.Pos || row.Pos == before.Pos && row.Seq < before.Seq), err
	}
	row, ok, err := r.Last(ctx, s.member.RoomID, before.Pos)
	if err != nil || !ok || row.Pos < before.Pos || row.Seq < before.Seq {
		return row, ok, err
	}
	if before.Seq <= s.lowest {
		return row, false, nil
	}
	earlier := schema.Timeline(s.member.RoomID)
	earlier.From, earlier.Before, earlier.Reverse, earlier.Limit = &schema.Event{Seq: s.lowest}, &schema.Event{Seq: before.Seq}, true, 1
	rows, err := schema.Events.All(ctx, r.Store(), earlier)
	if err != nil || len(rows) == 0 {
		return row, false, err
	}
	return rows[0], true, nil
}

// newest is the event that comes next, nil when there is none.
func (s *streams) newest() *schema.Event {
	if len(*s) == 0 {
		return nil
	}
	return &(*s)[0].ahead[0]
}

// survey is that of the room of the newest event.
func (s *streams) survey(ctx context.Context, c *Counter) (*survey, error) {
	first := (*s)[0]
	if first.survey == nil {
		var err error
		if first.survey, err = c.survey(ctx, first.member); err != nil {
			return nil, err
		}
	}
	return first.survey, nil
}

// advance goes on to the event before the newest.
func (s *streams) advance(ctx context.Context, store persistence.Reader) error {
	first := (*s)[0]
	seq := first.ahead[0].Seq
	if first.ahead = first.ahead[1:]; len(first.ahead) == 0 && seq > first.lowest {
		var err error
		first.chunk = min(first.chunk*4, mostChunk)
		if first.ahead, err = schema.Events.All(ctx, store, persistence.Range[schema.Event]{
			Prefix: schema.Event{RoomID: first.member.RoomID}, Keys: 1, From: &schema.Event{Seq: first.lowest}, Before: &schema.Event{Seq: seq},
			Reverse: true, Limit: first.chunk}); err != nil {
			return err
		}
	}
	if len(first.ahead) == 0 {
		heap.Pop(s)
	} else {
		heap.Fix(s, 0)
	}
	return nil
}
