package client_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// J is a JSON object.
type J = clienttest.J

// standings are what somebody can be to a room, in the order of the columns of TestWhoMayDoWhat.
var standings = []string{"nobody", "stranger", "invited", "left", "banned", "member"}

// TestWhoMayDoWhat asks everything of every standing. Each cell is the errcode, or ok; a dot stands for the cell to its left.
func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	const (
		noToken   = "M_MISSING_TOKEN"
		forbidden = "M_FORBIDDEN"
		notFound  = "M_NOT_FOUND"
	)
	// In paths: {room}, {event} (a message that all former members saw), {late} (one after they left), {me}, {txn},
	// {other} (a member); an alias #room of the room exists.
	tests := []struct {
		call string
		body J
		want string
	}{
		{"POST /rooms/{room}/join", J{}, noToken + " " + forbidden + " ok " + forbidden + " . ok"},
		{"POST /join/{room}", J{}, noToken + " " + forbidden + " ok " + forbidden + " . ok"},
		{"POST /join/%23room:example.org", J{}, noToken + " " + forbidden + " ok " + forbidden + " . ok"},
		{"POST /knock/{room}", J{}, noToken + " " + forbidden + " . . . ."},
		{"POST /rooms/{room}/leave", J{}, noToken + " " + forbidden + " ok ok " + forbidden + " ok"},
		{"POST /rooms/{room}/forget", J{}, noToken + " " + forbidden + " M_UNKNOWN ok ok M_UNKNOWN"},
		{"POST /rooms/{room}/invite", J{"user_id": "@guest:example.org"}, noToken + " " + forbidden + " . . . ok"},
		{"POST /rooms/{room}/kick", J{"user_id": "{other}"}, noToken + " " + forbidden + " . . . ."},
		{"POST /rooms/{room}/ban", J{"user_id": "{other}"}, noToken + " " + forbidden + " . . . ."},
		{"POST /rooms/{room}/unban", J{"user_id": "{other}"}, noToken + " " + forbidden + " . . . ."},
		{"POST /rooms/{room}/upgrade", J{"new_version": "11"}, noToken + " " + forbidden + " . . . ."},
		{"PUT /rooms/{room}/send/m.room.message/{txn}", J{"body": "x"}, noToken + " " + forbidden + " . . . ok"},
		{"PUT /rooms/{room}/redact/{event}/{txn}", J{}, noToken + " " + forbidden + " . . . ."},
		{"PUT /rooms/{room}/state/m.room.name", J{"name": "x"}, noToken + " " + forbidden + " . . . ."},
		{"PUT /rooms/{room}/state/m.room.member/{me}", J{"membership": "join"}, noToken + " " + forbidden + " ok " + forbidden + " . ok"},
		{"GET /rooms/{room}/state", nil, noToken + " " + forbidden + " . ok ok ok"},
		{"GET /rooms/{room}/state/m.room.create", nil, noToken + " " + forbidden + " . ok ok ok"},
		{"GET /rooms/{room}/members", nil, noToken + " " + forbidden + " . ok ok ok"},
		{"GET /rooms/{room}/joined_members", nil, noToken + " " + forbidden + " . . . ok"},
		{"GET /rooms/{room}/messages?dir=b", nil, noToken + " " + forbidden + " . ok ok ok"},
		{"GET /rooms/{room}/event/{event}", nil, noToken + " " + notFound + " . ok ok ok"},
		{"GET /rooms/{room}/event/{late}", nil, noToken + " " + notFound + " . . . ok"},
		{"GET /rooms/{room}/context/{event}", nil, noToken + " " + forbidden + " . ok ok ok"},
		{"GET /rooms/{room}/context/{late}", nil, noToken + " " + forbidden + " . " + notFound + " . ok"},
		{"GET /_matrix/client/v1/rooms/{room}/relations/{event}", nil, noToken + " " + notFound + " . ok ok ok"},
		{"GET /_matrix/client/v1/rooms/{room}/relations/{late}", nil, noToken + " " + notFound + " . . . ok"},
		{"GET /_matrix/client/v1/rooms/{room}/threads", nil, noToken + " " + forbidden + " . ok ok ok"},
		{"GET /_matrix/client/v1/rooms/{room}/timestamp_to_event?ts=0&dir=f", nil, noToken + " " + forbidden + " . ok ok ok"},
		{"GET /_matrix/client/v1/rooms/{room}/hierarchy", nil, noToken + " " + forbidden + " ok " + forbidden + " . ok"},
		{"GET /_matrix/client/v1/room_summary/{room}", nil, notFound + " . ok " + notFound + " . ok"},
		{"GET /_matrix/client/v1/room_summary/%23room:example.org", nil, notFound + " . ok " + notFound + " . ok"},
		{"GET /_matrix/client/v1/mutual_rooms?user_id={other}", nil, noToken + " ok ok ok ok ok"},
		{"POST /rooms/{room}/report", J{"reason": ""}, noToken + " ok ok ok ok ok"},
		{"POST /rooms/{room}/report/{event}", J{}, noToken + " " + notFound + " . . . ok"},
		{"POST /rooms/{room}/report/{late}", J{}, noToken + " " + notFound + " . . . ok"},
		{"POST /users/{other}/report", J{"reason": ""}, noToken + " ok ok ok ok ok"},
		{"GET /notifications", nil, noToken + " ok ok ok ok ok"},
		{"POST /user_directory/search", J{"search_term": "owner"}, noToken + " ok ok ok ok ok"},
		{"POST /search", J{"search_categories": J{}}, noToken + " ok ok ok ok ok"},
		{"GET /rooms/{room}/aliases", nil, noToken + " " + forbidden + " . . . ok"},
		{"PUT /rooms/{room}/typing/{me}", J{"typing": true}, noToken + " " + forbidden + " . . . ok"},
		{"PUT /rooms/{room}/typing/{other}", J{"typing": true}, noToken + " " + forbidden + " . . . ."},
		{"POST /rooms/{room}/receipt/m.read/{event}", J{}, noToken + " " + forbidden + " . . . ok"},
		{"POST /rooms/{room}/read_markers", J{"m.fully_read": "{event}"}, noToken + " " + forbidden + " . . . ok"},
		{"PUT /directory/room/%23{txn}:example.org", J{"room_id": "{room}"}, noToken + " " + forbidden + " . . . ok"},
		{"DELETE /directory/room/%23room:example.org", nil, noToken + " " + forbidden + " . . . ."},
		{"GET /directory/room/%23room:example.org", nil, "ok ok ok ok ok ok"},
		{"GET /directory/list/room/{room}", nil, "ok ok ok ok ok ok"},
		{"PUT /directory/list/room/{room}", J{"visibility": "public"}, noToken + " " + forbidden + " . . . ."},
		{"GET /joined_rooms", nil, noToken + " ok ok ok ok ok"},
		{"GET /publicRooms", nil, "ok ok ok ok ok ok"},
		{"POST /publicRooms", J{}, noToken + " ok ok ok ok ok"},
		{"POST /createRoom", J{}, noToken + " ok ok ok ok ok"},
	}
	for _, test := range tests {
		t.Run(strings.NewReplacer("/", "_").Replace(test.call), func(t *testing.T) {
			t.Parallel()
			w := clienttest.New(t)
			owner, other := w.Register("owner"), w.Register("other")
			w.Register("guest")
			users := []*clienttest.User{w.Nobody()}
			for _, name := range standings[1:] {
				users = append(users, w.Register(name))
			}
			roomID := owner.CreateRoom(J{"room_alias_name": "room"})
			for _, u := range append(users[2:], other) {
				owner.Invite(roomID, u)
				if u != users[2] {
					u.Join(roomID)
				}
			}
			event := owner.Say(roomID, "hello")
			users[3].Leave(roomID)
			owner.Post(clienttest.Room(roomID, "ban"), J{"user_id": users[4].ID}).OK()
			late := owner.Say(roomID, "they are gone")
			fill := func(u *clienttest.User, s string, escape func(string) string) string {
				me := u.ID
				if me == "" {
					me = "@nobody:example.org"
				}
				for name, value := range map[string]string{
					"{room}": roomID, "{event}": event, "{late}": late, "{me}": me, "{other}": other.ID, "{txn}": "txn",
				} {
					s = strings.ReplaceAll(s, name, escape(value))
				}
				return s
			}
			want := ""
			for i, cell := range strings.Fields(test.want) {
				if cell != "." {
					want = cell
				}
				u := users[i]
				method, path, _ := strings.Cut(test.call, " ")
				var body any
				if test.body != nil {
					filled := J{}
					for name, value := range test.body {
						if s, ok := value.(string); ok {
							value = fill(u, s, func(s string) string { return s })
						}
						filled[name] = value
					}
					body = filled
				}
				a := u.Do(method, fill(u, path, url.PathEscape), body)
				got := "ok"
				if a.Status != 200 {
					got = a.Text("errcode")
				}
				if got != want {
					t.Errorf("%s: %d %s, want %s", standings[i], a.Status, a.Raw, want)
				}
			}
		})
	}
}

