package destination

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// What a Keeper is bound by when its fields say nothing.
const (
	keeperPace   = 30 * time.Second
	patience     = 10 * time.Minute    // with a server that does not answer, before events are swept that it has not got
	keptEvents   = 20_000              // in outbound_events
	keptEDUs     = 30 * 24 * time.Hour // for a server that does not answer
	keptMessages = 3                   // days, for which the ids of messages to devices are remembered
	wakesAtOnce  = 50                  // actors, then a pause
	wakePause    = 500 * time.Millisecond
	sweepBatch   = 1000 // rows deleted by one commit
)

// Keeper does for all destinations what needs no actor: it sweeps what everybody has got, and wakes those for whom something waits and who
// were not told, such as after a start. One node of a cluster does it; it is no harm if two do.
type Keeper struct {
	Store      persistence.Store
	Caller     cluster.Caller
	ServerName string
	Now        func() time.Time
	Log        *slog.Logger
	// KeptEvents is how many events wait at most; 0: 20,000. Those before are swept, whoever has not got them.
	KeptEvents int
}

// Run does the work while here says that this node does it, until the context ends.
func (k *Keeper) Run(ctx context.Context, here func() bool) {
	tick := time.NewTicker(keeperPace)
	defer tick.Stop()
	for {
		if here() {
			wake, err := k.Tend(ctx)
			if err != nil && ctx.Err() == nil {
				k.Log.Error("what waits for other servers could not be looked through", "error", err)
			}
			k.wake(ctx, wake)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// wake has the destinations look, a few at a time.
func (k *Keeper) wake(ctx context.Context, names []string) {
	for i, name := range names {
		if i > 0 && i%wakesAtOnce == 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wakePause):
			}
		}
		k.Caller.Tell(cluster.Identity{Kind: cluster.KindDestination, ID: name}, &messages.WakeDestination{Rescan: true})
	}
}

