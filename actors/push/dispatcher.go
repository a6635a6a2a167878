package push

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The pace of the work.
const (
	pause      = time.Second      // between looks for tasks when nothing says that there are some
	wakeEvery  = 30 * time.Second // between looks for items whose push actor may not know of them
	atOnce     = 64               // tasks
	mostWrites = 1000             // of one commit, about
	judgesMost = 8                // users judged at a time
)

// streamKind is the kind of the streams that fence the shards.
const streamKind = "push_tasks"

// Dispatcher does the tasks of the shards that are this node's.
type Dispatcher struct {
	Deps
	owns  func(cluster.Identity) bool
	users pushing
	local *residents
	wake  chan struct{}
	news  news

	claims map[uint64]*claim // by shard
	seen   persistence.Position
}

// news is what the node was told of since the dispatcher last looked.
type news struct {
	mu     sync.Mutex
	told   persistence.Position // everything up to it
	shards map[uint64]bool      // with tasks, probably
}

func (n *news) add(pos persistence.Position, rooms []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = max(n.told, pos)
	for _, roomID := range rooms {
		n.shards[schema.PushShard(roomID)] = true
	}
}

func (n *news) take() (told persistence.Position, shards map[uint64]bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	shards, n.shards = n.shards, map[uint64]bool{}
	return n.told, shards
}

// claim is this node's right to do a shard.
type claim struct {
	epoch persistence.Epoch
	seq   uint64
}

// NewDispatcher makes the dispatcher of a node; owns says whether a piece of work is this node's.
func NewDispatcher(d Deps, owns func(cluster.Identity) bool) *Dispatcher {
	return &Dispatcher{Deps: d, owns: owns, local: newResidents(d.Store, d.ServerName), wake: make(chan struct{}, 1),
		news: news{shards: map[uint64]bool{}}, claims: map[uint64]*claim{}}
}

// Anybody reports whether anybody may have a pusher, as of the newest commit that Publish was told of.
func (d *Dispatcher) Anybody() bool { return !d.users.nobody() }

// Has reports whether the user may have a pusher, as of the newest commit that Publish was told of.
func (d *Dispatcher) Has(userID string) bool { return d.users.has(userID) }

