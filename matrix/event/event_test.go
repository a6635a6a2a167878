package event

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
)

// The key of the specification's test vectors (appendices, "Cryptographic Test Vectors").
func specKey(t testing.TB) signing.Key {
	t.Helper()
	seed, err := signing.DecodeBase64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
	if err != nil {
		t.Fatal(err)
	}
	return signing.NewKey("1", seed)
}

func version(t testing.TB, id string) *roomversion.Version {
	t.Helper()
	v, ok := roomversion.Get(id)
	if !ok {
		t.Fatalf("no room version %s", id)
	}
	return v
}

func TestBuildMatchesSpecificationVector(t *testing.T) {
	t.Parallel()
	e, err := Build(Proto{Type: "X", Sender: "@a:domain", RoomID: "!x:domain", Content: []byte("{}"), Depth: 3, OriginServerTS: 1000000},
		version(t, "3"), "domain", specKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := gjson.GetBytes(e.JSON(), "hashes.sha256").Str; got != "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos" {
		t.Errorf("content hash %s", got)
	}
	want := "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"
	if got := e.Signatures()["domain"]["ed25519:1"]; got != want {
		t.Errorf("signature %s", got)
	}
}

// What Build makes, Parse accepts with the same id, in every version; its redaction keeps id and signature.
func TestBuildParseRedact(t *testing.T) {
	t.Parallel()
	key := specKey(t)
	for _, v := range roomversion.All() {
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			empty := ""
			e, err := Build(Proto{Type: "m.room.create", StateKey: &empty, Sender: "@a:domain", RoomID: map[bool]string{false: "!r:domain"}[v.RoomIDFromCreate],
				Content: []byte(`{"room_version":"` + v.ID + `","creator":"@a:domain","x":[1,true,"ü"]}`), OriginServerTS: 1, EventIDRandom: "abc"}, v, "domain", key)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse(e.JSON(), v)
			if err != nil {
				t.Fatal(err)
			}
			if again.ID() != e.ID() || !again.HashOK() || again.RoomID() != e.RoomID() {
				t.Errorf("parsed %s in %s (hash %v), built %s in %s", again.ID(), again.RoomID(), again.HashOK(), e.ID(), e.RoomID())
			}
			if v.RoomIDFromCreate && e.RoomID() != "!"+e.ID()[1:] {
				t.Errorf("room id %s of create event %s", e.RoomID(), e.ID())
			}
			for _, form := range []*Event{e, again, e.Redacted()} {
				if err := form.VerifySignature("domain", key.ID, key.Public()); err != nil {
					t.Errorf("signature: %v", err)
				}
			}
			tampered := strings.Replace(string(e.JSON()), `"ü"`, `"u"`, 1)
			bad, err := Parse([]byte(tampered), v)
			if err != nil {
				t.Fatal(err)
			}
			if bad.HashOK() || !v.UpdatedRedaction && strings.Contains(string(bad.Content()), `"x"`) {
				t.Errorf("a tampered event was not redacted: %s", bad.JSON())
			}
		})
	}
}

