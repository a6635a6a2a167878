// Package access holds the real server to who may see what: for every kind of room and everybody who may ask, over all endpoints that
// tell of rooms, people and what was said. What may be seen is worked out anew from the specification; all else must not occur
// anywhere in an answer.
package access

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

type J = map[string]any

// world is a server with a space that has all rooms in it.
type world struct {
	server *peers.Server
	other  *peers.Stranger // a homeserver that is in none of the rooms
	http   *http.Client
	owner  *person
	askers map[string]*person
	space  string
	rooms  []*room
}

// person is a user, or with an empty token somebody who has not logged in.
type person struct {
	w     *world
	id    string
	token string
}

// answer is an answer of the server.
type answer struct {
	status int
	gjson.Result
}

// ask makes a request.
func (p *person) ask(t *testing.T, method, path string, body any) answer {
	t.Helper()
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		reader = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, p.w.server.URL+"/_matrix/client"+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	if p.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	resp, err := p.w.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		t.Errorf("%s %s %s: %d %s", p.id, method, path, resp.StatusCode, raw)
	}
	return answer{resp.StatusCode, gjson.ParseBytes(raw)}
}

// must makes a request that is to succeed.
func (p *person) must(t *testing.T, method, path string, body any) answer {
	t.Helper()
	a := p.ask(t, method, path, body)
	if a.status != http.StatusOK {
		t.Fatalf("%s %s %s: %d %s", p.id, method, path, a.status, a.Raw)
	}
	return a
}

func path(parts ...string) string { return matrixclient.Path(parts...) }

// register makes a user.
func (w *world) register(t *testing.T, name string) *person {
	t.Helper()
	c := &matrixclient.Client{URL: w.server.URL, HTTP: w.http}
	u, err := c.Register(context.Background(), name, "correct horse battery staple")
	if err != nil {
		t.Fatal(err)
	}
	return &person{w, u.UserID, u.Token}
}

// The kinds of rooms.
var (
	joinRules    = []string{"public", "invite", "knock", "restricted", "knock_restricted"}
	visibilities = []string{"world_readable", "shared", "invited", "joined"}
)

// The askers, by what became of them. Who is a spaceMember may join what is open to members of the space.
var askers = []string{"anonymous", "stranger", "spaceMember", "invited", "rejected", "knocked", "leftEarly", "leftLate", "forgot", "banned", "bannedNever", "joined"}

// newWorld makes all kinds of rooms, in each of which the same happens.
func newWorld(t *testing.T) *world {
	t.Helper()
	authority := peers.NewAuthority(t)
	w := &world{server: authority.Start(1)[0], other: authority.Stranger(t), http: &http.Client{Timeout: time.Minute}, askers: map[string]*person{}}
	w.owner = w.register(t, "owner")
	for _, name := range askers {
		w.askers[name] = w.register(t, strings.ToLower(name))
	}
	w.askers["anonymous"] = &person{w: w, id: "anonymous"}
	w.space = w.owner.must(t, "POST", "/v3/createRoom", J{"preset": "public_chat", "creation_content": J{"type": "m.space"}}).Get("room_id").Str
	w.askers["spaceMember"].must(t, "POST", path("v3", "join", w.space), J{})
	for _, rule := range joinRules {
		for _, visibility := range visibilities {
			w.rooms = append(w.rooms, w.tell(t, &room{number: len(w.rooms), rule: rule, visibility: visibility, events: map[string]string{}}))
		}
	}
	return w
}

// room is a room with what happened in it.
type room struct {
	number           int
	id               string
	rule, visibility string
	hermit           *person           // who is in this room only
	events           map[string]string // ids by the event's name
}

// mark is the word that stands in the event of this name and nowhere else.
func (r *room) mark(event string) string { return fmt.Sprintf("zq%dx%sq", r.number, event) }

func (r *room) String() string { return r.rule + " " + r.visibility }

// story is what is said in each room, in this order. At an event's index, presence says who was what.
var story = []string{"m0", "root", "reply", "edit", "reaction", "topic", "last"}

// presence is the membership of an asker at each event of the story; of whom it does not name there is none.
var presence = map[string][]string{
	"leftEarly":   {"join", "leave", "leave", "leave", "leave", "leave", "leave"},
	"forgot":      {"join", "join", "leave", "leave", "leave", "leave", "leave"},
	"banned":      {"join", "join", "ban", "ban", "ban", "ban", "ban"},
	"bannedNever": {"leave", "leave", "ban", "ban", "ban", "ban", "ban"},
	"leftLate":    {"join", "join", "join", "leave", "leave", "leave", "leave"},
	"invited":     {"leave", "leave", "leave", "invite", "invite", "invite", "invite"},
	"rejected":    {"leave", "leave", "leave", "leave", "leave", "leave", "leave"},
	"knocked":     {"leave", "leave", "leave", "knock", "knock", "knock", "knock"},
	"joined":      {"leave", "leave", "leave", "leave", "leave", "leave", "join"},
}

