package federation

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"
	"golang.org/x/sync/errgroup"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/matrix/xmatrix"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// TestHostileTransactions: what a transaction may hold, whoever signs it (server-server API, "Transactions"; HARD_PLACES.md 27).
func TestHostileTransactions(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	s := besiege(t, authority, server, "11")

	many := func(n int, one J) []J {
		list := make([]J, n)
		for i := range list {
			list[i] = one
		}
		return list
	}
	s.refuses(400, "M_TOO_LARGE", J{"pdus": many(51, J{})})
	s.refuses(400, "M_TOO_LARGE", J{"edus": many(101, J{"edu_type": "m.typing", "content": J{}})})
	s.refuses(413, "M_TOO_LARGE", J{"padding": strings.Repeat("x", 17<<20)})
	s.refuses(400, "M_BAD_JSON", J{"pdus": J{}})
	s.refuses(400, "M_BAD_JSON", J{"edus": []int{1}})
	for _, odd := range []any{1, "two", nil, []int{}, J{}, J{"room_id": 5}, J{"room_id": s.room.ID}, J{"room_id": s.room.ID, "type": J{}, "content": 1}} {
		if _, err := s.transact(J{"pdus": []any{odd}}); err != nil {
			t.Errorf("the PDU %v: %v", odd, err)
		}
	}
	for _, odd := range []any{J{}, J{"edu_type": 5}, J{"edu_type": "m.typing"}, J{"edu_type": "m.typing", "content": []int{}}, J{"edu_type": "org.example.new", "content": J{}},
		J{"edu_type": "m.receipt", "content": J{"!r:x": J{"m.read": J{"@u:x": 7}}}}, J{"edu_type": "m.presence", "content": J{"push": J{}}},
		J{"edu_type": "m.direct_to_device", "content": J{"messages": J{s.alice.UserID: []int{1}}}}, J{"edu_type": "m.typing", "content": J{"pad": strings.Repeat("x", 1<<20)}}} {
		// The transaction's own format is checked; what an EDU holds is nobody's concern but its own.
		_, malformed := odd.(J)["edu_type"].(int)
		if _, err := s.transact(J{"edus": []any{odd}}); (err != nil) != malformed {
			t.Errorf("the EDU %.100v: %v", odd, err)
		}
	}

	// A transaction counts once, whatever it holds the second time.
	first, second := s.c.Put(s.room, s.message()), s.c.Make(s.room, s.message())
	for i, e := range [][]byte{first.JSON(), second.JSON(), first.JSON()} {
		fates, err := s.c.Send(server, "repeated", J{"origin": s.c.Name, "origin_server_ts": 1, "pdus": []jsontext.Value{e}})
		if _, told := fates[first.ID()]; err != nil || !told || len(fates) != 1 {
			t.Errorf("the %d. time the answer is %v %v", i+1, fates, err)
		}
	}
	if s.readable(second.ID()) {
		t.Error("a transaction is taken twice")
	}

	// Whom the transaction itself names as its origin is of no concern: its signature tells.
	honest := s.c.Put(s.room, s.message())
	if fates, err := s.transact(J{"origin": server.Name, "pdus": []jsontext.Value{honest.JSON()}}); err != nil || fates[honest.ID()] != "" {
		t.Errorf("%v %v", fates, err)
	}

	// Events of rooms that nobody here is in are not kept.
	v, _ := roomversion.Get("11")
	for _, room := range []*peers.Room{s.c.Room(s.mallory, v), authority.Crafter(t).Room("@x:example.org", v)} {
		e := room.Last()
		fates := s.send(e.JSON())
		if len(fates) > 0 && fates[e.ID()] == "" {
			t.Errorf("an event of an unknown room: %v", fates)
		}
		if _, err := s.alice.Do(t.Context(), "GET", matrixclient.Path("rooms", room.ID, "event", e.ID()), nil); err == nil {
			t.Error("an event of an unknown room can be read")
		}
	}
	s.healthy()
}

