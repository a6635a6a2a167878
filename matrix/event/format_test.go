package event

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
)

// The second vector of the specification (appendices, "Event Signing") is no whole PDU, so its parts are taken in turn:
// hashing what it holds, redacting, signing.
func TestEventSigningVectors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ raw, version, hash, signature string }{
		{`{"auth_events":[],"content":{},"depth":3,"origin":"domain","origin_server_ts":1000000,"prev_events":[],"room_id":"!x:domain","sender":"@a:domain","type":"X"}`, "1",
			"5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos", "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"},
		{`{"content":{"body":"Here is the message content"},"event_id":"$0:domain","origin":"domain","origin_server_ts":1000000,"room_id":"!r:domain","sender":"@u:domain","type":"m.room.message"}`, "1",
			"onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g", "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA"},
	} {
		v, fs := version(t, c.version), parse([]byte(c.raw))
		fs = fs.with("unsigned", []byte(`{"age_ts":1000000}`)).with("signatures", []byte(`{}`)).with("hashes", []byte(`{}`))
		if got := signing.EncodeBase64(contentHash(fs)); got != c.hash {
			t.Errorf("%s has the hash %s", c.raw, got)
		}
		fs = fs.with("hashes", []byte(`{"sha256":"`+c.hash+`"}`))
		signed := fs.redact(v, fs.text("type")).without("signatures", "unsigned").bytes(nil)
		if got := signing.Sign(signed, specKey(t)); got != c.signature {
			t.Errorf("%s has the signature %s", c.raw, got)
		}
	}
}

// The first vector, signed, is a PDU of room version 3: whole, and verified.
func TestEventSigningVectorParses(t *testing.T) {
	t.Parallel()
	e, err := Parse([]byte(`{"auth_events":[],"content":{},"depth":3,"hashes":{"sha256":"5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"},"origin":"domain","origin_server_ts":1000000,
		"prev_events":[],"room_id":"!x:domain","sender":"@a:domain","signatures":{"domain":{"ed25519:1":"KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"}},
		"type":"X","unsigned":{"age_ts":1000000}}`), version(t, "3"))
	if err != nil || !e.HashOK() {
		t.Fatalf("%v", err)
	}
	if err := e.VerifySignature("domain", "ed25519:1", specKey(t).Public()); err != nil {
		t.Error(err)
	}
	if gjson.GetBytes(e.JSON(), "unsigned").Exists() {
		t.Errorf("unsigned came in: %s", e.JSON())
	}
}

