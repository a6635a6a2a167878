// Package search keeps the full-text index in step with the rooms. A room leaves a task with every commit that brings or redacts
// something with text; one node of the cluster does the tasks, in order, and deletes each when the index holds what it says. A
// task is done by looking at the event as it is then, so doing one twice, or late, does no harm.
package search

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The pace of the work: tasks at once, and how long none are looked for.
const (
	atOnce = 1000
	pause  = time.Second
)

// Index keeps the index. It is safe for concurrent use.
type Index struct {
	store    persistence.Store
	searcher persistence.Searcher
	mine     func() bool // whether this node does the tasks
	log      *slog.Logger

	wake chan struct{}
	mu   sync.Mutex
	next chan struct{} // closed when the next round has ended

	seen persistence.Position // at which no task was left
}

// New makes a keeper of the index; mine says whether the work is this node's.
func New(store persistence.Store, searcher persistence.Searcher, mine func() bool, log *slog.Logger) *Index {
	return &Index{store: store, searcher: searcher, mine: mine, log: log, wake: make(chan struct{}, 1), next: make(chan struct{})}
}

// Searcher is the index.
func (x *Index) Searcher() persistence.Searcher { return x.searcher }

// Run does the tasks as they come, until the context ends.
func (x *Index) Run(ctx context.Context) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		x.mu.Lock()
		round := x.next
		x.next = make(chan struct{})
		x.mu.Unlock()
		if err := x.round(ctx); err != nil && ctx.Err() == nil {
			x.log.Error("the search index could not be brought up to date; it is tried again", "error", err)
		}
		close(round)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-x.wake:
		}
	}
}

// Refresh waits until what was committed before is in the index, but no longer than the context allows; it gives the context's error then.
// It is sure only on the node that does the tasks; on others, what is new is found within about a second.
func (x *Index) Refresh(ctx context.Context) error {
	x.mu.Lock()
	round := x.next
	x.mu.Unlock()
	select {
	case x.wake <- struct{}{}:
	default:
	}
	select {
	case <-round:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// round does all tasks that are there, if they are this node's.
func (x *Index) round(ctx context.Context) error {
	before := x.store.Position()
	if !x.mine() || before == x.seen {
		return nil
	}
	if err := x.rebuild(ctx); err != nil {
		return err
	}
	for full := 0; ; full++ {
		tasks, err := schema.SearchTasks.All(ctx, x.store, persistence.Range[schema.SearchTask]{Limit: atOnce})
		if err != nil {
			return err
		}
		if len(tasks) == 0 {
			x.seen = before
			return nil
		}
		began := time.Now()
		if err := x.do(ctx, tasks); err != nil {
			return err
		}
		if len(tasks) == atOnce {
			rest(ctx, time.Duration(max(restMost-full, restLeast))*time.Since(began))
		}
	}
}

// How much longer than it worked the index rests while there is more to do, so that a burst of messages is indexed beside what people
// wait for, with a tenth of one processor. When the burst does not end it becomes more, up to a half: to find nothing new for long is
// no service either.
const restMost, restLeast = 9, 1

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(min(d, pause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// do brings the index up to date for the events, and deletes the tasks.
func (x *Index) do(ctx context.Context, tasks []schema.SearchTask) error {
	put, remove := map[persistence.TextRef]persistence.Text{}, map[persistence.TextRef]bool{}
	done := make([]persistence.Mutation, len(tasks))
	for i, task := range tasks {
		done[i] = schema.SearchTasks.Delete(task)
		row, ok, err := schema.Events.Get(ctx, x.store, schema.Event{RoomID: task.RoomID, Seq: task.Seq})
		if err != nil {
			return err
		}
		ref := persistence.TextRef{RoomID: task.RoomID, Seq: task.Seq}
		delete(put, ref)
		delete(remove, ref)
		if text, has := Document(&row); ok && has {
			put[ref] = text
		} else {
			remove[ref] = true
		}
	}
	texts := make([]persistence.Text, 0, len(put))
	for _, text := range put {
		texts = append(texts, text)
	}
	refs := make([]persistence.TextRef, 0, len(remove))
	for ref := range remove {
		refs = append(refs, ref)
	}
	if err := x.searcher.Update(ctx, texts, refs); err != nil {
		return err
	}
	_, err := persistence.Await(ctx, x.store, &persistence.Commit{Write: done})
	return err
}

// rebuild puts the events of all rooms into an index that is new. One that is interrupted begins anew.
func (x *Index) rebuild(ctx context.Context) error {
	complete, err := x.searcher.Complete(ctx)
	if err != nil || complete {
		return err
	}
	x.log.Info("the search index is being made")
	n := 0
	for room, err := range schema.Rooms.Scan(ctx, x.store, persistence.Range[schema.Room]{}) {
		if err != nil {
			return err
		}
		put, err := x.room(ctx, room.RoomID)
		if err != nil {
			return err
		}
		n += put
	}
	if err := x.searcher.MarkComplete(ctx); err != nil {
		return err
	}
	x.log.Info("the search index is made", "texts", n)
	return nil
}

// room puts the events of a room into the index.
func (x *Index) room(ctx context.Context, roomID string) (n int, err error) {
	var texts []persistence.Text
	flush := func() error {
		err := x.searcher.Update(ctx, texts, nil)
		n += len(texts)
		texts = texts[:0]
		return err
	}
	for row, err := range schema.Events.Scan(ctx, x.store, schema.Timeline(roomID)) {
		if err != nil {
			return n, err
		}
		if text, ok := Document(&row); ok {
			if texts = append(texts, text); len(texts) == atOnce {
				if err := flush(); err != nil {
					return n, err
				}
			}
		}
	}
	return n, flush()
}
