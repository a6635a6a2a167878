package client_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

func TestTimestampToEvent(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, stranger := w.Register("alice"), w.Register("bob"), w.Register("stranger")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	alice.SetState(roomID, "m.room.history_visibility", "", J{"history_visibility": "joined"})
	w.Clock.Advance(time.Hour)
	first, hidden := w.Clock.Now().UnixMilli(), alice.Say(roomID, "first")
	w.Clock.Advance(time.Hour)
	bob.Join(roomID)
	w.Clock.Advance(time.Hour)
	second, seen := w.Clock.Now().UnixMilli(), alice.Say(roomID, "second")
	again := alice.Say(roomID, "in the same millisecond")
	path := func(ts int64, dir string) string {
		return fmt.Sprintf("/_matrix/client/v1/rooms/%s/timestamp_to_event?ts=%d&dir=%s", roomID, ts, dir)
	}
	for _, c := range []struct {
		ts   int64
		dir  string
		want string
		at   int64
	}{
		{first, "f", hidden, first},
		{first, "b", hidden, first},
		{first - 1, "f", hidden, first},
		{first + 1, "b", hidden, first},
		{second - 1, "f", seen, second},
		{second, "f", seen, second},
		{second, "b", again, second},
		{second + 1_000_000_000_000, "b", again, second},
	} {
		alice.Get(path(c.ts, c.dir)).OK().Has("event_id", `"`+c.want+`"`).Has("origin_server_ts", fmt.Sprint(c.at))
	}
	alice.Get(path(second+1, "f")).Refused(404, "M_NOT_FOUND")
	alice.Get(path(-5, "b")).Refused(404, "M_NOT_FOUND")
	alice.Get(path(-5, "f")).OK()
	alice.Get("/_matrix/client/unstable/org.matrix.msc3030/rooms/" + roomID + "/timestamp_to_event?ts=0&dir=f").OK()
	// What was said before the join is passed over, in both directions.
	for dir, want := range map[string]func(ts int64) bool{"f": func(ts int64) bool { return ts > first }, "b": func(ts int64) bool { return ts < first }} {
		if got := bob.Get(path(first, dir)).OK(); !want(got.At("origin_server_ts").Int()) {
			t.Errorf("%s: bob is told of %s", dir, got.Raw)
		}
	}
	stranger.Get(path(first, "f")).Refused(403, "M_FORBIDDEN")
	base := "/_matrix/client/v1/rooms/" + roomID + "/timestamp_to_event"
	alice.Get(base+"?dir=f").Refused(400, "M_MISSING_PARAM")
	alice.Get(base+"?ts=1").Refused(400, "M_MISSING_PARAM")
	alice.Get(base+"?ts=x&dir=f").Refused(400, "M_INVALID_PARAM")
	alice.Get(base+"?ts=1&dir=x").Refused(400, "M_INVALID_PARAM")
	w.Nobody().Get(path(0, "f")).Refused(401, "M_MISSING_TOKEN")
}
