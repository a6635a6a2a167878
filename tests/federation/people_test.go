package federation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// J is a JSON object.
type J = matrixclient.J

// person is a user with one client, which syncs.
type person struct {
	*matrixclient.Client
	t     *testing.T
	since string
}

// patience bounds every wait for something to come about; all of it comes within a second or two.
const patience = 60 * time.Second

func newPerson(t *testing.T, s *peers.Server, name string) *person {
	t.Helper()
	p := &person{Client: s.User(t, name), t: t}
	p.sync(0)
	return p
}

// in is the person in a subtest.
func (p *person) in(t *testing.T) *person { return &person{p.Client, t, p.since} }

// do makes a request that must succeed.
func (p *person) do(method, path string, body any) gjson.Result {
	p.t.Helper()
	got, err := p.Do(p.t.Context(), method, path, body)
	if err != nil {
		p.t.Fatalf("%s: %s %s: %v", p.UserID, method, path, err)
	}
	return got
}

// refused makes a request that must be refused with this errcode.
func (p *person) refused(code, method, path string, body any) {
	p.t.Helper()
	if got, err := p.Do(p.t.Context(), method, path, body); err == nil || !strings.Contains(err.Error(), code) {
		p.t.Fatalf("%s: %s %s: %v %v, not %s", p.UserID, method, path, got, err, code)
	}
}

func (p *person) sync(timeoutMS int) gjson.Result {
	p.t.Helper()
	got, err := p.Sync(p.t.Context(), p.since, "", timeoutMS)
	if err != nil {
		p.t.Fatalf("%s: sync: %v", p.UserID, err)
	}
	p.since = got.Get("next_batch").Str
	return got
}

// until syncs until something is told.
func (p *person) until(what string, told func(sync gjson.Result) bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		if told(p.sync(2000)) {
			return
		}
	}
	p.t.Fatalf("%s was not told in time: %s", p.UserID, what)
}

// inRoom gives what a sync tells of a room the user is in, of its timeline or its state.
func inRoom(sync gjson.Result, roomID string) []gjson.Result {
	room := sync.Get("rooms.join").Map()[roomID]
	return append(room.Get("state.events").Array(), room.Get("timeline.events").Array()...)
}

// sees waits for an event in a room.
func (p *person) sees(roomID, eventID string) {
	p.t.Helper()
	p.until("event "+eventID, func(sync gjson.Result) bool {
		for _, e := range inRoom(sync, roomID) {
			if e.Get("event_id").Str == eventID {
				return true
			}
		}
		return false
	})
}

// has waits until an event of a room can be had, whether or not a sync has told it.
func (p *person) has(roomID, eventID string) {
	p.t.Helper()
	p.eventually("event "+eventID, func() bool {
		_, err := p.Do(p.t.Context(), "GET", matrixclient.Path("rooms", roomID, "event", eventID), nil)
		return err == nil
	})
}

// seesState waits until the content of a state event has this value in a field.
func (p *person) seesState(roomID, typ, key, field, value string) {
	p.t.Helper()
	p.eventually(fmt.Sprintf("%s %s: %s", typ, key, value), func() bool {
		got, err := p.Do(p.t.Context(), "GET", matrixclient.Path("rooms", roomID, "state", typ, key), nil)
		return err == nil && got.Get(field).Str == value
	})
}

// seesMember waits until a user has this membership in a room that the person is in.
func (p *person) seesMember(roomID, userID, membership string) {
	p.t.Helper()
	p.seesState(roomID, "m.room.member", userID, "membership", membership)
}

// eventually waits until something holds. It syncs in between, so that it waits for news instead of the clock.
func (p *person) eventually(what string, holds func() bool) {
	p.t.Helper()
	if holds() {
		return
	}
	p.until(what, func(gjson.Result) bool { return holds() })
}

// invited waits for an invite and gives the state that is shown of the room.
func (p *person) invited(roomID string) (stripped []gjson.Result) {
	p.t.Helper()
	p.until("invite to "+roomID, func(sync gjson.Result) bool {
		room, ok := sync.Get("rooms.invite").Map()[roomID]
		stripped = room.Get("invite_state.events").Array()
		return ok
	})
	return stripped
}

func (p *person) create(body J) string {
	p.t.Helper()
	roomID, err := p.CreateRoom(p.t.Context(), body)
	if err != nil {
		p.t.Fatal(err)
	}
	return roomID
}

var transactions atomic.Int64

func (p *person) say(roomID, text string) (eventID string) {
	p.t.Helper()
	eventID, err := p.Send(p.t.Context(), roomID, "m.room.message", fmt.Sprint("t", transactions.Add(1)), J{"msgtype": "m.text", "body": text})
	if err != nil {
		p.t.Fatalf("%s: %v", p.UserID, err)
	}
	return eventID
}

func (p *person) room(roomID, what string, body J) {
	p.t.Helper()
	p.do("POST", matrixclient.Path("rooms", roomID, what), body)
}

func (p *person) joinVia(roomID string, server string) {
	p.t.Helper()
	p.do("POST", matrixclient.Path("join", roomID)+"?via="+server+"&server_name="+server, J{}) // the second is what older servers read
}

// server is the name of the person's server.
func (p *person) server() string {
	_, server, _ := strings.Cut(p.UserID, ":")
	return server
}

// telling is what lines of a log have that tell of more than routine.
var telling = []string{`"level":"WARN"`, `"level":"ERROR"`, "left out", "handshake", "dropped", "refuses", "could not be fetched"}

// explain shows what the servers of a failed test have logged besides their routine.
func explain(t *testing.T, servers []*peers.Server) {
	if !t.Failed() {
		return
	}
	for _, s := range servers {
		for _, line := range strings.Split(s.Log(), "\n") {
			if slices.ContainsFunc(telling, func(s string) bool { return strings.Contains(line, s) }) {
				t.Logf("%s: %.800s", s.Name, line)
			}
		}
	}
}
