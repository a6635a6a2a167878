package kill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/tests/matrixclient"
)

// The marks that end a run: readers go on until they have them.
const (
	markType   = "test.end"
	markNumber = -1 // of to-device messages
)

// timeline is what a reader has seen of a room, in order.
type timeline struct {
	ids []string
	at  map[string]int
}

func (t *timeline) has(eventID string) bool { _, ok := t.at[eventID]; return ok }

// add appends events, of which none may be there.
func (t *timeline) add(events ...gjson.Result) error {
	for _, e := range events {
		eventID := e.Get("event_id").Str
		if t.has(eventID) {
			return fmt.Errorf("%s came again after %d others", eventID, len(t.ids)-t.at[eventID])
		}
		if t.at == nil {
			t.at = map[string]int{}
		}
		t.at[eventID] = len(t.ids)
		t.ids = append(t.ids, eventID)
	}
	return nil
}

// watcher is somebody who syncs incrementally all along, as clients do: where a timeline is limited it fetches what is
// missing, and what it knew before must join what it gets without a gap.
type watcher struct {
	*matrixclient.Client
	filter string
	rooms  []string
	rng    *rand.Rand

	since     string
	timelines map[string]*timeline
	state     map[[2]string]int64 // of stateType, by room and state key
	inbox     map[string][]int64  // to-device messages by sender
	ended     map[string]bool     // the rooms whose mark has come, and "" for the to-device mark
	old       []memory
	gaps      int
	replays   int
}

// memory is where the watcher was at a token.
type memory struct {
	since string
	seen  map[string]int // events by room
}

func newWatcher(c *matrixclient.Client, limit int, rooms []string, rng *rand.Rand) *watcher {
	w := &watcher{
		Client: c, rooms: rooms, rng: rng, timelines: map[string]*timeline{}, state: map[[2]string]int64{},
		inbox: map[string][]int64{}, ended: map[string]bool{},
		filter: fmt.Sprintf(`{"presence":{"not_types":["*"]},"room":{"timeline":{"limit":%d}}}`, limit),
	}
	for _, room := range rooms {
		w.timelines[room] = &timeline{}
	}
	return w
}

// run syncs until all marks have come.
func (w *watcher) run(ctx context.Context) error {
	for len(w.ended) <= len(w.rooms) {
		if err := w.step(ctx, 30_000); err != nil {
			return fmt.Errorf("%s after %s: %w", w.UserID, w.since, err)
		}
		if err := w.reminisce(ctx); err != nil {
			return fmt.Errorf("%s: %w", w.UserID, err)
		}
	}
	return nil
}

// step syncs once.
func (w *watcher) step(ctx context.Context, timeoutMS int) error {
	answer, err := w.Sync(ctx, w.since, w.filter, timeoutMS)
	if err != nil {
		return err
	}
	for roomID, room := range answer.Get("rooms.join").Map() {
		if err := w.room(ctx, roomID, room); err != nil {
			return fmt.Errorf("%s: %w", roomID, err)
		}
	}
	for _, m := range answer.Get("to_device.events").Array() {
		n := m.Get("content.n").Int()
		if n == markNumber {
			w.ended[""] = true
			continue
		}
		w.inbox[m.Get("sender").Str] = append(w.inbox[m.Get("sender").Str], n)
	}
	w.since = answer.Get("next_batch").Str
	return nil
}

func (w *watcher) room(ctx context.Context, roomID string, room gjson.Result) error {
	known := w.timelines[roomID]
	events, err := w.news(ctx, roomID, room, len(known.ids))
	if err != nil {
		return err
	}
	w.learn(roomID, room.Get("state.events").Array())
	w.learn(roomID, events)
	return known.add(events...)
}

