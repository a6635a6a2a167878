package admin_test

import (
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

func TestReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob, root := w.Register("alice"), w.Register("bob"), w.root
	ask := func(u *clienttest.User, method, path string, status int) gjson.Result {
		t.Helper()
		return w.ask(u, method, path, nil, status)
	}
	roomID := alice.CreateRoom(clienttest.J{"preset": "public_chat"})
	eventID := alice.Say(roomID, "x")
	bob.Join(roomID)
	bob.Post(clienttest.Room(roomID, "report", eventID), clienttest.J{"reason": "first"}).OK()
	bob.Post(clienttest.Room(roomID, "report"), clienttest.J{"reason": "second"}).OK()
	alice.Post(clienttest.Path("users", bob.ID, "report"), clienttest.J{"reason": "third"}).OK()
	reasons := func(query string) (found []string, next string) {
		page := ask(root, "GET", "/reports"+query, 200)
		for _, reason := range page.Get("reports.#.reason").Array() {
			found = append(found, reason.Str)
		}
		return found, page.Get("next").Str
	}
	all, next := reasons("")
	if !slices.Equal(all, []string{"third", "second", "first"}) || next != "" {
		t.Errorf("%v, then %q", all, next)
	}
	if found, _ := reasons("?match=" + eventID); !slices.Equal(found, []string{"first"}) {
		t.Errorf("matching: %v", found)
	}
	page, next := reasons("?limit=2")
	rest, end := reasons("?limit=2&from=" + next)
	if !slices.Equal(append(page, rest...), all) || end != "" {
		t.Errorf("%v, then %v, then %q", page, rest, end)
	}
	first := ask(root, "GET", "/reports", 200).Get("reports.2")
	if first.Get("reporter").Str != bob.ID || first.Get("room_id").Str != roomID || first.Get("event_id").Str != eventID || first.Get("user_id").Str != alice.ID {
		t.Errorf("%s", first.Raw)
	}
	ask(bob, "GET", "/reports", 403)
	ask(bob, "DELETE", "/reports/"+first.Get("id").Str, 403)
	ask(root, "DELETE", "/reports/"+first.Get("id").Str, 200)
	ask(root, "DELETE", "/reports/"+first.Get("id").Str, 404)
	ask(root, "DELETE", "/reports/x", 400)
	ask(root, "GET", "/reports?from=x", 400)
	if left, _ := reasons(""); !slices.Equal(left, []string{"third", "second"}) {
		t.Errorf("left: %v", left)
	}
}
