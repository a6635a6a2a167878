package mail

import (
	"context"
	"net/url"

	"github.com/matrixon/matrixon/actors/push"
)

// digestShown is what the template shows.
type digestShown struct {
	push.Digest
	Server, Heading string
}

// Digest tells of what somebody has missed.
func (m *Mailer) Digest(ctx context.Context, to string, d push.Digest) error {
	heading := "You have missed messages"
	if len(d.Rooms) == 1 {
		r := d.Rooms[0]
		switch {
		case r.Invite && r.Name != "":
			heading = "You are invited to " + r.Name
		case r.Invite:
			heading = "You are invited to a room"
		case r.Name != "":
			heading = "You have missed messages in " + r.Name
		}
	}
	return m.send(ctx, to, heading, "digest", digestShown{Digest: d, Server: m.o.ServerName, Heading: heading})
}

// Link is where a room is opened with whatever app somebody has (appendices, "matrix.to navigation").
func (digestShown) Link(roomID string) string { return "https://matrix.to/#/" + url.PathEscape(roomID) }
