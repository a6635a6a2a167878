package federation

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// modest is a room of a server that answers a few endpoints only, as small servers do, in which alice of a real server is.
type modest struct {
	*siege
	charlie string // whose room it is
}

// promptly is how long things may take that need one request or a few.
const promptly = 5 * time.Second

// visit has alice join a room of a server that answers these endpoints, and what every server must for that.
func visit(t *testing.T, authority *peers.Authority, server *peers.Server, version string, endpoints ...string) *modest {
	t.Helper()
	c := authority.Crafter(t)
	m := &modest{&siege{t: t, server: server, alice: newPerson(t, server, fmt.Sprint("visitor", transactions.Add(1))), c: c, mallory: c.User("charlie")}, c.User("charlie")}
	m.room = c.Room(m.charlie, versionOf(t, version))
	c.Answer("send_join", func(w http.ResponseWriter, r *http.Request) {
		join, err := m.room.ReadJoin(r)
		if err != nil {
			t.Error(err)
			return
		}
		answer := m.room.JoinAnswer(c.Name, join)
		delete(answer, "event") // which restricted joins need and no others
		m.room.Add(join)
		peers.JSON(w, http.StatusOK, answer)
	})
	c.Only(append([]string{"make_join", "send_join", "send"}, endpoints...)...)
	m.alice.joinVia(m.room.ID, c.Name)
	return m
}

// put makes a message of charlie's.
func (m *modest) put() *event.Event { return m.c.Put(m.room, m.message()) }

// takes sends events, none of which may be refused.
func (m *modest) takes(events ...*event.Event) {
	m.t.Helper()
	for _, e := range events {
		if fate := m.send(e.JSON())[e.ID()]; fate != "" {
			m.t.Errorf("%s: %s", e.ID(), fate)
		}
	}
}

// notes sends EDUs in a transaction whose PDUs are null.
func (m *modest) notes(edus ...J) {
	m.t.Helper()
	if _, err := m.transact(J{"pdus": nil, "edus": edus}); err != nil {
		m.t.Error(err)
	}
}

// modestly checks that nothing was asked for that the server does not answer.
func (m *modest) modestly() {
	m.t.Helper()
	if beyond := m.c.Beyond(); len(beyond) > 0 {
		m.t.Errorf("the server was asked for what it does not answer: %v", beyond)
	}
}

// soon checks that something comes about promptly.
func soon(t *testing.T, what string, comes func()) {
	t.Helper()
	began := time.Now()
	if comes(); time.Since(began) > promptly {
		t.Errorf("%s took %v", what, time.Since(began))
	}
}

// TestModestServers: a server that answers no more than it must is asked for no more than is needed, and what it lacks delays nothing.
func TestModestServers(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	for name, scenario := range map[string]func(*testing.T, *peers.Authority, *peers.Server){
		"joins and messages": joinsAndMessages, "what follows an event that nobody gives": unfilledGap, "the far end of a long gap": longGap,
		"events that cite a rejected one": citesRejected, "an auth chain that is not told": untoldChain, "a missing event that is none": missingNoEvent,
		"receipts for what has not come": earlyReceipts, "devices": modestDevices, "a join without members": modestPartialJoin,
		"the state at a missing event": stateAtMissing, "the first version of endpoints": firstVersions, "a server that knows no others": olderServer,
		"a room with events that cannot be verified": unverifiable,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scenario(t, authority, server)
		})
	}
}

func joinsAndMessages(t *testing.T, authority *peers.Authority, server *peers.Server) {
	for _, v := range []string{"5", "10", "12"} {
		m := visit(t, authority, server, v)
		soon(t, "a message", func() { m.c.Got(m.alice.say(m.room.ID, "hello")) })
		redaction, err := m.alice.Redact(t.Context(), m.room.ID, "$unknown:"+m.c.Name, "r"+v) // of an event that is not here
		if err != nil {
			t.Fatal(err)
		}
		soon(t, "a redaction", func() { m.c.Got(redaction) })
		e := m.put()
		m.takes(e)
		soon(t, "an answer", func() { m.alice.sees(m.room.ID, e.ID()) })
		if i := slices.IndexFunc(m.c.Sent(), func(edu gjson.Result) bool { return edu.Get("edu_type").Str != "m.presence" }); i >= 0 {
			t.Errorf("a join told %s", m.c.Sent()[i])
		}
		m.modestly()
	}
}

