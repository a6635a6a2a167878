package filter

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"
	"pgregory.net/rapid"
)

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for raw, code := range map[string]string{
		`{`: "M_NOT_JSON", `[]`: "M_BAD_JSON", `{"event_fields":{}}`: "M_BAD_JSON", `{"event_format":"x"}`: "M_INVALID_PARAM",
		`{"room":{"timeline":{"limit":-1}}}`: "M_INVALID_PARAM", `{"room":{"rooms":["x"]}}`: "M_INVALID_PARAM",
		`{"room":{"state":{"types":"m.x"}}}`: "M_BAD_JSON", `{"presence":{"senders":["bob"]}}`: "M_INVALID_PARAM",
		`{"room":{"timeline":{"limit":1.5}}}`: "M_BAD_JSON", `{"room":null,"room":{}}`: "M_BAD_JSON",
	} {
		if _, err := Parse([]byte(raw)); err == nil || !strings.HasPrefix(err.Error(), code) {
			t.Errorf("%s: %v, want %s", raw, err, code)
		}
	}
}

func TestKeeps(t *testing.T) {
	t.Parallel()
	f, err := Parse([]byte(`{"room":{"rooms":["!a","!b"],"not_rooms":["!b"],"timeline":{"types":["m.room.*","x"],"not_types":["*.topic"],"not_senders":["@b:d"],"contains_url":false,"limit":5000},"state":{"types":[]}},"unknown":1}`))
	if err != nil {
		t.Fatal(err)
	}
	r, tl := &f.Room, &f.Room.Timeline
	checks := map[string]bool{
		"a room": r.KeepsRoom("!a"), "not the excluded room": !r.KeepsRoom("!b"), "no other room": !r.KeepsRoom("!c"),
		"a type by pattern": tl.Keeps("@a:d", "m.room.name"), "an exact type": tl.Keeps("@a:d", "x"), "no other type": !tl.Keeps("@a:d", "xx"),
		"not the excluded type": !tl.Keeps("@a:d", "m.room.topic"), "not the excluded sender": !tl.Keeps("@b:d", "x"),
		"an empty list keeps nothing": !r.State.Keeps("@a:d", "x"), "the limit is lowered": tl.Limit == MaxLimit,
		"no url": tl.KeepsContent([]byte(`{"body":"x"}`)), "not with url": !tl.KeepsContent([]byte(`{"url":"mxc://x"}`)),
	}
	for what, ok := range checks {
		if !ok {
			t.Errorf("failed: %s", what)
		}
	}
}

