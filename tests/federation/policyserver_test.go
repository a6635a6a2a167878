package federation

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// policyKeyOf is the key that a policy server tells clients.
func policyKeyOf(t *testing.T, s *peers.Server) string {
	t.Helper()
	status, told := policyFile(t, s)
	key := told.Get("public_keys.ed25519").Str
	if raw, err := signing.DecodeBase64(key); status != http.StatusOK || err != nil || len(raw) != 32 {
		t.Fatalf("%s: its policy key is %d %s", s.Name, status, told.Raw)
	}
	return key
}

func policyFile(t *testing.T, s *peers.Server) (status int, told gjson.Result) {
	t.Helper()
	answer, err := http.Get(s.URL + "/.well-known/matrix/policy_server")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, gjson.ParseBytes(raw)
}

// policed makes the server the policy server of the siege's room.
func policed(s *siege) string {
	s.t.Helper()
	key := policyKeyOf(s.t, s.server)
	s.alice.do("PUT", matrixclient.Path("rooms", s.room.ID, "state", room.PolicyType, ""), J{"via": s.server.Name, "public_keys": J{"ed25519": key}})
	return key
}

// sign asks the server to vouch for an event, and gives its signature, or the refusal as "400 M_FORBIDDEN".
func (s *siege) vouched(raw []byte) (signature, refusal string) {
	s.t.Helper()
	answer, err := s.c.Ask(s.server, "POST", "/_matrix/policy/v1/sign", jsontext.Value(raw))
	var told *federation.Error
	switch {
	case errors.As(err, &told):
		return "", fmt.Sprintf("%d %s", told.Status, told.Code)
	case err != nil:
		s.t.Fatal(err)
	}
	if n := len(answer.Map()); n != 1 {
		s.t.Errorf("the signatures are %s", answer.Raw)
	}
	return answer.Map()[s.server.Name].Map()[room.PolicyKeyID].Str, ""
}