// Tend sweeps, and gives the destinations to be woken.
func (k *Keeper) Tend(ctx context.Context) ([]string, error) {
	t := &tending{k: k, now: k.Now(), known: map[string]schema.Destination{}, wake: map[string]bool{}}
	for _, step := range []func(context.Context) error{t.events, t.edus, t.failing, t.others, t.messages} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	var names []string
	for name := range t.wake {
		row, err := t.destination(ctx, name)
		if err != nil {
			return nil, err
		}
		if !row.Paused && row.RetryTS <= t.now.Add(keeperPace).UnixMilli() { // whoever is due before the next pass waits for that by itself
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// tending is one pass.
type tending struct {
	k     *Keeper
	now   time.Time
	known map[string]schema.Destination
	wake  map[string]bool
	rows  []persistence.Mutation // of the sweep, not yet committed
}

func (t *tending) destination(ctx context.Context, name string) (schema.Destination, error) {
	if row, ok := t.known[name]; ok {
		return row, nil
	}
	row, _, err := schema.Destinations.Get(ctx, t.k.Store, schema.Destination{Destination: name})
	t.known[name] = row
	return row, err
}

// givenUp reports whether a destination does not hold back the sweep any more.
func (t *tending) givenUp(d schema.Destination) bool {
	return d.Paused || d.Failures > 0 && t.now.UnixMilli()-d.FailingSinceTS > patience.Milliseconds()
}

// events sweeps the events that everybody has got who waits for them, or that are beyond the bound.
func (t *tending) events(ctx context.Context) error {
	rooms, count := map[string][]place{}, 0
	var all []place
	for row, err := range schema.OutboundEvents.Scan(ctx, t.k.Store, persistence.Range[schema.OutboundEvent]{}) {
		if err != nil {
			return err
		}
		at := place{row.Pos, row.RoomID, row.Seq}
		rooms[row.RoomID] = append(rooms[row.RoomID], at)
		all = append(all, at)
		count++
	}
	kept := t.k.KeptEvents
	if kept == 0 {
		kept = keptEvents
	}
	var beyond place // all up to it must go
	if count > kept {
		beyond = all[count-kept-1]
	}
	for roomID, events := range rooms {
		if err := t.room(ctx, roomID, events, beyond); err != nil {
			return err
		}
	}
	return t.commit(ctx)
}

// room sweeps the events of one room. A server that has not got one of those swept is left the name of the room.
func (t *tending) room(ctx context.Context, roomID string, events []place, beyond place) error {
	swept := len(events) // how many of the events go
	lacking := map[string]int{}
	for server, err := range schema.RoomServers.Scan(ctx, t.k.Store, persistence.Range[schema.RoomServer]{Prefix: schema.RoomServer{RoomID: roomID}, Keys: 1}) {
		if err != nil {
			return err
		}
		if server.Server == t.k.ServerName {
			continue
		}
		d, err := t.destination(ctx, server.Server)
		if err != nil {
			return err
		}
		sent := placeOf(d)
		first := slices.IndexFunc(events, func(e place) bool { return Concerns(server, e.seq) && e.compare(sent) > 0 })
		if first < 0 {
			continue
		}
		lacking[server.Server] = first
		t.wake[server.Server] = true
		if !t.givenUp(d) {
			swept = min(swept, first)
		}
	}
	for swept < len(events) && events[swept].compare(beyond) <= 0 {
		swept++
	}
	if swept == 0 {
		return nil
	}
	for server, first := range lacking {
		if first < swept {
			t.rows = append(t.rows, schema.MissedRooms.Put(schema.MissedRoom{Destination: server, RoomID: roomID}))
		}
	}
	for _, e := range events[:swept] {
		t.rows = append(t.rows, schema.OutboundEvents.Delete(schema.OutboundEvent{Pos: e.pos, RoomID: e.room, Seq: e.seq}))
	}
	if len(t.rows) < sweepBatch {
		return nil
	}
	return t.commit(ctx)
}

func (t *tending) commit(ctx context.Context) error {
	if len(t.rows) == 0 {
		return nil
	}
	_, err := persistence.Await(ctx, t.k.Store, &persistence.Commit{Write: t.rows})
	t.rows = nil
	return err
}

// edus finds for whom EDUs wait. Those for a server that has not answered for very long are given up.
func (t *tending) edus(ctx context.Context) error {
	for from := (schema.OutboundEDU{}); ; {
		rows, err := schema.OutboundEDUs.All(ctx, t.k.Store, persistence.Range[schema.OutboundEDU]{After: &from, Limit: 1})
		if err != nil || len(rows) == 0 {
			return err
		}
		name := rows[0].Destination
		t.wake[name] = true
		from = schema.OutboundEDU{Destination: name, Pos: math.MaxInt64, N: math.MaxInt64}
		d, err := t.destination(ctx, name)
		if err != nil {
			return err
		}
		if d.Failures > 0 && t.now.UnixMilli()-d.FailingSinceTS > keptEDUs.Milliseconds() {
			if err := t.giveUp(ctx, name); err != nil {
				return err
			}
		}
	}
}

func (t *tending) giveUp(ctx context.Context, name string) error {
	rows, err := schema.OutboundEDUs.All(ctx, t.k.Store, persistence.Range[schema.OutboundEDU]{Prefix: schema.OutboundEDU{Destination: name}, Keys: 1, Limit: sweepBatch})
	if err != nil {
		return err
	}
	t.k.Log.Warn("messages to devices and changes of devices are given up: the server has not answered for very long", "destination", name, "edus", len(rows))
	for _, row := range rows {
		t.rows = append(t.rows, schema.OutboundEDUs.Delete(row))
	}
	return t.commit(ctx)
}

// failing finds the servers that may be tried again.
func (t *tending) failing(ctx context.Context) error {
	for row, err := range schema.Destinations.Scan(ctx, t.k.Store, persistence.Range[schema.Destination]{}) {
		if err != nil {
			return err
		}
		t.known[row.Destination] = row
		if row.Failures > 0 {
			t.wake[row.Destination] = true
		}
	}
	return nil
}

// others finds for whom a transaction is in hand, or a room was missed.
func (t *tending) others(ctx context.Context) error {
	for row, err := range schema.DestinationTransactions.Scan(ctx, t.k.Store, persistence.Range[schema.DestinationTransaction]{}) {
		if err != nil {
			return err
		}
		t.wake[row.Destination] = true
	}
	for from := (schema.MissedRoom{}); ; {
		rows, err := schema.MissedRooms.All(ctx, t.k.Store, persistence.Range[schema.MissedRoom]{After: &from, Limit: 1})
		if err != nil || len(rows) == 0 {
			return err
		}
		t.wake[rows[0].Destination] = true
		from = schema.MissedRoom{Destination: rows[0].Destination, RoomID: "\U0010FFFF"}
	}
}

// messages forgets the ids of messages to devices that nobody sends again.
func (t *tending) messages(ctx context.Context) error {
	before := t.now.UnixMilli()/(24*time.Hour).Milliseconds() - keptMessages
	for row, err := range schema.InboundMessages.Scan(ctx, t.k.Store, persistence.Range[schema.InboundMessage]{Before: &schema.InboundMessage{Day: before}, Limit: sweepBatch}) {
		if err != nil {
			return err
		}
		t.rows = append(t.rows, schema.InboundMessages.Delete(row))
	}
	return t.commit(ctx)
}
