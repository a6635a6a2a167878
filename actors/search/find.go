package search

import (
	"context"
	"slices"

	"github.com/matrixon/matrixon/actors/reader"
	"github.com/matrixon/matrixon/matrix/filter"
	"github.com/matrixon/matrixon/matrix/words"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The bounds of one search.
const (
	searchedRooms = 5000            // the rooms of the user
	mostHits      = 1000            // hits looked at, however few of them the user may see
	countedHits   = 200             // hits looked at only to count them
	portion       = countedHits + 1 // hits asked for at once, so that mostly once is enough
)

// Query is what a user searches for.
type Query struct {
	UserID  string
	Tokens  []words.Token
	Keys    []string // empty: all
	RoomID  string   // only in this room; empty: in all
	Sender  string   // only by this user; empty: by all
	Recent  bool     // newest first, otherwise best first
	After   *persistence.TextHit
	Limit   int
	Filters *filter.RoomEvent
}

// Found is an event that the user may see.
type Found struct {
	Event  schema.Event
	Access *reader.Access
	Hit    persistence.TextHit
}

// Results are a page of what was found.
type Results struct {
	Found []Found
	// Count is how many were seen in this search, which is more than Found when it was worth counting on.
	Count int
	// Next is the hit to go on after, nil when nothing is left.
	Next *persistence.TextHit
}

// Find searches the events that the user may see, in the rooms where the user is or was; not in encrypted ones (client-server
// API, "Server Side Search"). Each hit is checked against the event as it is now.
func Find(ctx context.Context, s persistence.Searcher, r *reader.Reader, q Query) (Results, error) {
	var results Results
	rooms, err := rooms(ctx, r, q)
	if err != nil || len(rooms) == 0 {
		return results, err
	}
	ask := persistence.TextQuery{Tokens: q.Tokens, Rooms: rooms, Keys: q.Keys, Recent: q.Recent, After: q.After, Limit: portion}
	if q.Sender != "" {
		ask.Senders = []string{q.Sender}
	} else if q.Filters.Senders != nil {
		if ask.Senders = *q.Filters.Senders; len(ask.Senders) == 0 {
			return results, nil
		}
	}
	check := checker{r: r, q: q, rooms: map[string]*reader.Access{}}
	var last persistence.TextHit
	for looked := 0; ; {
		hits, err := s.Search(ctx, ask)
		if err != nil {
			return results, err
		}
		for _, hit := range hits {
			if looked == mostHits || results.Next != nil && looked >= countedHits {
				if results.Next == nil {
					results.Next = &last
				}
				return results, nil
			}
			looked++
			last = hit
			found, ok, err := check.hit(ctx, hit)
			if err != nil {
				return results, err
			}
			if !ok {
				continue
			}
			if results.Count++; len(results.Found) < q.Limit {
				results.Found = append(results.Found, found)
			} else if results.Next == nil {
				results.Next = &results.Found[q.Limit-1].Hit
			}
		}
		if len(hits) < portion {
			return results, nil
		}
		ask.After = &last
	}
}

// rooms are those that the user may search.
func rooms(ctx context.Context, r *reader.Reader, q Query) ([]string, error) {
	var rooms []string
	for m, err := range schema.Memberships.Scan(ctx, r.Store(), persistence.Range[schema.Membership]{Prefix: schema.Membership{UserID: q.UserID}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		in := m.Membership == "join" || m.JoinedSeq > 0 && !m.Forgotten
		if !in || q.RoomID != "" && m.RoomID != q.RoomID || !q.Filters.KeepsRoom(m.RoomID) {
			continue
		}
		if rooms = append(rooms, m.RoomID); len(rooms) == searchedRooms {
			break
		}
	}
	return rooms, nil
}

// checker decides which hits the user sees.
type checker struct {
	r     *reader.Reader
	q     Query
	rooms map[string]*reader.Access // nil for encrypted rooms
}

// access is that to a room, nil if it is encrypted.
func (c *checker) access(ctx context.Context, roomID string) (*reader.Access, error) {
	a, known := c.rooms[roomID]
	if known {
		return a, nil
	}
	room, ok, err := schema.Rooms.Get(ctx, c.r.Store(), schema.Room{RoomID: roomID})
	if err != nil {
		return nil, err
	}
	if ok && room.Encryption == "" {
		if a, err = c.r.Access(ctx, roomID, c.q.UserID); err != nil {
			return nil, err
		}
	}
	c.rooms[roomID] = a
	return a, nil
}

func (c *checker) hit(ctx context.Context, hit persistence.TextHit) (found Found, ok bool, err error) {
	a, err := c.access(ctx, hit.RoomID)
	if err != nil || a == nil {
		return found, false, err
	}
	row, ok, err := schema.Events.Get(ctx, c.r.Store(), schema.Event{RoomID: hit.RoomID, Seq: hit.Seq})
	if err != nil || !ok {
		return found, false, err
	}
	// The index may lag behind a redaction.
	if key, text := Text(&row); text == "" || len(c.q.Keys) > 0 && !slices.Contains(c.q.Keys, key) {
		return found, false, nil
	}
	ignored, err := a.Ignored(ctx)
	if err != nil || row.StateKey == nil && ignored[row.Sender] {
		return found, false, err
	}
	kept, err := a.Filter(ctx, c.q.Filters, []schema.Event{row})
	if err != nil || len(kept) == 0 {
		return found, false, err
	}
	if sees, err := a.Sees(ctx, &row); err != nil || !sees {
		return found, false, err
	}
	erased, err := a.Erased(ctx, &row)
	return Found{row, a, hit}, !erased, err
}
