package federation

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/tests/matrixclient"
	"github.com/matrixon/matrixon/tests/peers"
)

// badPDU is an event that breaks a rule.
type badPDU struct {
	name string
	// make gives what is sent, and the id of the event.
	make func(s *siege) (raw []byte, id string)
	// fate is part of what is said of it in the answer; empty: nothing is, it waits or is taken.
	fate     string
	readable bool
	from     int // the room version from which on it is bad in this way
}

// changed is an event whose draft is changed before it is signed.
func changed(change func(s *siege, p *event.Proto)) func(*siege) ([]byte, string) {
	return func(s *siege) ([]byte, string) {
		p := s.message()
		change(s, &p)
		e := s.c.Make(s.room, p)
		return e.JSON(), idOf(s, e.JSON())
	}
}

// idOf is the id of a PDU, empty when its format is so wrong that it has none.
func idOf(s *siege, raw []byte) string {
	e, err := event.Parse(raw, s.room.Version)
	if err != nil {
		return ""
	}
	return e.ID()
}

// forged is an event with a member that is changed after it was signed. Its id stays that of the original where the change is in what
// redaction removes.
func forged(member, value string) func(*siege) ([]byte, string) {
	return func(s *siege) ([]byte, string) {
		e := s.c.Make(s.room, s.message())
		raw := tampered(s.t, e, func(m map[string]jsontext.Value) { m[member] = jsontext.Value(value) })
		return raw, idOf(s, raw)
	}
}

// signatures is an event with other signatures.
func signatures(value func(s *siege, e *event.Event) string) func(*siege) ([]byte, string) {
	return func(s *siege) ([]byte, string) {
		e := s.c.Make(s.room, s.message())
		return tampered(s.t, e, func(m map[string]jsontext.Value) { m["signatures"] = jsontext.Value(value(s, e)) }), e.ID()
	}
}

// act is a state event of mallory's.
func act(typ, content string, stateKey func(s *siege) string) func(*siege) ([]byte, string) {
	return func(s *siege) ([]byte, string) {
		e := s.c.Make(s.room, s.room.Draft(s.mallory, typ, content, stateKey(s)))
		return e.JSON(), e.ID()
	}
}

func nobody(*siege) string      { return "" }
func toAlice(s *siege) string   { return s.alice.UserID }
func toOneself(s *siege) string { return s.mallory }

var noSignature = signing.EncodeBase64(make([]byte, 64))

