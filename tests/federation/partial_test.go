package federation

import (
	"context"
	"fmt"
	"net/url"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

const lazily = `{"room":{"state":{"lazy_load_members":true}}}`

// visitor is a person who loads members lazily.
type visitor struct{ *person }

func newVisitor(t *testing.T, s *peers.Server, name string) *visitor {
	v := &visitor{&person{Client: s.User(t, name), t: t}}
	v.lazySync(0)
	return v
}

func (v *visitor) lazySync(timeoutMS int) gjson.Result {
	v.t.Helper()
	got, err := v.Sync(v.t.Context(), v.since, lazily, timeoutMS)
	if err != nil {
		v.t.Fatal(err)
	}
	v.since = got.Get("next_batch").Str
	return got
}

// comes waits until the room holds something.
func (v *visitor) comes(roomID, what string, holds func(room gjson.Result) bool) gjson.Result {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		if room := v.lazySync(2000).Get("rooms.join").Map()[roomID]; room.Exists() && holds(room) {
			return room
		}
	}
	v.t.Fatalf("%s did not come", what)
	return gjson.Result{}
}

func has(list gjson.Result, field, value string) bool {
	for _, e := range list.Array() {
		if e.Get(field).Str == value {
			return true
		}
	}
	return false
}

func (v *visitor) membersOf(roomID string) int {
	v.t.Helper()
	return len(v.do("GET", matrixclient.Path("rooms", roomID, "members")+"?membership=join", nil).Get("chunk").Array())
}

// TestJoiningALargeRoom (HARD_PLACES.md 29): a room is in use before its members are known, in every room version.
func TestJoiningALargeRoom(t *testing.T) {
	t.Parallel()
	authority := peers.NewAuthority(t)
	server := authority.Start(1)[0]
	t.Cleanup(func() { explain(t, []*peers.Server{server}) })
	for _, v := range roomversion.All() {
		t.Run("version "+v.ID, func(t *testing.T) {
			t.Parallel()
			host := authority.Stranger(t)
			hall := peers.NewHall(t, host, v.ID, 150)
			hall.Gate = make(chan struct{})
			alice, eager := newVisitor(t, server, "alice"+v.ID), newPerson(t, server, "eager"+v.ID)
			before := hall.Tip()
			alice.joinVia(hall.ID, host.Name)
			room := alice.comes(hall.ID, "the room", func(gjson.Result) bool { return true })
			if !has(room.Get("state.events"), "content.name", "Hall") || room.Get("summary.m\\.joined_member_count").Exists() {
				t.Errorf("the room is %s", room)
			}
			// Both speak; also who spoke before they heard of the join.
			said := alice.say(hall.ID, "hello")
			alice.eventually("what is sent", func() bool {
				for _, pdu := range hall.Got() {
					if pdu.Get("content.body").Str == "hello" {
						return true
					}
				}
				return false
			})
			for i, after := range []int{0, 1} {
				prev := before
				if after == 1 {
					prev = nil
				}
				member := 10 + i
				id := hall.Say(t, server.Name, member, "welcome", prev)
				room = alice.comes(hall.ID, "an answer", func(room gjson.Result) bool { return has(room.Get("timeline.events"), "event_id", id) })
				if !has(room.Get("state.events"), "state_key", hall.User(member)) {
					t.Errorf("who speaks is not told: %s", room)
				}
			}
			a := asker{t, host, server}
			a.refused(403, "M_UNABLE_DUE_TO_PARTIAL_STATE", "GET", query("/state_ids/"+url.PathEscape(hall.ID), "event_id", said), nil)
			a.refused(404, "M_NOT_FOUND", "GET", "/make_join/"+url.PathEscape(hall.ID)+"/"+url.PathEscape("@x:"+host.Name)+"?ver="+v.ID, nil)
			if got := a.must("GET", "/event/"+url.PathEscape(said), nil).Get("pdus.0.content.body").Str; got != "hello" {
				t.Errorf("what was said is %q for other servers", got)
			}

			// Who wants all members waits.
			counted := make(chan int)
			go func() {
				got, err := alice.Do(t.Context(), "GET", matrixclient.Path("rooms", hall.ID, "joined_members"), nil)
				if err != nil {
					t.Error(err)
				}
				counted <- len(got.Get("joined").Map())
			}()
			select {
			case n := <-counted:
				t.Errorf("%d members are told before they are known", n)
			default:
			}
			eager.do("POST", matrixclient.Path("user", eager.UserID, "filter"), J{}) // is up to date
			close(hall.Gate)
			if n := <-counted; n != 151 {
				t.Errorf("%d members", n)
			}
			room = alice.comes(hall.ID, "the number of members", func(room gjson.Result) bool {
				return room.Get("summary.m\\.joined_member_count").Int() == 151
			})
			if n := len(room.Get("state.events").Array()); n > 50 {
				t.Errorf("%d events of the state are told", n)
			}
			if n := alice.membersOf(hall.ID); n != 151 {
				t.Errorf("%d members", n)
			}
			eager.joinVia(hall.ID, host.Name)
			eager.until("the room", func(sync gjson.Result) bool { return len(inRoom(sync, hall.ID)) > 150 })
			id := hall.Say(t, server.Name, 20, "all here", nil)
			eager.sees(hall.ID, id)
			a.must("GET", query("/state_ids/"+url.PathEscape(hall.ID), "event_id", said), nil)
		})
	}
}