// TestWorldReadable asks what a room that everybody may read gives to strangers and to those who left.
func TestWorldReadable(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob, stranger := w.Register("alice"), w.Register("bob"), w.Register("stranger")
	roomID := alice.CreateRoom(J{"preset": "public_chat", "room_alias_name": "open", "initial_state": []J{
		{"type": "m.room.history_visibility", "content": J{"history_visibility": "world_readable"}}}})
	bob.Join(roomID)
	bob.Leave(roomID)
	event := alice.Say(roomID, "for everyone")
	alice.SetState(roomID, "m.room.name", "", J{"name": "late"})
	for _, u := range []*clienttest.User{bob, stranger} {
		u.Get(clienttest.Room(roomID, "event", event)).OK().Has("content.body", `"for everyone"`)
		u.Get(clienttest.Room(roomID, "messages")+"?dir=b&limit=2").OK().Has("chunk.1.event_id", `"`+event+`"`)
		u.Get(clienttest.Room(roomID, "aliases")).OK().Has("aliases", `["#open:example.org"]`)
		u.Get(clienttest.Room(roomID, "joined_members")).Refused(403, "M_FORBIDDEN")
		u.Put(clienttest.Room(roomID, "send", "m.room.message", "1"), J{}).Refused(403, "M_FORBIDDEN")
	}
	stranger.Get(clienttest.Room(roomID, "state", "m.room.name")).OK().Has("name", `"late"`)
	stranger.Get(clienttest.Room(roomID, "members")).Refused(403, "M_FORBIDDEN")
	bob.Get(clienttest.Room(roomID, "state", "m.room.name")).Refused(404, "M_NOT_FOUND") // there was none when bob left
}

