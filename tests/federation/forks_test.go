package federation

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

var (
	seed  = flag.Uint64("seed", 1, "the first seed of TestServersCutApart")
	seeds = flag.Uint64("seeds", 2, "how many seeds TestServersCutApart goes through")
)

// TestServersCutApart: three servers share a room of every version; they are cut apart, all change the rooms, and when they hear of each
// other again they agree. Clients are told of it, whichever way they sync, and nothing that was said is lost.
func TestServersCutApart(t *testing.T) {
	t.Parallel()
	servers := peers.StartApart(t, 3, "federation.retry_longest=1s")
	t.Cleanup(func() { explain(t, servers) })
	for s := *seed; s < *seed+*seeds && !t.Failed(); s++ {
		t.Run(fmt.Sprint("seed ", s), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(s, 0)) //nolint:gosec // to be repeated
			var rooms []*splitRoom
			for _, v := range roomversion.All() {
				rooms = append(rooms, &splitRoom{version: v, rng: rand.New(rand.NewPCG(s, rng.Uint64())), seed: s}) //nolint:gosec // as above
			}
			together := func(what string, do func(*splitRoom)) {
				t.Run(what, func(t *testing.T) {
					for _, r := range rooms {
						t.Run("version "+r.version.ID, func(t *testing.T) {
							t.Parallel()
							r.in(t)
							do(r)
						})
					}
				})
			}
			together("before", func(r *splitRoom) { r.begin(servers) })
			groups := [][]*peers.Server{{servers[0]}, {servers[1]}, {servers[2]}}
			if pair := rng.IntN(4); pair < 3 { // two of them keep hearing each other
				groups = [][]*peers.Server{{servers[pair]}, slices.Delete(slices.Clone(servers), pair, pair+1)}
			}
			act := func(r *splitRoom) {
				for range 2 + r.rng.IntN(4) {
					for _, h := range r.houses {
						r.act(h)
					}
				}
			}
			peers.Part(groups...)
			together("apart", act)
			if victim := rng.IntN(6); victim < 3 {
				servers[victim].Kill()
				servers[victim].Run()
				peers.Part(groups...)
			}
			together("still apart", act)
			peers.Rejoin(servers)
			together("after", func(r *splitRoom) {
				r.settle()
				r.check()
			})
		})
	}
}

// house is the people of one server in a room.
type house struct {
	anchor *person // is never sent away
	one    *person // may be
	guest  *person // is not in the room at first
	views  []*view
}

func (h *house) all() []*person { return []*person{h.anchor, h.one, h.guest} }

// splitRoom is a room of servers that are cut apart.
type splitRoom struct {
	t       *testing.T
	rng     *rand.Rand
	seed    uint64
	version *roomversion.Version
	id      string
	houses  []*house
	said    []string // by anchors
	log     []string
}

func (r *splitRoom) begin(servers []*peers.Server) {
	r.t.Helper()
	v := r.version
	levels := J{}
	for _, s := range servers {
		h := &house{}
		for name, p := range map[string]**person{"anchor": &h.anchor, "one": &h.one, "guest": &h.guest} {
			*p = newPerson(r.t, s, fmt.Sprintf("%s-%d-%s", name, r.seed, v.ID))
		}
		levels[h.anchor.UserID], levels[h.one.UserID] = 100, 50
		r.houses = append(r.houses, h)
	}
	first := r.houses[0].anchor
	if v.PrivilegedCreators {
		delete(levels, first.UserID)
	}
	r.id = first.create(J{"preset": "public_chat", "room_version": v.ID, "topic": "before", "power_level_content_override": J{"users": levels}})
	for i, h := range r.houses {
		for _, p := range h.all()[:2] {
			if p != first {
				p.joinVia(r.id, servers[0].Name)
			}
		}
		h.views = views(h.anchor)
		if i == 0 {
			continue
		}
		// Everybody knows of everybody before the servers are cut apart.
		for _, other := range r.houses[:i+1] {
			for _, p := range h.all()[:2] {
				other.anchor.seesMember(r.id, p.UserID, "join")
			}
			for _, p := range other.all()[:2] {
				h.anchor.seesMember(r.id, p.UserID, "join")
			}
		}
	}
	for _, h := range r.houses {
		for _, v := range h.views {
			v.update()
		}
	}
}

