package room

import (
	"context"
	"fmt"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/statetree"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// facts reads from the store what the machine does not keep in memory. It is safe for concurrent use.
type facts struct {
	store      persistence.Reader
	roomID     string
	serverName string
}

// localJoinedLimit is how many joined users of this server are looked at to find one who may vouch for a join.
const localJoinedLimit = 50

// fetch answers everything that is missing.
func (f facts) fetch(ctx context.Context, missing *room.Missing) (room.Facts, error) {
	q := query{facts: f, ctx: ctx, version: missing.Version, found: room.Facts{
		Members: map[string]room.MemberRow{}, Receipts: map[room.ReceiptKey]room.ReceiptRow{},
		Annotations: map[room.AnnotationKey]bool{}, Aliases: map[string]room.AliasRow{}, Elsewhere: map[room.Elsewhere]bool{},
		Edges: map[uint64][]uint64{}, Pending: map[string][]room.PendingRedaction{},
	}}
	each(&q, missing.State, q.state)
	each(&q, missing.Seqs, q.entry)
	each(&q, missing.IDs, q.entryByID)
	each(&q, missing.Members, q.member)
	each(&q, missing.Receipts, q.receipt)
	each(&q, missing.Annotations, q.annotation)
	each(&q, missing.Aliases, q.alias)
	each(&q, missing.Elsewhere, q.elsewhere)
	each(&q, missing.Nodes, q.node)
	each(&q, missing.Trees, q.tree)
	if !q.fewPending(missing.Pending) {
		each(&q, missing.Pending, q.pending)
	}
	if len(missing.Chains) > 0 && q.err == nil {
		q.err = q.chains(missing.Chains)
	}
	if missing.Since != 0 && q.err == nil {
		q.err = q.since(missing.Since)
	}
	if missing.Outliers && q.err == nil {
		q.err = q.outliers()
	}
	if missing.RoomAliases {
		q.roomAliases()
	}
	if missing.LocalJoined {
		q.localJoined()
	}
	return q.found, q.err
}

// query collects answers; after the first failure it reads nothing more.
type query struct {
	facts
	ctx     context.Context
	version string
	found   room.Facts
	err     error
}

func each[T any](q *query, asked []T, read func(T) error) {
	for _, what := range asked {
		if q.err != nil {
			return
		}
		q.err = read(what)
	}
}

// state reads the nodes between the root and the key, and the event that is found there.
func (q *query) state(key room.StateKey) error {
	tree := statetree.Open(key.Root, q.nodeBytes)
	seq, ok, err := tree.Get(key.Tuple)
	if err != nil || !ok {
		return err
	}
	return q.entry(seq)
}

func (q *query) entry(seq uint64) error {
	row, ok, err := schema.EventAt(q.ctx, q.store, q.roomID, seq)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("room %s: %w: event %d is gone", q.roomID, persistence.ErrCorrupt, seq)
	}
	entry, err := entryOf(row, q.version)
	if err != nil {
		return err
	}
	q.found.Entries = append(q.found.Entries, entry)
	return nil
}

func (q *query) entryByID(eventID string) error {
	row, ok, err := schema.EventsByID.Get(q.ctx, q.store, schema.EventByID{RoomID: q.roomID, EventID: eventID})
	if err != nil {
		return err
	}
	if !ok {
		q.found.NoIDs = append(q.found.NoIDs, eventID)
		return nil
	}
	return q.entry(row.Seq)
}

func (q *query) member(userID string) error {
	row, ok, err := schema.Memberships.Get(q.ctx, q.store, schema.Membership{UserID: userID, RoomID: q.roomID})
	q.found.Members[userID] = room.MemberRow{
		Exists: ok, Membership: row.Membership, EventID: row.EventID, Seq: row.Seq, Pos: row.Pos, Sender: row.Sender,
		JoinedSeq: row.JoinedSeq, LeftSeq: row.LeftSeq, Forgotten: row.Forgotten, StrippedState: row.StrippedState,
	}
	return err
}

func (q *query) receipt(key room.ReceiptKey) error {
	row, _, err := schema.Receipts.Get(q.ctx, q.store, schema.Receipt{RoomID: q.roomID, UserID: key.UserID, Type: key.Type, ThreadID: key.ThreadID})
	q.found.Receipts[key] = room.ReceiptRow{ReceiptKey: key, EventID: row.EventID, Seq: row.Seq, TS: row.TS}
	return err
}

