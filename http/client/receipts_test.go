package client_test

import (
	"strconv"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// The marker of what was fully read goes forward, and back only for those who ask for it (MSC4446).
func TestFullyReadMarker(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	room := alice.CreateRoom(J{})
	first, second, third := alice.Say(room, "1"), alice.Say(room, "2"), alice.Say(room, "3")
	is := func(event string) {
		t.Helper()
		alice.Get("/sync").OK().Has("rooms.join."+gjson.Escape(room)+`.account_data.events.#(type=="m.fully_read").content.event_id`, strconv.Quote(event))
	}
	markers := clienttest.Room(room, "read_markers")
	receipt := func(typ, event string) string { return clienttest.Room(room, "receipt", typ, event) }
	alice.Post(markers, J{"m.fully_read": second}).OK()
	is(second)
	alice.Post(markers, J{"m.fully_read": first}).OK()
	is(second)
	alice.Post(receipt("m.fully_read", first), J{"allow_backward": false}).OK()
	is(second)
	alice.Post(receipt("m.fully_read", first), J{"allow_backward": true}).OK()
	is(first)
	alice.Post(receipt("m.fully_read", third), nil).OK()
	is(third)
	alice.Post(markers, J{"m.fully_read": third, "com.beeper.allow_backward": true}).OK()
	alice.Post(markers, J{"m.fully_read": second, "com.beeper.allow_backward": true}).OK()
	is(second)
	alice.Post(receipt("m.read", first), J{"allow_backward": true}).Refused(400, "M_INVALID_PARAM")
	alice.Post(receipt("m.read.private", first), J{"com.beeper.allow_backward": true}).Refused(400, "M_INVALID_PARAM")
	alice.Post(receipt("m.read", first), J{"allow_backward": "yes"}).Refused(400, "M_BAD_JSON")
}

// Receipts never go back, whatever the marker does.
func TestReceiptsDoNotGoBackWithTheMarker(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	room := alice.CreateRoom(J{"invite": []string{bob.ID}})
	bob.Join(room)
	first, second := alice.Say(room, "1"), alice.Say(room, "2")
	markers := clienttest.Room(room, "read_markers")
	bob.Post(markers, J{"m.fully_read": second, "m.read": second}).OK()
	bob.Post(markers, J{"m.fully_read": first, "m.read": first, "allow_backward": true}).OK()
	sync := bob.Get("/sync").OK()
	at := "rooms.join." + gjson.Escape(room)
	sync.Has(at+`.account_data.events.#(type=="m.fully_read").content.event_id`, strconv.Quote(first)).
		Has(at+`.ephemeral.events.#(type=="m.receipt").content.@keys`, "["+strconv.Quote(second)+"]").
		Has(at+".unread_notifications.notification_count", "0")
}
