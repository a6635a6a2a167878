package event

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/matrix/canonicaljson"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// redactionRules are the lists of what redaction keeps, as the pages of the room versions have them.
type redactionRules struct {
	versions []string
	top      string
	content  map[string]string // "*": everything; a.b: of a only b
}

const (
	levelsKept = "ban events events_default kick redact state_default users users_default"
	topBefore  = "event_id type room_id sender state_key content hashes signatures depth prev_events prev_state auth_events origin origin_server_ts membership"
	topSince11 = "event_id type room_id sender state_key content hashes signatures depth prev_events auth_events origin_server_ts"
)

var redactions = []redactionRules{
	{[]string{"1", "2", "3", "4", "5"}, topBefore, map[string]string{"m.room.member": "membership", "m.room.create": "creator", "m.room.join_rules": "join_rule",
		"m.room.power_levels": levelsKept, "m.room.aliases": "aliases", "m.room.history_visibility": "history_visibility"}},
	{[]string{"6", "7"}, topBefore, map[string]string{"m.room.member": "membership", "m.room.create": "creator", "m.room.join_rules": "join_rule",
		"m.room.power_levels": levelsKept, "m.room.history_visibility": "history_visibility"}},
	{[]string{"8"}, topBefore, map[string]string{"m.room.member": "membership", "m.room.create": "creator", "m.room.join_rules": "join_rule allow",
		"m.room.power_levels": levelsKept, "m.room.history_visibility": "history_visibility"}},
	{[]string{"9", "10"}, topBefore, map[string]string{"m.room.member": "membership join_authorised_via_users_server", "m.room.create": "creator", "m.room.join_rules": "join_rule allow",
		"m.room.power_levels": levelsKept, "m.room.history_visibility": "history_visibility"}},
	{[]string{"11", "12"}, topSince11, map[string]string{"m.room.member": "membership join_authorised_via_users_server third_party_invite.signed", "m.room.create": "*",
		"m.room.join_rules": "join_rule allow", "m.room.power_levels": levelsKept + " invite", "m.room.history_visibility": "history_visibility", "m.room.redaction": "redacts"}},
}

// plainly redacts an event by the lists.
func plainly(t require, raw []byte, v *roomversion.Version) string {
	t.Helper()
	i := slices.IndexFunc(redactions, func(r redactionRules) bool { return slices.Contains(r.versions, v.ID) })
	rules := redactions[i]
	whole := object(t, raw)
	kept := map[string]jsontext.Value{}
	for _, name := range strings.Fields(rules.top) {
		if value, ok := whole[name]; ok {
			kept[name] = value
		}
	}
	var typ string
	if err := json.Unmarshal(whole["type"], &typ); err != nil {
		t.Fatal(err)
	}
	content, keptContent := object(t, whole["content"]), map[string]jsontext.Value{}
	for _, name := range strings.Fields(rules.content[typ]) {
		outer, inner, nested := strings.Cut(name, ".")
		value, ok := content[outer]
		switch {
		case name == "*":
			keptContent = content
		case ok && !nested:
			keptContent[name] = value
		case ok && value.Kind() == '{':
			if signed, ok := object(t, value)[inner]; ok {
				keptContent[outer] = marshal(t, map[string]jsontext.Value{inner: signed})
			}
		}
	}
	kept["content"] = marshal(t, keptContent)
	return string(marshal(t, kept))
}

// require is what tests and their properties have in common.
type require interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func object(t require, raw []byte) map[string]jsontext.Value {
	t.Helper()
	var o map[string]jsontext.Value
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return o
}