var badPDUs = []badPDU{
	// Hashes and signatures (server-server API, "Validating hashes and signatures on received events"; HARD_PLACES.md 6 and 7).
	{name: "another content than was hashed", make: forged("content", `{"body":"forged"}`), readable: true},
	{name: "no hash", make: forged("hashes", `{}`), fate: "signature"},
	{name: "a wrong signature", make: signatures(func(s *siege, _ *event.Event) string {
		return `{"` + s.c.Name + `":{"` + s.c.Key.ID + `":"` + noSignature + `"}}`
	}), fate: "signature"},
	{name: "a signature that is none", make: signatures(func(s *siege, _ *event.Event) string {
		return `{"` + s.c.Name + `":{"` + s.c.Key.ID + `":"!"}}`
	}), fate: "signature"},
	{name: "signatures of the wrong shape", make: forged("signatures", `{"a":[1],"b":"c"}`), fate: "not signed"},
	{name: "no signature", make: forged("signatures", `{}`), fate: "not signed"},
	{name: "a key that the server does not have", make: signatures(func(s *siege, e *event.Event) string {
		return `{"` + s.c.Name + `":{"ed25519:other":"` + e.Signatures()[s.c.Name][s.c.Key.ID] + `"}}`
	}), fate: "cannot be had"},
	{name: "many keys that the server does not have", make: signatures(func(s *siege, _ *event.Event) string {
		var keys []string
		for i := range 200 {
			keys = append(keys, fmt.Sprintf(`"ed25519:%d":"%s"`, i, noSignature))
		}
		return `{"` + s.c.Name + `":{` + strings.Join(keys, ",") + `}}`
	}), fate: "cannot be had"},
	{name: "an algorithm that is unknown", make: signatures(func(s *siege, _ *event.Event) string {
		return `{"` + s.c.Name + `":{"rsa:1":"` + noSignature + `"}}`
	}), fate: "not signed"},
	{name: "another key with the same id", make: func(s *siege) ([]byte, string) {
		e, err := event.Build(s.message(), s.room.Version, s.c.Name, signing.NewKey("stranger", make([]byte, 32)))
		if err != nil {
			s.t.Fatal(err)
		}
		return e.JSON(), e.ID()
	}, fate: "is wrong"},
	{name: "a sender of this server", make: changed(func(s *siege, p *event.Proto) {
		*p = s.room.Draft(s.alice.UserID, "m.room.message", `{"body":"not hers"}`)
	}),
		fate: "not signed"},
	{name: "a sender of a server that is not there", make: changed(func(s *siege, p *event.Proto) { p.Sender = "@mallory:127.0.0.1:1" }), fate: "not signed"},
	{name: "a sender that is no user", make: changed(func(s *siege, p *event.Proto) { p.Sender = "mallory" }), fate: "sender"},

	// Auth events (rooms, rule 2 or 3 of the authorisation rules; HARD_PLACES.md 13).
	{name: "an auth event twice", make: changed(func(_ *siege, p *event.Proto) { p.AuthEvents = append(p.AuthEvents, p.AuthEvents[0]) }), fate: "rule"},
	{name: "an auth event that does not belong", make: changed(func(s *siege, p *event.Proto) {
		p.AuthEvents = append(p.AuthEvents, s.room.State()[event.Tuple{Type: "m.room.join_rules"}])
	}), fate: "rule"},
	{name: "no auth events", make: changed(func(_ *siege, p *event.Proto) { p.AuthEvents = nil }), fate: "rule"},
	{name: "without its sender's membership", make: changed(func(s *siege, p *event.Proto) {
		p.AuthEvents = slices.DeleteFunc(p.AuthEvents, func(id string) bool { return s.room.Event(id).Type() == "m.room.member" })
	}), fate: "rule"},
	{name: "an auth event that was rejected", make: func(s *siege) ([]byte, string) {
		levels := s.c.Make(s.room, s.room.Draft(s.mallory, "m.room.power_levels", `{"users":{"`+s.mallory+`":100}}`, ""))
		s.send(levels.JSON())
		return changed(func(s *siege, p *event.Proto) {
			p.AuthEvents = append(slices.DeleteFunc(p.AuthEvents, func(id string) bool { return s.room.Event(id).Type() == "m.room.power_levels" }), levels.ID())
		})(s)
	}, fate: "rule"},
	{name: "an auth event that nobody has", make: changed(func(_ *siege, p *event.Proto) { p.AuthEvents[0] = "$never" })},
	{name: "an auth event of another room", make: func(s *siege) ([]byte, string) {
		other := s.c.Join(s.server, s.alice.create(J{"preset": "public_chat", "room_version": s.room.Version.ID}), s.mallory, s.room.Version)
		levels := other.State()[event.Tuple{Type: "m.room.power_levels"}]
		s.room.Know(other.Event(levels))
		return changed(func(s *siege, p *event.Proto) {
			p.AuthEvents = append(slices.DeleteFunc(p.AuthEvents, func(id string) bool { return s.room.Event(id).Type() == "m.room.power_levels" }), levels)
		})(s)
	}},
	{name: "too many auth events", make: changed(func(_ *siege, p *event.Proto) { p.AuthEvents = slices.Repeat(p.AuthEvents, 6) }), fate: "auth_events"},

	// Depth and previous events.
	{name: "a depth that is too large", make: forged("depth", `9223372036854775808`), fate: "depth"},
	{name: "a depth beyond canonical JSON", make: forged("depth", `9007199254740992`), fate: "canonical", from: 6},
	{name: "a negative depth", make: forged("depth", `-1`), fate: "depth"},
	{name: "a depth that is no number", make: forged("depth", `"7"`), fate: "depth"},
	{name: "a fraction as depth", make: forged("depth", `7.5`), fate: "depth"},
	{name: "a previous event twice", make: changed(func(_ *siege, p *event.Proto) { p.PrevEvents = append(p.PrevEvents, p.PrevEvents...) }), readable: true},
	{name: "no previous event", make: changed(func(_ *siege, p *event.Proto) { p.PrevEvents = nil }), fate: "first event"},
	{name: "too many previous events", make: changed(func(_ *siege, p *event.Proto) { p.PrevEvents = slices.Repeat(p.PrevEvents, 21) }), fate: "prev_events"},
	{name: "a previous event that nobody has", make: changed(func(_ *siege, p *event.Proto) { p.PrevEvents = []string{"$never"} })},
	{name: "the largest depth", make: changed(func(s *siege, p *event.Proto) { p.Depth = event.MaxDepth(s.room.Version) }), readable: true},

	// What the sender may not do (rooms, "Authorization rules").
	{name: "a topic without the level for it", make: act("m.room.topic", `{"topic":"mine"}`, nobody), fate: "rule"},
	{name: "power levels without the level for them", make: act("m.room.power_levels", `{"users":{}}`, nobody), fate: "rule"},
	{name: "a kick without the level for it", make: act("m.room.member", `{"membership":"leave"}`, toAlice), fate: "rule"},
	{name: "a ban without the level for it", make: act("m.room.member", `{"membership":"ban"}`, toAlice), fate: "rule"},
	{name: "a join for another", make: act("m.room.member", `{"membership":"join"}`, toAlice), fate: "rule"},
	{name: "no membership", make: act("m.room.member", `{}`, toOneself), fate: "rule"},
	{name: "another's state key", make: act("org.example.state", `{}`, toAlice), fate: "rule"},
	{name: "a second create event", make: act("m.room.create", `{"creator":"@mallory:example","room_version":"1"}`, nobody), fate: "rule"},
	{name: "a sender who is not in the room", make: func(s *siege) ([]byte, string) {
		e := s.c.Make(s.room, s.room.Draft(s.c.User("stranger"), "m.room.message", `{"body":"let me in"}`))
		return e.JSON(), e.ID()
	}, fate: "rule"},

	// Sizes and JSON (HARD_PLACES.md 2, 3 and 4).
	{name: "more than 65,536 bytes", make: forged("content", `{"body":"`+strings.Repeat("x", 66_000)+`"}`), fate: "bytes"},
	{name: "a state key of more than 255 bytes", make: forged("state_key", `"`+strings.Repeat("ä", 128)+`"`), fate: "bytes"},
	{name: "a type of more than 255 bytes", make: forged("type", `"`+strings.Repeat("x", 256)+`"`), fate: "bytes"},
	{name: "a content that is no object", make: forged("content", `[]`), fate: "content"},
	{name: "a number that is none of canonical JSON", make: forged("content", `{"n":1.5}`), fate: "canonical", from: 6},
}