// besideHall makes a server, and a stranger who has a hall with so many members.
func besideHall(t *testing.T, members int) (*peers.Server, *peers.Stranger, *peers.Hall) {
	t.Helper()
	authority := peers.NewAuthority(t)
	server := authority.Start(1)[0]
	host := authority.Stranger(t)
	return server, host, peers.NewHall(t, host, roomversion.Default, members)
}

// TestEagerClientsWaitForTheMembers: who does not load members lazily is shown a room when they are known (MSC3902).
func TestEagerClientsWaitForTheMembers(t *testing.T) {
	t.Parallel()
	server, host, hall := besideHall(t, 120)
	hall.Gate = make(chan struct{})
	eager := newPerson(t, server, "eager")
	eager.joinVia(hall.ID, host.Name)
	if n := len(inRoom(eager.sync(0), hall.ID)); n != 0 {
		t.Errorf("%d events are told", n)
	}
	eager.do("PUT", matrixclient.Path("user", eager.UserID, "account_data", "x"), J{})
	if got := eager.sync(2000); len(inRoom(got, hall.ID)) != 0 || !got.Get("account_data").Exists() {
		t.Errorf("told: %s", got)
	}
	said := hall.Say(t, server.Name, 3, "already here?", nil)
	mine := eager.say(hall.ID, "yes")
	eager.do("PUT", matrixclient.Path("user", eager.UserID, "account_data", "x"), J{})
	eager.sync(2000) // now the token is newer than the join and what was said
	close(hall.Gate)
	var room gjson.Result
	eager.until("the room", func(sync gjson.Result) bool {
		room = sync.Get("rooms.join").Map()[hall.ID]
		return room.Exists()
	})
	if !has(room.Get("timeline.events"), "event_id", said) || !has(room.Get("timeline.events"), "event_id", mine) {
		t.Errorf("the timeline is %s", room.Get("timeline"))
	}
	if n := len(room.Get("state.events").Array()); n < 120 {
		t.Errorf("%d events of the state are told", n)
	}
}

// TestMembersSurviveAKill: a server that is killed while it fetches the members of a room goes on when it is back.
func TestMembersSurviveAKill(t *testing.T) {
	t.Parallel()
	authority := peers.NewAuthority(t)
	server := authority.Start(1)[0]
	t.Cleanup(func() { explain(t, []*peers.Server{server}) })
	host := authority.Stranger(t)
	hall := peers.NewHall(t, host, roomversion.Default, 600)
	hall.Gate = make(chan struct{})
	alice := newVisitor(t, server, "alice")
	alice.joinVia(hall.ID, host.Name)
	said := alice.say(hall.ID, "before the kill")
	alice.eventually("the members to be asked for", func() bool { return hall.Asked("state_ids") > 0 })
	server.Kill()
	server.Run()
	alice.URL = server.URL
	alice.say(hall.ID, "after it")
	id := hall.Say(t, server.Name, 7, "back?", nil)
	alice.comes(hall.ID, "an answer", func(room gjson.Result) bool { return has(room.Get("timeline.events"), "event_id", id) })
	close(hall.Gate)
	if n := alice.membersOf(hall.ID); n != 601 {
		t.Errorf("%d members", n)
	}
	if got := alice.do("GET", matrixclient.Path("rooms", hall.ID, "event", said), nil); got.Get("content.body").Str != "before the kill" {
		t.Errorf("what was said is %s", got)
	}
}