// TestBeingPolicyServer: a server signs what keeps to its rules in rooms that have chosen it, for its own users and those of others, and nobody sees
// anything else (server-server API, "Policy Servers").
func TestBeingPolicyServer(t *testing.T) {
	t.Parallel()
	authority := peers.NewAuthority(t)
	servers := authority.Start(2, "federation.timeout=3s", "federation.retry_longest=1s", "policy_server.blocked_text=['(?i)\\bspam\\b']",
		"policy_server.blocked_users=['@troll:*']", "policy_server.max_mentions=2", "policy_server.rate={per_second: 0.0001, burst: 12}",
		"policy_server.newcomers={time: 1h, blocked_types: [m.image]}")
	t.Cleanup(func() { explain(t, servers) })
	for _, version := range []string{"1", "6", "12"} {
		t.Run(version, func(t *testing.T) {
			s := besiege(t, authority, servers[0], version)
			bob := newPerson(t, servers[1], fmt.Sprint("bob", transactions.Add(1)))
			carol := newPerson(t, servers[0], fmt.Sprint("carol", transactions.Add(1)))
			key := policed(s)
			public, err := signing.DecodeBase64(key)
			if err != nil {
				t.Fatal(err)
			}
			bob.joinVia(s.room.ID, servers[0].Name)
			carol.joinVia(s.room.ID, servers[0].Name)
			for _, p := range []*person{bob, carol, s.alice} {
				got := s.c.Got(p.say(s.room.ID, "hello"))
				if err := got.VerifySignature(servers[0].Name, room.PolicyKeyID, public); err != nil {
					t.Errorf("what %s says goes out as %s: %v", p.UserID, got.JSON(), err)
				}
			}
			spam := func(p *person, code string, content J) {
				t.Helper()
				p.refused(code, "PUT", matrixclient.Path("rooms", s.room.ID, "send", "m.room.message", fmt.Sprint("t", transactions.Add(1))), content)
			}
			for _, p := range []*person{bob, carol} {
				spam(p, "M_FORBIDDEN", J{"msgtype": "m.text", "body": "Spam!"})
				spam(p, "M_FORBIDDEN", J{"msgtype": "m.image", "body": "a picture", "url": "mxc://a/b"})
				spam(p, "M_FORBIDDEN", J{"msgtype": "m.text", "body": "you three", "m.mentions": J{"user_ids": []string{"@a:a", "@b:a", "@c:a"}}})
				p.do("PUT", matrixclient.Path("rooms", s.room.ID, "state", "m.room.member", p.UserID), J{"membership": "join", "displayname": "somebody"})
			}
			s.alice.say(s.room.ID, "spam is what moderators may talk about")

			// A server that does not ask: both others have the policy server sign what passes, and show nobody what does not.
			good := s.c.Put(s.room, s.message())
			bad := s.c.Make(s.room, s.room.Draft(s.mallory, "m.room.message", `{"msgtype":"m.text","body":"spam"}`))
			for i, to := range []*person{s.alice, bob} {
				if _, err := s.c.Send(servers[i], fmt.Sprint("t", transactions.Add(1)), J{"origin": s.c.Name, "origin_server_ts": 1,
					"pdus": []jsontext.Value{good.JSON(), bad.JSON()}}); err != nil {
					t.Fatal(err)
				}
				to.has(s.room.ID, good.ID())
				if _, err := to.Do(t.Context(), "GET", matrixclient.Path("rooms", s.room.ID, "event", bad.ID()), nil); err == nil {
					t.Errorf("%s reads spam", to.UserID)
				}
			}
			first, _ := s.vouched(good.JSON())
			if again, refusal := s.vouched(good.JSON()); first == "" || again != first {
				t.Errorf("the signature of the same event is %q %s, and was %q", again, refusal, first)
			}
			if _, refusal := s.vouched(bad.JSON()); refusal != "400 M_FORBIDDEN" {
				t.Errorf("spam that was refused: %s", refusal)
			}

			// More than a user may send, whoever asks; nobody is kept from leaving.
			enough := false
			for range 15 {
				e := s.c.Make(s.room, s.message())
				_, refusal := s.vouched(e.JSON())
				enough = refusal == "400 M_FORBIDDEN"
			}
			if !enough {
				t.Error("a user may send as much as they like")
			}
			s.c.Got(bob.say(s.room.ID, "I may still"))
			leave := s.c.Make(s.room, s.room.Draft(s.mallory, "m.room.member", `{"membership":"leave"}`, s.mallory))
			if signature, refusal := s.vouched(leave.JSON()); signature == "" {
				t.Errorf("leaving is refused: %s", refusal)
			}
			carol.room(s.room.ID, "leave", J{})
			bob.room(s.room.ID, "leave", J{})
		})
	}
	t.Run("troll", func(t *testing.T) {
		alice, troll := newPerson(t, servers[1], "alice"), newPerson(t, servers[0], "troll")
		roomID := alice.create(J{"preset": "public_chat"})
		troll.joinVia(roomID, servers[1].Name)
		alice.do("PUT", matrixclient.Path("rooms", roomID, "state", room.PolicyType, ""),
			J{"via": servers[0].Name, "public_keys": J{"ed25519": policyKeyOf(t, servers[0])}})
		troll.seesState(roomID, room.PolicyType, "", "via", servers[0].Name)
		troll.refused("M_FORBIDDEN", "PUT", matrixclient.Path("rooms", roomID, "send", "m.room.message", "t"), J{"msgtype": "m.text", "body": "hello"})
		troll.room(roomID, "leave", J{})
		alice.seesMember(roomID, troll.UserID, "leave")
		alice.say(roomID, "a policy server that nobody of is here is none")
	})
}

