package auth_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/canonicaljson"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// The people of the test room. The creator made it and has left power to the admin.
const (
	creator   = "@creator:a"
	admin     = "@admin:a"     // joined, 100
	moderator = "@moderator:b" // joined, 50
	member    = "@member:b"    // joined, 0
	invited   = "@invited:b"
	banned    = "@banned:b"
	knocking  = "@knocking:b" // from room version 7 on
	stranger  = "@stranger:c" // no membership
)

// levels are the power levels of the test room; kicking and inviting need more than the default.
const levels = `{"ban":60,"events":{"m.room.name":40,"m.room.power_levels":50},"invite":30,"kick":50,"notifications":{"room":50},"redact":50,"state_default":50,"users":{"@admin:a":100,"@moderator:b":50}}`

// room is a state of a public room.
type room struct {
	t     testing.TB
	v     *roomversion.Version
	state map[event.Tuple]*event.Event
	n     int
}

func (r *room) Event(t event.Tuple) *event.Event { return r.state[t] }

func newRoom(t testing.TB, v *roomversion.Version) *room {
	t.Helper()
	r := &room{t: t, v: v, state: map[event.Tuple]*event.Event{}}
	r.set(creator, "m.room.create", "", `{"creator":"@creator:a"}`)
	for userID, membership := range map[string]string{
		creator: "join", admin: "join", moderator: "join", member: "join", invited: "invite", banned: "ban", knocking: "knock",
	} {
		r.set(userID, "m.room.member", userID, `{"membership":"`+membership+`"}`)
	}
	r.set(creator, "m.room.power_levels", "", levels)
	r.set(admin, "m.room.join_rules", "", `{"join_rule":"public"}`)
	return r
}

// draft is an event to come.
type draft struct {
	sender, typ string
	stateKey    *string
	content     string
	prev, auth  []string
	more        string // further members
	noRoomID    bool
}

func (r *room) build(d draft) *event.Event {
	r.t.Helper()
	r.n++
	cite := func(ids []string) string {
		list := make([]string, len(ids))
		for i, id := range ids {
			list[i] = strconv.Quote(id)
			if r.v.EventIDFormat == roomversion.EventIDField {
				list[i] = "[" + list[i] + ",{}]"
			}
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	raw := fmt.Sprintf(`{"auth_events":%s,"content":%s,"depth":%d,"origin_server_ts":%d,"prev_events":%s,"sender":%q,"type":%q%s`,
		cite(d.auth), d.content, r.n, r.n, cite(d.prev), d.sender, d.typ, d.more)
	if d.stateKey != nil {
		raw += fmt.Sprintf(`,"state_key":%q`, *d.stateKey)
	}
	id := fmt.Sprintf("$%d:%s", r.n, d.sender[strings.Index(d.sender, ":")+1:])
	if !d.noRoomID && (d.typ != "m.room.create" || !r.v.RoomIDFromCreate) {
		roomID := "!room:a"
		if r.v.RoomIDFromCreate {
			roomID = r.state[event.Tuple{Type: "m.room.create"}].RoomID()
		}
		raw += fmt.Sprintf(`,"room_id":%q`, roomID)
	}
	canonical, err := canonicaljson.Canonicalize(nil, []byte(raw+"}"), canonicaljson.Options{})
	if err != nil {
		r.t.Fatalf("%v: %s", err, raw)
	}
	e, err := event.FromStored(canonical, id, r.v)
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

// send is a state event on top of some other event.
func (r *room) send(sender, typ, stateKey, content string) *event.Event {
	r.t.Helper()
	return r.build(draft{sender: sender, typ: typ, stateKey: &stateKey, content: content, prev: []string{"$tip:a"}})
}

// membership is a member event with further members of its content.
func (r *room) membership(sender, target, membership string, more ...string) *event.Event {
	r.t.Helper()
	return r.send(sender, "m.room.member", target, `{"membership":"`+membership+`"`+strings.Join(more, "")+`}`)
}

// set puts an event into the state, allowed or not.
func (r *room) set(sender, typ, stateKey, content string) *event.Event {
	r.t.Helper()
	var prev []string
	if typ != "m.room.create" {
		prev = []string{"$tip:a"}
	}
	e := r.build(draft{sender: sender, typ: typ, stateKey: &stateKey, content: content, prev: prev})
	r.state[e.Tuple()] = e
	return e
}

func (r *room) joinRule(rule string) {
	r.set(admin, "m.room.join_rules", "", `{"join_rule":"`+rule+`"}`)
}

// rule is one test: what an event comes to, by room version.
type rule struct {
	name string
	want string // "1-5:5.2.2 6:4.2.2 …": the rule that rejects, "ok" when none does; versions that are not listed are not tried
	do   func(r *room) *event.Event
}

func runRules(t *testing.T, rules []rule) {
	t.Helper()
	for _, test := range rules {
		for _, part := range strings.Fields(test.want) {
			versions, want, _ := strings.Cut(part, ":")
			for _, v := range versionsOf(t, versions) {
				t.Run(test.name+"/v"+v.ID, func(t *testing.T) {
					t.Parallel()
					r := newRoom(t, v)
					e := test.do(r)
					requireRule(t, want, auth.Check(e, r))
				})
			}
		}
	}
}

// requireRule checks which rule an event was rejected by.
func requireRule(t *testing.T, want string, err error) {
	t.Helper()
	if want == "ok" {
		if err != nil {
			t.Fatalf("want the event allowed, got %v", err)
		}
		return
	}
	var rejection *auth.Rejection
	if !errors.As(err, &rejection) {
		t.Fatalf("want a rejection by rule %s, got %v", want, err)
	}
	if rejection.Rule != want || rejection.Reason == "" {
		t.Fatalf("want rule %s, got rule %s: %s", want, rejection.Rule, rejection.Reason)
	}
}

func versionsOf(t *testing.T, text string) []*roomversion.Version {
	t.Helper()
	first, last, ranged := strings.Cut(text, "-")
	if !ranged {
		last = first
	}
	from, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	to, err := strconv.Atoi(last)
	if err != nil {
		t.Fatal(err)
	}
	var versions []*roomversion.Version
	for n := from; n <= to; n++ {
		v, ok := roomversion.Get(strconv.Itoa(n))
		if !ok {
			t.Fatalf("no room version %d", n)
		}
		versions = append(versions, v)
	}
	return versions
}
