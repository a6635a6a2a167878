package federation

import (
	"strings"
	"testing"

	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// TestModerationAcrossServers: a room of another server is blocked and closed on one's own, and what a user of another server has said is redacted.
func TestModerationAcrossServers(t *testing.T) {
	t.Parallel()
	servers := peers.Start(t, 2)
	t.Cleanup(func() { explain(t, servers) })
	alice, bob := newPerson(t, servers[0], "alice"), newPerson(t, servers[1], "bob")
	roomID := alice.create(J{"preset": "public_chat"})
	join := matrixclient.Path("join", roomID) + "?via=" + servers[0].Name
	operate(t, servers[1], "rooms", "block", roomID)
	bob.refused("M_FORBIDDEN", "POST", join, J{})
	alice.refused("M_FORBIDDEN", "POST", matrixclient.Path("rooms", roomID, "invite"), J{"user_id": bob.UserID})
	operate(t, servers[1], "rooms", "block", "--unblock", roomID)
	bob.joinVia(roomID, servers[0].Name)
	spam := bob.say(roomID, "buy now")
	alice.has(roomID, spam)
	if told := operate(t, servers[0], "user", "redact", bob.UserID); told != "1 messages are redacted\n" {
		t.Errorf("redacting: %s", told)
	}
	bob.eventually("the end of what bob has said", func() bool {
		return !bob.do("GET", matrixclient.Path("rooms", roomID, "event", spam), nil).Get("content.body").Exists()
	})
	if told := operate(t, servers[1], "rooms", "close", roomID, "--reason", "enough"); told != "1 users have left\n" {
		t.Errorf("closing: %s", told)
	}
	alice.seesMember(roomID, bob.UserID, "leave")
	bob.refused("M_FORBIDDEN", "POST", join, J{})
	if told := operate(t, servers[1], "rooms", "blocked"); !strings.Contains(told, roomID) {
		t.Errorf("blocked are: %s", told)
	}
	alice.say(roomID, "the room lives on")
}
