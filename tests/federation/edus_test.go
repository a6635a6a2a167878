package federation

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// ephemeral gives the contents of this type that a sync tells of a room.
func ephemeral(sync gjson.Result, roomID, kind string) []gjson.Result {
	var contents []gjson.Result
	for _, e := range sync.Get("rooms.join").Map()[roomID].Get("ephemeral.events").Array() {
		if e.Get("type").Str == kind {
			contents = append(contents, e.Get("content"))
		}
	}
	return contents
}

// typing waits until exactly these users type.
func (p *person) seesTyping(roomID string, users ...string) {
	p.t.Helper()
	p.until("typing: "+strings.Join(users, " "), func(sync gjson.Result) bool {
		for _, content := range ephemeral(sync, roomID, "m.typing") {
			var now []string
			for _, u := range content.Get("user_ids").Array() {
				now = append(now, u.Str)
			}
			if strings.Join(now, " ") == strings.Join(users, " ") {
				return true
			}
		}
		return false
	})
}

// TestEDUsAcrossServers: what is no event reaches users of another server as it does those of one's own.
func TestEDUsAcrossServers(t *testing.T) {
	t.Parallel()
	servers := peers.Start(t, 2)
	t.Cleanup(func() { explain(t, servers) })
	alice, bob := newPerson(t, servers[0], "alice"), newPerson(t, servers[1], "bob")
	roomID := alice.create(J{"preset": "public_chat"})
	bob.joinVia(roomID, servers[0].Name)
	alice.seesMember(roomID, bob.UserID, "join")
	said := alice.say(roomID, "hello")
	bob.sees(roomID, said)

	typing := matrixclient.Path("rooms", roomID, "typing", bob.UserID)
	bob.do("PUT", typing, J{"typing": true, "timeout": 30000})
	alice.seesTyping(roomID, bob.UserID)
	bob.do("PUT", typing, J{"typing": false})
	alice.seesTyping(roomID)

	bob.do("POST", matrixclient.Path("rooms", roomID, "receipt", "m.read.private", said), J{})
	bob.do("POST", matrixclient.Path("rooms", roomID, "receipt", "m.read", said), J{})
	alice.until("the receipt", func(sync gjson.Result) bool {
		for _, content := range ephemeral(sync, roomID, "m.receipt") {
			of := content.Map()[said]
			if of.Get(`m\.read\.private`).Exists() {
				t.Fatalf("a private receipt left its server: %s", content)
			}
			if _, ok := of.Get(`m\.read`).Map()[bob.UserID]; ok {
				return true
			}
		}
		return false
	})

	bob.do("PUT", matrixclient.Path("presence", bob.UserID, "status"), J{"presence": "unavailable", "status_msg": "at lunch"})
	alice.until("the presence", func(sync gjson.Result) bool {
		for _, e := range sync.Get("presence.events").Array() {
			if e.Get("sender").Str == bob.UserID && e.Get("content.status_msg").Str == "at lunch" {
				return true
			}
		}
		return false
	})

	send := matrixclient.Path("sendToDevice", "org.example.note", "1")
	for range 2 { // the same transaction is one message
		bob.do("PUT", send, J{"messages": J{alice.UserID: J{"*": J{"n": 1}}, "@nobody:" + servers[0].Name: J{"*": J{}}}})
	}
	bob.do("PUT", matrixclient.Path("sendToDevice", "org.example.note", "2"), J{"messages": J{alice.UserID: J{alice.DeviceID: J{"n": 2}, "NONE": J{}}}})
	got := ""
	alice.until("two messages", func(sync gjson.Result) bool {
		for _, e := range sync.Get("to_device.events").Array() {
			if e.Get("type").Str != "org.example.note" || e.Get("sender").Str != bob.UserID {
				t.Fatalf("a message to a device: %s", e)
			}
			got += e.Get("content.n").Raw
		}
		return len(got) >= 2
	})
	if got != "12" {
		t.Fatalf("the messages came as %s", got)
	}

	encrypted(t, bob.Client)
	alice.until("the change of devices", func(sync gjson.Result) bool {
		for _, u := range sync.Get("device_lists.changed").Array() {
			if u.Str == bob.UserID {
				return true
			}
		}
		return false
	})
	alice.eventually("the keys", func() bool {
		return alice.do("POST", matrixclient.Path("keys", "query"), J{"device_keys": J{bob.UserID: []string{}}}).Get("device_keys").Map()[bob.UserID].Exists()
	})
	bob.do("PUT", matrixclient.Path("devices", bob.DeviceID), J{"display_name": "a new name"})
	alice.eventually("the new name", func() bool {
		keys := alice.do("POST", matrixclient.Path("keys", "query"), J{"device_keys": J{bob.UserID: []string{}}}).Get("device_keys").Map()[bob.UserID]
		return keys.Map()[bob.DeviceID].Get("unsigned.device_display_name").Str == "a new name"
	})
}
