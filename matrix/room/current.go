package room

import (
	"strings"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// setState makes an event that follows everything else the current state event of its tuple.
func (d *draft) setState(entry *Entry) error {
	e := entry.Event
	replaced := d.stateEntry(e.Tuple())
	was := replaced
	if number := d.toldNumber(e.Tuple()); replaced == nil && number != 0 {
		was = d.entry(number)
	}
	if err := d.waiting(); err != nil {
		return err
	}
	if replaced != nil {
		entry.ReplacesSeq = replaced.Seq
	}
	state, err := d.head.state.Set(e.Tuple(), entry.number())
	if err != nil {
		d.needPath(e.Tuple())
		return errMissing
	}
	d.keepNodes(state.Fresh(d.head.state))
	d.head.state = state
	entry.StateAfter = state.Root()
	if entry.Number == 0 { // else they were noted when it was an outlier
		if err := d.cites(entry); err != nil {
			return err
		}
	}
	return d.change(e.Tuple(), entry, was, entry)
}

// moveTo makes another state the current one, with the event at which that happened: a resolution of forks, or the state with which a
// room begins.
func (d *draft) moveTo(state statetree.Tree, at *Entry) error {
	before := d.open(d.head.state.Root())
	err := statetree.Diff(before, state, func(c statetree.Change) bool {
		var now, was *Entry
		if c.Old == 0 {
			if c.Old = d.toldNumber(c.Tuple); c.Old == c.New {
				return true
			}
		}
		if c.New != 0 {
			now = d.entry(c.New)
		}
		if c.Old != 0 {
			was = d.entry(c.Old)
		}
		if (c.New != 0) == (now != nil) && (c.Old != 0) == (was != nil) {
			err := d.change(c.Tuple, now, was, at)
			return err == nil || !d.need.empty()
		}
		return true
	})
	if waiting := d.waiting(); waiting != nil {
		return waiting
	}
	if err != nil {
		return err
	}
	d.head.state, d.moved = state, true
	if root := state.Root(); root != at.StateAfter {
		at.RoomState, d.snapshot = root, true
	}
	return nil
}

// change takes in that another event is the current one of a place, nil for none, since the event at.
func (d *draft) change(t event.Tuple, now, was, at *Entry) error {
	d.state = append(d.state, StateChange{Tuple: t, Entry: now})
	switch {
	case t.Type == "m.room.member":
		return d.setMembership(t.StateKey, now, was, at)
	case now != nil:
		d.head.summary.show(now.Event)
	default:
		d.head.summary.hide(t)
	}
	if t == createTuple && now != nil {
		d.head.createID = now.Event.ID()
	}
	return nil
}

// setMembership writes the row of the user whose membership has changed from was to now, since the event at.
func (d *draft) setMembership(userID string, now, was, at *Entry) error {
	userID = strings.Clone(userID) // the row is kept for longer than the event, whose memory it would hold
	before, row := "", MemberRow{Exists: true, Membership: "leave", Sender: userID, Seq: at.Seq}
	if was != nil {
		before = was.Event.Membership()
	}
	if now != nil {
		row.Membership, row.EventID, row.Seq, row.Sender = strings.Clone(now.Event.Membership()), now.Event.ID(), now.Seq, strings.Clone(now.Event.Sender())
	}
	if now == at {
		at.PrevMembership = before
	}
	if was != nil {
		old := d.memberRow(userID)
		row.JoinedSeq, row.LeftSeq = old.JoinedSeq, old.LeftSeq
		row.Forgotten = old.Forgotten && (row.Membership == "leave" || row.Membership == "ban")
	}
	switch {
	case row.Membership == "join" && before != "join":
		row.JoinedSeq = at.Seq
		if now != at && !d.local(userID) {
			row.JoinedSeq = 1 // they came at a time that is not known, before all that is
		}
		d.countServer(id.ServerOf(userID), 1, at.Seq)
	case row.Membership != "join" && before == "join":
		row.LeftSeq = at.Seq
		d.countServer(id.ServerOf(userID), -1, at.Seq)
	case (row.Membership == "invite" || row.Membership == "knock") && now != nil && d.local(userID):
		row.StrippedState = d.strippedState(now.Event)
	}
	if now != at && before != row.Membership && d.local(userID) {
		d.outside = append(d.outside, OutOfBand{UserID: userID, Row: row, Before: before}) // whom no event tells
	}
	d.head.summary.count(before, row.Membership)
	d.members = append(d.members, MemberChange{UserID: userID, Row: row})
	return d.waiting()
}

// countServer takes in that a user of the server has come or gone.
func (d *draft) countServer(server string, by int64, seq uint64) {
	row := d.server(server)
	was := row.Joined
	row.Joined += by
	switch {
	case was == 0 && row.Joined > 0:
		row.JoinedSeq, row.LeftSeq = seq, 0
	case was > 0 && row.Joined == 0:
		row.LeftSeq = seq
	}
	if d.servers == nil {
		d.servers = map[string]ServerRow{}
	}
	d.servers[server] = row
	if server == d.m.o.ServerName && row.Joined == 0 {
		d.abandonPartial(seq)
	}
}

// recall has a server that is not in the room sent the event that ends an invite or knock of one of its users, and no other event: nobody else
// would tell it. It reports whether there is such a server.
func (d *draft) recall(entry *Entry) bool {
	e := entry.Event
	userID, _ := e.StateKey()
	if e.Type() != "m.room.member" || !e.IsState() || d.local(userID) || entry.PrevMembership != "invite" && entry.PrevMembership != "knock" ||
		e.Membership() != "leave" && e.Membership() != "ban" {
		return false
	}
	server := id.ServerOf(userID)
	row := d.server(server)
	if row.Joined > 0 {
		return false // it is sent all
	}
	row.JoinedSeq, row.LeftSeq = entry.Seq, entry.Seq
	if d.servers == nil {
		d.servers = map[string]ServerRow{}
	}
	d.servers[server] = row
	return true
}

func (d *draft) server(name string) ServerRow {
	if row, ok := d.servers[name]; ok {
		return row
	}
	return d.m.servers[name]
}

// resident reports whether this server has users in the room.
func (d *draft) resident() bool { return d.server(d.m.o.ServerName).Joined > 0 }

// shared reports whether other servers have users in the room, or had until the last event.
func (d *draft) shared() bool {
	own := d.m.o.ServerName
	for name, row := range d.servers {
		if name != own && (row.Joined > 0 || d.m.servers[name].Joined > 0) {
			return true
		}
	}
	for name, row := range d.m.servers {
		if name != own && row.Joined > 0 {
			return true
		}
	}
	return false
}

// cites notes the numbers of a state event's auth events.
func (d *draft) cites(entry *Entry) error {
	row := EdgeRow{Number: entry.number(), Cites: []uint64{}}
	for _, id := range entry.Event.AuthEvents() {
		if cited := d.entryByID(id); cited != nil {
			row.Cites = append(row.Cites, cited.number())
		}
	}
	d.edges = append(d.edges, row)
	return d.waiting()
}