// HARD_PLACES.md 10: what redaction keeps, by type and room version.
func TestRedactionKeepsWhatTheVersionKeeps(t *testing.T) {
	t.Parallel()
	contents := map[string]string{
		"m.room.member":             `{"displayname":"x","join_authorised_via_users_server":"@b:d","membership":"join","third_party_invite":{"display_name":"n","signed":{"token":"t"}}}`,
		"m.room.create":             `{"creator":"@a:d","room_version":"x"}`,
		"m.room.join_rules":         `{"allow":[],"join_rule":"restricted","x":1}`,
		"m.room.power_levels":       `{"ban":1,"events":{},"events_default":0,"invite":0,"kick":1,"notifications":{},"redact":1,"state_default":1,"users":{},"users_default":0}`,
		"m.room.aliases":            `{"aliases":["#a:d"],"x":1}`,
		"m.room.history_visibility": `{"history_visibility":"shared","x":1}`,
		"m.room.redaction":          `{"reason":"r","redacts":"$x"}`,
		"m.room.message":            `{"body":"b"}`,
	}
	levels := `{"ban":1,"events":{},"events_default":0,"kick":1,"redact":1,"state_default":1,"users":{},"users_default":0}`
	want := map[string]map[string]string{ // type → first version with this result → result
		"m.room.member": {"1": `{"membership":"join"}`, "9": `{"join_authorised_via_users_server":"@b:d","membership":"join"}`,
			"11": `{"join_authorised_via_users_server":"@b:d","membership":"join","third_party_invite":{"signed":{"token":"t"}}}`},
		"m.room.create":             {"1": `{"creator":"@a:d"}`, "11": contents["m.room.create"]},
		"m.room.join_rules":         {"1": `{"join_rule":"restricted"}`, "8": `{"allow":[],"join_rule":"restricted"}`},
		"m.room.power_levels":       {"1": levels, "11": strings.Replace(levels, `"kick"`, `"invite":0,"kick"`, 1)},
		"m.room.aliases":            {"1": `{"aliases":["#a:d"]}`, "6": `{}`},
		"m.room.history_visibility": {"1": `{"history_visibility":"shared"}`},
		"m.room.redaction":          {"1": `{}`, "11": `{"redacts":"$x"}`},
		"m.room.message":            {"1": `{}`},
	}
	for typ, content := range contents {
		expected := ""
		for _, v := range roomversion.All() {
			if w, ok := want[typ][v.ID]; ok {
				expected = w
			}
			if got := string(redactContent(v, typ, []byte(content))); got != expected {
				t.Errorf("version %s, %s: %s, want %s", v.ID, typ, got, expected)
			}
		}
	}
}

func TestSizesAreBytes(t *testing.T) {
	t.Parallel()
	v := version(t, "12")
	long := strings.Repeat("ü", 128)
	_, err := Build(Proto{Type: "m.x", StateKey: &long, Sender: "@a:d", RoomID: "!r", Content: []byte("{}")}, v, "d", specKey(t))
	if err == nil || !strings.Contains(err.Error(), "M_TOO_LARGE") {
		t.Errorf("a state key of 256 bytes: %v", err)
	}
	_, err = Build(Proto{Type: "m.x", Sender: "@a:d", RoomID: "!r", Content: []byte(`{"b":"` + strings.Repeat("a", MaxSize) + `"}`)}, v, "d", specKey(t))
	if err == nil || !strings.Contains(err.Error(), "M_TOO_LARGE") {
		t.Errorf("an event over the limit: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	e, err := Build(Proto{Type: "m.x", Sender: "@a:d", RoomID: "!r", Content: []byte(`{"a":1}`)}, version(f, "12"), "d", specKey(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(e.JSON(), "12")
	f.Add([]byte(`{"type":1}`), "1")
	f.Fuzz(func(t *testing.T, raw []byte, id string) {
		v, ok := roomversion.Get(id)
		if !ok {
			return
		}
		e, err := Parse(raw, v)
		if err != nil {
			return
		}
		again, err := Parse(e.JSON(), v)
		if err != nil || e.HashOK() && again.ID() != e.ID() {
			t.Fatalf("%s: parsed again: %v", e.JSON(), err)
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	v, key := version(b, "12"), specKey(b)
	p := Proto{Type: "m.room.message", Sender: "@alice:example.org", RoomID: "!abcdefghijklmnopqrstuvwxyz", PrevEvents: []string{"$" + strings.Repeat("a", 43)},
		AuthEvents: []string{"$" + strings.Repeat("b", 43), "$" + strings.Repeat("c", 43)}, Content: []byte(`{"msgtype":"m.text","body":"` + strings.Repeat("hello ", 60) + `"}`), Depth: 10, OriginServerTS: 1}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Build(p, v, "example.org", key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFromStored(b *testing.B) {
	v := version(b, "12")
	e, err := Build(Proto{Type: "m.room.message", Sender: "@alice:example.org", RoomID: "!abc", Content: []byte(`{"msgtype":"m.text","body":"` + strings.Repeat("hello ", 100) + `"}`)}, v, "example.org", specKey(b))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := FromStored(e.JSON(), e.ID(), v); err != nil {
			b.Fatal(err)
		}
	}
}