// pdu makes the text of a PDU that Parse accepts in that version.
func pdu(t testing.TB, v *roomversion.Version) string {
	t.Helper()
	stateKey := "key"
	p := Proto{Type: "m.x", StateKey: &stateKey, Sender: "@a:example.org", RoomID: "!r:example.org", Content: []byte(`{"a":1}`), PrevEvents: []string{"$p:d"}, AuthEvents: []string{"$q:d"},
		OriginServerTS: 5, Depth: 2, EventIDRandom: "abc"}
	e, err := Build(p, v, "example.org", specKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return string(e.JSON())
}

// set puts raw JSON, which may be wrong, in the place of a member, or of a member of the content; "" takes it out.
func set(t testing.TB, text, path, raw string) string {
	t.Helper()
	outer, inner, nested := strings.Cut(path, ".")
	members := object(t, []byte(text))
	if nested {
		raw = set(t, string(members[outer]), inner, raw)
	}
	if members[outer] = jsontext.Value(raw); raw == "" {
		delete(members, outer)
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		parts = append(parts, string(quoted(name))+":"+string(members[name]))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestFormatRefuses(t *testing.T) {
	t.Parallel()
	for _, v := range roomversion.All() {
		whole := pdu(t, v)
		refuse := func(what, raw, code string) {
			t.Helper()
			e, err := Parse([]byte(raw), v)
			var refusal *mxerr.Error
			if e != nil && err == nil || !errors.As(err, &refusal) || refusal.Code != code {
				t.Errorf("version %s: %s: %v, want %s", v.ID, what, err, code)
			}
		}
		needed := []string{"type", "sender", "room_id", "origin_server_ts", "depth", "content", "prev_events", "auth_events", "hashes", "signatures"}
		if v.EventIDFormat == roomversion.EventIDField {
			needed = append(needed, "event_id")
		}
		right := map[string]string{"type": `"x"`, "origin_server_ts": "1", "depth": "1", "content": "{}", "hashes": "{}", "signatures": "{}", "prev_events": "[]", "auth_events": "[]"}
		for _, name := range needed {
			refuse("no "+name, set(t, whole, name, ""), "M_BAD_JSON")
			for _, raw := range []string{"null", "true", "1", `"x"`, "[]", "{}"} {
				if raw != right[name] {
					refuse(name+" is "+raw, set(t, whole, name, raw), "M_BAD_JSON")
				}
			}
		}
		refuse("a state key that is no string", set(t, whole, "state_key", "null"), "M_BAD_JSON")
		refuse("nothing", "", "M_BAD_JSON")
		refuse("not an object", "[]", "M_BAD_JSON")
		refuse("a key twice", strings.Replace(whole, `"depth"`, `"content":{},"depth"`, 1), "M_BAD_JSON")
		refuse("a lone surrogate", set(t, whole, "content.a", `"\ud800"`), "M_BAD_JSON")
		refuse("deep content", set(t, whole, "content.a", strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)), "M_BAD_JSON")
		refuse("a negative depth", set(t, whole, "depth", "-1"), "M_BAD_JSON")
		refuse("a depth with a fraction", set(t, whole, "depth", "1.0"), "M_BAD_JSON")
		refuse("a sender that is no user", set(t, whole, "sender", `"a:example.org"`), "M_BAD_JSON")
		refuse("a room that is none", set(t, whole, "room_id", `"r:example.org"`), "M_BAD_JSON")
		for _, list := range []struct {
			name string
			most int
		}{{"prev_events", MaxPrevEvents}, {"auth_events", MaxAuthEvents}} {
			entry, odd := `"$x"`, `["$x",{}]`
			if v.EventIDFormat == roomversion.EventIDField {
				entry, odd = odd, entry
			}
			full := "[" + strings.TrimSuffix(strings.Repeat(entry+",", list.most), ",") + "]"
			if _, err := Parse([]byte(set(t, whole, list.name, full)), v); err != nil {
				t.Errorf("version %s: %d %s: %v", v.ID, list.most, list.name, err)
			}
			refuse("too many "+list.name, set(t, whole, list.name, "["+entry+","+full[1:]), "M_BAD_JSON")
			for _, bad := range []string{odd, "1", "null", "{}", "[]", "[1,{}]"} {
				refuse(list.name+" that hold "+bad, set(t, whole, list.name, "["+bad+"]"), "M_BAD_JSON")
			}
		}
		if v.RedactsInContent {
			if e, err := Parse([]byte(set(t, whole, "redacts", "1")), v); err != nil || e.Redacts() != "" {
				t.Errorf("version %s: a member redacts that means nothing: %v", v.ID, err)
			}
		} else {
			refuse("redacts that is no string", set(t, whole, "redacts", "1"), "M_BAD_JSON")
		}
	}
}

// Numbers that are not safe integers are for rooms before version 6 only, and there keep their digits.
func TestNumbersInContent(t *testing.T) {
	t.Parallel()
	for _, v := range roomversion.All() {
		strict := len(v.ID) > 1 || v.ID >= "6"
		for raw, kept := range map[string]string{"9007199254740992": "9007199254740992", "1.0": "1.0", "-0": "0", "1E2": "100", "1e400": "1e400", "-9007199254740993": "-9007199254740993"} {
			e, err := Parse([]byte(set(t, pdu(t, v), "content", `{"membership":`+raw+`}`)), v)
			if (err != nil) != strict {
				t.Errorf("version %s: %s: %v", v.ID, raw, err)
			}
			if _, err := Build(Proto{Type: "m.x", Sender: "@a:d", RoomID: "!r:d", Content: []byte(`{"a":` + raw + `}`), EventIDRandom: "x"}, v, "d", specKey(t)); (err != nil) != strict {
				t.Errorf("version %s: sending %s: %v", v.ID, raw, err)
			}
			if err != nil {
				continue
			}
			// The content hash no longer matches, so the event is redacted; of a member event the number stays.
			e, err = Parse([]byte(set(t, string(e.JSON()), "type", `"m.room.member"`)), v)
			if err != nil || e.HashOK() {
				t.Errorf("version %s: %s: %v", v.ID, raw, err)
			}
			e, err = Build(Proto{Type: "m.room.member", Sender: "@a:d", RoomID: "!r:d", Content: []byte(`{"membership":` + raw + `}`), EventIDRandom: "x"}, v, "d", specKey(t))
			if err != nil || string(e.Redacted().Content()) != `{"membership":`+kept+`}` || e.Membership() != "" {
				t.Errorf("version %s: %s became %s, %v", v.ID, raw, e.Redacted().Content(), err)
			}
		}
	}
}

func TestDepths(t *testing.T) {
	t.Parallel()
	for _, v := range roomversion.All() {
		strict := len(v.ID) > 1 || v.ID >= "6"
		if most := MaxDepth(v); strict && most != 1<<53-1 || !strict && most != math.MaxInt64 {
			t.Errorf("version %s: the largest depth is %d", v.ID, most)
		}
		for raw, fits := range map[string]bool{"0": true, "9007199254740991": true, "9007199254740992": !strict, "9223372036854775807": !strict, "9223372036854775808": false, "18446744073709551617": false, "-1": false} {
			e, err := Parse([]byte(set(t, pdu(t, v), "depth", raw)), v)
			if (err == nil) != fits || fits && fmt.Sprint(e.Depth()) != raw {
				t.Errorf("version %s: depth %s: %v", v.ID, raw, err)
			}
		}
		e, err := Build(Proto{Type: "m.x", Sender: "@a:d", RoomID: "!r:d", Content: []byte(`{}`), Depth: math.MaxInt64, EventIDRandom: "x"}, v, "d", specKey(t))
		if err != nil || e.Depth() != MaxDepth(v) {
			t.Errorf("version %s: built at the largest depth: %v", v.ID, err)
		}
	}
}

// Odd timestamps of old rooms read the same on every machine.
func TestTimestamps(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]int64{"0": 0, "-5": -5, "1404838188000": 1404838188000, "1.9": 1, "-1.9": -1, "1e3": 1000, "9223372036854775807": math.MaxInt64,
		"9223372036854775808": math.MaxInt64, "-9223372036854775809": math.MinInt64, "1e400": math.MaxInt64, "-1e400": math.MinInt64, "1.5e30": math.MaxInt64, "9007199254740993": 9007199254740993} {
		e, err := Parse([]byte(set(t, pdu(t, version(t, "5")), "origin_server_ts", raw)), version(t, "5"))
		if err != nil || e.OriginServerTS() != want {
			t.Errorf("%s: %v, want %d", raw, err, want)
		}
	}
}

// The members that have a limit of their own may have 255 bytes, not 256, and bytes are counted, not characters.
func TestSizesOfMembers(t *testing.T) {
	t.Parallel()
	for _, v := range roomversion.All() {
		members := map[string]string{"type": "", "sender": "@:example.org", "room_id": "!", "state_key": ""}
		if v.EventIDFormat == roomversion.EventIDField {
			members["event_id"] = "$:example.org"
		}
		for name, frame := range members {
			sigil, rest := frame[:min(1, len(frame))], frame[min(1, len(frame)):]
			for _, fill := range []struct {
				text string
				fits bool
			}{
				{strings.Repeat("a", MaxKey-len(frame)), true},
				{strings.Repeat("a", MaxKey-len(frame)+1), false},
				{strings.Repeat("é", (MaxKey-len(frame))/2), true},
				{strings.Repeat("é", (MaxKey-len(frame))/2+1), false},
			} {
				_, err := Parse([]byte(set(t, pdu(t, v), name, `"`+sigil+fill.text+rest+`"`)), v)
				if fill.fits && err != nil || !fill.fits && (err == nil || mxerr.From(err).Code != "M_TOO_LARGE") {
					t.Errorf("version %s: %s of %d bytes: %v", v.ID, name, len(frame)+len(fill.text), err)
				}
			}
		}
	}
}

// A whole event has up to 65,536 bytes in canonical form, however much space its spelling takes; unsigned does not count.
func TestSizeOfEvents(t *testing.T) {
	t.Parallel()
	for _, v := range []*roomversion.Version{version(t, "1"), version(t, "5"), version(t, "12")} { // one of each format
		p := Proto{Type: "m.x", Sender: "@a:d", RoomID: "!r:d", EventIDRandom: "x", Content: []byte(`{"a":""}`)}
		e, err := Build(p, v, "d", specKey(t))
		if err != nil {
			t.Fatal(err)
		}
		filled := func(n int) []byte { return []byte(`{"a":"` + strings.Repeat("x", n) + `"}`) }
		p.Content = filled(MaxSize - len(e.JSON()))
		if e, err = Build(p, v, "d", specKey(t)); err != nil || len(e.JSON()) != MaxSize {
			t.Fatalf("version %s: at the limit: %v", v.ID, err)
		}
		whole := string(e.JSON())
		for what, raw := range map[string]string{"as it is": whole, "with space": strings.Replace(whole, `,"`, ", \t\n\"", 5), "escaped": strings.Replace(whole, "xx", `\u0078x`, 1),
			"with unsigned": set(t, whole, "unsigned", `{"age":1}`)} {
			if back, err := Parse([]byte(raw), v); err != nil || string(back.JSON()) != whole {
				t.Errorf("version %s: %s: %v", v.ID, what, err)
			}
		}
		if _, err := Parse([]byte(strings.Replace(whole, "xx", "xxx", 1)), v); err == nil || mxerr.From(err).Code != "M_TOO_LARGE" {
			t.Errorf("version %s: a byte over the limit arrives: %v", v.ID, err)
		}
		p.Content = filled(len(p.Content) - len(filled(0)) + 1)
		if _, err := Build(p, v, "d", specKey(t)); err == nil || mxerr.From(err).Code != "M_TOO_LARGE" {
			t.Errorf("version %s: a byte over the limit is sent: %v", v.ID, err)
		}
		if _, err := e.Sign("another.example.org", specKey(t)); err == nil || mxerr.From(err).Code != "M_TOO_LARGE" {
			t.Errorf("version %s: a signature takes it over the limit: %v", v.ID, err)
		}
	}
}

// The same event in all versions: where its id, its room's id and what it cites come from (rooms/v1, v3, v4, v12).
func TestIDsByVersion(t *testing.T) {
	t.Parallel()
	forms := map[roomversion.EventIDFormat]*regexp.Regexp{
		roomversion.EventIDField:     regexp.MustCompile(`^\$abc:example\.org$`),
		roomversion.EventIDBase64:    regexp.MustCompile(`^\$[A-Za-z0-9+/]{43}$`),
		roomversion.EventIDURLBase64: regexp.MustCompile(`^\$[A-Za-z0-9_-]{43}$`),
	}
	for _, v := range roomversion.All() {
		raw := pdu(t, v)
		e, err := Parse([]byte(raw), v)
		if err != nil {
			t.Fatal(err)
		}
		if !forms[v.EventIDFormat].MatchString(e.ID()) || e.PrevEvents()[0] != "$p:d" || e.AuthEvents()[0] != "$q:d" {
			t.Errorf("version %s: %s cites %v and %v", v.ID, e.ID(), e.PrevEvents(), e.AuthEvents())
		}
		if v.EventIDFormat != roomversion.EventIDField {
			claimed, err := Parse([]byte(set(t, raw, "event_id", `"$claimed"`)), v)
			if err != nil || claimed.ID() == "$claimed" || !forms[v.EventIDFormat].MatchString(claimed.ID()) {
				t.Errorf("version %s: a claimed event id is believed: %v", v.ID, err)
			}
		}
		if origin := gjson.Get(raw, "origin").Exists(); origin == v.UpdatedRedaction {
			t.Errorf("version %s: origin there: %v", v.ID, origin)
		}
		create := Proto{Type: "m.room.create", StateKey: new(string), Sender: "@a:example.org", RoomID: "!r:example.org", Content: []byte(`{}`), EventIDRandom: "abc"}
		if v.RoomIDFromCreate {
			create.RoomID = ""
		}
		made, err := Build(create, v, "example.org", specKey(t))
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]string{true: "!" + made.ID()[1:], false: "!r:example.org"}[v.RoomIDFromCreate]; made.RoomID() != want || gjson.GetBytes(made.JSON(), "room_id").Exists() == v.RoomIDFromCreate {
			t.Errorf("version %s: the create event %s is in %s", v.ID, made.JSON(), made.RoomID())
		}
		// Only the create event of the room may lack a room id.
		if e, err := Parse([]byte(set(t, string(made.JSON()), "state_key", "")), v); v.RoomIDFromCreate && err == nil {
			t.Errorf("version %s: a create event that is no state is in %s", v.ID, e.RoomID())
		}
	}
}

