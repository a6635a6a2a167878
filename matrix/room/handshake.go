package room

import (
	"net/http"
	"slices"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// makeMembership makes the template of a member event of another server's user.
func (d *draft) makeMembership(in MakeMembership) error {
	if !d.resident() {
		return mxerr.NotFound("this server is not in the room %s", d.m.o.RoomID)
	}
	if d.lacking() != nil {
		return notFullyJoined(d.m.o.RoomID)
	}
	if len(in.Versions) > 0 && !slices.Contains(in.Versions, d.version.ID) {
		return mxerr.New(http.StatusBadRequest, "M_INCOMPATIBLE_ROOM_VERSION", "the room has version %s, which the asking server does not know", d.version.ID).
			With("room_version", d.version.ID)
	}
	fields, err := unauthorised([]byte(`{"membership":"` + memberships[in.Action] + `"}`))
	if err != nil {
		return err
	}
	p := Proposal{Type: "m.room.member", StateKey: &in.Target, Sender: in.Target}
	if in.Action == Join {
		p.Content, err = d.authoriseJoin(in.Target, fields)
	} else {
		p.Content, err = withMembers(fields, nil)
	}
	if err != nil {
		return err
	}
	e, err := d.build(p, in.From.origin("", 0))
	if err != nil {
		return err
	}
	if err := d.allow(e); err != nil {
		return err
	}
	d.built = e
	return nil
}

// sendMembership takes in the event that was made of a template.
func (d *draft) sendMembership(in SendMembership) error {
	if !d.resident() {
		return mxerr.NotFound("this server is not in the room %s", d.m.o.RoomID)
	}
	if d.lacking() != nil {
		return notFullyJoined(d.m.o.RoomID)
	}
	e, err := event.FromStored(in.PDU.JSON, in.PDU.EventID, d.version)
	if err != nil {
		return err
	}
	pdu := in.PDU
	if via := textAt(e.Content(), authorisedVia); in.Action == Join && d.version.Restricted && d.local(via) {
		was := d.membership(e.Sender())
		if err := d.waiting(); err != nil {
			return err
		}
		if was != "join" && was != "invite" {
			if err := d.requireAllowedRoom(e.Sender()); err != nil {
				return err
			}
		}
		signed, err := e.Sign(d.m.o.ServerName, d.m.o.Key)
		if err != nil {
			return err
		}
		pdu.JSON = signed.JSON()
	}
	result, err := d.take(pdu, in.Now, nil)
	if err != nil {
		return err
	}
	switch result.Status {
	case ResultAccepted:
		result.Entry.Outbound = d.shared()
	case ResultKnown:
		if result.Entry.Status != Accepted {
			return mxerr.Forbidden("the room does not allow the event")
		}
	case ResultMissing:
		return mxerr.BadJSON("the event cites events that this server does not have: begin again with a new template")
	default:
		return mxerr.Forbidden("the room does not allow the event: %s", result.Reason)
	}
	d.answer = result.Entry
	return nil
}

// buildEvent works a membership change out without appending it.
func (d *draft) buildEvent(in BuildEvent) error {
	d.buildOnly = true
	if err := d.changeMembership(in.Change); err != nil {
		return err
	}
	if d.built == nil {
		return mxerr.Forbidden("there is nothing to change")
	}
	return nil
}

// setOutOfBand writes the membership of a local user in a room that this server is not in.
func (d *draft) setOutOfBand(in SetOutOfBand) error {
	if d.resident() {
		return nil
	}
	version, ok := roomversion.Get(in.Version)
	if !ok {
		return UnsupportedVersion(in.Version)
	}
	e, err := event.FromStored(in.PDU.JSON, in.PDU.EventID, version)
	if err != nil {
		return err
	}
	userID, _ := e.StateKey()
	if e.Type() != "m.room.member" || !d.local(userID) {
		return mxerr.InvalidParam("%s is no membership of a user of this server", e.ID())
	}
	row := MemberRow{Membership: e.Membership(), EventID: e.ID(), Sender: e.Sender(), StrippedState: in.StrippedState}
	if row.Membership == "invite" || row.Membership == "knock" {
		if row.StrippedState, err = withStripped(in.StrippedState, e); err != nil {
			return err
		}
	}
	return d.outOfBand(userID, row)
}

// outOfBand writes a row that no event of the room's timeline brings.
func (d *draft) outOfBand(userID string, row MemberRow) error {
	was := d.memberRow(userID)
	if err := d.waiting(); err != nil {
		return err
	}
	if was.Membership == "ban" && row.Membership == "leave" {
		return nil
	}
	row.Exists, row.JoinedSeq, row.LeftSeq = true, was.JoinedSeq, was.LeftSeq
	d.members = append(d.members, MemberChange{UserID: userID, Row: row})
	d.outside = append(d.outside, OutOfBand{UserID: userID, Row: row, Before: was.Membership})
	return nil
}

// endOutOfBand is a membership change in a room that nobody of this server is in: an invite is declined and a knock is taken back,
// whether the room's servers hear of it or not. A room that no other server is in either goes on here.
func (d *draft) endOutOfBand(in ChangeMembership) error {
	if d.m.Exists() && !d.shared() {
		return d.changeMembership(in)
	}
	if in.Action == Leave && in.UserID == in.Target {
		row := d.memberRow(in.UserID)
		if err := d.waiting(); err != nil {
			return err
		}
		if row.Membership == "invite" || row.Membership == "knock" {
			return d.outOfBand(in.UserID, MemberRow{Membership: "leave", Sender: in.UserID})
		}
	}
	return mxerr.NotFound("this server is not in the room %s", d.m.o.RoomID)
}

// OutOfBand is a membership that changed without an event in the room's timeline.
type OutOfBand struct {
	UserID string
	Row    MemberRow
	Before string // the membership before
}