// TestPolicedEntrances: the policy server of a room is asked about those who come into it through others: invited, knocking, or let into a restricted room by a
// user of a server that has not signed for that yet.
func TestPolicedEntrances(t *testing.T) {
	t.Parallel()
	authority := peers.NewAuthority(t)
	servers := authority.Start(2, "federation.timeout=3s", "federation.retry_longest=1s", "policy_server.blocked_users=['@troll:*']")
	t.Cleanup(func() { explain(t, servers) })
	c := authority.Crafter(t)
	alice, bob := newPerson(t, servers[0], "alice"), newPerson(t, servers[1], "bob")
	v := versionOf(t, "11")
	space := alice.create(J{"preset": "public_chat", "room_version": v.ID})
	roomID := alice.create(J{"preset": "private_chat", "room_version": v.ID, "power_level_content_override": J{"invite": 0}, "invite": []string{bob.UserID}, "initial_state": []J{
		{"type": room.PolicyType, "state_key": "", "content": J{"via": servers[0].Name, "public_keys": J{"ed25519": policyKeyOf(t, servers[0])}}},
		{"type": "m.room.join_rules", "state_key": "", "content": J{"join_rule": "knock_restricted", "allow": []J{{"type": "m.room_membership", "room_id": space}}}}}})
	bob.invited(roomID)
	bob.joinVia(roomID, servers[0].Name)
	bob.joinVia(space, servers[0].Name)
	vouched := func(userID, membership string) {
		t.Helper()
		alice.seesMember(roomID, userID, membership)
		got := alice.do("GET", matrixclient.Path("rooms", roomID, "state", "m.room.member", userID)+"?format=event", nil)
		pdu, err := c.Ask(servers[0], "GET", "/_matrix/federation/v1/event/"+escaped(got.Get("event_id").Str), nil)
		if err != nil {
			t.Fatal(err)
		}
		if pdu.Get("pdus.0.signatures").Map()[servers[0].Name].Map()[room.PolicyKeyID].Str == "" {
			t.Errorf("the %s of %s is not vouched for: %s", membership, userID, pdu.Raw)
		}
	}
	for _, name := range []string{"mallory", "troll"} {
		user := c.User(name)
		c.Join(servers[1], space, user, v)
		alice.seesMember(space, user, "join")
		bob.seesMember(space, user, "join")
	}
	c.Join(servers[1], roomID, c.User("mallory"), v) // bob's server lets her in
	vouched(c.User("mallory"), "join")
	vouched(bob.UserID, "join")

	// The troll is refused by bob's server, which asked alice's.
	template, err := c.Ask(servers[1], "GET", "/_matrix/federation/v1/make_join/"+escaped(roomID)+"/"+escaped(c.User("troll"))+"?ver=11", nil)
	if err != nil {
		t.Fatal(err)
	}
	ids := func(name string) (ids []string) {
		for _, id := range template.Get("event." + name).Array() {
			ids = append(ids, id.Str)
		}
		return ids
	}
	troll := c.User("troll")
	join, err := event.Build(event.Proto{Type: "m.room.member", StateKey: &troll, Sender: troll, RoomID: roomID, Content: []byte(template.Get("event.content").Raw),
		PrevEvents: ids("prev_events"), AuthEvents: ids("auth_events"), Depth: template.Get("event.depth").Int(), OriginServerTS: time.Now().UnixMilli()}, v, c.Name, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Ask(servers[1], "PUT", "/_matrix/federation/v2/send_join/"+escaped(roomID)+"/"+escaped(join.ID()), jsontext.Value(join.JSON()))
	var refusal *federation.Error
	if !errors.As(err, &refusal) || refusal.Code != "M_FORBIDDEN" {
		t.Errorf("a troll joins: %v", err)
	}

	carol := newPerson(t, servers[1], "carol")
	carol.do("POST", matrixclient.Path("knock", roomID)+"?via="+servers[0].Name, J{})
	vouched(carol.UserID, "knock")
	dave := newPerson(t, servers[1], "dave")
	alice.room(roomID, "invite", J{"user_id": dave.UserID})
	vouched(dave.UserID, "invite")
	dave.invited(roomID)
	dave.room(roomID, "leave", J{})
	vouched(dave.UserID, "leave")
}

// TestAskingPolicyServer: what POST /sign answers to those who ask for other things than they may.
func TestAskingPolicyServer(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	s := besiege(t, authority, server, "11")
	refused := func(what, want string, raw []byte) {
		t.Helper()
		if _, refusal := s.vouched(raw); refusal != want {
			t.Errorf("%s: %q, want %s", what, refusal, want)
		}
	}
	message := s.c.Make(s.room, s.message())
	refused("a room without a policy server", "404 M_NOT_FOUND", message.JSON())
	s.alice.do("PUT", matrixclient.Path("rooms", s.room.ID, "state", room.PolicyType, ""),
		J{"via": server.Name, "public_keys": J{"ed25519": signing.EncodeBase64(s.c.Key.Public())}})
	refused("a room that names another key", "404 M_NOT_FOUND", message.JSON())
	s.alice.refused("M_UN", "PUT", matrixclient.Path("rooms", s.room.ID, "send", "m.room.message", "other"), J{"msgtype": "m.text", "body": "hello"})
	key := policed(s)
	if signature, refusal := s.vouched(message.JSON()); signature == "" {
		t.Errorf("a message: %s", refusal)
	}
	if e := s.c.Got(s.alice.say(s.room.ID, "hello")); e.Signatures()[server.Name][room.PolicyKeyID] == "" || len(e.Signatures()[server.Name]) != 2 {
		t.Errorf("alice's message is signed by %v", e.Signatures())
	}
	refused("an unknown room", "404 M_NOT_FOUND", []byte(`{"room_id":"!nowhere:`+server.Name+`"}`))
	refused("no room", "400 M_BAD_JSON", []byte(`{}`))
	refused("no event", "400 M_BAD_JSON", []byte(`{"room_id":"`+s.room.ID+`"}`))
	refused("no object", "400 M_BAD_JSON", []byte(`[]`))
	refused("another content", "400 M_BAD_JSON", tampered(t, message, func(m map[string]jsontext.Value) { m["content"] = []byte(`{"body":"x"}`) }))
	refused("no signature", "400 M_FORBIDDEN", tampered(t, message, func(m map[string]jsontext.Value) { m["signatures"] = []byte(`{}`) }))
	refused("the event that names it", "400 M_FORBIDDEN",
		s.c.Make(s.room, s.room.Draft(s.mallory, room.PolicyType, `{}`, "")).JSON())
	if signature, refusal := s.vouched(s.c.Make(s.room, s.room.Draft(s.mallory, room.PolicyType, `{}`, "other")).JSON()); signature == "" {
		t.Errorf("another state key: %s", refusal)
	}
	if _, err := s.c.Ask(server, "GET", "/_matrix/policy/v1/sign", nil); err == nil || !strings.Contains(err.Error(), "405 M_UNRECOGNIZED") {
		t.Errorf("another method: %v", err)
	}
	s.alice.do("PUT", matrixclient.Path("rooms", s.room.ID, "state", "m.room.server_acl", ""), J{"allow": []string{"*"}, "deny": []string{"127.0.0.1"}})
	refused("a server that is kept out", "403 M_FORBIDDEN", s.c.Make(s.room, s.message()).JSON())

	server.Kill()
	server.Run("--set", "policy_server.blocked_text=[late]")
	if again := policyKeyOf(t, server); again != key {
		t.Errorf("the key is %s after a crash, and was %s", again, key)
	}
	server.Stop()
	server.Run("--set", "well_known.policy_key="+key)
	refused("a server that leaves it to another program", "404 M_UNRECOGNIZED", message.JSON())
	if got := policyKeyOf(t, server); got != key {
		t.Errorf("the other program's key is published as %s", got)
	}
	server.Stop()
	server.Run("--set", "policy_server.enabled=false")
	refused("a server that is none", "404 M_UNRECOGNIZED", message.JSON())
	if status, _ := policyFile(t, server); status != http.StatusNotFound {
		t.Errorf("a server that is no policy server has a key: %d", status)
	}
}

// TestClusterAsPolicyServer: the nodes of a server are one policy server, whichever of them is asked and whichever has the room.
func TestClusterAsPolicyServer(t *testing.T) {
	t.Parallel()
	authority := peers.NewAuthority(t)
	nodes, name := startCluster(t, authority, 2, "policy_server.blocked_text=[spam]", "policy_server.rate={per_second: 0.0001, burst: 6}")
	user := func(node int, name string) *person {
		t.Helper()
		nobody := &matrixclient.Client{URL: nodes[node].URL, HTTP: &http.Client{Timeout: time.Minute}}
		c, err := nobody.Register(t.Context(), name, "a password of "+name)
		if err != nil {
			t.Fatal(err)
		}
		return &person{Client: c, t: t}
	}
	server := func(node int) *peers.Server {
		return &peers.Server{Server: &binary.Server{URL: nodes[node].URL}, Name: name}
	}
	if key := policyKeyOf(t, server(0)); key != policyKeyOf(t, server(1)) {
		t.Error("the nodes have different keys")
	}
	alice, bob := user(0, "alice"), user(1, "bob")
	s := &siege{t: t, server: server(0), alice: alice, c: authority.Crafter(t)}
	s.mallory = s.c.User("mallory")
	s.room = s.c.Join(s.server, alice.create(J{"preset": "public_chat"}), s.mallory, versionOf(t, roomversion.Default))
	policed(s)
	bob.room(s.room.ID, "join", J{})
	for move := range 3 {
		if out, err := nodes[0].Run(t.Context(), "actors", "move", s.room.ID, "--to", nodes[move%2].Name); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for range 2 {
			e := s.c.Make(s.room, s.message())
			first, refusal := s.vouched(e.JSON())
			if first == "" {
				t.Fatalf("after %d moves: %s", move, refusal)
			}
			if again, refusal := s.vouched(e.JSON()); again != first {
				t.Errorf("an event is vouched for by %q %s, and before by %q", again, refusal, first)
			}
		}
		s.c.Got(bob.say(s.room.ID, "hello"))
		bob.refused("M_FORBIDDEN", "PUT", matrixclient.Path("rooms", s.room.ID, "send", "m.room.message", fmt.Sprint("spam", move)), J{"msgtype": "m.text", "body": "spam"})
	}
	if _, refusal := s.vouched(s.c.Make(s.room, s.message()).JSON()); refusal != "400 M_FORBIDDEN" {
		t.Errorf("a user sends more when the room moves: %s", refusal)
	}
}