// in has the room's people fail the test t.
func (r *splitRoom) in(t *testing.T) {
	r.t = t
	for _, h := range r.houses {
		for _, p := range h.all() {
			p.t = t
		}
	}
}

// act has somebody of the house do something, which may be forbidden.
func (r *splitRoom) act(h *house) {
	r.t.Helper()
	somebody := h.all()[r.rng.IntN(2)]
	others := make([]*person, 0, 2*len(r.houses))
	for _, other := range r.houses {
		others = append(others, other.one, other.guest)
	}
	target := others[r.rng.IntN(len(others))]
	do := func(p *person, method, path string, body J) {
		_, err := p.Do(p.t.Context(), method, path, body)
		var refusal *matrixclient.Refusal
		if err != nil && (!errors.As(err, &refusal) || refusal.Status != http.StatusForbidden) {
			r.t.Errorf("%s: %v", p.UserID, err)
		}
		r.log = append(r.log, fmt.Sprintf("%s %s %s %v: %v", p.UserID, method, path, body, err))
	}
	set := func(eventType string, content J) {
		do(somebody, "PUT", matrixclient.Path("rooms", r.id, "state", eventType, ""), content)
	}
	member := func(p *person, what string, body J) { do(p, "POST", matrixclient.Path("rooms", r.id, what), body) }
	switch n := r.rng.IntN(1 << 20); r.rng.IntN(13) {
	case 0:
		r.said = append(r.said, h.anchor.say(r.id, fmt.Sprint(n)))
	case 1, 2:
		set("m.room.topic", J{"topic": fmt.Sprint(n)})
	case 3:
		set("m.room.name", J{"name": fmt.Sprint(n)})
	case 4, 5:
		r.promote(somebody, do)
	case 6:
		set("m.room.join_rules", J{"join_rule": []string{"public", "invite"}[r.rng.IntN(2)], "n": n})
	case 7:
		member(somebody, "ban", J{"user_id": target.UserID})
	case 8:
		member(somebody, []string{"kick", "unban"}[r.rng.IntN(2)], J{"user_id": target.UserID})
	case 9:
		member(somebody, "invite", J{"user_id": h.guest.UserID})
	case 10:
		member(h.all()[1+r.rng.IntN(2)], "join", J{})
	case 11:
		member(h.all()[1+r.rng.IntN(2)], "leave", J{})
	case 12:
		if len(r.said) > 0 {
			said := r.said[r.rng.IntN(len(r.said))]
			if _, err := somebody.Do(r.t.Context(), "GET", matrixclient.Path("rooms", r.id, "event", said), nil); err == nil { // it has been heard of
				do(somebody, "PUT", matrixclient.Path("rooms", r.id, "redact", said, fmt.Sprint("r", n)), J{"reason": "?"})
			}
		}
	}
	if v := h.views[r.rng.IntN(len(h.views))]; r.rng.IntN(3) == 0 {
		v.update()
	}
}

// promote changes the power of one user, or what is needed for state.
func (r *splitRoom) promote(p *person, do func(*person, string, string, J)) {
	r.t.Helper()
	path := matrixclient.Path("rooms", r.id, "state", "m.room.power_levels", "")
	levels := p.Client
	now, err := levels.Do(r.t.Context(), "GET", path, nil)
	if err != nil {
		return // not in the room
	}
	content := J{}
	for key, value := range now.Map() {
		content[key] = value.Value()
	}
	if r.rng.IntN(4) == 0 {
		content["state_default"] = []int{0, 50}[r.rng.IntN(2)]
	} else {
		users := J{}
		for userID, level := range now.Get("users").Map() {
			users[userID] = level.Int()
		}
		h := r.houses[r.rng.IntN(len(r.houses))]
		users[h.all()[r.rng.IntN(3)].UserID] = []int{0, 50, 100}[r.rng.IntN(3)]
		if r.version.PrivilegedCreators {
			delete(users, r.houses[0].anchor.UserID)
		}
		content["users"] = users
	}
	do(p, "PUT", path, content)
}