// parse makes a filter that the test needs to be valid.
func parse(t testing.TB, raw string) *Filter {
	t.Helper()
	f, err := Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTrim(t *testing.T) {
	t.Parallel()
	const event = `{"content":{"a.b":1,"body":"x","c\\d":{"e":2,"f":3},"list":[{"g":1}],"url":"u"},"sender":"@a:d","type":"t"}`
	for fields, want := range map[string]string{
		`[]`:       event,
		`["type"]`: `{"type":"t"}`,
		`["type","content.body","content.a\\.b","content.c\\\\d.e","missing"]`: `{"content":{"a.b":1,"body":"x","c\\d":{"e":2}},"type":"t"}`,
		`["content.body","content"]`:                  `{"content":{"a.b":1,"body":"x","c\\d":{"e":2,"f":3},"list":[{"g":1}],"url":"u"}}`,
		`["content.missing"]`:                         `{"content":{}}`,
		`["sender.x","content.list.g","content.a.b"]`: `{"content":{}}`,
		`["content.body.","",".","\\"]`:               `{"content":{}}`,
	} {
		f := parse(t, `{"event_fields":`+fields+`}`)
		if got := string(f.Trim([]byte(event))); got != want {
			t.Errorf("%s gives %s, want %s", fields, got, want)
		}
	}
}

// What Trim leaves is what looking up each path finds.
func TestTrimFindsPaths(t *testing.T) {
	t.Parallel()
	names := rapid.SampledFrom([]string{"a", "b", "a.b", `a\b`, `\.`, ""})
	var object func(rt *rapid.T, depth int) map[string]any
	object = func(rt *rapid.T, depth int) map[string]any {
		m := map[string]any{}
		for range rapid.IntRange(0, 4).Draw(rt, "members") {
			name := names.Draw(rt, "name")
			if m[name] = any("leaf"); depth < 3 && rapid.Bool().Draw(rt, "nested") {
				m[name] = object(rt, depth+1)
			}
		}
		return m
	}
	rapid.Check(t, func(rt *rapid.T) {
		event := object(rt, 0)
		paths := rapid.SliceOfN(rapid.SliceOfN(names, 1, 3), 1, 4).Draw(rt, "paths")
		escape := strings.NewReplacer(`\`, `\\`, `.`, `\.`)
		var fields []string
		want := map[string]any{}
		for _, path := range paths {
			var escaped []string
			for _, name := range path {
				escaped = append(escaped, escape.Replace(name))
			}
			fields = append(fields, strings.Join(escaped, "."))
			keep(want, event, path)
		}
		given, err := json.Marshal(map[string]any{"event_fields": fields})
		if err != nil {
			rt.Fatal(err)
		}
		raw, err := json.Marshal(event)
		if err != nil {
			rt.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(parse(t, string(given)).Trim(raw), &got); err != nil {
			rt.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			rt.Fatalf("%s of %s gives %v, want %v", given, raw, got, want)
		}
	})
}

// keep copies what stands at the path, and the objects above it.
func keep(to, from map[string]any, path []string) {
	value, ok := from[path[0]]
	if !ok {
		return
	}
	if len(path) == 1 {
		to[path[0]] = value
		return
	}
	below, ok := value.(map[string]any)
	if !ok {
		return
	}
	into, ok := to[path[0]].(map[string]any)
	if !ok {
		into = map[string]any{}
	}
	into = maps.Clone(into)
	to[path[0]] = into
	keep(into, below, path[1:])
}

func TestBounds(t *testing.T) {
	t.Parallel()
	list := func(n int, entry string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + "]"
	}
	for what, c := range map[string]struct{ raw, code string }{
		"too large":          {`{"x":"` + strings.Repeat("x", MaxSize) + `"}`, "M_TOO_LARGE"},
		"many types":         {`{"presence":{"types":` + list(MaxList+1, `"x"`) + `}}`, "M_INVALID_PARAM"},
		"many senders":       {`{"account_data":{"not_senders":` + list(MaxList+1, `"@a:b"`) + `}}`, "M_INVALID_PARAM"},
		"many rooms":         {`{"room":{"not_rooms":` + list(MaxList+1, `"!a"`) + `}}`, "M_INVALID_PARAM"},
		"many rooms below":   {`{"room":{"timeline":{"rooms":` + list(MaxList+1, `"!a"`) + `}}}`, "M_INVALID_PARAM"},
		"many fields":        {`{"event_fields":` + list(MaxList+1, `"x"`) + `}`, "M_INVALID_PARAM"},
		"many related":       {`{"room":{"state":{"related_by_senders":` + list(MaxList+1, `"@a:b"`) + `}}}`, "M_INVALID_PARAM"},
		"deep":               {strings.Repeat("[", MaxSize), "M_NOT_JSON"},
		"deep and valid":     {`{"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, "M_BAD_JSON"},
		"a sender's grammar": {`{"room":{"ephemeral":{"senders":["@no"]}}}`, "M_INVALID_PARAM"},
	} {
		if _, err := Parse([]byte(c.raw)); err == nil || !strings.HasPrefix(err.Error(), c.code) {
			t.Errorf("%s: %.200v, want %s", what, err, c.code)
		}
	}
	parse(t, `{"presence":{"types":`+list(MaxList, `"x"`)+`}}`)
}

func TestParseRoomEvent(t *testing.T) {
	t.Parallel()
	all, err := ParseRoomEvent("")
	if err != nil || !all.KeepsAll() || !all.Keeps("@a:b", "x") || !all.KeepsContent([]byte(`{}`)) {
		t.Errorf("no filter does not keep all: %+v, %v", all, err)
	}
	f, err := ParseRoomEvent(`{"lazy_load_members":true,"contains_url":true,"limit":3,"related_by_rel_types":["m.thread"],"types":null}`)
	switch {
	case err != nil:
		t.Error(err)
	case !f.LazyLoadMembers || f.Limit != 3 || f.KeepsAll() || f.Types != nil || f.RelatedByRelTypes[0] != "m.thread":
		t.Errorf("read as %+v", f)
	case !f.KeepsContent([]byte(`{"url":null}`)) || f.KeepsContent([]byte(`{"info":{"url":"x"}}`)):
		t.Error("contains_url looks at something else than the content's url")
	}
	for _, raw := range []string{`{`, `[]`, `{"limit":"1"}`, `{"contains_url":1}`, `{"senders":["x"]}`} {
		if _, err := ParseRoomEvent(raw); err == nil {
			t.Errorf("%s was accepted", raw)
		}
	}
}

// The lists of rooms, senders and types have one meaning: what is excluded is out, even if it is named as wanted too; no list
// restricts nothing, an empty one lets nothing through.
func TestListsMeanTheSame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		only, not     string
		first, second bool
	}{
		{`null`, `[]`, true, true},
		{`[]`, `[]`, false, false},
		{`[1]`, `[]`, true, false},
		{`[1,2]`, `[]`, true, true},
		{`null`, `[1]`, false, true},
		{`[1]`, `[1]`, false, false},
		{`[1,2]`, `[1]`, false, true},
	} {
		list := func(text, first, second string) string {
			return strings.NewReplacer("1", `"`+first+`"`, "2", `"`+second+`"`).Replace(text)
		}
		f, err := ParseRoomEvent(`{"rooms":` + list(c.only, "!a:d", "!b") + `,"not_rooms":` + list(c.not, "!a:d", "!b") + `}`)
		if err != nil || f.KeepsRoom("!a:d") != c.first || f.KeepsRoom("!b") != c.second || !f.Keeps("@a:d", "x") {
			t.Errorf("rooms %s, not %s: %+v, %v", c.only, c.not, f, err)
		}
		f, err = ParseRoomEvent(`{"senders":` + list(c.only, "@a:d", "@b:d") + `,"not_senders":` + list(c.not, "@a:d", "@b:d") + `}`)
		if err != nil || f.Keeps("@a:d", "x") != c.first || f.Keeps("@b:d", "x") != c.second || !f.KeepsRoom("!a") || f.Keeps("@B:d", "x") != f.Keeps("@c:d", "x") {
			t.Errorf("senders %s, not %s: %+v, %v", c.only, c.not, f, err)
		}
		for _, names := range [][2]string{{"m.room.name", "x"}, {"m.*me", "x*"}} {
			f, err = ParseRoomEvent(`{"types":` + list(c.only, names[0], names[1]) + `,"not_types":` + list(c.not, names[0], names[1]) + `}`)
			if err != nil || f.Keeps("@a:d", "m.room.name") != c.first || f.Keeps("@a:d", "x") != c.second || !f.KeepsRoom("!a") {
				t.Errorf("types %s, not %s: %+v, %v", c.only, c.not, f, err)
			}
		}
		room := parse(t, `{"room":{"rooms":`+list(c.only, "!a:d", "!b")+`,"not_rooms":`+list(c.not, "!a:d", "!b")+`}}`).Room
		if room.KeepsRoom("!a:d") != c.first || room.KeepsRoom("!b") != c.second {
			t.Errorf("rooms of the whole: %s, not %s", c.only, c.not)
		}
	}
}

// Matching allocates nothing.
func TestKeepsAllocatesNothing(t *testing.T) {
	f := parse(t, matching).Room.Timeline
	if n := testing.AllocsPerRun(100, func() { f.Keeps("@a:d", "m.room.message") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

const matching = `{"room":{"timeline":{"types":["m.room.n*","m.call.*","m.room.message"],"not_types":["*.topic","m.*.x*y"],"not_senders":["@b:d"]}}}`

func BenchmarkKeeps(b *testing.B) {
	f := parse(b, matching).Room.Timeline
	b.ReportAllocs()
	for b.Loop() {
		if !f.Keeps("@a:d", "m.room.message") {
			b.Fatal("the event was not kept")
		}
	}
}

func BenchmarkTrim(b *testing.B) {
	f := parse(b, `{"event_fields":["type","sender","event_id","content.body","content.msgtype"]}`)
	event := []byte(`{"content":{"body":"` + strings.Repeat("text ", 100) + `","format":"x","formatted_body":"` + strings.Repeat("text ", 100) +
		`","msgtype":"m.text"},"event_id":"$x","origin_server_ts":1,"room_id":"!r","sender":"@a:d","type":"m.room.message","unsigned":{"age":1}}`)
	b.ReportAllocs()
	for b.Loop() {
		f.Trim(event)
	}
}

// Patterns match as the regular expression that they stand for.
func TestMatchType(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		pattern := rapid.StringMatching(`[ab*]{0,6}`).Draw(rt, "pattern")
		s := rapid.StringMatching(`[ab]{0,8}`).Draw(rt, "type")
		want := regexp.MustCompile("^" + strings.ReplaceAll(pattern, "*", ".*") + "$").MatchString(s)
		if got := matchType(pattern, s); got != want {
			rt.Fatalf("%q on %q: %v, want %v", pattern, s, got, want)
		}
	})
}

// Filters of strangers are read or refused, and what Trim leaves of JSON is JSON.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"room":{"timeline":{"limit":10,"types":["*"]}},"event_fields":["content.body"]}`), []byte(`{"content":{"body":"x"}}`))
	f.Add([]byte(`{"event_fields":["a\\.b.\\\\"]}`), []byte(`{"a.b":{"\\":"\u00e9"}}`))
	f.Add([]byte(`{"rooms":["!a"],"not_rooms":["!b:d"],"contains_url":false,"limit":1,"senders":["@a:b"]}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, raw, event []byte) {
		if part, err := ParseRoomEvent(string(raw)); err == nil && (part.Limit < 0 || part.Limit > MaxLimit) {
			t.Fatalf("%q has the limit %d", raw, part.Limit)
		}
		flt, err := Parse(raw)
		if err != nil {
			return
		}
		flt.Room.Timeline.Keeps("@a:b", string(event))
		trimmed := flt.Trim(event)
		if gjson.ValidBytes(event) && gjson.ParseBytes(event).IsObject() && !gjson.ValidBytes(trimmed) {
			t.Fatalf("%q leaves %q of %q", raw, trimmed, event)
		}
	})
}

// What an event relates to, and how, may decide too (MSC3874).
func TestRelations(t *testing.T) {
	t.Parallel()
	events := map[string]string{
		"thread": `{"m.relates_to":{"rel_type":"m.thread","event_id":"$x"}}`, "edit": `{"m.relates_to":{"rel_type":"m.replace","event_id":"$x"}}`,
		"reply": `{"m.relates_to":{"m.in_reply_to":{"event_id":"$x"}}}`, "none": `{"body":"m.thread"}`, "odd": `{"m.relates_to":{"rel_type":3}}`,
	}
	for raw, want := range map[string]string{
		`{"org.matrix.msc3874.rel_types":["m.thread"]}`:                                                             "thread",
		`{"org.matrix.msc3874.rel_types":[]}`:                                                                       "",
		`{"org.matrix.msc3874.not_rel_types":["m.thread"]}`:                                                         "edit none odd reply",
		`{"org.matrix.msc3874.not_rel_types":["m.thread"],"org.matrix.msc3874.rel_types":["m.thread","m.replace"]}`: "edit",
		`{"contains_url":true,"org.matrix.msc3874.not_rel_types":["m.thread"]}`:                                     "",
	} {
		f, err := ParseRoomEvent(raw)
		if err != nil {
			t.Fatal(err)
		}
		if f.KeepsAll() || !f.AsksContent() {
			t.Errorf("%s keeps all", raw)
		}
		var kept []string
		for _, name := range slices.Sorted(maps.Keys(events)) {
			if f.KeepsContent([]byte(events[name])) {
				kept = append(kept, name)
			}
		}
		if got := strings.Join(kept, " "); got != want {
			t.Errorf("%s keeps %q, not %q", raw, got, want)
		}
	}
}