// unfilledGap: an event whose predecessor cannot be had is taken once that has come.
func unfilledGap(t *testing.T, authority *peers.Authority, server *peers.Server) {
	m := visit(t, authority, server, "12")
	before, after := m.put(), m.put()
	m.takes(after, before)
	soon(t, "the first", func() { m.alice.sees(m.room.ID, before.ID()) })
	m.takes(after)
	soon(t, "the second", func() { m.alice.sees(m.room.ID, after.ID()) })
}

// longGap: a gap too long to be filled is bridged with the state that is told at its end. Neither the auth chain is asked for, which comes
// with the state, nor anything else.
func longGap(t *testing.T, authority *peers.Authority, server *peers.Server) {
	m := visit(t, authority, server, "12", "get_missing_events", "state_ids", "state", "event")
	index := map[string]int{}
	var all []*event.Event
	for i := range 250 {
		p := m.room.Draft(m.charlie, "m.room.member", fmt.Sprintf(`{"membership":"join","displayname":"Charlie %d"}`, i), m.charlie)
		all = append(all, m.c.Put(m.room, p))
		index[all[i].ID()] = i
	}
	m.c.Answer("get_missing_events", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Latest []string `json:"latest_events"`
		}
		if err := json.UnmarshalRead(r.Body, &body); err != nil || len(body.Latest) != 1 {
			t.Errorf("asked for what is before %v: %v", body.Latest, err)
			return
		}
		end := index[body.Latest[0]]
		peers.JSON(w, http.StatusOK, J{"events": peers.PDUs(all[end-10 : end]...)})
	})
	last := all[len(all)-1]
	m.takes(last)
	soon(t, "the last event", func() {
		m.alice.until("the last event", func(sync gjson.Result) bool {
			timeline := sync.Get("rooms.join").Map()[m.room.ID].Get("timeline")
			if has(timeline.Get("events"), "content.displayname", "Charlie 150") && !timeline.Get("limited").Bool() {
				t.Error("what follows a gap is shown as if nothing were missing")
			}
			return has(timeline.Get("events"), "event_id", last.ID())
		})
	})
	m.modestly()
}

// citesRejected: what cites a rejected event is rejected with it, whether its auth chain is told or not, and what comes after is taken.
func citesRejected(t *testing.T, authority *peers.Authority, server *peers.Server) {
	s := besiege(t, authority, server, "10")
	s.c.Only("send", "event", "event_auth")
	at := func(typ, key string) string { return s.room.State()[event.Tuple{Type: typ, StateKey: key}] }
	rejected := s.c.Make(s.room, s.room.Draft(s.mallory, "m.room.power_levels", `{"users":{}}`, ""))
	s.send(rejected.JSON())
	cites := func(p event.Proto, ids ...string) event.Proto {
		p.AuthEvents = append([]string{at("m.room.create", ""), at("m.room.member", s.mallory)}, ids...)
		return p
	}
	outlier := s.c.Make(s.room, cites(s.room.Draft(s.mallory, "m.room.member", `{"membership":"join","test":1}`, s.mallory), at("m.room.join_rules", ""), rejected.ID()))
	s.room.Know(outlier)
	told := s.c.Put(s.room, cites(s.message(), at("m.room.power_levels", ""), outlier.ID()))
	untold := s.c.Put(s.room, cites(s.message(), at("m.room.power_levels", ""), outlier.ID()))
	good := s.c.Put(s.room, s.message())
	s.c.Answer("event_auth", func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, told.ID()) {
			peers.JSON(w, http.StatusNotFound, J{})
			return
		}
		peers.JSON(w, http.StatusOK, J{"auth_chain": peers.PDUs(s.room.Chain(told)...)})
	})
	s.send(told.JSON(), untold.JSON(), good.JSON())
	soon(t, "the good event", func() { s.alice.sees(s.room.ID, good.ID()) })
	for _, e := range []*event.Event{outlier, told, untold} {
		s.alice.refused("M_NOT_FOUND", "GET", matrixclient.Path("rooms", s.room.ID, "event", e.ID()), nil)
	}
}