func TestRedacts(t *testing.T) {
	t.Parallel()
	for _, v := range roomversion.All() {
		p := Proto{Type: "m.room.redaction", Sender: "@a:d", RoomID: "!r:d", Content: []byte(`{"reason":"r","redacts":"$content"}`), Redacts: "$target", EventIDRandom: "x"}
		e, err := Build(p, v, "d", specKey(t))
		if err != nil {
			t.Fatal(err)
		}
		inContent, top := gjson.GetBytes(e.Content(), "redacts").Str, gjson.GetBytes(e.JSON(), "redacts").Str
		want := [2]string{"$content", "$target"}
		if v.RedactsInContent {
			want = [2]string{"$target", ""}
		}
		if e.Redacts() != "$target" || [2]string{inContent, top} != want {
			t.Errorf("version %s: %s redacts %s", v.ID, e.JSON(), e.Redacts())
		}
		p.Type = "m.room.message"
		if e, err := Build(p, v, "d", specKey(t)); err != nil || e.Redacts() != "" {
			t.Errorf("version %s: a message redacts: %v", v.ID, err)
		}
		p.Type, p.Redacts, p.Content = "m.room.redaction", "", []byte(`{"redacts":["$x"]}`)
		if e, err := Build(p, v, "d", specKey(t)); err != nil || e.Redacts() != "" {
			t.Errorf("version %s: a list redacts: %v", v.ID, err)
		}
	}
}

