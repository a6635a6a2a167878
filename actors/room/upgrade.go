package room

import (
	"context"
	"log/slog"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Upgrade carries out POST /rooms/{roomId}/upgrade and gives the new room's id. Errors are *mxerr.Error.
//
// Until the tombstone stands in the old room nothing of it has changed, so a failure leaves it usable. With the tombstone
// the room is upgraded; what comes after that is done as far as possible, and logged where it is not.
func (c *Creator) Upgrade(ctx context.Context, by *messages.Requester, roomID string, req room.UpgradeRequest) (string, error) {
	u := upgrade{Creator: c, by: by, old: cluster.Identity{Kind: cluster.KindRoom, ID: roomID}}
	if err := u.mayClose(ctx); err != nil {
		return "", err
	}
	old, err := u.read(ctx)
	if err != nil {
		return "", err
	}
	profile, err := c.profile(ctx, by.UserId)
	if err != nil {
		return "", err
	}
	plan, err := room.PlanUpgrade(old, by.UserId, req, profile)
	if err != nil {
		return "", err
	}
	newID, err := c.carryOut(ctx, by, plan)
	if err != nil {
		return "", err
	}
	u.replacement = cluster.Identity{Kind: cluster.KindRoom, ID: newID}
	if err := u.send(ctx, u.old, "m.room.tombstone", tombstone(newID)); err != nil {
		return "", err
	}
	u.moveIn(ctx)
	return newID, nil
}

type upgrade struct {
	*Creator
	by               *messages.Requester
	old, replacement cluster.Identity
}

// mayClose asks whether the user may send the tombstone.
func (u *upgrade) mayClose(ctx context.Context) error {
	_, err := cluster.Ask[*messages.Done](ctx, u.Caller, u.old, &messages.CheckEvent{
		By: u.by, Event: u.proposal("m.room.tombstone", tombstone("!"+u.ServerName)),
	})
	return err
}

func tombstone(replacement string) []byte {
	// A room id is UTF-8, so quoting it cannot fail.
	content, _ := jsontext.AppendQuote([]byte(`{"body":"This room has been replaced","replacement_room":`), replacement)
	return append(content, '}')
}

func (u *upgrade) proposal(eventType string, content []byte) *messages.Proposal {
	stateKey := ""
	return &messages.Proposal{Type: eventType, StateKey: &stateKey, Sender: u.by.UserId, Content: content}
}

func (u *upgrade) send(ctx context.Context, to cluster.Identity, eventType string, content []byte) error {
	_, err := cluster.Ask[*messages.EventSent](ctx, u.Caller, to, &messages.SendEvent{By: u.by, Event: u.proposal(eventType, content)})
	return err
}

// read gives what the new room takes over.
func (u *upgrade) read(ctx context.Context) (room.OldRoom, error) {
	old := room.OldRoom{RoomID: u.old.ID, State: map[event.Tuple]*event.Event{}}
	summary, ok, err := schema.Rooms.Get(ctx, u.Store, schema.Room{RoomID: u.old.ID})
	if err != nil {
		return old, err
	}
	if !ok {
		return old, mxerr.NotFound("this server does not know the room %s", u.old.ID)
	}
	state := persistence.Range[schema.CurrentState]{Prefix: schema.CurrentState{RoomID: u.old.ID}, Keys: 1}
	for row, err := range schema.CurrentStates.Scan(ctx, u.Store, state) {
		if err != nil {
			return old, err
		}
		t := event.Tuple{Type: row.Type, StateKey: row.StateKey}
		if !room.Transferable(t, row.Membership) {
			continue
		}
		e, err := u.event(ctx, row.Seq, summary.Version)
		if err != nil {
			return old, err
		}
		old.State[t] = e
	}
	newest := schema.Timeline(u.old.ID)
	newest.Reverse, newest.Limit = true, 1
	for row, err := range schema.Events.Scan(ctx, u.Store, newest) {
		if err != nil {
			return old, err
		}
		old.LastEventID = row.EventID
	}
	return old, nil
}

func (u *upgrade) event(ctx context.Context, seq uint64, version string) (*event.Event, error) {
	row, ok, err := schema.EventAt(ctx, u.Store, u.old.ID, seq)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, mxerr.Unknown("the room %s lacks the event %d", u.old.ID, seq)
	}
	entry, err := entryOf(row, version)
	if err != nil {
		return nil, err
	}
	return entry.Event, nil
}

// moveIn does what follows the tombstone.
func (u *upgrade) moveIn(ctx context.Context) {
	u.attempt("move the aliases", u.moveAliases(ctx))
	u.attempt("move the place in the public directory", u.movePublished(ctx))
	u.attempt("close the old room", u.closeOld(ctx))
}

func (u *upgrade) attempt(what string, err error) {
	if err != nil {
		slog.Warn("A room is upgraded, but something is left to do.", "what", what, "old", u.old.ID, "new", u.replacement.ID, "error", err)
	}
}

// moveAliases moves the local aliases, and the canonical alias event with them.
func (u *upgrade) moveAliases(ctx context.Context) error {
	move := &messages.MoveAliases{By: u.by, ToRoom: u.replacement.ID, Admin: true}
	if _, err := cluster.Ask[*messages.Done](ctx, u.Caller, u.old, move); err != nil {
		return err
	}
	content, err := u.content(ctx, "m.room.canonical_alias")
	if err != nil || len(content) == 0 || string(content) == "{}" {
		return err
	}
	if err := u.send(ctx, u.replacement, "m.room.canonical_alias", content); err != nil {
		return err
	}
	return u.send(ctx, u.old, "m.room.canonical_alias", []byte("{}"))
}

func (u *upgrade) movePublished(ctx context.Context) error {
	summary, ok, err := schema.Rooms.Get(ctx, u.Store, schema.Room{RoomID: u.old.ID})
	if err != nil || !ok || !summary.Published {
		return err
	}
	show := &messages.SetPublished{By: u.by, Published: true, Admin: true}
	if _, err := cluster.Ask[*messages.Done](ctx, u.Caller, u.replacement, show); err != nil {
		return err
	}
	_, err = cluster.Ask[*messages.Done](ctx, u.Caller, u.old, &messages.SetPublished{By: u.by, Admin: true})
	return err
}

// closeOld keeps people from going on in the old room, if the user may change its power levels.
func (u *upgrade) closeOld(ctx context.Context) error {
	content, err := u.content(ctx, "m.room.power_levels")
	if err != nil {
		return err
	}
	closed := room.ClosedPowerLevels(content)
	if closed == nil {
		return nil
	}
	return u.send(ctx, u.old, "m.room.power_levels", closed)
}

// content is that of a state event of the old room, nil when there is none.
func (u *upgrade) content(ctx context.Context, eventType string) ([]byte, error) {
	state, ok, err := schema.CurrentStates.Get(ctx, u.Store, schema.CurrentState{RoomID: u.old.ID, Type: eventType})
	if err != nil || !ok {
		return nil, err
	}
	row, ok, err := schema.EventAt(ctx, u.Store, u.old.ID, state.Seq)
	if err != nil || !ok {
		return nil, err
	}
	return []byte(gjson.GetBytes(row.JSON, "content").Raw), nil
}
