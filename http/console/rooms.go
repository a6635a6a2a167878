package console

import (
	"fmt"
	"net/url"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// rowsInPage is how many rows of a long list stand on one page.
const rowsInPage = 50

// roomsShown is a page of rooms.
type roomsShown struct {
	admin.Rooms
	Match string
	More  string // the address of the next page
}

// part is which part of a list the query asks for.
func (v *view) part() admin.Page {
	return admin.Page{From: v.Param("from"), Match: v.Param("match"), Limit: rowsInPage}
}

// following is the address of the part that begins after next, empty when there is none.
func following(path, next string, query url.Values) string {
	if next == "" {
		return ""
	}
	query.Set("from", next)
	return path + "?" + query.Encode()
}

func (c *console) rooms(v *view) (string, any, error) {
	p := v.part()
	found, err := c.Operator.Rooms(v.Ctx, p)
	return "Rooms", roomsShown{Rooms: found, Match: p.Match, More: following(Base+"/rooms", found.Next, url.Values{"match": {p.Match}})}, err
}

// roomShown is one room, its actor, and the first of its members.
type roomShown struct {
	admin.RoomNow
	Actor   actorShown
	Members membersShown
}

// membersShown are some of the members of a room.
type membersShown struct {
	admin.Members
	RoomID     string
	Membership string
	More       string // the address of those that follow
}

func (c *console) room(v *view) (string, any, error) {
	now, err := c.Operator.Room(v.Ctx, v.Vars["room"])
	if err != nil {
		return "", nil, err
	}
	page := roomShown{RoomNow: now}
	if page.Actor, err = c.showActor(v, cluster.KindRoom, now.RoomID); err != nil {
		return "", nil, err
	}
	if !fragment(v.Request) { // members are not looked at every two seconds
		if page.Members, err = c.membersOf(v, now.RoomID); err != nil {
			return "", nil, err
		}
	}
	title := now.Name
	if title == "" {
		title = now.RoomID
	}
	return title, page, nil
}

// changeRoom is what the buttons of a room do.
func (c *console) changeRoom(v *view) (outcome, error) {
	roomID := v.Vars["room"]
	switch v.form.Get("change") {
	case "block":
		return outcome{notice: "The room is blocked: who is not in it cannot come in"}, c.Operator.BlockRoom(v.Ctx, v.by(), roomID, true, v.Now)
	case "unblock":
		return outcome{notice: "The room is open to the users of this server again"}, c.Operator.BlockRoom(v.Ctx, v.by(), roomID, false, v.Now)
	case "close":
		return c.closeRoom(v, roomID)
	}
	return outcome{}, mxerr.InvalidParam("a room cannot be changed like that")
}

// closeRoom closes as much as one request does. What is left is asked for by the same button.
func (c *console) closeRoom(v *view, roomID string) (outcome, error) {
	done, err := c.Operator.CloseRoom(v.Ctx, v.by(), roomID, admin.Closing{}, v.Now)
	if err != nil {
		return outcome{}, err
	}
	notice := fmt.Sprintf("%d users of this server have left", len(done.Left))
	if len(done.Failed) > 0 {
		notice += fmt.Sprintf(", %d could not: try again", len(done.Failed))
	}
	if done.More {
		notice += "; there are more: close it again"
	}
	return outcome{notice: notice}, nil
}

func (c *console) members(v *view) (string, any, error) {
	found, err := c.membersOf(v, v.Vars["room"])
	return "Members", found, err
}

func (c *console) membersOf(v *view, roomID string) (membersShown, error) {
	membership, err := v.Enum("membership", "", "join", "invite", "knock", "leave", "ban")
	if err != nil {
		return membersShown{}, err
	}
	found, err := c.Operator.Members(v.Ctx, roomID, membership, v.part())
	path := Base + "/rooms/" + url.PathEscape(roomID) + "/members"
	return membersShown{Members: found, RoomID: roomID, Membership: membership,
		More: following(path, found.Next, url.Values{"membership": {membership}})}, err
}
