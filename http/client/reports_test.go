package client_test

import (
	"strings"
	"testing"

	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestReports(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, stranger := w.Register("alice"), w.Register("bob"), w.Register("stranger")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(roomID)
	eventID := alice.Say(roomID, "something bad")
	now := w.Clock.Now().UnixMilli()

	bob.Post(clienttest.Room(roomID, "report", eventID), J{"reason": "rude", "score": -100}).OK()
	bob.Post(clienttest.Room(roomID, "report", eventID), J{}).OK()
	stranger.Post(clienttest.Room(roomID, "report"), J{"reason": ""}).OK()
	stranger.Post(clienttest.Path("users", alice.ID, "report"), J{"reason": "spam"}).OK()
	w.Write(schema.Memberships.Put(schema.Membership{UserID: "@far:elsewhere.example", RoomID: roomID, Membership: "leave"}))
	stranger.Post(clienttest.Path("users", "@far:elsewhere.example", "report"), J{"reason": "spam"}).OK()

	rows, err := schema.Reports.All(t.Context(), w.Store, persistence.Range[schema.Report]{})
	if err != nil {
		t.Fatal(err)
	}
	want := []schema.Report{
		{ReporterID: bob.ID, TS: now, RoomID: roomID, EventID: eventID, UserID: alice.ID, Reason: "rude"},
		{ReporterID: bob.ID, TS: now, RoomID: roomID, EventID: eventID, UserID: alice.ID},
		{ReporterID: stranger.ID, TS: now, RoomID: roomID},
		{ReporterID: stranger.ID, TS: now, UserID: alice.ID, Reason: "spam"},
		{ReporterID: stranger.ID, TS: now, UserID: "@far:elsewhere.example", Reason: "spam"},
	}
	if len(rows) != len(want) {
		t.Fatalf("%d reports, want %d", len(rows), len(want))
	}
	for i, row := range rows {
		if row.Pos = 0; row != want[i] {
			t.Errorf("report %d is %+v, want %+v", i, row, want[i])
		}
	}

	for _, c := range []struct {
		u      *clienttest.User
		path   string
		body   any
		status int
		code   string
	}{
		{w.Nobody(), clienttest.Room(roomID, "report"), J{"reason": ""}, 401, "M_MISSING_TOKEN"},
		{bob, clienttest.Room(roomID, "report"), J{}, 400, "M_MISSING_PARAM"},
		{bob, clienttest.Room(roomID, "report"), J{"reason": 1}, 400, "M_BAD_JSON"},
		{bob, clienttest.Room(roomID, "report"), "x", 400, "M_NOT_JSON"},
		{bob, clienttest.Room(roomID, "report"), J{"reason": strings.Repeat("x", 20_000)}, 413, "M_TOO_LARGE"},
		{bob, clienttest.Room("!none:example.org", "report"), J{"reason": ""}, 404, "M_NOT_FOUND"},
		{bob, clienttest.Room("none", "report"), J{"reason": ""}, 400, "M_INVALID_PARAM"},
		{bob, clienttest.Room(roomID, "report", "$none"), J{}, 404, "M_NOT_FOUND"},
		{stranger, clienttest.Room(roomID, "report", eventID), J{}, 404, "M_NOT_FOUND"},
		{bob, clienttest.Path("users", "@none:example.org", "report"), J{"reason": ""}, 404, "M_NOT_FOUND"},
		{bob, clienttest.Path("users", "@none:elsewhere.example", "report"), J{"reason": ""}, 404, "M_NOT_FOUND"},
		{bob, clienttest.Path("users", "none", "report"), J{"reason": ""}, 400, "M_INVALID_PARAM"},
		{bob, clienttest.Path("users", alice.ID, "report"), J{}, 400, "M_MISSING_PARAM"},
	} {
		c.u.Post(c.path, c.body).Refused(c.status, c.code)
	}
}