// TestMadeUpRooms asks for rooms that do not exist; none of it leaves a trace.
func TestMadeUpRooms(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice := w.Register("alice")
	for roomID, codes := range map[string][3]string{
		"!nobody-made-this":            {"M_FORBIDDEN", "M_NOT_FOUND", "M_NOT_FOUND"},
		"!x:elsewhere.org":             {"M_FORBIDDEN", "M_NOT_FOUND", "M_NOT_FOUND"},
		"no-room":                      {"M_INVALID_PARAM", "M_INVALID_PARAM", "M_INVALID_PARAM"},
		"#alias:x":                     {"M_INVALID_PARAM", "M_INVALID_PARAM", "M_INVALID_PARAM"},
		"!":                            {"M_INVALID_PARAM", "M_INVALID_PARAM", "M_INVALID_PARAM"},
		"!" + strings.Repeat("x", 300): {"M_INVALID_PARAM", "M_INVALID_PARAM", "M_INVALID_PARAM"},
	} {
		path := func(parts ...string) string { return clienttest.Room(roomID, parts...) }
		code := func(a *clienttest.Answer) string { return a.Text("errcode") }
		for call, a := range map[string]*clienttest.Answer{
			"send": alice.Put(path("send", "m.room.message", "1"), J{}), "state": alice.Get(path("state")),
			"put state": alice.Put(path("state", "m.room.name"), J{}), "members": alice.Get(path("members")),
			"messages": alice.Get(path("messages") + "?dir=b"), "invite": alice.Post(path("invite"), J{"user_id": alice.ID}),
			"leave": alice.Post(path("leave"), J{}), "forget": alice.Post(path("forget"), J{}), "kick": alice.Post(path("kick"), J{"user_id": alice.ID}),
			"upgrade": alice.Post(path("upgrade"), J{"new_version": "11"}), "aliases": alice.Get(path("aliases")),
			"typing": alice.Put(path("typing", alice.ID), J{"typing": true}), "receipt": alice.Post(path("receipt", "m.read", "$e"), J{}),
			"threads": alice.Get("/_matrix/client/v1" + path("threads")), "hierarchy": alice.Get("/_matrix/client/v1" + path("hierarchy")),
			"timestamp_to_event": alice.Get("/_matrix/client/v1" + path("timestamp_to_event") + "?ts=1&dir=f"),
			"joined_members":     alice.Get(path("joined_members")), "redact": alice.Put(path("redact", "$e", "1"), J{}),
		} {
			if got := code(a); got != codes[0] {
				t.Errorf("%s %.20s: %d %s, want %s", call, roomID, a.Status, a.Raw, codes[0])
			}
		}
		for call, a := range map[string]*clienttest.Answer{
			"join": alice.Post(path("join"), J{}), "publish": alice.Put("/directory/list/room/"+url.PathEscape(roomID), J{}),
			"published": alice.Get("/directory/list/room/" + url.PathEscape(roomID)),
			"report":    alice.Post(path("report"), J{"reason": ""}),
			"alias":     alice.Put("/directory/room/%23x:example.org", J{"room_id": roomID}),
		} {
			if got := code(a); got != codes[1] {
				t.Errorf("%s %.20s: %d %s, want %s", call, roomID, a.Status, a.Raw, codes[1])
			}
		}
		if a := alice.Get(path("event", "$e")); a.Status != 404 && codes[2] == "M_NOT_FOUND" {
			t.Errorf("event %.20s: %d %s", roomID, a.Status, a.Raw)
		}
	}
	alice.Post("/join/%23x:elsewhere.org", J{}).Refused(404, "M_NOT_FOUND")
	alice.Post("/join/%23nothing", J{}).Refused(400, "M_INVALID_PARAM")
	alice.Post("/knock/!x:elsewhere.org", J{}).Refused(404, "M_NOT_FOUND")
	if n := len(w.Node.Actors(cluster.Filter{})); n != 0 {
		t.Errorf("%d actors were woken", n)
	}
	rows, err := schema.Rooms.All(t.Context(), w.Store, persistence.Range[schema.Room]{})
	if err != nil || len(rows) != 0 {
		t.Errorf("%v %v", rows, err)
	}
}