func TestSignAddsASignature(t *testing.T) {
	t.Parallel()
	v := version(t, "10")
	e, err := Parse([]byte(pdu(t, v)), v)
	if err != nil {
		t.Fatal(err)
	}
	second := signing.NewKey("2", []byte(strings.Repeat("s", 32)))
	for _, entity := range []string{"example.org", "resident.example.org"} {
		both, err := e.Sign(entity, second)
		if err != nil {
			t.Fatal(err)
		}
		if err := both.VerifySignature(entity, second.ID, second.Public()); err != nil {
			t.Errorf("%s: %v", entity, err)
		}
		if err := both.VerifySignature("example.org", "ed25519:1", specKey(t).Public()); err != nil || both.ID() != e.ID() {
			t.Errorf("%s: the first signature: %v", entity, err)
		}
		if err := e.VerifySignature(entity, second.ID, second.Public()); !errors.Is(err, signing.ErrNotSigned) {
			t.Errorf("%s: the event before: %v", entity, err)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	v := version(t, "12")
	for what, edit := range map[string]func(*Proto){
		"no type":              func(p *Proto) { p.Type = "" },
		"no content":           func(p *Proto) { p.Content = nil },
		"content no object":    func(p *Proto) { p.Content = []byte(`[]`) },
		"content no JSON":      func(p *Proto) { p.Content = []byte(`{`) },
		"a key twice":          func(p *Proto) { p.Content = []byte(`{"a":1,"a":1}`) },
		"a number too large":   func(p *Proto) { p.Content = []byte(`{"a":9007199254740992}`) },
		"M_TOO_LARGE: type":    func(p *Proto) { p.Type = strings.Repeat("t", 256) },
		"M_TOO_LARGE: sender":  func(p *Proto) { p.Sender = "@" + strings.Repeat("t", 253) + ":d" },
		"M_TOO_LARGE: room":    func(p *Proto) { p.RoomID = "!" + strings.Repeat("t", 255) },
		"M_TOO_LARGE: redacts": func(p *Proto) { p.Redacts = "$" + strings.Repeat("t", 255) },
	} {
		p := Proto{Type: "m.x", Sender: "@a:d", RoomID: "!r", Content: []byte(`{}`)}
		edit(&p)
		code, _, large := strings.Cut(what, ":")
		if !large {
			code = "M_BAD_JSON"
		}
		if _, err := Build(p, v, "d", specKey(t)); err == nil || mxerr.From(err).Code != code {
			t.Errorf("%s: %v", what, err)
		}
	}
}
