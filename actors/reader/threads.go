package reader

import (
	"context"
	"fmt"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Threads asks for the roots of a room's threads.
type Threads struct {
	From         uint64 // the gap (token.Timeline) below which the newest event of a thread must be
	Limit        int
	Participated bool // only those in which the user has sent something
}

// Threads reads the roots of the threads that the user may see, those with the newest events first (client-server API,
// "Querying threads in a room"). A thread is where the newest event is that this user sees of it.
func (a *Access) Threads(ctx context.Context, q Threads) (Stretch, error) {
	s := Stretch{End: q.From}
	seen := map[string]bool{}
	scanned := 0
	for reply, err := range schema.ThreadReplies.Scan(ctx, a.r.store, persistence.Range[schema.ThreadReply]{
		Prefix: schema.ThreadReply{RoomID: a.RoomID}, Keys: 1, Before: &schema.ThreadReply{Seq: saturatingNext(q.From)}, Reverse: true}) {
		if err != nil {
			return s, err
		}
		if len(s.Events) == q.Limit || scanned == q.Limit*scanBound+scanExtra {
			s.More = true
			break
		}
		scanned++
		s.End = reply.Seq - 1
		if seen[reply.RootID] {
			continue
		}
		root, ok, err := a.threadRoot(ctx, reply.RootID)
		if err != nil {
			return s, err
		}
		if !ok {
			seen[reply.RootID] = true
			continue
		}
		newest, participated, err := a.thread(ctx, &root, q.Participated)
		if err != nil {
			return s, err
		}
		if newest < reply.Seq { // this event is not for the user; the thread's place is further down
			continue
		}
		seen[reply.RootID] = true
		if newest > reply.Seq || q.Participated && !participated {
			continue
		}
		if root, err = a.prunedIfIgnored(ctx, root); err != nil {
			return s, err
		}
		s.Events = append(s.Events, root)
	}
	return s, nil
}

// prunedIfIgnored shows the root of a thread by somebody whom the user ignores as if it had been redacted.
func (a *Access) prunedIfIgnored(ctx context.Context, root schema.Event) (schema.Event, error) {
	ignored, err := a.Ignored(ctx)
	if err != nil || !ignored[root.Sender] {
		return root, err
	}
	room, err := a.r.Room(ctx, a.RoomID)
	if err != nil {
		return root, err
	}
	v, ok := roomversion.Get(room.Version)
	if !ok {
		return root, fmt.Errorf("%w: room %s has the version %q", persistence.ErrCorrupt, a.RoomID, room.Version)
	}
	e, err := event.FromStored(root.JSON, root.EventID, v)
	if err != nil {
		return root, fmt.Errorf("%w: room %s: event %d: %w", persistence.ErrCorrupt, a.RoomID, root.Seq, err)
	}
	root.JSON = e.Redacted().JSON()
	return root, nil
}

// threadRoot reads the event at which a thread begins, if the user may see it and threads may begin there: an event that
// relates to another is no root.
func (a *Access) threadRoot(ctx context.Context, eventID string) (schema.Event, bool, error) {
	row, ok, err := a.r.Event(ctx, a.RoomID, eventID)
	if err != nil || !ok || gjson.GetBytes(row.JSON, `content.m\.relates_to.rel_type`).Str != "" {
		return row, false, err
	}
	ok, err = a.Sees(ctx, &row)
	return row, ok, err
}

// thread gives the number of the newest event in a thread that the user sees, 0 if there is none, and, when it is asked for, whether
// the user has sent something to the thread, its root included.
func (a *Access) thread(ctx context.Context, root *schema.Event, own bool) (newest uint64, participated bool, err error) {
	ignored, err := a.Ignored(ctx)
	if err != nil {
		return 0, false, err
	}
	participated = root.Sender == a.UserID
	n := 0
	for c, err := range schema.Relations.Scan(ctx, a.r.store, persistence.Range[schema.Relation]{
		Prefix: schema.Relation{RoomID: a.RoomID, ParentID: root.EventID}, Keys: 2, Reverse: true}) {
		if err != nil {
			return 0, false, err
		}
		if newest > 0 && (participated || !own) {
			break
		}
		if n++; n > relationScan {
			break
		}
		if c.RelType != relThread || ignored[c.Sender] || newest > 0 && c.Sender != a.UserID {
			continue
		}
		row, err := a.r.EventAt(ctx, a.RoomID, c.Seq)
		if err != nil {
			return 0, false, err
		}
		if row.Status != schema.Accepted || row.RedactedBy != "" {
			continue
		}
		sees, err := a.Sees(ctx, &row)
		if err != nil {
			return 0, false, err
		}
		if sees {
			newest = max(newest, c.Seq)
			participated = participated || c.Sender == a.UserID
		}
	}
	return newest, participated, nil
}
