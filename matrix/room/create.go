package room

import (
	"errors"
	"net/http"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// create makes the room with all its first events. Asking again with the same create event is answered as before.
func (d *draft) create(in Create) error {
	version, ok := roomversion.Get(in.Version)
	if !ok {
		return UnsupportedVersion(in.Version)
	}
	e, err := event.Parse(in.Create, version)
	if err != nil {
		return mxerr.BadJSON("the create event: %s", err)
	}
	if d.m.Exists() {
		return d.createdAlready(e, in)
	}
	if e.Type() != "m.room.create" || e.Sender() != in.UserID || e.RoomID() != d.m.o.RoomID {
		return mxerr.InvalidParam("the create event does not fit the room %s of %s", d.m.o.RoomID, in.UserID)
	}
	d.version = version
	d.head = head{state: statetree.Empty(d.m.fetch), summary: Summary{Published: in.Published, JoinRule: withoutJoinRule, HistoryVisibility: withoutVisibility}}
	if err := auth.Check(e, d); err != nil {
		return invalidRoomState(err)
	}
	o := in.From.origin("", 0)
	if d.answer, err = d.append(e, o); err != nil {
		return err
	}
	for _, p := range in.Events {
		if err := d.createWith(p, in, o); err != nil {
			return invalidRoomState(err)
		}
	}
	if in.Alias != "" {
		d.aliases = append(d.aliases, AliasChange{
			Alias: in.Alias, RoomID: d.m.o.RoomID, Creator: in.UserID, CreatedTS: in.Now, Claim: true,
		})
	}
	d.alone, d.snapshot = true, true
	return nil
}

// createWith appends one of the first events.
func (d *draft) createWith(p Proposal, in Create, o origin) error {
	if p.Sender != in.UserID {
		return mxerr.Forbidden("%s cannot send events of %s", in.UserID, p.Sender)
	}
	p, err := d.wellFormed(p)
	if err != nil {
		return err
	}
	e, err := d.build(p, o)
	if err != nil {
		return err
	}
	if err := d.allow(e); err != nil {
		return err
	}
	_, err = d.append(e, o)
	return err
}

func (d *draft) createdAlready(e *event.Event, in Create) error {
	if e.ID() != d.head.createID || e.Sender() != in.UserID {
		return mxerr.New(http.StatusConflict, "M_UNKNOWN", "the room %s exists already", d.m.o.RoomID)
	}
	d.answer = d.stateEntry(createTuple)
	return d.waiting()
}

// UnsupportedVersion is the refusal of a room version that this server does not know.
func UnsupportedVersion(version string) *mxerr.Error {
	return mxerr.New(http.StatusBadRequest, "M_UNSUPPORTED_ROOM_VERSION", "this server does not support room version %q", version)
}

// invalidRoomState says that the room's first events contradict its rules (POST /createRoom).
func invalidRoomState(err error) error {
	var rejection *auth.Rejection
	var refusal *mxerr.Error
	switch {
	case errors.As(err, &rejection):
		return mxerr.New(http.StatusBadRequest, "M_INVALID_ROOM_STATE", "%s", rejection.Reason)
	case errors.As(err, &refusal) && (refusal.Status == http.StatusForbidden || refusal == errCreatedTwice):
		return mxerr.New(http.StatusBadRequest, "M_INVALID_ROOM_STATE", "%s", refusal.Message)
	}
	return err
}
