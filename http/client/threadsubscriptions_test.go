package client_test

import (
	"net/http"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

func subscription(roomID, rootID string) string {
	return "/_matrix/client/unstable/io.element.msc4306" + clienttest.Room(roomID, "thread", rootID, "subscription")
}

const (
	changedSubscriptions = "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions"
	conflicting          = "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION"
)

func TestThreadSubscription(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, eve := w.Register("alice"), w.Register("bob"), w.Register("eve")
	room := alice.CreateRoom(J{"preset": "private_chat", "invite": []string{bob.ID}})
	bob.Join(room)
	root := alice.Say(room, "root")
	path := subscription(room, root)

	alice.Get(path).Refused(404, "M_NOT_FOUND")
	alice.Delete(path).OK()
	alice.Put(path, J{}).OK()
	alice.Get(path).OK().Has("automatic", "false")
	mention := inThread(bob, room, root, "hey")
	alice.Put(path, J{"automatic": mention}).OK()
	alice.Get(path).OK().Has("automatic", "false") // by hand counts more
	alice.Delete(path).OK()
	alice.Get(path).Refused(404, "M_NOT_FOUND")
	alice.Put(path, J{"automatic": mention}).Refused(http.StatusConflict, conflicting)
	again := inThread(bob, room, root, "hey again")
	alice.Put(path, J{"automatic": again}).OK()
	alice.Get(path).OK().Has("automatic", "true")
	alice.Put(path, J{}).OK()
	alice.Get(path).OK().Has("automatic", "false")

	elsewhere := bob.Say(room, "not in the thread")
	alice.Put(path, J{"automatic": elsewhere}).Refused(400, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD")
	alice.Put(path, J{"automatic": 1}).Refused(400, "M_BAD_JSON")
	alice.Put(path, J{"automatic": "$nothing"}).Refused(404, "M_NOT_FOUND")
	alice.Put(subscription(room, "$nothing"), J{}).Refused(404, "M_NOT_FOUND")
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		eve.Do(method, path, J{}).Refused(404, "M_NOT_FOUND")
	}
	w.Nobody().Get(path).Refused(401, "M_MISSING_TOKEN")
}

func TestThreadSubscriptionsOfManyThreads(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	room := alice.CreateRoom(J{})
	var roots []string
	for range 5 {
		roots = append(roots, alice.Say(room, "root"))
	}
	begin := alice.Get("/sync").OK().Text("next_batch")
	alice.Put(subscription(room, roots[0]), J{}).OK()
	alice.Delete(subscription(room, roots[0])).OK()
	for _, root := range roots[1:] {
		alice.Put(subscription(room, root), J{}).OK()
	}
	alice.Put(subscription(room, roots[1]), J{}).OK() // nothing changes
	seen := map[string]bool{}
	query, pages := "?dir=b&limit=2", 0
	for {
		page := alice.Get(changedSubscriptions + query + "&to=" + begin).OK()
		pages++
		for root, sub := range page.At("subscribed." + gjson.Escape(room)).Map() {
			if seen[root] || sub.Get("automatic").Raw != "false" || sub.Get("bump_stamp").Int() <= 0 {
				t.Errorf("%s: %s", root, sub)
			}
			seen[root] = true
		}
		for root, sub := range page.At("unsubscribed." + gjson.Escape(room)).Map() {
			if root != roots[0] || sub.Get("bump_stamp").Int() <= 0 {
				t.Errorf("%s: %s", root, sub)
			}
			seen[root] = true
		}
		if !page.At("end").Exists() {
			break
		}
		query = "?dir=b&limit=2&from=" + page.Text("end")
	}
	if len(seen) != 5 || pages != 3 {
		t.Errorf("%d threads on %d pages", len(seen), pages)
	}
	now := alice.Get("/sync").OK().Text("next_batch")
	alice.Get(changedSubscriptions + "?dir=b&to=" + now).OK().Lacks("subscribed").Lacks("unsubscribed").Lacks("end")
	alice.Get(changedSubscriptions+"?dir=f").Refused(400, "M_INVALID_PARAM")
	alice.Get(changedSubscriptions+"?dir=b&limit=0").Refused(400, "M_INVALID_PARAM")
	alice.Get(changedSubscriptions+"?dir=b&from=nonsense").Refused(400, "M_INVALID_PARAM")
}

// Threads notify those who follow them, whatever the room's own rules say, and are silent for everybody else who has begun to
// follow threads.
func TestThreadSubscriptionDecidesWhatNotifies(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	room := alice.CreateRoom(J{"preset": "private_chat", "invite": []string{bob.ID}})
	bob.Join(room)
	followed, other := bob.Say(room, "one"), bob.Say(room, "two")
	filter := `/sync?filter={"room":{"timeline":{"unread_thread_notifications":true}}}`
	unread := func(root string) int64 {
		return alice.Get(filter).OK().At("rooms.join." + gjson.Escape(room) + ".unread_thread_notifications." + root + ".notification_count").Int()
	}
	inThread(bob, room, followed, "a")
	inThread(bob, room, other, "b")
	if unread(followed) != 1 || unread(other) != 1 {
		t.Error("threads do not notify somebody who has never followed one")
	}
	alice.Get("/pushrules/").OK().Lacks("global.postcontent")
	since := alice.Get("/sync").OK().Text("next_batch")
	alice.Put(subscription(room, followed), J{}).OK()
	if unread(followed) != 1 || unread(other) != 0 {
		t.Error("the thread that is not followed notifies")
	}
	told := alice.Get("/sync?since=" + since).OK()
	if told.At(`account_data.events.#(type=="m.push_rules").content.global.postcontent.#`).Int() != 2 {
		t.Errorf("the rules were not told: %s", told.Raw)
	}
	const rule = "/pushrules/global/postcontent/.io.element.msc4306.rule.unsubscribed_thread"
	alice.Put(rule+"/enabled", J{"enabled": false}).OK()
	if unread(other) != 1 {
		t.Error("the rule cannot be switched off")
	}
	alice.Put(rule+"/enabled", J{"enabled": true}).OK()
	bob.Send(room, "m.room.message", J{"msgtype": "m.text", "body": "alice", "m.mentions": J{"user_ids": []string{alice.ID}},
		"m.relates_to": J{"rel_type": "m.thread", "event_id": other}})
	if unread(other) != 1 {
		t.Error("a mention in a thread that is not followed does not notify")
	}
	alice.Put(clienttest.Path("pushrules", "global", "room", room), J{"actions": []string{}}).OK()
	inThread(bob, room, followed, "c")
	if unread(followed) != 2 {
		t.Error("the followed thread of a muted room does not notify")
	}
	alice.Delete(subscription(room, followed)).OK()
	if unread(followed) != 0 {
		t.Error("the thread notifies after unsubscribing")
	}
	alice.Put("/pushrules/global/postcontent/mine", J{"actions": []string{}}).Refused(400, "M_INVALID_PARAM")
}
