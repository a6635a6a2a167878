package room

import (
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/matrix/statetree"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// writes collects the mutations of one commit.
type writes []persistence.Mutation

func (w *writes) add(m persistence.Mutation) { *w = append(*w, m) }

func (w *writes) event(roomID string, e *room.Entry) {
	row := schema.Event{
		RoomID: roomID, Seq: e.Seq, EventID: e.Event.ID(), Type: e.Event.Type(), Sender: e.Event.Sender(),
		Status: uint64(e.Status), Depth: e.Event.Depth(), OriginServerTS: e.Event.OriginServerTS(), ReceivedTS: e.ReceivedTS,
		Pos: e.Pos, StateBefore: e.StateBefore[:], StateAfter: e.StateAfter[:], ReplacesSeq: e.ReplacesSeq,
		RedactedBy: e.RedactedBy, DeviceID: e.DeviceID, TxnID: e.TxnID, JSON: e.Event.JSON(), Number: e.Number,
	}
	if e.RoomState != (statetree.Hash{}) {
		row.RoomState = e.RoomState[:]
	}
	if stateKey, ok := e.Event.StateKey(); ok {
		row.StateKey = &stateKey
	}
	w.add(schema.Events.Put(row))
}

// searchTask has the full-text index look at an event that may have text.
func (w *writes) searchTask(roomID string, e *room.Entry) {
	switch e.Event.Type() {
	case "m.room.message", "m.room.name", "m.room.topic":
		w.add(schema.SearchTasks.Put(schema.SearchTask{RoomID: roomID, Seq: e.Seq}))
	}
}

// pushTask has those looked for who are to be told of the batch's events, and those whose receipts moved or whom other servers
// invite, where that may be somebody.
func (w *writes) pushTask(roomID, serverName string, pushing Pushing, b *room.Batch) {
	if !pushing.Anybody() {
		return
	}
	task := schema.PushTask{Shard: schema.PushShard(roomID), RoomID: roomID}
	for _, e := range b.Entries {
		if e.Status != room.Accepted {
			continue
		}
		if task.FirstSeq == 0 {
			task.FirstSeq = e.Seq
		}
		task.LastSeq = e.Seq
	}
	var readers []string
	for _, r := range b.Receipts {
		if id.ServerOf(r.UserID) == serverName && pushing.Has(r.UserID) && !slices.Contains(readers, r.UserID) {
			readers = append(readers, r.UserID)
		}
	}
	for _, o := range b.Outside {
		if o.Row.Seq == 0 && pushing.Has(o.UserID) && !slices.Contains(readers, o.UserID) {
			readers = append(readers, o.UserID)
		}
	}
	if task.FirstSeq == 0 && len(readers) == 0 {
		return
	}
	if len(readers) > 0 {
		task.Readers, _ = json.Marshal(readers) // strings always are JSON
	}
	w.add(schema.PushTasks.Put(task))
}

func (w *writes) state(roomID string, c room.StateChange) {
	row := schema.CurrentState{RoomID: roomID, Type: c.Type, StateKey: c.StateKey}
	if c.Entry == nil {
		w.add(schema.CurrentStates.Delete(row))
		return
	}
	e := c.Entry
	row.EventID, row.Seq = e.Event.ID(), e.Seq
	if row.Type == "m.room.member" {
		row.Membership = e.Event.Membership()
	}
	w.add(schema.CurrentStates.Put(row))
}

func (w *writes) member(roomID string, m room.MemberChange) {
	w.add(schema.Memberships.Put(schema.Membership{
		UserID: m.UserID, RoomID: roomID, Membership: m.Row.Membership, EventID: m.Row.EventID, Seq: m.Row.Seq, Pos: m.Row.Pos,
		Sender: m.Row.Sender, JoinedSeq: m.Row.JoinedSeq, LeftSeq: m.Row.LeftSeq, Forgotten: m.Row.Forgotten, StrippedState: m.Row.StrippedState,
	}))
}

func (w *writes) relation(roomID string, r room.RelationRow) {
	row := schema.Relation{
		RoomID: roomID, ParentID: r.ParentID, Seq: r.Seq, EventID: r.EventID, RelType: r.RelType, Type: r.Type, Sender: r.Sender, Key: r.Key,
	}
	inThread := r.RelType == "m.thread"
	reply := schema.ThreadReply{RoomID: roomID, Seq: r.Seq, RootID: r.ParentID}
	if r.Gone {
		w.add(schema.Relations.Delete(row))
		if inThread {
			w.add(schema.ThreadReplies.Delete(reply))
		}
		return
	}
	w.add(schema.Relations.Put(row))
	if inThread {
		w.add(schema.ThreadReplies.Put(reply))
	}
}

func (w *writes) alias(c room.AliasChange) {
	if c.Remove {
		w.add(schema.Aliases.Delete(schema.Alias{Alias: c.Alias}))
		w.add(schema.AliasesByRoom.Delete(schema.AliasByRoom{RoomID: c.RoomID, Alias: c.Alias}))
		return
	}
	if c.From != "" {
		w.add(schema.AliasesByRoom.Delete(schema.AliasByRoom{RoomID: c.From, Alias: c.Alias}))
	}
	w.add(schema.Aliases.Put(schema.Alias{Alias: c.Alias, RoomID: c.RoomID, Creator: c.Creator, CreatedTS: c.CreatedTS}))
	w.add(schema.AliasesByRoom.Put(schema.AliasByRoom{RoomID: c.RoomID, Alias: c.Alias}))
}

// summary writes the room's row, and its place in the public directory, which is ordered by the number of members.
func (w *writes) summary(roomID string, s room.Summary, listedUnder int64) {
	w.add(schema.Rooms.Put(schema.Room{
		RoomID: roomID, Version: s.Version, Creator: s.Creator, CreatedTS: s.CreatedTS, Name: s.Name, Topic: s.Topic,
		AvatarURL: s.AvatarURL, CanonicalAlias: s.CanonicalAlias, JoinRule: s.JoinRule, GuestAccess: s.GuestAccess,
		HistoryVisibility: s.HistoryVisibility, RoomType: s.RoomType, Encryption: s.Encryption, JoinedMembers: s.JoinedMembers,
		InvitedMembers: s.InvitedMembers, UpgradedTo: s.UpgradedTo, Published: s.Published,
	}))
	if listedUnder >= 0 {
		w.add(schema.PublicRooms.Delete(schema.PublicRoom{JoinedMembers: listedUnder, RoomID: roomID}))
	}
	if s.Published {
		w.add(schema.PublicRooms.Put(schema.PublicRoom{JoinedMembers: s.JoinedMembers, RoomID: roomID}))
	}
}
