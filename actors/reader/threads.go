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
	threads := map[string]*thread{}
	scanned := 0
	for reply, err := range schema.ThreadReplies.Scan(ctx, a.r.store, persistence.Range[schema.ThreadReply]{
		Prefix: schema.ThreadReply{RoomID: a.RoomID}, Keys: 1, Before: &schema.ThreadReply{Seq: next(q.From)}, Reverse: true}) {
		if err != nil {
			return s, err
		}
		if len(s.Events) == q.Limit || scanned == q.Limit*scanBound+scanExtra {
			s.More = true
			break
		}
		scanned++
		s.End = reply.Seq - 1
		t := threads[reply.RootID]
		if t == nil {
			if t, err = a.thread(ctx, reply.RootID, q.Participated); err != nil {
				return s, err
			}
			threads[reply.RootID] = t
		}
		if t.newest != reply.Seq || q.Participated && !t.participated {
			continue
		}
		root, err := a.prunedIfIgnored(ctx, t.root)
		if err != nil {
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

// thread is what one user sees of a thread.
type thread struct {
	root         schema.Event
	newest       uint64 // the number of the newest event, 0 when the user sees none, or not the root
	participated bool   // the user has sent something to it, be it the root; only when that was asked for
}

// thread looks at a thread. An event that relates to another is no root.
func (a *Access) thread(ctx context.Context, rootID string, own bool) (*thread, error) {
	t := &thread{}
	row, ok, err := a.r.Event(ctx, a.RoomID, rootID)
	if err != nil || !ok || gjson.GetBytes(row.JSON, `content.m\.relates_to.rel_type`).Str != "" {
		return t, err
	}
	if ok, err = a.Sees(ctx, &row); err != nil || !ok {
		return t, err
	}
	t.root, t.participated = row, row.Sender == a.UserID
	return t, a.walk(ctx, t, own)
}

// walk looks through the events of a thread, the newest first, for the newest that the user sees, and one of the user's own.
func (a *Access) walk(ctx context.Context, t *thread, own bool) error {
	ignored, err := a.Ignored(ctx)
	if err != nil {
		return err
	}
	n := 0
	for c, err := range schema.Relations.Scan(ctx, a.r.store, persistence.Range[schema.Relation]{
		Prefix: schema.Relation{RoomID: a.RoomID, ParentID: t.root.EventID}, Keys: 2, Reverse: true}) {
		if err != nil {
			return err
		}
		if n++; n > relationScan || t.newest > 0 && (t.participated || !own) {
			break
		}
		if c.RelType != relThread || ignored[c.Sender] || t.newest > 0 && c.Sender != a.UserID {
			continue
		}
		row, err := a.r.EventAt(ctx, a.RoomID, c.Seq)
		if err != nil {
			return err
		}
		if row.Status != schema.Accepted || row.RedactedBy != "" {
			continue
		}
		sees, err := a.Sees(ctx, &row)
		if err != nil {
			return err
		}
		if sees {
			t.newest = max(t.newest, c.Seq)
			t.participated = t.participated || c.Sender == a.UserID
		}
	}
	return nil
}