// untoldChain: what authorises an event is fetched one by one from a server that tells no auth chains.
func untoldChain(t *testing.T, authority *peers.Authority, server *peers.Server) {
	s := besiege(t, authority, server, "11")
	s.c.Only("send", "event")
	join := func(name string) *event.Event {
		return s.c.Make(s.room, s.room.Draft(s.mallory, "m.room.member", `{"membership":"join","displayname":"`+name+`"}`, s.mallory))
	}
	first := join("first")
	s.room.Know(first)
	p := s.room.Draft(s.mallory, "m.room.member", `{"membership":"join","displayname":"second"}`, s.mallory)
	own := s.room.State()[event.Tuple{Type: "m.room.member", StateKey: s.mallory}]
	p.AuthEvents[slices.Index(p.AuthEvents, own)] = first.ID()
	second := s.c.Make(s.room, p)
	s.room.Know(second)
	p = s.message()
	p.AuthEvents[slices.Index(p.AuthEvents, own)] = second.ID()
	e := s.c.Make(s.room, p)
	if fate := s.send(e.JSON())[e.ID()]; fate != "" {
		t.Error(fate)
	}
	soon(t, "the event", func() { s.alice.has(s.room.ID, e.ID()) })
}

// missingNoEvent: a server that gives as the missing event what is none is not believed about the state there (room version 6, "Canonical JSON").
func missingNoEvent(t *testing.T, authority *peers.Authority, server *peers.Server) {
	m := visit(t, authority, server, "6", "get_missing_events")
	known := m.room.Last().ID()
	p := m.message()
	p.Content = []byte(`{"body":"half","half":0.5}`)
	bad, err := event.Build(p, versionOf(t, "5"), m.c.Name, m.c.Key) // which allows it
	if err != nil {
		t.Fatal(err)
	}
	m.room.Add(bad)
	asked := make(chan string, 10)
	m.c.Answer("get_missing_events", func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked <- gjson.GetBytes(raw, "earliest_events").Raw + gjson.GetBytes(raw, "latest_events").Raw
		peers.JSON(w, http.StatusOK, J{"events": peers.PDUs(bad)})
	})
	for range 2 {
		e := m.put()
		m.takes(e)
		if got, want := <-asked, `["`+known+`"]["`+e.ID()+`"]`; got != want {
			t.Errorf("asked for what is between %s and not %s", got, want)
		}
	}
	m.modestly()
}

// earlyReceipts: what others have read is shown though it has not come, with the time that their server says.
func earlyReceipts(t *testing.T, authority *peers.Authority, server *peers.Server) {
	m := visit(t, authority, server, "11")
	receipt := func(eventID string, ts int) J {
		return J{"edu_type": "m.receipt", "content": J{m.room.ID: J{"m.read": J{m.charlie: J{"data": J{"ts": ts}, "event_ids": []string{eventID}}}}}}
	}
	seen := func(eventID string, ts int64) {
		t.Helper()
		soon(t, "a receipt", func() {
			m.alice.until("the receipt", func(sync gjson.Result) bool {
				for _, e := range ephemeral(sync, m.room.ID, "m.receipt") {
					if e.Map()[eventID].Get(`m\.read`).Map()[m.charlie].Get("ts").Int() == ts {
						return true
					}
				}
				return false
			})
		})
	}
	m.notes(receipt("not yet here", 1436451550453))
	seen("not yet here", 1436451550453)
	e := m.put()
	m.takes(e)
	m.notes(receipt(e.ID(), 1436451550454))
	seen(e.ID(), 1436451550454)
}

// modestDevices: that the devices of somebody have changed is told to those who are in a room with them.
func modestDevices(t *testing.T, authority *peers.Authority, server *peers.Server) {
	m := visit(t, authority, server, "10")
	m.alice.sync(0)
	m.notes(J{"edu_type": "m.device_list_update", "content": J{"device_id": "D", "stream_id": 1, "user_id": m.charlie}})
	soon(t, "the change", func() {
		m.alice.until("the change", func(sync gjson.Result) bool {
			changed := sync.Get("device_lists.changed").Array()
			return len(changed) == 1 && changed[0].Str == m.charlie
		})
	})
	m.modestly()
}

