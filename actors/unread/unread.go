// Package unread counts a user's unread notifications in rooms (client-server API, "Receiving notifications").
//
// Nothing is counted when an event is sent: what a user has not read follows from the room's journal, the user's receipts
// and push rules, so it is counted when it is asked for, from the store. A count is kept in memory and continued from
// the event at which it stopped; a receipt only recounts the threads that it touches. A count that is lost costs time, never truth.
//
// An event counts when the user's push rules say so and it is neither the user's own, nor redacted, nor from somebody whom
// the user ignores, nor read. Read, in its thread, is what lies
//   - before the user's present stay in the room,
//   - at or before the user's receipt for the thread, or the unthreaded one: the further of m.read and m.read.private,
//   - before the user's own newest event that is no membership and no redaction, and not redacted,
//   - before the newest 5,000 events of the room, when a count begins anew; this bounds the work.
package unread

import (
	"context"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/cache"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Main is the thread id of the events that are in no thread (client-server API, "Threaded read receipts").
const Main = "main"

// The bounds of the caches, in entries, and of the work.
const (
	tallyCacheSize   = 100_000
	subjectCacheSize = 4_000
	maxScan          = 5_000 // events that one count looks at
)

// Count is how many notifications are unread, and how many of them are highlights.
type Count struct{ Notify, Highlight int64 }

// Counts are the unread notifications of a room. They may be shared: callers must not change them.
type Counts struct {
	Main    Count
	Threads map[string]Count // by the thread root's event id; without the threads that have none unread
}

// Total is the count of the room and all of its threads.
func (c Counts) Total() Count {
	total := c.Main
	for _, thread := range c.Threads {
		total.Notify += thread.Notify
		total.Highlight += thread.Highlight
	}
	return total
}

// Counter counts. It is safe for concurrent use.
type Counter struct {
	store     persistence.Reader
	notices   string
	tallies   *cache.Cache[tallyKey, *tally]
	judgments *cache.Cache[string, *judgment]
	ignores   *cache.Cache[string, *ignores]
}

type tallyKey struct{ userID, roomID string }

// tally is a count and what it rests on. It is immutable.
type tally struct {
	basis   basis
	markers markers
	upto    uint64 // the newest event that was looked at
	counts  Counts
}

// basis is what makes a count worthless when it changes.
type basis struct {
	joinedSeq  uint64
	rulesPos   uint64
	ignoredPos uint64
	threadsPos uint64 // when the user last subscribed to a thread or unsubscribed; 0 when the rules do not ask for it
}

// New makes a counter that reads the store. Notices is the account of the server's notices, whose invites nobody refuses; empty: there is
// none.
func New(store persistence.Reader, notices string) *Counter {
	tallies := cache.New(cache.Options[tallyKey, *tally]{Size: tallyCacheSize})
	judgments := cache.New(cache.Options[string, *judgment]{Size: subjectCacheSize})
	ignored := cache.New(cache.Options[string, *ignores]{Size: subjectCacheSize})
	return &Counter{store: store, notices: notices, tallies: tallies, judgments: judgments, ignores: ignored}
}

// Counts gives the unread notifications of the user in the room up to the event with the number uptoSeq. Who is not in the room
// has none.
func (c *Counter) Counts(ctx context.Context, userID, roomID string, uptoSeq uint64) (Counts, error) {
	m, ok, err := schema.Memberships.Get(ctx, c.store, schema.Membership{UserID: userID, RoomID: roomID})
	if err != nil || !ok || m.Membership != "join" {
		return Counts{}, err
	}
	s, err := c.survey(ctx, m)
	if err != nil {
		return Counts{}, err
	}
	key := tallyKey{userID, roomID}
	old, _ := c.tallies.Get(key)
	t, err := s.tally(ctx, old, uptoSeq)
	if err != nil {
		return Counts{}, err
	}
	if old == nil || t.upto >= old.upto && t != old {
		c.tallies.Set(key, t)
	}
	return t.counts, nil
}
