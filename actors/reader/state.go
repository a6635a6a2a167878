package reader

import (
	"context"
	"fmt"
	"slices"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/statetree"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// State is a room's state at one point, named by the root of its tree; nodes are read as they are needed.
type State struct {
	r      *Reader
	roomID string
	root   string
	tree   statetree.Tree
}

// StateAt opens the state with the root that an event row holds (Event.StateBefore, Event.StateAfter).
func (r *Reader) StateAt(ctx context.Context, roomID string, root []byte) (*State, error) {
	h, err := statetree.HashFrom(root)
	if err != nil {
		return nil, fmt.Errorf("%w: state root of room %s: %w", persistence.ErrCorrupt, roomID, err)
	}
	tree := statetree.Open(h, func(h statetree.Hash) ([]byte, error) { return r.node(ctx, roomID, h) })
	return &State{r: r, roomID: roomID, root: string(root), tree: tree}, nil
}

func (r *Reader) node(ctx context.Context, roomID string, h statetree.Hash) ([]byte, error) {
	key := nodeKey{roomID, string(h[:])}
	if b, ok := r.nodes.Get(key); ok {
		return b, nil
	}
	row, ok, err := schema.StateNodes.Get(ctx, r.store, schema.StateNode{RoomID: roomID, Hash: h[:]})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: room %s lacks a node of its state", persistence.ErrCorrupt, roomID)
	}
	r.nodes.Set(key, row.Node)
	return row.Node, nil
}

// Before gives the room's state when the event came: what the event before it in the timeline left.
func (r *Reader) Before(ctx context.Context, row *schema.Event) (*State, error) {
	earlier := schema.Timeline(row.RoomID)
	earlier.Before, earlier.Reverse, earlier.Limit = &schema.Event{Seq: row.Seq}, true, 1
	rows, err := schema.Events.All(ctx, r.store, earlier)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 || row.Seq-rows[0].Seq != 1 { // the first one, or one after a gap
		return r.StateAt(ctx, row.RoomID, row.StateBefore)
	}
	return r.StateAt(ctx, row.RoomID, rows[0].RoomStateRoot())
}

// Get reads the state event with this type and key; ok is false when there is none.
func (s *State) Get(ctx context.Context, typ, stateKey string) (row schema.Event, ok bool, err error) {
	seq, ok, err := s.tree.Get(event.Tuple{Type: typ, StateKey: stateKey})
	if err != nil || !ok {
		return row, false, err
	}
	row, err = s.r.EventAt(ctx, s.roomID, seq)
	return row, err == nil, err
}

// Number gives the number of the state event with this type and key, without reading it.
func (s *State) Number(typ, stateKey string) (seq uint64, ok bool, err error) {
	return s.tree.Get(event.Tuple{Type: typ, StateKey: stateKey})
}

// Entry is one place of a room's state and the number of the event in it.
type Entry struct {
	event.Tuple
	Seq uint64
}

// Entries lists the state for which keep is true, in the tree's order.
func (s *State) Entries(keep func(event.Tuple) bool) ([]Entry, error) {
	var entries []Entry
	for entry, err := range s.tree.All() {
		if err != nil {
			return nil, err
		}
		if keep == nil || keep(entry.Tuple) {
			entries = append(entries, Entry{entry.Tuple, entry.Value})
		}
	}
	return entries, nil
}

// Changes lists the places whose event in s is another than that in old, skipping what both share.
func (s *State) Changes(old *State, keep func(event.Tuple) bool) ([]Entry, error) {
	entries, err := s.Differences(old, keep)
	return slices.DeleteFunc(entries, func(e Entry) bool { return e.Seq == 0 }), err
}

// Differences are the Changes and, with 0 for the event, the places that have one in old but none in s: state resolution took it away.
func (s *State) Differences(old *State, keep func(event.Tuple) bool) ([]Entry, error) {
	var entries []Entry
	err := statetree.Diff(old.tree, s.tree, func(c statetree.Change) bool {
		if keep == nil || keep(c.Tuple) {
			entries = append(entries, Entry{c.Tuple, c.New})
		}
		return true
	})
	return entries, err
}

// Events reads the events of the entries.
func (s *State) Events(ctx context.Context, entries []Entry) ([]schema.Event, error) {
	rows := make([]schema.Event, 0, len(entries))
	for _, e := range entries {
		row, err := s.r.EventAt(ctx, s.roomID, e.Seq)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// Current reads the room's state now: one event, or all of them with All.
func (r *Reader) Current(ctx context.Context, roomID, typ, stateKey string) (row schema.Event, ok bool, err error) {
	ref, ok, err := schema.CurrentStates.Get(ctx, r.store, schema.CurrentState{RoomID: roomID, Type: typ, StateKey: stateKey})
	if err != nil || !ok {
		return row, false, err
	}
	row, err = r.EventAt(ctx, roomID, ref.Seq)
	return row, err == nil, err
}

// CurrentOf lists the room's current state of one type, or all of it when typ is empty.
func (r *Reader) CurrentOf(ctx context.Context, roomID, typ string) ([]schema.CurrentState, error) {
	q := persistence.Range[schema.CurrentState]{Prefix: schema.CurrentState{RoomID: roomID, Type: typ}, Keys: 1}
	if typ != "" {
		q.Keys = 2
	}
	return schema.CurrentStates.All(ctx, r.store, q)
}

// errUnknownEvent is what clients hear of an event that is not there, or not for them.
func errUnknownEvent(eventID string) error {
	return mxerr.NotFound("the event %s is not known, or you may not see it", eventID)
}