// firstVersions: the older forms of send_join and send_leave, which answer pairs, take what the newer ones take.
func firstVersions(t *testing.T, authority *peers.Authority, server *peers.Server) {
	s := besiege(t, authority, server, "10")
	put := func(endpoint string, e *event.Event) (gjson.Result, error) {
		return s.c.Ask(server, "PUT", "/_matrix/federation/v1/"+endpoint+"/"+escaped(s.room.ID)+"/"+escaped(e.ID()), peers.PDUs(e)[0])
	}
	for _, endpoint := range []string{"send_join", "send_leave"} {
		if _, err := put(endpoint, s.c.Make(s.room, s.message())); err == nil || !strings.Contains(err.Error(), "400") {
			t.Errorf("%s of a message: %v", endpoint, err)
		}
	}
	bob := s.c.User("bob")
	got, err := put("send_join", s.c.Put(s.room, s.room.Draft(bob, "m.room.member", `{"membership":"join"}`, bob)))
	if err != nil || got.Get("0").Int() != 200 || !has(got.Get("1.state"), "type", "m.room.create") || !got.Get("1.auth_chain").IsArray() {
		t.Errorf("send_join answers %.200s %v", got, err)
	}
	s.alice.seesMember(s.room.ID, bob, "join")
	if got, err = put("send_leave", s.c.Put(s.room, s.room.Draft(bob, "m.room.member", `{"membership":"leave"}`, bob))); err != nil || got.Raw != "[200,{}]" {
		t.Errorf("send_leave answers %s %v", got, err)
	}
	s.alice.seesMember(s.room.ID, bob, "leave")
}

// olderServer: a server that knows only the first versions of endpoints is asked by those, for joins, invites and leaves.
func olderServer(t *testing.T, authority *peers.Authority, server *peers.Server) {
	for _, v := range []string{"1", "2", "10"} {
		c := authority.Crafter(t)
		alice, charlie := newPerson(t, server, fmt.Sprint("visitor", transactions.Add(1))), c.User("charlie")
		m := &siege{t: t, server: server, alice: alice, c: c, mallory: charlie, room: c.Room(charlie, versionOf(t, v))}
		older := func(endpoint string, answer func(raw []byte) any) {
			c.Answer(endpoint, func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasPrefix(r.URL.Path, "/_matrix/federation/v1/") {
					peers.JSON(w, http.StatusNotFound, J{"errcode": "M_UNRECOGNIZED", "error": "that is too new"})
					return
				}
				peers.JSON(w, http.StatusOK, []any{http.StatusOK, answer(body(t, r))})
			})
		}
		parse := func(raw []byte) *event.Event {
			e, err := event.Parse(raw, m.room.Version)
			if err != nil {
				t.Error(err)
			}
			return e
		}
		older("send_join", func(raw []byte) any {
			join := parse(raw)
			answer := m.room.JoinAnswer(c.Name, join)
			delete(answer, "event")
			m.room.Add(join)
			return answer
		})
		left := make(chan *event.Event, 1)
		older("send_leave", func(raw []byte) any { left <- parse(raw); return J{} })
		c.Answer("make_leave", func(w http.ResponseWriter, _ *http.Request) {
			template := m.room.Template(alice.UserID)
			template["content"] = J{"membership": "leave"}
			peers.JSON(w, http.StatusOK, J{"room_version": v, "event": template})
		})
		alice.joinVia(m.room.ID, c.Name)
		c.Got(alice.say(m.room.ID, "hello"))
		said := c.Put(m.room, m.message())
		if fate := m.send(said.JSON())[said.ID()]; fate != "" {
			t.Errorf("version %s: a message after the join: %s", v, fate)
		}
		alice.sees(m.room.ID, said.ID())

		// The first version of invites is for the first versions of rooms.
		older("invite", func(raw []byte) any {
			invite, err := parse(raw).Sign(c.Name, c.Key)
			if err != nil {
				t.Error(err)
			}
			return J{"event": jsontext.Value(invite.JSON())}
		})
		own := alice.create(J{"room_version": v})
		_, err := alice.Do(t.Context(), "POST", matrixclient.Path("rooms", own, "invite"), J{"user_id": charlie})
		if first := m.room.Version.EventIDFormat == roomversion.EventIDField; (err == nil) != first {
			t.Errorf("version %s: an invite: %v", v, err)
		}

		alice.room(m.room.ID, "leave", J{})
		m.room = c.Room(charlie, versionOf(t, v))
		invite := c.Put(m.room, m.room.Draft(charlie, "m.room.member", `{"membership":"invite"}`, alice.UserID))
		if _, err := c.Ask(server, "PUT", "/_matrix/federation/v2/invite/"+escaped(m.room.ID)+"/"+escaped(invite.ID()),
			J{"room_version": v, "event": peers.PDUs(invite)[0], "invite_room_state": []any{}}); err != nil {
			t.Fatal(err)
		}
		alice.invited(m.room.ID)
		alice.room(m.room.ID, "leave", J{})
		if leave := <-left; leave.Membership() != "leave" || leave.Sender() != alice.UserID {
			t.Errorf("version %s: the leave is %s", v, leave.JSON())
		}
	}
}