// news gives the events after the first seen ones of the room: those of the answer, and those before them that it
// leaves out, which must join what was seen.
func (w *watcher) news(ctx context.Context, roomID string, room gjson.Result, seen int) ([]gjson.Result, error) {
	events := room.Get("timeline.events").Array()
	if !room.Get("timeline.limited").Bool() || seen == 0 {
		return events, nil
	}
	known := w.timelines[roomID]
	w.gaps++
	before, joined, err := w.Back(ctx, roomID, room.Get("timeline.prev_batch").Str, 20, func(eventID string) bool {
		at, ok := known.at[eventID]
		return ok && at < seen
	})
	if err != nil {
		return nil, err
	}
	events = append(before, events...)
	if !joined {
		return nil, fmt.Errorf("what lies before a limited timeline does not join what was known: %d events, %d known", len(events), seen)
	}
	return events, nil
}

func (w *watcher) learn(roomID string, events []gjson.Result) {
	for _, e := range events {
		switch e.Get("type").Str {
		case stateType:
			w.state[[2]string{roomID, e.Get("state_key").Str}] = e.Get("content.n").Int()
		case markType:
			w.ended[roomID] = true
		}
	}
}

// reminisce sometimes uses an old token again: it must give what has come since, as before.
func (w *watcher) reminisce(ctx context.Context) error {
	seen := map[string]int{}
	for room, t := range w.timelines {
		seen[room] = len(t.ids)
	}
	w.old = append(w.old, memory{w.since, seen})
	if w.rng.IntN(8) != 0 {
		return nil
	}
	w.replays++
	then := w.old[max(0, len(w.old)-1-w.rng.IntN(60))]
	answer, err := w.Sync(ctx, then.since, w.filter, 0)
	if err != nil {
		return err
	}
	for _, roomID := range w.rooms {
		known := w.timelines[roomID].ids[then.seen[roomID]:]
		room := answer.Get("rooms.join").Get(gjson.Escape(roomID))
		if !room.Exists() {
			if len(known) > 0 {
				return fmt.Errorf("%s: the old token %s brings nothing, but %d events have come since", roomID, then.since, len(known))
			}
			continue
		}
		events, err := w.news(ctx, roomID, room, then.seen[roomID])
		if err != nil {
			return fmt.Errorf("%s: the old token %s: %w", roomID, then.since, err)
		}
		again := ids(events)
		if len(again) < len(known) || !slices.Equal(again[:len(known)], known) {
			return fmt.Errorf("%s: the old token %s brings %v, but what came since is %v", roomID, then.since, again, known)
		}
	}
	return nil
}

func ids(events []gjson.Result) []string {
	all := make([]string, len(events))
	for i, e := range events {
		all[i] = e.Get("event_id").Str
	}
	return all
}

// auditor is somebody who, after each start, pages back from the end to what it knows. Everything that was acknowledged
// before it began must be there.
type auditor struct {
	*matrixclient.Client
	rooms     []string
	timelines map[string]*timeline
	ledger    *ledger
	audits    int
}

func newAuditor(c *matrixclient.Client, rooms []string, l *ledger) *auditor {
	a := &auditor{Client: c, rooms: rooms, timelines: map[string]*timeline{}, ledger: l}
	for _, room := range rooms {
		a.timelines[room] = &timeline{}
	}
	return a
}

// run audits once in each life of the server that is long enough.
func (a *auditor) run(ctx context.Context, g *gate, stop <-chan struct{}) error {
	for {
		life, err := g.wait(ctx)
		if err != nil {
			return err
		}
		if err := a.audit(ctx); err != nil {
			return fmt.Errorf("in life %d of the server: %w", life.number, err)
		}
		select {
		case <-life.over:
		case <-stop:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *auditor) audit(ctx context.Context) error {
	for _, room := range a.rooms {
		acknowledged := a.ledger.sentTo(room)
		known := a.timelines[room]
		events, joined, err := a.Back(ctx, room, "", 100, known.has)
		if err != nil {
			return err
		}
		if !joined && len(known.ids) > 0 {
			return fmt.Errorf("%s: the history of %d events does not join the %d that are known", room, len(events), len(known.ids))
		}
		if err := known.add(events...); err != nil {
			return fmt.Errorf("%s: %w", room, err)
		}
		for _, e := range acknowledged {
			if !known.has(e.eventID) {
				return fmt.Errorf("%s: %s of %s was acknowledged and is lost", room, e.eventID, e.sender)
			}
		}
	}
	a.audits++
	return nil
}