func (q *query) annotation(key room.AnnotationKey) error {
	q.found.Annotations[key] = false
	related := persistence.Range[schema.Relation]{Prefix: schema.Relation{RoomID: q.roomID, ParentID: key.ParentID}, Keys: 2}
	for row, err := range schema.Relations.Scan(q.ctx, q.store, related) {
		if err != nil {
			return err
		}
		if row.RelType == "m.annotation" && row.Sender == key.Sender && row.Type == key.Type && row.Key == key.Key {
			q.found.Annotations[key] = true
			return nil
		}
	}
	return nil
}

func (q *query) alias(alias string) error {
	row, ok, err := schema.Aliases.Get(q.ctx, q.store, schema.Alias{Alias: alias})
	if ok {
		q.found.Aliases[alias] = aliasRow(row)
	} else {
		q.found.Aliases[alias] = room.AliasRow{Alias: alias}
	}
	return err
}

func aliasRow(row schema.Alias) room.AliasRow {
	return room.AliasRow{Alias: row.Alias, RoomID: row.RoomID, Creator: row.Creator, CreatedTS: row.CreatedTS}
}

func (q *query) elsewhere(key room.Elsewhere) error {
	row, ok, err := schema.Memberships.Get(q.ctx, q.store, schema.Membership{UserID: key.UserID, RoomID: key.RoomID})
	q.found.Elsewhere[key] = ok && row.Membership == "join"
	if err != nil || q.found.Elsewhere[key] {
		return err
	}
	own, ok, err := schema.RoomServers.Get(q.ctx, q.store, schema.RoomServer{RoomID: key.RoomID, Server: q.serverName})
	if !ok || own.Joined == 0 {
		q.found.Abroad = append(q.found.Abroad, key.RoomID)
	}
	return err
}

func (q *query) roomAliases() {
	list := persistence.Range[schema.AliasByRoom]{Prefix: schema.AliasByRoom{RoomID: q.roomID}, Keys: 1}
	for row, err := range schema.AliasesByRoom.Scan(q.ctx, q.store, list) {
		if err != nil {
			q.err = err
			return
		}
		alias, ok, err := schema.Aliases.Get(q.ctx, q.store, schema.Alias{Alias: row.Alias})
		if err != nil {
			q.err = err
			return
		}
		if ok && alias.RoomID == q.roomID {
			q.found.RoomAliases = append(q.found.RoomAliases, aliasRow(alias))
		}
	}
}

func (q *query) localJoined() {
	members := persistence.Range[schema.CurrentState]{Prefix: schema.CurrentState{RoomID: q.roomID, Type: "m.room.member"}, Keys: 2}
	for row, err := range schema.CurrentStates.Scan(q.ctx, q.store, members) {
		if err != nil {
			q.err = err
			return
		}
		if row.Membership == "join" && id.ServerOf(row.StateKey) == q.serverName {
			q.found.LocalJoined = append(q.found.LocalJoined, row.StateKey)
			if len(q.found.LocalJoined) == localJoinedLimit {
				return
			}
		}
	}
}

// entryOf is the machine's form of a row.
func entryOf(row schema.Event, version string) (*room.Entry, error) {
	v, ok := roomversion.Get(version)
	if !ok {
		return nil, fmt.Errorf("room %s: %w: room version %q", row.RoomID, persistence.ErrCorrupt, version)
	}
	e, err := event.FromStored(row.JSON, row.EventID, v)
	if err != nil {
		return nil, fmt.Errorf("room %s: %w: event %d: %w", row.RoomID, persistence.ErrCorrupt, row.Seq, err)
	}
	return &room.Entry{
		Seq: row.Seq, Event: e, Status: room.Status(row.Status), ReceivedTS: row.ReceivedTS, Pos: row.Pos, Number: row.Number,
		StateBefore: hashOf(row.StateBefore), StateAfter: hashOf(row.StateAfter), RoomState: hashOf(row.RoomState), ReplacesSeq: row.ReplacesSeq,
		RedactedBy: row.RedactedBy, DeviceID: row.DeviceID, TxnID: row.TxnID,
	}, nil
}

func hashOf(b []byte) (h statetree.Hash) {
	copy(h[:], b)
	return h
}
