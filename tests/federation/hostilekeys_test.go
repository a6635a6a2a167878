package federation

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/tests/peers"
)

// document is what a server publishes about keys, signed with one of them.
func document(t *testing.T, server string, validUntil time.Time, keys map[string]signing.Key, signer signing.Key) []byte {
	t.Helper()
	verify := J{}
	for id, key := range keys {
		verify[id] = J{"key": signing.EncodeBase64(key.Public())}
	}
	raw, err := json.Marshal(J{"server_name": server, "valid_until_ts": validUntil.UnixMilli(), "verify_keys": verify, "old_verify_keys": J{}})
	if err == nil {
		raw, err = signing.SignJSON(raw, server, signer)
	}
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestHostileKeys: what a server publishes as its keys must be its own, whole, and in time (server-server API, "Retrieving server keys").
func TestHostileKeys(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	later := time.Now().Add(time.Hour)
	own := func(c *peers.Crafter) map[string]signing.Key { return map[string]signing.Key{c.Key.ID: c.Key} }
	for name, bad := range map[string]func(c *peers.Crafter) http.HandlerFunc{
		"never come": func(*peers.Crafter) http.HandlerFunc { return hang },
		"never end":  func(*peers.Crafter) http.HandlerFunc { return trickle },
		"are too many": func(*peers.Crafter) http.HandlerFunc {
			return text(`{"verify_keys":{` + strings.Repeat(`"a":{},`, 100_000) + `"b":{}}}`)
		},
		"lead elsewhere":       func(*peers.Crafter) http.HandlerFunc { return redirect },
		"are no JSON":          func(*peers.Crafter) http.HandlerFunc { return text("<html>") },
		"are of another shape": func(*peers.Crafter) http.HandlerFunc { return text(`{"server_name":[],"verify_keys":7}`) },
		"are not signed": func(c *peers.Crafter) http.HandlerFunc {
			return text(strings.Replace(string(document(t, c.Name, later, own(c), c.Key)), `"signatures"`, `"was"`, 1))
		},
		"are signed by another key": func(c *peers.Crafter) http.HandlerFunc {
			return text(string(document(t, c.Name, later, own(c), signing.NewKey("stranger", make([]byte, 32)))))
		},
		"are another server's": func(c *peers.Crafter) http.HandlerFunc {
			return text(string(document(t, "example.org", later, own(c), c.Key)))
		},
		"have run out": func(c *peers.Crafter) http.HandlerFunc {
			return text(string(document(t, c.Name, time.Now().Add(-time.Hour), own(c), c.Key)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := authority.Crafter(t)
			c.AnswerKeys(bad(c))
			_, err := c.Send(server, "t", J{"origin": c.Name, "origin_server_ts": 1, "pdus": []J{}})
			if err == nil || !strings.Contains(err.Error(), "401 M_UNAUTHORIZED") {
				t.Errorf("a transaction is answered with %v", err)
			}
		})
	}
}

// TestHostileKeySubstitution: a key id means one key for ever (HARD_PLACES.md 26), and a signature is as old as its key lets it be (7).
func TestHostileKeySubstitution(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	for _, v := range []string{"4", "5", "12"} {
		s := besiege(t, authority, server, v)
		thief := signing.NewKey("stranger", []byte(strings.Repeat("t", 32)))
		if thief.ID != s.c.Key.ID {
			t.Fatal("the key has another id")
		}
		fresh := signing.NewKey("fresh", []byte(strings.Repeat("f", 32)))
		s.c.AnswerKeys(text(string(document(t, s.c.Name, time.Now().Add(time.Hour), map[string]signing.Key{thief.ID: thief, fresh.ID: fresh}, thief))))
		build := func(key signing.Key, at time.Time) *event.Event {
			p := s.message()
			p.OriginServerTS = at.UnixMilli()
			e, err := event.Build(p, s.room.Version, s.c.Name, key)
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		now := time.Now()
		stolen, unasked := build(thief, now), build(signing.NewKey("unasked", make([]byte, 32)), now)
		fates := s.send(stolen.JSON(), unasked.JSON()) // the second has the server ask for the keys again
		fates2 := s.send(stolen.JSON())
		for _, fate := range []string{fates[stolen.ID()], fates2[stolen.ID()], fates[unasked.ID()]} {
			if fate == "" {
				t.Errorf("version %s: a stolen key counts: %v %v", v, fates, fates2)
			}
		}
		future := build(s.c.Key, now.Add(30*24*time.Hour))
		fate := s.send(future.JSON())[future.ID()]
		if strict := s.room.Version.KeyValidity; strict != (fate != "") {
			t.Errorf("version %s: an event of next month: %q", v, fate)
		}
		if !s.room.Version.KeyValidity {
			s.alice.has(s.room.ID, future.ID())
		}
		s.c.AnswerKeys(nil)
		s.healthy()
	}
}

// TestHostileInvites: an invite is what its signature, its path and its room say, or it is none (server-server API, "Inviting to a room";
// HARD_PLACES.md 14 and 32).
func TestHostileInvites(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	alice := newPerson(t, server, "alice")
	type invite struct {
		version, eventID string
		draft            event.Proto
		shown            []any
		room             *peers.Room
	}
	for _, v := range []string{"1", "11", "12"} {
		c := authority.Crafter(t)
		mallory := c.User("mallory")
		good := func(creator string) *invite {
			room := c.Room(creator, versionOf(t, v))
			i := &invite{version: v, room: room, draft: room.Draft(creator, "m.room.member", `{"membership":"invite"}`, alice.UserID)}
			for _, e := range room.StateBefore(room.Last().ID()) {
				if e.Type() == "m.room.create" {
					i.shown = append(i.shown, peers.PDUs(e)[0])
				}
			}
			return i
		}
		offer := func(i *invite) error {
			e := c.Make(i.room, i.draft)
			if i.eventID == "" {
				i.eventID = e.ID()
			}
			_, err := c.Ask(server, "PUT", "/_matrix/federation/v2/invite/"+escaped(i.room.ID)+"/"+escaped(i.eventID),
				J{"room_version": i.version, "event": peers.PDUs(e)[0], "invite_room_state": i.shown})
			return err
		}
		nobody := "@nobody:" + server.Name
		elsewhere := "@bob:example.org"
		for name, bad := range map[string]struct {
			change func(i *invite)
			want   string
			from   int
		}{
			"another event id":            {change: func(i *invite) { i.eventID = "$other" }, want: "400 M_INVALID_PARAM"},
			"an unknown room version":     {change: func(i *invite) { i.version = "99" }, want: "400 M_INCOMPATIBLE_ROOM_VERSION"},
			"no room version":             {change: func(i *invite) { i.version = "" }, want: "400"},
			"a user of another server":    {change: func(i *invite) { i.draft.StateKey = &elsewhere }, want: "400 M_INVALID_PARAM"},
			"a sender of another server":  {change: func(i *invite) { i.draft.Sender = elsewhere }, want: "400 M_INVALID_PARAM"},
			"a sender of this server":     {change: func(i *invite) { i.draft.Sender = nobody }, want: "400 M_INVALID_PARAM"},
			"a join instead of an invite": {change: func(i *invite) { i.draft.Content = []byte(`{"membership":"join"}`) }, want: "400 M_INVALID_PARAM"},
			"a ban instead of an invite":  {change: func(i *invite) { i.draft.Content = []byte(`{"membership":"ban"}`) }, want: "400 M_INVALID_PARAM"},
			"another room":                {change: func(i *invite) { i.draft.RoomID = "!other:example.org" }, want: "400 M_INVALID_PARAM"},
			"another type":                {change: func(i *invite) { i.draft.Type = "m.room.message" }, want: "400 M_INVALID_PARAM"},
			"a thousand events of state": {change: func(i *invite) {
				i.shown = append(i.shown, repeated(J{"type": "x", "state_key": "", "sender": mallory, "content": J{}}, 1000)...)
			}, want: "400 M_INVALID_PARAM"},
			"garbage as state":            {change: func(i *invite) { i.shown = append(i.shown, 1, "two", J{}) }, want: "400 M_INVALID_PARAM"},
			"state without create event":  {change: func(i *invite) { i.shown = nil }, want: "400 M_INVALID_PARAM", from: 12},
			"the create event of another": {change: func(i *invite) { i.shown = good(c.User("other")).shown }, want: "400 M_INVALID_PARAM", from: 12},
			"a create event without signer": {change: func(i *invite) {
				i.shown = []any{J{"type": "m.room.create", "state_key": "", "sender": mallory, "content": J{}}}
			}, want: "400 M_INVALID_PARAM", from: 12},
		} {
			if version(v) < bad.from {
				continue
			}
			i := good(mallory)
			bad.change(i)
			if err := offer(i); err == nil || !strings.Contains(err.Error(), bad.want) {
				t.Errorf("version %s: %s: %v, want %s", v, name, err, bad.want)
			}
			if got := alice.sync(0).Get("rooms.invite"); got.Exists() {
				t.Errorf("version %s: %s: alice is invited: %s", v, name, got)
			}
		}
		// A good one comes through, with nothing but what may be shown.
		i := good(mallory)
		i.shown = append(i.shown, J{"type": "m.room.name", "state_key": "", "sender": mallory, "content": J{"name": "Den"}, "unsigned": J{"evil": true}, "origin_server_ts": 1})
		if err := offer(i); err != nil {
			t.Fatalf("version %s: %v", v, err)
		}
		shown := alice.invited(i.room.ID)
		if raw := fmt.Sprint(shown); strings.Contains(raw, "evil") || !strings.Contains(raw, "Den") {
			t.Errorf("version %s: alice is shown %s", v, raw)
		}
		alice.room(i.room.ID, "leave", J{})
	}
}

func repeated(one any, n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = one
	}
	return list
}

// TestEventsWaitForKeys: an event of a third server, whose keys cannot be had for now, is kept for when they can; that of a server
// that is not in the room is refused.
func TestEventsWaitForKeys(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	s := besiege(t, authority, server, "11")
	third := authority.Crafter(t)
	trent := third.User("trent")
	third.Join(server, s.room.ID, trent, s.room.Version)
	s.alice.seesMember(s.room.ID, trent, "join")
	s.c.Got(s.alice.say(s.room.ID, "trent is here"))
	third.Key = signing.NewKey("new", []byte(strings.Repeat("n", 32)))
	third.AnswerKeys(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not now", http.StatusServiceUnavailable) })
	for sender, kept := range map[string]bool{trent: true, "@x:127.0.0.1:1": false} {
		p := s.room.Draft(sender, "m.room.message", `{"body":"signed with a key that nobody can have"}`)
		_, name, _ := strings.Cut(sender, ":")
		e, err := event.Build(p, s.room.Version, name, third.Key)
		if err != nil {
			t.Fatal(err)
		}
		fate, told := s.send(e.JSON())[e.ID()]
		if !told || (fate == "") != kept {
			t.Errorf("the event of %s is answered with %q", sender, fate)
		}
		if s.readable(e.ID()) {
			t.Error("an event that was not checked can be read")
		}
	}
	s.healthy()
}