// unverifiable: events whose signatures are missing or wrong, or by keys that nobody has, are left out of a room that is joined, with what cites
// them; the rest of it is there.
func unverifiable(t *testing.T, authority *peers.Authority, server *peers.Server) {
	for name, signatures := range map[string]func(c *peers.Crafter) J{
		"missing": func(*peers.Crafter) J { return J{} },
		"wrong":   func(c *peers.Crafter) J { return J{c.Name: J{c.Key.ID: strings.Repeat("A", 86)}} },
		"unknown": func(c *peers.Crafter) J { return J{c.Name: J{"ed25519:nobodys": strings.Repeat("A", 86)}} },
	} {
		for _, v := range []string{"2", "11"} {
			c := authority.Crafter(t)
			alice, charlie, derek := newPerson(t, server, fmt.Sprint("visitor", transactions.Add(1))), c.User("charlie"), c.User("derek")
			m := &siege{t: t, server: server, alice: alice, c: c, mallory: charlie, room: c.Room(charlie, versionOf(t, v))}
			put := func(p event.Proto) {
				raw := tampered(t, c.Make(m.room, p), func(fields map[string]jsontext.Value) {
					text, err := json.Marshal(signatures(c))
					if err != nil {
						t.Fatal(err)
					}
					fields["signatures"] = text
				})
				e, err := event.Parse(raw, m.room.Version)
				if err != nil {
					t.Fatal(err)
				}
				m.room.Add(e)
			}
			put(m.room.Draft(charlie, "m.room.name", `{"name":"nobody signed this"}`, ""))
			put(m.room.Draft(derek, "m.room.member", `{"membership":"join"}`, derek))
			c.Put(m.room, m.room.Draft(derek, "m.room.member", `{"membership":"leave"}`, derek)) // authorised by the join
			c.Put(m.room, m.room.Draft(charlie, "m.room.topic", `{"topic":"signed"}`, ""))
			alice.joinVia(m.room.ID, c.Name)
			alice.seesState(m.room.ID, "m.room.topic", "", "topic", "signed")
			for _, missing := range [][2]string{{"m.room.name", ""}, {"m.room.member", derek}} {
				if got, err := alice.Do(t.Context(), "GET", matrixclient.Path("rooms", m.room.ID, "state", missing[0], missing[1]), nil); err == nil {
					t.Errorf("signatures %s, version %s: %s is in the room: %s", name, v, missing[0], got.Raw)
				}
			}
			c.Got(alice.say(m.room.ID, "hello"))
			said := c.Put(m.room, m.message())
			if fate := m.send(said.JSON())[said.ID()]; fate != "" {
				t.Errorf("signatures %s, version %s: a message after the join: %s", name, v, fate)
			}
			alice.sees(m.room.ID, said.ID())
		}
	}
}

// stateAtMissing: a server that gives some of what is missing, and not all, is asked for the state at what it does not give.
func stateAtMissing(t *testing.T, authority *peers.Authority, server *peers.Server) {
	m := visit(t, authority, server, "12", "get_missing_events", "state_ids", "state", "event")
	topic := m.c.Put(m.room, m.room.Draft(m.charlie, "m.room.topic", `{"topic":"missing"}`, ""))
	given, sent := m.put(), m.put()
	m.c.Answer("get_missing_events", func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var events []*event.Event
		if strings.Contains(string(raw), sent.ID()) {
			events = append(events, given)
		}
		peers.JSON(w, http.StatusOK, J{"events": peers.PDUs(events...)})
	})
	m.onlyStateAt(topic)
	m.takes(sent)
	soon(t, "the event", func() { m.alice.sees(m.room.ID, sent.ID()) })
	m.agreed()
	m.modestly()
}

// onlyStateAt has the server tell the state before one event and no other.
func (m *modest) onlyStateAt(e *event.Event) {
	m.c.Answer("state_ids", func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query().Get("event_id"); got != e.ID() {
			m.t.Errorf("asked for the state at %s, not %s", got, e.ID())
			http.Error(w, "nothing of the kind", http.StatusNotFound)
			return
		}
		state := m.room.StateBefore(e.ID())
		peers.JSON(w, http.StatusOK, J{"pdu_ids": peers.IDs(state...), "auth_chain_ids": peers.IDs(m.room.Chain(state...)...)})
	})
}

