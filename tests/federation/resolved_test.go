package federation

import (
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// TestClientsAreToldWhatAResolutionChanged: a topic that was set while the right to do so was being taken away elsewhere is undone when the
// servers hear of each other. No event does that, so that clients learn it from the state beside the timeline, in every kind of sync
// (client-server API, "Syncing"; MSC4222; MSC4186).
func TestClientsAreToldWhatAResolutionChanged(t *testing.T) {
	t.Parallel()
	servers := peers.StartApart(t, 2, "federation.retry_longest=1s")
	t.Cleanup(func() { explain(t, servers) })
	alice, bob := newPerson(t, servers[0], "alice"), newPerson(t, servers[1], "bob")
	rooms := map[string]string{}
	topics := map[string]string{} // before
	topic := event.Tuple{Type: "m.room.topic"}
	for _, v := range roomversion.All() {
		if v.StateResolution == roomversion.StateResolutionV1 {
			continue // in which the deeper topic stays: it is checked with the power that the two sides had agreed on
		}
		levels := J{bob.UserID: 50}
		if !v.PrivilegedCreators {
			levels[alice.UserID] = 100
		}
		roomID := alice.create(J{"preset": "public_chat", "room_version": v.ID, "topic": "before", "power_level_content_override": J{"users": levels}})
		bob.joinVia(roomID, alice.server())
		alice.seesMember(roomID, bob.UserID, "join")
		rooms[v.ID], topics[v.ID] = roomID, alice.state(roomID)[topic]
	}
	followed := views(bob)
	for _, v := range followed {
		v.update()
	}
	peers.Part(servers[:1], servers[1:])
	for _, roomID := range rooms {
		bob.do("PUT", matrixclient.Path("rooms", roomID, "state", "m.room.topic", ""), J{"topic": "of bob"})
		levels := alice.do("GET", matrixclient.Path("rooms", roomID, "state", "m.room.power_levels", ""), nil).Value().(map[string]any)
		delete(levels["users"].(map[string]any), bob.UserID)
		alice.do("PUT", matrixclient.Path("rooms", roomID, "state", "m.room.power_levels", ""), levels)
	}
	for _, v := range followed {
		for version, roomID := range rooms {
			bob.eventually(v.name+" shows bob's topic in version "+version, func() bool {
				if id := v.rooms[roomID][topic]; id != topics[version] && id != "" {
					return true
				}
				v.update()
				return false
			})
		}
	}
	peers.Rejoin(servers)
	for version, roomID := range rooms {
		bob.eventually("the topic of before is back in version "+version, func() bool { return bob.state(roomID)[topic] == topics[version] })
	}
	for _, v := range followed {
		next, told := v.ask()
		v.next = next
		for version, roomID := range rooms {
			is := func(e gjson.Result) bool { return e.Get("event_id").Str == topics[version] }
			if !slices.ContainsFunc(told[roomID].state, is) {
				t.Errorf("%s does not tell that the topic is the one of before in version %s", v.name, version)
			}
			if slices.ContainsFunc(told[roomID].timeline, is) {
				t.Errorf("%s shows the topic of before as if it were new in version %s", v.name, version)
			}
		}
	}
}
