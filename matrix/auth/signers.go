package auth

import (
	"slices"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// Signers are the servers that must have signed the event, each once: the sender's, unless the event is an invite made from a
// third-party invite; in room versions 1 and 2 that of the event id; and from room version 8 on that of the user who authorises
// a join (rooms/v1, v3 and v8, "Authorisation rules"; server-server API, "Validating hashes and signatures on received events").
// An authoriser that is not a user id gives "", which no server can sign for.
func Signers(e *event.Event) []string {
	var servers []string
	add := func(server string) {
		if !slices.Contains(servers, server) {
			servers = append(servers, server)
		}
	}
	v := e.Version()
	invite := e.Type() == typeMember && e.Membership() == "invite" && gjson.GetBytes(e.Content(), "third_party_invite").Exists()
	if !invite {
		add(id.ServerOf(e.Sender()))
	}
	if v.EventIDFormat == roomversion.EventIDField {
		add(id.ServerOf(e.ID()))
	}
	if via := gjson.GetBytes(e.Content(), "join_authorised_via_users_server"); v.Restricted && e.Type() == typeMember && via.Exists() {
		add(id.ServerOf(via.Str))
	}
	return servers
}