// TestHostileFlood: however many transactions one server sends at once, they are taken one after another, or refused for now; and another
// server's are taken meanwhile.
func TestHostileFlood(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	s, other := besiege(t, authority, server, "11"), besiege(t, authority, server, "11")
	const many = 150
	var flood []*event.Event
	for range many {
		flood = append(flood, s.c.Put(s.room, s.message()))
	}
	var group errgroup.Group
	for _, e := range flood {
		group.Go(func() error {
			for t.Context().Err() == nil {
				_, err := s.transact(J{"pdus": peers.PDUs(e)})
				var refusal *federation.Error
				if errors.As(err, &refusal) && refusal.Status == http.StatusTooManyRequests {
					continue
				}
				return err
			}
			return t.Context().Err()
		})
	}
	other.healthy()
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, e := range flood {
		s.alice.has(s.room.ID, e.ID())
	}
	s.healthy()
}

// rawly makes a request with this Authorization header and body, and gives status and errcode.
func rawly(t *testing.T, authority *peers.Authority, server *peers.Server, authorization, method, uri, body string) (status int, code string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+server.Name+uri, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", authorization)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authority.Pool}}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Code string `json:"errcode"`
	}
	if err := json.UnmarshalRead(resp.Body, &answer); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer.Code
}

// TestHostileSignatures: requests in the name of others (server-server API, "Request Authentication"; HARD_PLACES.md 25).
func TestHostileSignatures(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	c, victim := authority.Crafter(t), authority.Crafter(t)
	const uri = "/_matrix/federation/v1/send/t1"
	sign := func(origin, destination, at, body string, key signing.Key) string {
		signed, err := xmatrix.Signed("PUT", at, origin, destination, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return xmatrix.Header{Origin: origin, Destination: destination, Key: key.ID, Signature: signing.Sign(signed, key)}.String()
	}
	const body = `{"pdus":[]}`
	own := sign(c.Name, server.Name, uri, body, c.Key)
	for name, bad := range map[string]string{
		"nobody":                      "",
		"a client":                    "Bearer token",
		"no parameters":               "X-Matrix",
		"another server":              sign(victim.Name, server.Name, uri, body, c.Key),
		"this server":                 sign(server.Name, server.Name, uri, body, c.Key),
		"a server that is not there":  sign("127.0.0.1:1", server.Name, uri, body, c.Key),
		"no server":                   sign("../../etc", server.Name, uri, body, c.Key),
		"for another server":          sign(c.Name, victim.Name, uri, body, c.Key),
		"for another path":            sign(c.Name, server.Name, uri+"0", body, c.Key),
		"for another body":            sign(c.Name, server.Name, uri, `{"pdus":[{}]}`, c.Key),
		"with a key that is not its":  strings.Replace(own, c.Key.ID, "ed25519:other", 1),
		"with an unknown algorithm":   strings.Replace(own, c.Key.ID, "rsa:1", 1),
		"of several servers":          own + "\x00" + sign(victim.Name, server.Name, uri, body, victim.Key),
		"with a signature that is no": xmatrix.Header{Origin: c.Name, Destination: server.Name, Key: c.Key.ID, Signature: "!"}.String(),
	} {
		header, second, several := strings.Cut(bad, "\x00")
		if several {
			header += ", " + second
		}
		if status, code := rawly(t, authority, server, header, "PUT", uri, body); status != 401 || code != "M_UNAUTHORIZED" {
			t.Errorf("%s: %d %s", name, status, code)
		}
	}
	for body, want := range map[string]string{
		`{"pdus":`: "M_NOT_JSON", `{"pdus":[],"pdus":[]}`: "M_NOT_JSON", "\xff": "M_NOT_JSON",
		`{"a":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + `}`: "M_BAD_JSON",
		strings.Repeat("[", 200_000): "M_NOT_JSON",
	} {
		if status, code := rawly(t, authority, server, own, "PUT", uri, body); status != 400 || code != want {
			t.Errorf("%.40q: %d %s, want %s", body, status, code, want)
		}
	}
	if status, _ := rawly(t, authority, server, own, "PUT", uri, body); status != 200 {
		t.Error("a good request is refused")
	}
}

// TestHostileEDUs: notes in the name of others are passed over, and those that come twice count once (HARD_PLACES.md 35 and 36).
func TestHostileEDUs(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	s := besiege(t, authority, server, "11")
	bob, other := newPerson(t, server, "bob"), authority.Crafter(t)
	bob.do("POST", matrixclient.Path("join", s.room.ID), J{})
	said := s.alice.say(s.room.ID, "hello")
	private := s.alice.create(J{"preset": "private_chat"})
	secret := s.alice.say(private, "for myself")
	s.alice.sync(0)

	edu := func(kind string, content J) J { return J{"edu_type": kind, "content": content} }
	read := func(room, user, event string) J {
		return edu("m.receipt", J{room: J{"m.read": J{user: J{"data": J{"ts": 1}, "event_ids": []string{event}}}}})
	}
	toAlice := func(sender, id, body string) J {
		return edu("m.direct_to_device", J{"sender": sender, "type": "org.example", "message_id": id, "messages": J{s.alice.UserID: J{"*": J{"body": body}}}})
	}
	device := func(user string, stream int) J {
		return edu("m.device_list_update", J{"user_id": user, "device_id": "EVIL", "stream_id": stream, "prev_id": []int{}, "keys": J{"user_id": user, "device_id": "EVIL"}})
	}
	stranger := other.User("stranger")
	forged := []J{
		edu("m.typing", J{"room_id": s.room.ID, "user_id": bob.UserID, "typing": true}),
		edu("m.typing", J{"room_id": s.room.ID, "user_id": stranger, "typing": true}),
		edu("m.typing", J{"room_id": s.room.ID, "user_id": s.c.User("absent"), "typing": true}),
		edu("m.typing", J{"room_id": private, "user_id": s.mallory, "typing": true}),
		read(s.room.ID, bob.UserID, said), read(s.room.ID, stranger, said), read(s.room.ID, s.c.User("absent"), said), read(private, s.mallory, secret),
		edu("m.presence", J{"push": []J{{"user_id": bob.UserID, "presence": "unavailable", "status_msg": "forged"}, {"user_id": stranger, "presence": "online"}}}),
		device(bob.UserID, 1), device(stranger, 1),
		edu("m.signing_key_update", J{"user_id": bob.UserID, "master_key": J{"user_id": bob.UserID, "usage": []string{"master"}, "keys": J{"ed25519:x": "x"}}}),
		toAlice(bob.UserID, "1", "forged"), toAlice(stranger, "2", "forged"), toAlice("", "3", "forged"),
	}
	if _, err := s.transact(J{"edus": forged}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what a server sends again under another transaction
		if _, err := s.transact(J{"edus": []J{toAlice(s.mallory, "same", "good")}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.transact(J{"edus": []J{edu("m.typing", J{"room_id": s.room.ID, "user_id": s.mallory, "typing": true}), read(s.room.ID, s.mallory, said), toAlice(s.mallory, "last", "last")}}); err != nil {
		t.Fatal(err)
	}
	var messages []string
	var typing, receipts, rest string
	s.alice.until("the last of the notes", func(sync gjson.Result) bool {
		for _, m := range sync.Get("to_device.events").Array() {
			messages = append(messages, m.Get("sender").Str+" "+m.Get("content.body").Str)
		}
		for room, joined := range sync.Get("rooms.join").Map() {
			for _, e := range joined.Get("ephemeral.events").Array() {
				if e.Get("type").Str == "m.typing" {
					typing += room + e.Get("content").Raw
				} else {
					receipts += room + e.Get("content").Raw
				}
			}
		}
		rest += sync.Get("presence").Raw + sync.Get("device_lists").Raw
		return len(messages) >= 2 && strings.Contains(typing, s.mallory) && strings.Contains(receipts, s.mallory)
	})
	if got := fmt.Sprint(messages); got != fmt.Sprintf("[%s good %s last]", s.mallory, s.mallory) {
		t.Errorf("the messages to alice's device are %s", got)
	}
	for what, told := range map[string]string{"typing": typing, "receipts": receipts} {
		for _, name := range []string{bob.UserID, stranger, s.c.User("absent"), private} {
			if strings.Contains(told, name) {
				t.Errorf("%s of %s: %s", what, name, told)
			}
		}
	}
	if strings.Contains(rest, "forged") || strings.Contains(rest, stranger) {
		t.Errorf("presence and devices: %s", rest)
	}
	if keys := s.alice.do("POST", "/keys/query", J{"device_keys": J{bob.UserID: []string{}}}); strings.Contains(keys.Raw, "EVIL") || keys.Get("master_keys").Map()[bob.UserID].Exists() {
		t.Errorf("bob's keys are %s", keys)
	}
	s.healthy()
}
