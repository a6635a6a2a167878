package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/matrixon/matrixon/http/admin"
)

type roomsCommand struct {
	List      roomsList      `cmd:"" help:"List the rooms that this server takes part in."`
	Inspect   roomsInspect   `cmd:"" help:"Show a room."`
	Members   roomsMembers   `cmd:"" help:"List who has a membership of a room."`
	Block     roomsBlock     `cmd:"" help:"Keep the users of this server who are not in a room out of it, or let them in again."`
	Blocked   roomsBlocked   `cmd:"" help:"List the rooms that are blocked."`
	Close     roomsClose     `cmd:"" help:"Have all users of this server leave a room for good."`
	MakeAdmin roomsMakeAdmin `cmd:"" help:"Give a user power over a room whose own administrators are gone."`
}

// roomPath is where a room stands in the operator's interface.
func roomPath(roomID string) string { return "/rooms/" + url.PathEscape(roomID) }

type roomsList struct{ listFlags }

// Run lists.
func (c roomsList) Run(ctx context.Context, m *Main) error {
	return list(ctx, m, c.listFlags, "/rooms", nil, "ROOM\tJOINED\tVERSION\tCREATED\tADDRESS\tNAME\tSTATE", func(r admin.Room) []any {
		return []any{r.RoomID, r.JoinedMembers, r.Version, when(r.CreatedTS), r.CanonicalAlias, r.Name,
			marks("encrypted", r.Encryption != "", "published", r.Published, "space", r.Type == "m.space", "upgraded", r.UpgradedTo != "")}
	})
}

// roomNamed is a room that something is done with.
type roomNamed struct {
	configFlags
	Room string `arg:"" help:"The room's id, as in !abc or !abc:example.org."`
}

type roomsInspect struct{ roomNamed }

// Run shows.
func (c roomsInspect) Run(ctx context.Context, m *Main) error {
	return c.operate(ctx, m, func(do doer) error {
		var r admin.RoomNow
		if err := ask(ctx, do, http.MethodGet, roomPath(c.Room), nil, &r); err != nil {
			return err
		}
		state := "at rest"
		if r.Actor != nil {
			state = "active on " + r.Actor.Node
		}
		return facts(m, "room", r.RoomID, "name", r.Name, "topic", r.Topic, "address", r.CanonicalAlias, "type", r.Type, "version", r.Version, "creator", r.Creator,
			"created", when(r.CreatedTS), "joined", r.JoinedMembers, "invited", r.InvitedMembers, "who may join", r.JoinRule, "who may read the past", r.Visibility,
			"encryption", r.Encryption, "in the directory", r.Published, "blocked", r.Blocked, "upgraded to", r.UpgradedTo, "journal position", r.Seq, "state", state,
			"extremities", strings.Join(r.Extremities, " "), "trouble", r.Trouble)
	})
}

type roomsMembers struct {
	listFlags
	Room       string `arg:"" help:"The room's id."`
	Membership string `enum:",join,invite,knock,leave,ban" default:"" help:"Only this membership: join, invite, knock, leave or ban."`
}

// Run lists.
func (c roomsMembers) Run(ctx context.Context, m *Main) error {
	return list(ctx, m, c.listFlags, roomPath(c.Room)+"/members", url.Values{"membership": {c.Membership}}, "USER\tMEMBERSHIP\tEVENT", func(r admin.Member) []any {
		return []any{r.UserID, r.Membership, r.EventID}
	})
}

type roomsBlock struct {
	roomNamed
	Unblock bool `help:"Let them in again."`
}

// Run blocks, or lets free.
func (c roomsBlock) Run(ctx context.Context, m *Main) error {
	return c.operate(ctx, m, func(do doer) error {
		return ask(ctx, do, http.MethodPost, roomPath(c.Room)+"/block", map[string]bool{"blocked": !c.Unblock}, &struct{}{})
	})
}

type roomsBlocked struct{ listFlags }

// Run lists.
func (c roomsBlocked) Run(ctx context.Context, m *Main) error {
	return list(ctx, m, c.listFlags, "/blocked_rooms", nil, "ROOM\tSINCE\tBY", func(r admin.BlockedRoom) []any { return []any{r.RoomID, when(r.TS), r.By} })
}

type roomsClose struct {
	roomNamed
	Unblocked bool   `help:"Let users come back if the room lets them. Otherwise the room is blocked."`
	Reason    string `help:"What members read as the reason."`
}

// Help tells what it does.
func (roomsClose) Help() string {
	return "The room loses its addresses on this server and its place in the directory; all users of this server who are in it, invited or knocking leave " +
		"and forget it. Members from other servers stay. The history is kept. When the command is interrupted, run it again."
}

// Run closes, request after request, and tells how far it is.
func (c roomsClose) Run(ctx context.Context, m *Main) error {
	return c.operate(ctx, m, func(do doer) error {
		for left := 0; ; {
			var done admin.Closed
			if err := ask(ctx, do, http.MethodPost, roomPath(c.Room)+"/close", admin.Closing{Unblocked: c.Unblocked, Reason: c.Reason}, &done); err != nil {
				return err
			}
			left += len(done.Left)
			fmt.Fprintf(m.Stdout, "%d users have left\n", left)
			for userID, why := range done.Failed {
				fmt.Fprintf(m.Stderr, "%s could not leave: %s\n", userID, printable(why))
			}
			switch {
			case len(done.Failed) > 0:
				return fmt.Errorf("%d users could not leave; run the command again", len(done.Failed))
			case !done.More:
				return nil
			}
		}
	})
}

type roomsMakeAdmin struct {
	roomNamed
	User string `arg:"" help:"The user."`
}

// Run gives the power, and tells from whom.
func (c roomsMakeAdmin) Run(ctx context.Context, m *Main) error {
	return c.operate(ctx, m, func(do doer) error {
		var made admin.RoomAdmin
		if err := ask(ctx, do, http.MethodPost, roomPath(c.Room)+"/make_admin", map[string]string{"user_id": c.User}, &made); err != nil {
			return err
		}
		fmt.Fprintf(m.Stdout, "%s has power level %d, from %s\n", made.UserID, made.Level, made.From)
		if made.Invited {
			fmt.Fprintln(m.Stdout, "and is invited")
		}
		return nil
	})
}
