package appservice

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/appservice"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

const (
	// keepEvery is how soon the actors that should live on a node do.
	keepEvery = time.Second
	// pruneEvery is how often what all application services are past is deleted from the feed, and pruneAtOnce how much at a time.
	pruneEvery  = 30 * time.Second
	pruneAtOnce = 1000
	// forgetAfter is how long the queue of an application service is kept that is registered no more, or nowhere yet: nodes may get
	// their configurations one after the other.
	forgetAfter = 24 * time.Hour
)

// pruner is a name for the work that one node of the cluster does.
var pruner = cluster.Identity{Kind: "job", ID: "appservices"}

// Keeper has the actors of application services live where they should, and the feed hold no more than it must.
type Keeper struct {
	Store  persistence.Store
	Caller cluster.Caller
	Board  *Board
	Set    func() *appservice.Set
	// Mine reports whether an identity belongs to this node.
	Mine func(cluster.Identity) bool
	Now  func() time.Time
	Log  *slog.Logger
}

// Run works until the context ends.
func (k *Keeper) Run(ctx context.Context) {
	keep, prune := time.NewTicker(keepEvery), time.NewTicker(pruneEvery)
	defer keep.Stop()
	defer prune.Stop()
	k.Keep()
	for {
		select {
		case <-ctx.Done():
			return
		case <-keep.C:
			k.Keep()
		case <-prune.C:
			if !k.Mine(pruner) {
				continue
			}
			if err := k.Prune(ctx); err != nil && ctx.Err() == nil {
				k.Log.Error("the feed of application services could not be pruned; it is tried again", "error", err)
			}
		}
	}
}

// Keep activates the actors that belong to this node and are not active.
func (k *Keeper) Keep() {
	for _, r := range k.Set().All() {
		id := cluster.Identity{Kind: cluster.KindAppservice, ID: r.ID}
		if r.URL != "" && !k.Board.Has(r.ID) && k.Mine(id) {
			k.Caller.Tell(id, &messages.WakeAppservice{})
		}
	}
}

// Prune deletes the entries of the feed that every queue is past, and the queues of application services that are gone for good.
func (k *Keeper) Prune(ctx context.Context) error {
	oldest := uint64(math.MaxUint64)
	var writes []persistence.Mutation
	for q, err := range schema.AppserviceQueues.Scan(ctx, k.Store, persistence.Range[schema.AppserviceQueue]{}) {
		if err != nil {
			return err
		}
		if r := k.Set().ByID(q.ID); (r == nil || r.URL == "") && k.Now().UnixMilli()-q.TS > forgetAfter.Milliseconds() {
			writes = append(writes, schema.AppserviceQueues.Delete(q))
			continue
		}
		oldest = min(oldest, q.Pos)
	}
	// Whoever begins a queue at this moment begins it behind what this node has been told of.
	oldest = min(oldest, uint64(k.Store.Position()))
	for {
		entries, err := schema.Feed.All(ctx, k.Store, persistence.Range[schema.FeedEntry]{Before: &schema.FeedEntry{Pos: oldest}, Limit: pruneAtOnce})
		if err != nil {
			return err
		}
		for _, e := range entries {
			writes = append(writes, schema.Feed.Delete(e))
		}
		if len(writes) == 0 {
			return nil
		}
		if _, err := persistence.Await(ctx, k.Store, &persistence.Commit{Write: writes}); err != nil {
			return err
		}
		if len(entries) < pruneAtOnce {
			return nil
		}
		writes = writes[:0:0]
	}
}