// tell makes the room and has its story happen.
func (w *world) tell(t *testing.T, r *room) *room {
	t.Helper()
	o := w.owner
	rule := J{"join_rule": r.rule}
	if strings.HasSuffix(r.rule, "restricted") {
		rule["allow"] = []J{{"type": "m.room_membership", "room_id": w.space}}
	}
	body := J{"preset": "private_chat", "name": r.mark("name"), "topic": r.mark("before"), "room_alias_name": fmt.Sprintf("room%d", r.number),
		"initial_state": []J{{"type": "m.room.join_rules", "content": rule}, {"type": "m.room.history_visibility", "content": J{"history_visibility": r.visibility}}}}
	if r.published() {
		body["visibility"] = "public"
	}
	r.id = o.must(t, "POST", "/v3/createRoom", body).Get("room_id").Str
	o.must(t, "PUT", path("v3", "rooms", w.space, "state", "m.space.child", r.id), J{"via": []string{w.server.Name}})
	do := func(who *person, action string, body J) { who.must(t, "POST", path("v3", "rooms", r.id, action), body) }
	to := func(action, name string) { do(o, action, J{"user_id": w.askers[name].id}) }
	join := func(p *person) {
		do(o, "invite", J{"user_id": p.id})
		do(p, "join", J{})
	}
	n := 0
	say := func(name, typ string, content J) {
		n++
		r.events[name] = o.must(t, "PUT", path("v3", "rooms", r.id, "send", typ, fmt.Sprint(n)), content).Get("event_id").Str
	}
	text := func(name string, more J) J {
		c := J{"msgtype": "m.text", "body": "common " + r.mark(name)}
		for k, v := range more {
			c[k] = v
		}
		return c
	}
	relation := func(typ, key string) J {
		rel := J{"rel_type": typ, "event_id": r.events["root"]}
		if key != "" {
			rel["key"] = key
		}
		return J{"m.relates_to": rel}
	}
	r.hermit = w.register(t, fmt.Sprintf("hermit%d", r.number))
	join(r.hermit)
	for _, name := range []string{"leftEarly", "leftLate", "banned", "forgot"} {
		join(w.askers[name])
	}
	say("m0", "m.room.message", text("m0", nil))
	do(w.askers["leftEarly"], "leave", J{})
	say("root", "m.room.message", text("root", nil))
	do(w.askers["forgot"], "leave", J{})
	do(w.askers["forgot"], "forget", J{})
	to("ban", "banned")
	to("ban", "bannedNever")
	say("reply", "m.room.message", text("reply", relation("m.thread", "")))
	do(w.askers["leftLate"], "leave", J{})
	to("invite", "invited")
	to("invite", "rejected")
	do(w.askers["rejected"], "leave", J{})
	if r.knockable() {
		w.askers["knocked"].must(t, "POST", path("v3", "knock", r.id), J{})
	}
	edit := relation("m.replace", "")
	edit["m.new_content"] = text("edit", nil)
	say("edit", "m.room.message", text("edit", edit))
	say("reaction", "m.reaction", relation("m.annotation", r.mark("reaction")))
	r.events["topic"] = o.must(t, "PUT", path("v3", "rooms", r.id, "state", "m.room.topic"), J{"topic": r.mark("topic")}).Get("event_id").Str
	join(w.askers["joined"])
	say("last", "m.room.message", text("last", J{"m.mentions": J{"room": true}}))
	return r
}

func (r *room) alias(w *world) string { return fmt.Sprintf("#room%d:%s", r.number, w.server.Name) }

func (r *room) published() bool { return r.number%2 == 0 }

func (r *room) knockable() bool { return strings.HasPrefix(r.rule, "knock") }

// membership is what the asker was when the story was so far.
func (r *room) membership(asker string, at int) string {
	if asker == "knocked" && !r.knockable() || presence[asker] == nil {
		return "leave"
	}
	return presence[asker][at]
}

// sees says who sees an event in the room's history.
func (r *room) sees(asker string, at int) bool { return r.enters(asker) && r.visible(asker, at) }

// visible is rule by rule what the specification says of an event (client-server API, "Room history visibility"). An event by itself is
// also shown to those who are invited.
func (r *room) visible(asker string, at int) bool {
	m := r.membership(asker, at)
	stay := 0 // the events before the end of the asker's stay
	for i := range story {
		if r.membership(asker, i) == "join" {
			stay = i + 1
		}
	}
	switch {
	case r.visibility == "world_readable":
		return true
	case asker == "forgot":
		return false
	case m == "join":
		return true
	case r.visibility == "shared":
		return at < stay
	}
	return r.visibility == "invited" && m == "invite"
}

// enters says who may ask for history and state at all: those who are or were in the room, unless they have forgotten it, and everybody
// if it can be read by everybody.
func (r *room) enters(asker string) bool {
	return r.visibility == "world_readable" || asker != "forgot" && slices.Contains(presence[asker], "join")
}

// discovers says who may know of the room (client-server API, "GET /hierarchy").
func (r *room) discovers(asker string) bool {
	switch {
	case r.visibility == "world_readable", asker == "joined":
		return true
	case asker == "banned", asker == "bannedNever":
		return false
	case asker == "invited", r.rule == "public", r.knockable():
		return true
	}
	return r.rule == "restricted" && asker == "spaceMember"
}
