package main

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/matrixon/matrixon/http/admin"
)

type roomsCommand struct {
	List    roomsList    `cmd:"" help:"List the rooms that this server takes part in."`
	Inspect roomsInspect `cmd:"" help:"Show a room."`
	Members roomsMembers `cmd:"" help:"List who has a membership of a room."`
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
			"encryption", r.Encryption, "in the directory", r.Published, "upgraded to", r.UpgradedTo, "journal position", r.Seq, "state", state,
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