// Publish hears of what was committed; it is part of the node's persistence.Follower. While nobody has a pusher there is no hurry.
func (d *Dispatcher) Publish(pos persistence.Position, notices []proto.Message) {
	var rooms []string
	for _, notice := range notices {
		switch n := notice.(type) {
		case *messages.PusherNotice:
			d.users.add(n.UserId)
		case *messages.RoomNotice:
			rooms = append(rooms, n.RoomId)
		}
	}
	d.news.add(pos, rooms)
	if len(rooms) == 0 || d.users.nobody() {
		return
	}
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run does tasks as they come, until the context ends.
func (d *Dispatcher) Run(ctx context.Context) {
	tick, wake := time.NewTicker(pause), time.NewTicker(wakeEvery)
	defer tick.Stop()
	defer wake.Stop()
	woken, everywhere := false, true
	for {
		err := error(nil)
		if !d.users.loaded() {
			err = d.users.load(ctx, d.Store)
		}
		if err == nil {
			err = d.round(ctx, everywhere)
		}
		everywhere = false
		if !woken {
			err = errors.Join(err, d.wakeAll(ctx))
			woken = err == nil
		}
		if err != nil && ctx.Err() == nil {
			d.Log.Error("push notifications could not be looked for; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			everywhere = true
		case <-wake.C:
			woken = false
		case <-d.wake:
		}
	}
}

// round does the tasks of this node's shards: of all, or of those of which the node was told.
func (d *Dispatcher) round(ctx context.Context, everywhere bool) error {
	told, shards := d.news.take()
	told = max(told, d.Store.Position())
	if told == d.seen {
		return nil
	}
	var errs error
	all := everywhere
	for shard := range uint64(schema.PushShards) {
		if !d.owns(cluster.Identity{Kind: "job", ID: "push/" + strconv.FormatUint(shard, 10)}) {
			delete(d.claims, shard)
			all = false // it may become this node's at any time
			continue
		}
		if !everywhere && !shards[shard] {
			continue
		}
		if err := d.shard(ctx, shard, told); err != nil {
			errs = errors.Join(errs, err)
			all = false
		}
	}
	if all {
		d.seen = told
	}
	return errs
}

// shard does the tasks of a shard up to the position, below which the node knows who has pushers.
func (d *Dispatcher) shard(ctx context.Context, shard uint64, upTo persistence.Position) error {
	for {
		tasks, err := schema.PushTasks.All(ctx, d.Store, persistence.Range[schema.PushTask]{Prefix: schema.PushTask{Shard: shard}, Keys: 1, Limit: atOnce})
		if err != nil {
			return err
		}
		for len(tasks) > 0 && tasks[len(tasks)-1].Pos > uint64(upTo) {
			tasks = tasks[:len(tasks)-1]
		}
		if len(tasks) == 0 {
			return nil
		}
		held, err := d.claim(ctx, shard)
		if err != nil {
			return err
		}
		err = d.do(ctx, held, tasks)
		if errors.Is(err, persistence.ErrFenced) || errors.Is(err, persistence.ErrConflict) {
			delete(d.claims, shard)
			return nil // another node does it now
		}
		if err != nil {
			delete(d.claims, shard)
			return err
		}
	}
}

func (d *Dispatcher) claim(ctx context.Context, shard uint64) (*claim, error) {
	if c := d.claims[shard]; c != nil {
		return c, nil
	}
	a, err := d.Store.Claim(ctx, persistence.Stream{Kind: streamKind, ID: strconv.FormatUint(shard, 10)})
	if err != nil {
		return nil, err
	}
	c := &claim{a.Epoch, a.Seq}
	d.claims[shard] = c
	d.local.forget() // another node may have seen people come and go
	return c, nil
}

// do turns tasks into items, and tells the push actors.
func (d *Dispatcher) do(ctx context.Context, held *claim, tasks []schema.PushTask) error {
	var writes []persistence.Mutation
	touched := map[string]bool{} // users
	flush := func() error {
		shard := strconv.FormatUint(tasks[0].Shard, 10)
		_, err := persistence.Await(ctx, d.Store, &persistence.Commit{
			Stream: persistence.Stream{Kind: streamKind, ID: shard}, Epoch: held.epoch, Seq: held.seq, Advance: 1, Write: writes,
		})
		if err != nil {
			return err
		}
		held.seq++
		for userID := range touched {
			d.Caller.Tell(cluster.Identity{Kind: cluster.KindPush, ID: userID}, &messages.DeliverPushes{})
		}
		writes = nil
		clear(touched)
		return nil
	}
	for _, task := range tasks {
		items, err := d.items(ctx, task)
		if err != nil {
			return err
		}
		for _, item := range items {
			writes = append(writes, schema.PushItems.Put(item))
			touched[item.UserID] = true
		}
		writes = append(writes, schema.PushTasks.Delete(task))
		if len(writes) >= mostWrites {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(writes) == 0 {
		return nil
	}
	return flush()
}

// items gives what follows from a task.
func (d *Dispatcher) items(ctx context.Context, task schema.PushTask) ([]schema.PushItem, error) {
	if d.users.nobody() { // and so nothing is remembered of rooms either, which would have to be kept in step
		return nil, nil
	}
	f := finding{Dispatcher: d, pushers: map[string][]schema.Pusher{}}
	var readers []string
	if len(task.Readers) > 0 {
		if err := json.Unmarshal(task.Readers, &readers); err != nil {
			return nil, errors.Join(persistence.ErrCorrupt, err)
		}
	}
	for _, userID := range readers {
		if d.users.has(userID) {
			if err := f.reader(ctx, userID, task); err != nil {
				return nil, err
			}
		}
	}
	if task.FirstSeq == 0 {
		return f.items, nil
	}
	events := persistence.Range[schema.Event]{Prefix: schema.Event{RoomID: task.RoomID}, Keys: 1,
		From: &schema.Event{Seq: task.FirstSeq}, Before: &schema.Event{Seq: task.LastSeq + 1}, Limit: int(task.LastSeq - task.FirstSeq + 1)}
	for row, err := range schema.Events.Scan(ctx, d.Store, events) {
		if err != nil {
			return nil, err
		}
		if row.Status != schema.Accepted {
			continue
		}
		if err := f.event(ctx, &row); err != nil {
			return nil, err
		}
	}
	return f.items, nil
}

// finding collects the items of one task.
type finding struct {
	*Dispatcher
	mu      sync.Mutex
	pushers map[string][]schema.Pusher
	items   []schema.PushItem
}

// reader has a user told of how much is unread now, or of the invite of another server that the task is about.
func (f *finding) reader(ctx context.Context, userID string, task schema.PushTask) error {
	item := schema.PushItem{Pos: task.Pos, RoomID: task.RoomID, TS: f.Now().UnixMilli()}
	n, _, err := f.Unread.Invitation(ctx, userID, task.RoomID, task.Pos)
	if err != nil {
		return err
	}
	if n != nil {
		item.Seq = schema.InviteSeq
	}
	return f.add(ctx, userID, item)
}

// event finds who is to be told of an event.
func (f *finding) event(ctx context.Context, row *schema.Event) error {
	if f.Now().UnixMilli()-max(row.OriginServerTS, 0) > giveUp.Milliseconds() {
		f.local.saw(row) // history, that a room which was away brought
		return nil
	}
	users, err := f.local.of(ctx, row.RoomID)
	if err != nil {
		return err
	}
	f.local.saw(row)
	var group errgroup.Group
	group.SetLimit(judgesMost)
	judge := func(userID string) {
		if userID == row.Sender || !f.users.has(userID) {
			return
		}
		group.Go(func() error {
			n, _, err := f.Unread.Notification(ctx, userID, row)
			if err != nil || n == nil || n.Read {
				return err
			}
			return f.add(ctx, userID, schema.PushItem{Pos: row.Pos, RoomID: row.RoomID, Seq: row.Seq, TS: row.ReceivedTS})
		})
	}
	for _, userID := range users {
		judge(userID)
	}
	if row.Type == "m.room.member" && row.StateKey != nil && f.local.is(*row.StateKey) {
		judge(*row.StateKey)
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return f.recount(ctx, row, users)
}

// add makes the item one of each pusher of the user.
func (f *finding) add(ctx context.Context, userID string, item schema.PushItem) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	pushers, known := f.pushers[userID]
	if !known {
		var err error
		pushers, err = schema.Pushers.All(ctx, f.Store, persistence.Range[schema.Pusher]{Prefix: schema.Pusher{UserID: userID}, Keys: 1})
		if err != nil {
			return err
		}
		f.pushers[userID] = pushers
	}
	for _, p := range pushers {
		if !p.Enabled || item.Seq == 0 && p.Kind != httpKind {
			continue
		}
		item.UserID, item.AppID, item.Pushkey = p.UserID, p.AppID, p.Pushkey
		f.items = append(f.items, item)
	}
	return nil
}

// wakeAll tells the push actors of this node that have items, in case that they were told of none of them.
func (d *Dispatcher) wakeAll(ctx context.Context) error {
	q := persistence.Range[schema.PushItem]{Limit: 1}
	for {
		rows, err := schema.PushItems.All(ctx, d.Store, q)
		if err != nil || len(rows) == 0 {
			return err
		}
		to := cluster.Identity{Kind: cluster.KindPush, ID: rows[0].UserID}
		if d.owns(to) {
			d.Caller.Tell(to, &messages.DeliverPushes{})
		}
		q.From = &schema.PushItem{UserID: rows[0].UserID + "\x00"}
	}
}