// TestHostilePDUs: each of the events is refused, or contained, and the room goes on.
func TestHostilePDUs(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	for _, v := range []string{"1", "5", "10", "12"} {
		t.Run("version "+v, func(t *testing.T) {
			t.Parallel()
			s := besiege(t, authority, server, v)
			for _, bad := range badPDUs {
				if version(v) < bad.from {
					continue
				}
				t.Run(bad.name, func(t *testing.T) {
					s := *s
					s.t, s.alice = t, s.alice.in(t)
					raw, id := bad.make(&s)
					fates := s.send(raw)
					if id == "" { // its id cannot be told
						if len(fates) > 0 && !strings.Contains(fmt.Sprint(fates), bad.fate) {
							t.Errorf("the answer is %v", fates)
						}
						return
					}
					if fate, told := fates[id]; !told || bad.fate == "" && fate != "" || !strings.Contains(fate, bad.fate) {
						t.Errorf("the answer is %v", fates)
					}
					if s.readable(id) != bad.readable {
						t.Errorf("it can be read: %v", !bad.readable)
					}
					s.agreed()
				})
			}
			s.healthy()
		})
	}
}

func version(id string) int {
	for i, v := range roomversion.All() {
		if v.ID == id {
			return i + 1
		}
	}
	return 0
}