func marshal(t require, v any) []byte {
	t.Helper()
	b, err := canonicaljson.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// referenceHash is the hash that names and signs an event (server-server API, "Calculating the Reference Hash for an Event").
func referenceHash(t require, raw []byte, v *roomversion.Version) [32]byte {
	t.Helper()
	redacted := object(t, []byte(plainly(t, raw, v)))
	delete(redacted, "signatures")
	delete(redacted, "unsigned")
	return sha256.Sum256(marshal(t, redacted))
}

// check compares an event with what the specification's sentences, followed plainly, make of its JSON.
func check(t require, e *Event) {
	t.Helper()
	v := e.Version()
	redacted := e.Redacted()
	if want := plainly(t, e.JSON(), v); string(redacted.JSON()) != want {
		t.Fatalf("version %s: %s\nis redacted to %s\nwant           %s", v.ID, e.JSON(), redacted.JSON(), want)
	}
	if again := redacted.Redacted(); string(again.JSON()) != string(redacted.JSON()) || again.ID() != e.ID() || again.RoomID() != e.RoomID() {
		t.Fatalf("version %s: redacted again: %s", v.ID, again.JSON())
	}
	hash := referenceHash(t, e.JSON(), v)
	switch v.EventIDFormat {
	case roomversion.EventIDField:
		if !strings.HasSuffix(e.ID(), ":example.org") {
			t.Fatalf("version %s: the id %s", v.ID, e.ID())
		}
	case roomversion.EventIDBase64:
		if e.ID() != "$"+base64.RawStdEncoding.EncodeToString(hash[:]) {
			t.Fatalf("version %s: the id %s", v.ID, e.ID())
		}
	case roomversion.EventIDURLBase64:
		if e.ID() != "$"+base64.RawURLEncoding.EncodeToString(hash[:]) {
			t.Fatalf("version %s: the id %s", v.ID, e.ID())
		}
	}
}

// examples are those of the specification's event schemas; scripts/event-examples.go made the file.
//
//go:embed testdata/examples.json
var examples []byte

// Every example of an event of a room can be sent in rooms of every format, comes back, and is redacted by the lists.
// HARD_PLACES.md 10: what redaction keeps, by type and room version.
func TestSpecificationExamples(t *testing.T) {
	t.Parallel()
	var all map[string]struct {
		Type     string         `json:"type"`
		StateKey *string        `json:"state_key"`
		Sender   string         `json:"sender"`
		RoomID   string         `json:"room_id"`
		TS       int64          `json:"origin_server_ts"`
		Content  jsontext.Value `json:"content"`
	}
	if err := json.Unmarshal(examples, &all); err != nil {
		t.Fatal(err)
	}
	key, seen := specKey(t), 0
	for name, x := range all {
		if x.Sender == "" || x.RoomID == "" {
			continue // to-device messages, account data and the like
		}
		seen++
		for _, versionID := range []string{"1", "3", "4", "6", "8", "9", "11", "12"} { // those that introduced a format or a redaction
			v := version(t, versionID)
			p := Proto{Type: x.Type, StateKey: x.StateKey, Sender: x.Sender, RoomID: x.RoomID, Content: x.Content, OriginServerTS: x.TS, Depth: 5,
				PrevEvents: []string{"$p:example.org"}, AuthEvents: []string{"$a:example.org", "$b:example.org"}, EventIDRandom: "random"}
			if x.Type == "m.room.create" && v.RoomIDFromCreate {
				p.RoomID, p.PrevEvents, p.AuthEvents = "", nil, nil
			}
			e, err := Build(p, v, "example.org", key)
			if err != nil {
				t.Fatalf("%s in version %s: %v", name, v.ID, err)
			}
			back, err := Parse(e.JSON(), v)
			if err != nil || !back.HashOK() || back.ID() != e.ID() || string(back.JSON()) != string(e.JSON()) {
				t.Fatalf("%s in version %s: %v", name, v.ID, err)
			}
			stateKey, isState := back.StateKey()
			if back.Type() != x.Type || back.Sender() != x.Sender || back.OriginServerTS() != x.TS || back.Depth() != 5 || isState != (x.StateKey != nil) || isState && stateKey != *x.StateKey ||
				!slices.Equal(back.PrevEvents(), p.PrevEvents) || !slices.Equal(back.AuthEvents(), p.AuthEvents) || string(back.Content()) != string(marshal(t, x.Content)) {
				t.Fatalf("%s in version %s came back as %s", name, v.ID, back.JSON())
			}
			check(t, back)
		}
	}
	if seen < 50 {
		t.Errorf("only %d examples are events of rooms", seen)
	}
}

// Of members that only redaction knows, each version keeps its own.
func TestRedactionOfTopLevelMembers(t *testing.T) {
	t.Parallel()
	const raw = `{"auth_events":[],"content":{"a":1},"depth":1,"event_id":"$x:example.org","extra":1,"hashes":{"sha256":"x"},"membership":"join","origin":"d","origin_server_ts":1,` +
		`"prev_events":[],"prev_state":[],"redacts":"$y","room_id":"!r:d","sender":"@a:d","signatures":{},"state_key":"","type":"m.x"}`
	const before = `{"auth_events":[],"content":{},"depth":1,"event_id":"$x:example.org","hashes":{"sha256":"x"},"membership":"join","origin":"d","origin_server_ts":1,` +
		`"prev_events":[],"prev_state":[],"room_id":"!r:d","sender":"@a:d","signatures":{},"state_key":"","type":"m.x"}`
	const since11 = `{"auth_events":[],"content":{},"depth":1,"event_id":"$x:example.org","hashes":{"sha256":"x"},"origin_server_ts":1,` +
		`"prev_events":[],"room_id":"!r:d","sender":"@a:d","signatures":{},"state_key":"","type":"m.x"}`
	for _, v := range roomversion.All() {
		want := before
		if v.ID == "11" || v.ID == "12" {
			want = since11
		}
		if got := string(parse([]byte(raw)).redact(v, "m.x").bytes(nil)); got != want {
			t.Errorf("version %s: %s", v.ID, got)
		}
	}
}

// Whatever an event holds, redaction keeps what the lists keep, id and signature hold, and a change of anything else shows.
func TestRedactionProperty(t *testing.T) {
	t.Parallel()
	key := specKey(t)
	names := rapid.OneOf(rapid.SampledFrom(strings.Fields(levelsKept+" invite membership join_authorised_via_users_server third_party_invite signed creator room_version"+
		" join_rule allow aliases history_visibility redacts notifications x")), rapid.String())
	leaf := rapid.OneOf(rapid.Just[any](nil), rapid.Just[any](true), rapid.Map(rapid.IntRange(-5, 5), func(n int) any { return n }), rapid.Map(rapid.String(), func(s string) any { return s }))
	nested := rapid.OneOf(leaf, rapid.Map(rapid.SliceOfN(leaf, 0, 2), func(s []any) any { return s }), rapid.Map(rapid.MapOfN(names, leaf, 0, 3), func(m map[string]any) any { return m }))
	types := rapid.SampledFrom([]string{"m.room.member", "m.room.create", "m.room.join_rules", "m.room.power_levels", "m.room.aliases", "m.room.history_visibility",
		"m.room.redaction", "m.room.message", "m.room.third_party_invite"})
	rapid.Check(t, func(rt *rapid.T) {
		v := rapid.SampledFrom(roomversion.All()).Draw(rt, "version")
		p := Proto{Type: types.Draw(rt, "type"), Sender: "@a:example.org", RoomID: "!r:example.org", OriginServerTS: 7, Depth: 3, EventIDRandom: "x",
			Content: marshal(rt, rapid.MapOfN(names, nested, 0, 8).Draw(rt, "content"))}
		if rapid.Bool().Draw(rt, "state") {
			stateKey := rapid.StringN(0, 20, 80).Draw(rt, "state key")
			p.StateKey = &stateKey
		}
		if p.Type == "m.room.redaction" && rapid.Bool().Draw(rt, "redacts") {
			p.Redacts = "$target:example.org"
		}
		e, err := Build(p, v, "example.org", key)
		if err != nil {
			rt.Fatal(err)
		}
		if p.Redacts != "" && e.Redacts() != p.Redacts {
			rt.Fatalf("%s redacts %q", e.JSON(), e.Redacts())
		}
		check(rt, e)
		for _, form := range []*Event{e, e.Redacted()} {
			if err := form.VerifySignature("example.org", key.ID, key.Public()); err != nil {
				rt.Fatalf("%s: %v", form.JSON(), err)
			}
		}
		tampered := slices.Clone(e.JSON())
		tampered[rapid.IntRange(0, len(tampered)-1).Draw(rt, "place")] ^= byte(1 + rapid.IntRange(0, 254).Draw(rt, "flip"))
		other, err := Parse(tampered, v)
		if err != nil || string(other.JSON()) == string(e.JSON()) {
			return
		}
		signed := other.VerifySignature("example.org", key.ID, key.Public()) == nil
		sameSignature := string(object(rt, other.JSON())["signatures"]) == string(object(rt, e.JSON())["signatures"])
		if other.HashOK() && signed && sameSignature {
			rt.Fatalf("%s became %s unnoticed", e.JSON(), other.JSON())
		}
	})
}