// TestMembersFromAnotherServer: when the server that a room was joined through does not tell the members, or tells lies, another does.
func TestMembersFromAnotherServer(t *testing.T) {
	t.Parallel()
	authority := peers.NewAuthority(t)
	server := authority.Start(1)[0]
	t.Cleanup(func() { explain(t, []*peers.Server{server}) })
	for _, what := range []string{"gone", "liar"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			host, other := authority.Stranger(t), authority.Stranger(t)
			hall := peers.NewHall(t, host, roomversion.Default, 200)
			hall.Serve(other)
			hall.Servers = []string{other.Name}
			first := func(name string) bool { return name == host.Name }
			if what == "gone" {
				hall.Refuses = first
			} else {
				hall.Lies = first
			}
			alice := newVisitor(t, server, "alice-"+what)
			alice.joinVia(hall.ID, host.Name)
			if n := alice.membersOf(hall.ID); n != 201 {
				t.Errorf("%d members", n)
			}
		})
	}
}

// TestWholeJoinsStay: a server that does not leave the members out is joined as ever.
func TestWholeJoinsStay(t *testing.T) {
	t.Parallel()
	server, host, hall := besideHall(t, 150)
	hall.Whole = true
	eager := newPerson(t, server, "eager")
	eager.joinVia(hall.ID, host.Name)
	if n := len(eager.do("GET", matrixclient.Path("rooms", hall.ID, "members"), nil).Get("chunk").Array()); n != 151 || hall.Asked("state_ids") != 0 {
		t.Errorf("%d members, and the state was asked for %d times", n, hall.Asked("state_ids"))
	}
}

// TestWholeJoinsOfManyAreTakenInPieceByPiece: a server that does not leave many members out is joined as if it had, and not asked for them again.
func TestWholeJoinsOfManyAreTakenInPieceByPiece(t *testing.T) {
	t.Parallel()
	server, host, hall := besideHall(t, 1200)
	hall.Whole = true
	alice, eager := newVisitor(t, server, "alice"), newPerson(t, server, "eager")
	alice.joinVia(hall.ID, host.Name)
	alice.comes(hall.ID, "the room", func(room gjson.Result) bool { return has(room.Get("state.events"), "type", "m.room.name") })
	said := alice.say(hall.ID, "hello")
	alice.eventually("the message at the other server", func() bool {
		return has(gjson.Parse(fmt.Sprint(hall.Got())), "content.body", "hello")
	})
	if n := alice.membersOf(hall.ID); n != 1201 || hall.Asked("state_ids") != 0 || hall.Asked("state") != 0 {
		t.Errorf("%d members, and the state was asked for %d and %d times", n, hall.Asked("state_ids"), hall.Asked("state"))
	}
	eager.joinVia(hall.ID, host.Name)
	eager.has(hall.ID, said)
}

// TestWholeJoinsSurviveDeath: what a server has not taken in of an answer when it is killed, it asks for.
func TestWholeJoinsSurviveDeath(t *testing.T) {
	t.Parallel()
	server, host, hall := besideHall(t, 1200)
	hall.Whole = true
	alice := newVisitor(t, server, "alice")
	alice.joinVia(hall.ID, host.Name)
	server.Kill()
	server.Run()
	if n := alice.membersOf(hall.ID); n != 1201 {
		t.Errorf("%d members", n)
	}
}

// TestLeavingBeforeTheMembersAreKnown: nobody fetches what nobody needs any more.
func TestLeavingBeforeTheMembersAreKnown(t *testing.T) {
	t.Parallel()
	server, host, hall := besideHall(t, 150)
	hall.Gate = make(chan struct{})
	alice := newVisitor(t, server, "alice")
	alice.joinVia(hall.ID, host.Name)
	alice.room(hall.ID, "leave", J{})
	alice.eventually("the leave", func() bool {
		for _, pdu := range hall.Got() {
			if pdu.Get("content.membership").Str == "leave" {
				return true
			}
		}
		return false
	})
	close(hall.Gate)
	got, err := alice.Do(t.Context(), "GET", matrixclient.Path("rooms", hall.ID, "members"), nil)
	if err != nil || len(got.Get("chunk").Array()) > 5 {
		t.Errorf("%s %v", got, err)
	}
	if got := fmt.Sprint(alice.do("GET", matrixclient.Path("joined_rooms"), nil)); got != `{"joined_rooms":[]}` {
		t.Error(got)
	}
}