// TestHostileCycles: events of room versions 1 and 2, which name themselves, can cite each other in a ring.
func TestHostileCycles(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	s := besiege(t, authority, server, "2")
	ring := func(n int, cite func(p *event.Proto, id string)) (pdus [][]byte, ids []string) {
		var drafts []event.Proto
		for range n {
			drafts = append(drafts, s.message())
			ids = append(ids, "$"+drafts[len(drafts)-1].EventIDRandom+":"+s.c.Name)
		}
		for i, p := range drafts {
			cite(&p, ids[(i+1)%n])
			e := s.c.Make(s.room, p)
			s.room.Know(e)
			pdus = append(pdus, e.JSON())
		}
		return pdus, ids
	}
	for _, cite := range []func(p *event.Proto, id string){
		func(p *event.Proto, id string) { p.PrevEvents = []string{id} },
		func(p *event.Proto, id string) {
			p.AuthEvents = append(p.AuthEvents[:len(p.AuthEvents)-1:len(p.AuthEvents)-1], id)
		},
	} {
		for _, n := range []int{1, 2, 5} {
			pdus, ids := ring(n, cite)
			s.send(pdus...)
			for _, id := range ids {
				if s.readable(id) {
					t.Errorf("an event of a ring of %d can be read", n)
				}
			}
		}
	}
	s.healthy()
}

// HARD_PLACES.md 11: whose redactions count.
func TestHostileRedactions(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	for _, v := range []string{"1", "3", "11"} {
		s := besiege(t, authority, server, v)
		said := s.alice.say(s.room.ID, "mine")
		s.c.Got(said)
		redaction := func(target string) *event.Event {
			p := s.room.Draft(s.mallory, "m.room.redaction", `{}`)
			if p.Redacts = target; s.room.Version.RedactsInContent {
				p.Redacts, p.Content = "", []byte(`{"redacts":"`+target+`"}`)
			}
			return s.c.Make(s.room, p)
		}
		e := redaction(said)
		s.send(e.JSON())
		if got := s.alice.do("GET", matrixclient.Path("rooms", s.room.ID, "event", said), nil); got.Get("content.body").Str != "mine" || got.Get("unsigned.redacted_because").Exists() {
			t.Errorf("version %s: a stranger's redaction counts: %s", v, got)
		}
		if s.readable(e.ID()) { // rooms/v3, "Handling redactions": only those that count are sent to clients
			t.Errorf("version %s: a stranger's redaction is shown", v)
		}
		own := s.c.Put(s.room, s.message())
		s.send(own.JSON())
		e = redaction(own.ID())
		s.room.Add(e)
		s.send(e.JSON())
		s.alice.has(s.room.ID, e.ID())
		if v == "1" {
			continue
		}
		// A redaction that comes before what it redacts is shown when that is there.
		late := s.c.Make(s.room, s.message())
		e = redaction(late.ID())
		s.room.Add(e)
		last := s.c.Put(s.room, s.message())
		s.send(e.JSON(), last.JSON())
		s.alice.has(s.room.ID, last.ID())
		if s.readable(e.ID()) {
			t.Errorf("version %s: a redaction of an unknown event is shown", v)
		}
		s.send(late.JSON())
		s.alice.has(s.room.ID, late.ID())
		s.alice.has(s.room.ID, e.ID())
		if got := s.alice.do("GET", matrixclient.Path("rooms", s.room.ID, "event", late.ID()), nil); got.Get("content.body").Exists() || got.Get("unsigned.redacted_because.event_id").Str != e.ID() {
			t.Errorf("version %s: what was redacted before it came is %s", v, got.Raw)
		}
		s.healthy()
	}
}

// HARD_PLACES.md 37: what is unsigned is not believed.
func TestHostileUnsignedDataIsDropped(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	s := besiege(t, authority, server, "11")
	e := s.c.Put(s.room, s.message())
	s.send(tampered(t, e, func(m map[string]jsontext.Value) {
		m["unsigned"] = jsontext.Value(`{"age":-5,"transaction_id":"t1","prev_content":{"a":1},"membership":"ban","redacted_because":{"type":"m.room.redaction"},` +
			`"m.relations":{"m.thread":{"count":9}},"invite_room_state":[],"replaces_state":"$x"}`)
	}))
	s.alice.has(s.room.ID, e.ID())
	unsigned := s.alice.do("GET", matrixclient.Path("rooms", s.room.ID, "event", e.ID()), nil).Get("unsigned")
	for _, name := range []string{"transaction_id", "prev_content", "redacted_because", "m\\.relations", "invite_room_state", "replaces_state"} {
		if unsigned.Get(name).Exists() {
			t.Errorf("clients are told %s", unsigned)
		}
	}
	if unsigned.Get("age").Int() < 0 || unsigned.Get("membership").Str != "join" {
		t.Errorf("clients are told %s", unsigned)
	}
	s.healthy()
}