// settle has every server hear of all that the others did, and say something that follows on all of it.
func (r *splitRoom) settle() {
	r.t.Helper()
	for range 2 {
		for _, h := range r.houses {
			said := h.anchor.say(r.id, "together again")
			r.said = append(r.said, said)
			for _, other := range r.houses {
				other.anchor.eventually("what "+h.anchor.UserID+" said", func() bool {
					_, err := other.anchor.Do(r.t.Context(), "GET", matrixclient.Path("rooms", r.id, "event", said), nil)
					return err == nil
				})
			}
		}
	}
}

func (r *splitRoom) check() {
	r.t.Helper()
	defer func() {
		if r.t.Failed() {
			for _, line := range r.log {
				r.t.Log(line)
			}
		}
	}()
	first := r.houses[0].anchor
	agreed := first.state(r.id)
	contents := contentsOf(first, r.id)
	for _, h := range r.houses {
		if got := h.anchor.state(r.id); h.anchor != first {
			compare(r.t, h.anchor.server()+" and "+first.server(), got, agreed, false)
		}
		members := stateOf(h.anchor.do("GET", matrixclient.Path("rooms", r.id, "members"), nil).Get("chunk").Array())
		for place, id := range agreed {
			if place.Type == "m.room.member" && members[place] != id {
				r.t.Errorf("%s: GET /members has %q for %s, not %q", h.anchor.server(), members[place], place.StateKey, id)
			}
		}
		r.compareContents(first, contents, h.anchor, contentsOf(h.anchor, r.id))
		seen := history(h.anchor, r.id)
		for id, n := range seen {
			if n != 1 {
				r.t.Errorf("%s: the event %s is %d times in the history", h.anchor.server(), id, n)
			}
		}
		for _, id := range r.said {
			if seen[id] != 1 {
				r.t.Errorf("%s: the message %s is %d times in the history", h.anchor.server(), id, seen[id])
			}
		}
		for _, v := range h.views {
			v.update()
			v.check(r.t, r.id, agreed)
		}
		r.checkMemberships(h, agreed)
	}
}

// shownEvent is an event as a user sees it.
type shownEvent struct{ content, redactedBy string }

// contentsOf are all events of a room that a user sees.
func contentsOf(p *person, roomID string) map[string]shownEvent {
	p.t.Helper()
	contents := map[string]shownEvent{}
	for _, e := range everything(p, roomID) {
		contents[e.Get("event_id").Str] = shownEvent{e.Get("content").Raw, e.Get("unsigned.redacted_because.event_id").Str}
	}
	return contents
}

// compareContents wants what both users see to be the same, but for redactions that only one of them sees: a server takes no notice of one
// whose sender it knows to be sent away (server-server API, "Soft failure").
func (r *splitRoom) compareContents(a *person, ofA map[string]shownEvent, b *person, ofB map[string]shownEvent) {
	r.t.Helper()
	for id, inA := range ofA {
		inB, both := ofB[id]
		if !both || inA.content == inB.content {
			continue
		}
		_, seenByA := ofA[inB.redactedBy]
		_, seenByB := ofB[inA.redactedBy]
		if seenByA || seenByB || inA.redactedBy == inB.redactedBy {
			r.t.Errorf("%s sees the event %s as %v, and %s as %v", a.UserID, id, inA, b.UserID, inB)
		}
	}
}

// checkMemberships wants the house's people to be in the room as its state says.
func (r *splitRoom) checkMemberships(h *house, agreed state) {
	r.t.Helper()
	for _, p := range h.all() {
		membership := "leave"
		if agreed[event.Tuple{Type: "m.room.member", StateKey: p.UserID}] != "" {
			membership = h.anchor.do("GET", matrixclient.Path("rooms", r.id, "state", "m.room.member", p.UserID), nil).Get("membership").Str
		}
		joined := slices.ContainsFunc(p.do("GET", "/joined_rooms", nil).Get("joined_rooms").Array(), func(id gjson.Result) bool { return id.Str == r.id })
		if joined != (membership == "join") {
			r.t.Errorf("%s is in the room: %t; by its state: %s", p.UserID, joined, membership)
		}
	}
}
