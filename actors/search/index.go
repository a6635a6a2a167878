// Package search keeps the full-text index in step with the rooms. A room leaves a task with every commit that brings or redacts
// something with text; one node of the cluster does the tasks, in order, and deletes each when the index holds what it says. A
// task is done by looking at the event as it is then, so doing one twice, or late, does no harm.
package search

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The pace of the work: tasks at once, and how long none are looked for.
const (
	atOnce = 2000
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
	burst, at := time.Now(), before
	for {
		tasks, err := schema.SearchTasks.All(ctx, x.store, persistence.Range[schema.SearchTask]{Limit: atOnce})
		if err != nil {
			return err
		}
		began := time.Now()
		if err := x.do(ctx, tasks); err != nil {
			return err
		}
		if len(tasks) < atOnce { // what has come meanwhile is left for the next round: many at once cost less each
			x.seen = before
			return nil
		}
		now := x.store.Position()
		rest(ctx, restFactor(began.Sub(burst), now-at)*time.Since(began))
		at = now
	}
}

// How much longer than it worked the index rests while there is more to do, so that a burst of messages is indexed beside what people
// wait for, with a tenth of one processor. When the burst does not end it becomes more with every patience, up to a half: to find
// nothing new for long is no service either. When it has ended there is no rest: hardly anything else was committed meanwhile.
const (
	restMost, restLeast = 9, 1
	patience            = 20 * time.Second
	hardly              = 20 // commits, one of them its own
)

// restFactor is that for a burst that has lasted so long, with so many commits since the last rest.
func restFactor(burst time.Duration, commits persistence.Position) time.Duration {
	if commits <= hardly {
		return 0
	}
	return max(restMost-burst/patience, restLeast)
}

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
	if len(tasks) == 0 {
		return nil
	}
	done := make([]persistence.Mutation, len(tasks))
	byRoom := map[string][]uint64{}
	for i, task := range tasks {
		done[i] = schema.SearchTasks.Delete(task)
		byRoom[task.RoomID] = append(byRoom[task.RoomID], task.Seq)
	}
	texts := make([]persistence.Text, 0, len(tasks))
	var gone []persistence.TextRef
	for roomID, seqs := range byRoom {
		slices.Sort(seqs)
		for _, run := range runs(slices.Compact(seqs)) {
			put, remove, err := x.look(ctx, roomID, run)
			if err != nil {
				return err
			}
			texts, gone = append(texts, put...), append(gone, remove...)
		}
	}
	if err := x.searcher.Update(ctx, texts, gone); err != nil {
		return err
	}
	_, err := persistence.Await(ctx, x.store, &persistence.Commit{Write: done})
	return err
}

// near is how far apart two events may be that are read together with what is between them.
const near = 8

// runs cuts rising numbers where they are far apart.
func runs(seqs []uint64) (all [][]uint64) {
	from := 0
	for i := 1; i <= len(seqs); i++ {
		if i == len(seqs) || seqs[i]-seqs[i-1] > near {
			all, from = append(all, seqs[from:i]), i
		}
	}
	return all
}

// look reads the events with these numbers, which rise, and says what the index must have of them, and of which nothing.
func (x *Index) look(ctx context.Context, roomID string, seqs []uint64) (put []persistence.Text, remove []persistence.TextRef, err error) {
	first, last := seqs[0], seqs[len(seqs)-1]
	texts := make(map[uint64]persistence.Text, len(seqs))
	for row, err := range schema.Events.Scan(ctx, x.store, persistence.Range[schema.Event]{Prefix: schema.Event{RoomID: roomID}, Keys: 1,
		From: &schema.Event{Seq: first}, Before: &schema.Event{Seq: last + 1}, Limit: int(last - first + 1)}) {
		if err != nil {
			return nil, nil, err
		}
		if _, wanted := slices.BinarySearch(seqs, row.Seq); !wanted {
			continue
		}
		if text, has := Document(&row); has {
			texts[row.Seq] = text
		}
	}
	for _, seq := range seqs {
		if text, has := texts[seq]; has {
			put = append(put, text)
		} else {
			remove = append(remove, persistence.TextRef{RoomID: roomID, Seq: seq})
		}
	}
	return put, remove, nil
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