// HARD_PLACES.md 19 and 20: an event from before a ban, sent after it.
func TestHostileEventsFromBeforeABan(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	for _, v := range []string{"2", "12"} {
		s := besiege(t, authority, server, v)
		late := s.c.Make(s.room, s.message())
		topic := s.c.Make(s.room, s.room.Draft(s.mallory, "m.room.topic", `{"topic":"late"}`, ""))
		ban, err := s.alice.SetState(t.Context(), s.room.ID, "m.room.member", s.mallory, J{"membership": "ban"})
		if err != nil {
			t.Fatal(err)
		}
		fates := s.send(late.JSON(), topic.JSON())
		if fates[late.ID()] != "" || !strings.Contains(fates[topic.ID()], "rule") {
			t.Errorf("version %s: %v", v, fates)
		}
		if s.readable(late.ID()) {
			t.Errorf("version %s: an event of a banned user can be read", v)
		}
		// It is no forward extremity: what follows does not cite it.
		next := s.alice.say(s.room.ID, "peace")
		sync := s.alice.sync(0)
		for _, e := range inRoom(sync, s.room.ID) {
			if e.Get("event_id").Str == late.ID() {
				t.Errorf("version %s: it is synced", v)
			}
		}
		got := s.alice.do("GET", matrixclient.Path("rooms", s.room.ID, "state", "m.room.member", s.mallory), nil)
		if got.Get("membership").Str != "ban" || ban == "" || next == "" {
			t.Errorf("version %s: the ban is gone: %s", v, got)
		}
	}
}

// TestHostileRelays: a server sends the events of others, changed so that nobody would read them, before those come by themselves. They are had
// from where they were made; where that cannot be, they stand redacted, as the specification has it.
func TestHostileRelays(t *testing.T) {
	t.Parallel()
	authority, server := fortress(t)
	for _, v := range []string{"1", "12"} {
		s := besiege(t, authority, server, v)
		victim := authority.Crafter(t)
		author := victim.User("author")
		theirs := victim.Join(server, s.room.ID, author, s.room.Version)
		s.alice.seesMember(s.room.ID, author, "join")
		s.c.Got(theirs.Last().ID())
		forge := func(e *event.Event) []byte {
			return tampered(t, e, func(m map[string]jsontext.Value) { m["content"] = jsontext.Value(`{"body":"forged"}`) })
		}
		read := func(e *event.Event) string {
			t.Helper()
			s.alice.has(s.room.ID, e.ID())
			return s.alice.do("GET", matrixclient.Path("rooms", s.room.ID, "event", e.ID()), nil).Get("content.body").Str
		}
		said := victim.Put(theirs, theirs.Draft(author, "m.room.message", `{"body":"true"}`))
		s.send(forge(said))
		if got := read(said); got != "true" {
			t.Errorf("version %s: alice reads %q", v, got)
		}
		// In the past of an event of the liar's own, too.
		hidden := victim.Put(theirs, theirs.Draft(author, "m.room.message", `{"body":"true as well"}`))
		s.c.Answer("get_missing_events", func(w http.ResponseWriter, _ *http.Request) {
			peers.JSON(w, http.StatusOK, J{"events": []jsontext.Value{forge(hidden)}})
		})
		p := s.message()
		p.PrevEvents, p.Depth = []string{hidden.ID()}, hidden.Depth()+1
		s.send(s.c.Make(s.room, p).JSON())
		if got := read(hidden); got != "true as well" {
			t.Errorf("version %s: alice reads %q of what was missing", v, got)
		}
		s.c.Answer("get_missing_events", nil)
		// Nobody else has it.
		lost := victim.Put(theirs, theirs.Draft(author, "m.room.message", `{"body":"never seen"}`))
		victim.Answer("event", hang)
		s.send(forge(lost))
		if got := read(lost); got != "" {
			t.Errorf("version %s: alice reads %q", v, got)
		}
	}
}
