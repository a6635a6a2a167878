package filter

import (
	"regexp"
	"strings"
	"testing"

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

func TestTrim(t *testing.T) {
	t.Parallel()
	f := &Filter{EventFields: []string{"type", "content.body", `content.a\.b`, `content.c\\d.e`, "missing"}}
	got := string(f.Trim([]byte(`{"content":{"a.b":1,"body":"x","c\\d":{"e":2,"f":3},"url":"u"},"sender":"@a:d","type":"t"}`)))
	if want := `{"content":{"a.b":1,"body":"x","c\\d":{"e":2}},"type":"t"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
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

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"room":{"timeline":{"limit":10,"types":["*"]}},"event_fields":["content.body"]}`), []byte(`{"content":{"body":"x"}}`))
	f.Fuzz(func(_ *testing.T, raw, event []byte) {
		if flt, err := Parse(raw); err == nil {
			flt.Trim(event)
		}
	})
}
