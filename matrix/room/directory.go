package room

import (
	"net/http"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// createAlias claims a local alias for the room. Only its commit tells whether it was free.
func (d *draft) createAlias(in CreateAlias) error {
	if err := d.checkLocalAlias(in.Alias); err != nil {
		return err
	}
	if err := d.requireJoined(in.UserID, "give it an alias"); err != nil {
		return err
	}
	d.aliases = append(d.aliases, AliasChange{
		Alias: in.Alias, RoomID: d.m.o.RoomID, Creator: in.UserID, CreatedTS: in.Now, Claim: true,
	})
	d.alone = true
	return nil
}

func (d *draft) checkLocalAlias(alias string) error {
	_, server, err := id.ParseAlias(alias)
	if err != nil {
		return mxerr.InvalidParam("%q is not a room alias", alias)
	}
	if server != d.m.o.ServerName {
		return mxerr.InvalidParam("%s is not an alias of this server", alias)
	}
	return nil
}

// AliasTaken is the refusal of an alias that exists (client-server API, PUT /directory/room/{roomAlias}).
func AliasTaken(alias string) *mxerr.Error {
	return mxerr.New(http.StatusConflict, "M_UNKNOWN", "the room alias %s exists already", alias)
}

// RoomInUse is the same for a room that would be created with the alias (POST /createRoom).
func RoomInUse(alias string) *mxerr.Error {
	return mxerr.New(http.StatusBadRequest, "M_ROOM_IN_USE", "the room alias %s exists already", alias)
}

// deleteAlias takes a local alias away, for its creator and for whoever may set the canonical alias.
func (d *draft) deleteAlias(in DeleteAlias) error {
	row, known := d.m.passing.aliases[in.Alias]
	if !known {
		d.need.Aliases = append(d.need.Aliases, in.Alias)
		return errMissing
	}
	if row.RoomID != d.m.o.RoomID {
		return mxerr.NotFound("the room has no alias %s", in.Alias)
	}
	if !in.Admin && row.Creator != in.UserID {
		if err := d.requireDirectoryPower(in.UserID); err != nil {
			return err
		}
	}
	d.aliases = append(d.aliases, AliasChange{Alias: in.Alias, RoomID: d.m.o.RoomID, Remove: true})
	d.alone = true
	return nil
}

// moveAliases gives all local aliases to another room, at once.
func (d *draft) moveAliases(in MoveAliases) error {
	if !in.Admin {
		if err := d.requireDirectoryPower(in.UserID); err != nil {
			return err
		}
	}
	if !d.m.passing.listed {
		d.need.RoomAliases = true
		return errMissing
	}
	for _, row := range d.m.passing.roomAliases {
		d.aliases = append(d.aliases, AliasChange{
			Alias: row.Alias, RoomID: in.To, Creator: row.Creator, CreatedTS: row.CreatedTS, From: d.m.o.RoomID,
		})
	}
	d.alone = true
	return nil
}

// setPublished shows or hides the room in the public directory.
func (d *draft) setPublished(in SetPublished) error {
	if !in.Admin {
		if err := d.requireDirectoryPower(in.UserID); err != nil {
			return err
		}
	}
	d.snapshot = d.head.summary.Published != in.Published
	d.head.summary.Published = in.Published
	return nil
}

// requireDirectoryPower refuses users who could not set the room's canonical alias.
func (d *draft) requireDirectoryPower(userID string) error {
	if err := d.requireJoined(userID, "change how it is found"); err != nil {
		return err
	}
	power, err := d.levels()
	if err != nil {
		return err
	}
	if need := power.Event("m.room.canonical_alias", true); power.User(userID).Less(need) {
		return mxerr.Forbidden("you need power level %s to change how the room is found; yours is %s", need, power.User(userID))
	}
	return nil
}

// forget hides the room from a user who has left it.
func (d *draft) forget(in Forget) error {
	current := d.stateEntry(event.Tuple{Type: "m.room.member", StateKey: in.UserID})
	if err := d.waiting(); err != nil {
		return err
	}
	if current == nil {
		return mxerr.NotFound("%s has never been in room %s", in.UserID, d.m.o.RoomID)
	}
	switch current.Event.Membership() {
	case "leave", "ban":
	default:
		return mxerr.New(http.StatusBadRequest, "M_UNKNOWN", "User %s is in room %s", in.UserID, d.m.o.RoomID)
	}
	row := d.memberRow(in.UserID)
	if err := d.waiting(); err != nil {
		return err
	}
	if row.Forgotten {
		return nil
	}
	row.Forgotten = true
	d.members = append(d.members, MemberChange{UserID: in.UserID, Row: row})
	d.forgotten = append(d.forgotten, in.UserID)
	return nil
}