// modestPartialJoin: the members of a room that was joined without them come with the state at the event that the join follows.
func modestPartialJoin(t *testing.T, authority *peers.Authority, server *peers.Server) {
	for _, v := range []string{"10", "12"} {
		c := authority.Crafter(t)
		m := &modest{&siege{t: t, server: server, alice: newPerson(t, server, fmt.Sprint("visitor", transactions.Add(1))), c: c, mallory: c.User("charlie")}, c.User("charlie")}
		m.room = c.Room(m.charlie, versionOf(t, v))
		derek := c.User("derek")
		last := m.c.Put(m.room, m.room.Draft(derek, "m.room.member", `{"membership":"join"}`, derek))
		c.Answer("send_join", func(w http.ResponseWriter, r *http.Request) {
			join, err := m.room.ReadJoin(r)
			if err != nil || r.URL.Query().Get("omit_members") != "true" {
				t.Errorf("the join is %s: %v", r.URL, err)
				return
			}
			var state []*event.Event
			for place, id := range m.room.State() {
				if place.Type != "m.room.member" {
					state = append(state, m.room.Event(id))
				}
			}
			m.room.Add(join)
			peers.JSON(w, http.StatusOK, J{"origin": c.Name, "state": peers.PDUs(state...), "auth_chain": peers.PDUs(m.room.Chain(append(state, join)...)...),
				"members_omitted": true, "servers_in_room": []string{c.Name}})
		})
		gate := make(chan struct{})
		c.Answer("state_ids", func(w http.ResponseWriter, r *http.Request) {
			if got := r.URL.Query().Get("event_id"); got != last.ID() {
				t.Errorf("asked for the state at %s, not %s", got, last.ID())
			}
			<-gate
			state := m.room.StateBefore(last.ID())
			peers.JSON(w, http.StatusOK, J{"pdu_ids": peers.IDs(state...), "auth_chain_ids": peers.IDs(m.room.Chain(state...)...)})
		})
		c.Only("make_join", "send_join", "send", "state_ids", "state", "event", "event_auth")
		m.alice.joinVia(m.room.ID, c.Name)
		c.WaitAsked("state_ids", 1)
		lazy := &visitor{&person{Client: m.alice.Client, t: t}}
		lazy.comes(m.room.ID, "the room", func(gjson.Result) bool { return true })
		if eager := m.alice.sync(0); eager.Get("rooms.join").Map()[m.room.ID].Exists() {
			t.Error("the room is shown as a whole while its members are not known")
		}
		p := m.room.Draft(derek, "m.room.message", `{"body":"hello"}`)
		said := c.Put(m.room, p)
		m.takes(said)
		soon(t, "a message", func() {
			room := lazy.comes(m.room.ID, "a message", func(room gjson.Result) bool { return has(room.Get("timeline.events"), "event_id", said.ID()) })
			if !has(room.Get("state.events"), "state_key", derek) {
				t.Error("the sender is not told")
			}
		})
		c.Got(m.alice.say(m.room.ID, "hello"))
		other := authority.Crafter(t)
		for _, what := range []string{"make_join", "make_knock"} {
			_, err := other.Ask(server, "GET", "/_matrix/federation/v1/"+what+"/"+escaped(m.room.ID)+"/"+escaped(other.User("x"))+"?ver="+v, nil)
			if err == nil || !strings.Contains(err.Error(), "404") {
				t.Errorf("%s of a room whose members are not known: %v", what, err)
			}
		}
		close(gate)
		soon(t, "the members", func() {
			members := m.alice.do("GET", matrixclient.Path("rooms", m.room.ID, "joined_members"), nil).Get("joined").Map()
			if len(members) != 3 {
				t.Errorf("the members are %v", members)
			}
		})
		soon(t, "the whole room", func() { m.alice.sees(m.room.ID, said.ID()) })
		m.agreed()
		m.modestly()
		if i := slices.IndexFunc(c.Sent(), func(edu gjson.Result) bool { return edu.Get("edu_type").Str != "m.presence" }); i >= 0 {
			t.Errorf("a join told %s", c.Sent()[i])
		}
	}
}
