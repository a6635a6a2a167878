package pushrules

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

func TestSplitKey(t *testing.T) {
	t.Parallel()
	for key, want := range map[string][]string{
		"type":                      {"type"},
		"content.body":              {"content", "body"},
		`content.m\.relates_to.key`: {"content", "m.relates_to", "key"},
		`content.m\\foo`:            {"content", `m\foo`},
		`content.m\\.foo`:           {"content", `m\`, "foo"},
		`content.\x\`:               {"content", `\x\`},
		"":                          {""},
		".a.":                       {"", "a", ""},
	} {
		if d := cmp.Diff(want, splitKey(key)); d != "" {
			t.Errorf("%s (-want +got):\n%s", key, d)
		}
	}
}

func TestEscapedNamesAndSpaces(t *testing.T) {
	t.Parallel()
	event := " {\n \"x\" : [ 1 , { \"content\":{} }, \"]\\\\\" ] , \"con\\u0074ent\" : { \"m.\\u0061\\\"\" : \"v\\n\" } }"
	rules := with(t, Override, "x", `{"actions":["notify"],"conditions":[{"kind":"event_property_is","key":"content.m\\.a\"","value":"v\n"}]}`)
	check(t, Compile(rules), inputOf(event), plainN)
}

// FuzzExtract compares with another parser on what that calls valid.
func FuzzExtract(f *testing.F) {
	f.Add([]byte(`{"a":{"b":"c\"}"},"d":[{"a":1},"]"],"e":-1.5e3}`))
	f.Add([]byte(`{"a":{"b":{}}, "e" : null }`))
	f.Add([]byte(`{"a":{"b":"\\"`))
	f.Fuzz(func(t *testing.T, event []byte) {
		var keys keySet
		keys.root.slot = -1
		names := []string{"a.b", "d", "e"}
		for _, name := range names {
			keys.slot(name)
		}
		values := make([][]byte, keys.slots)
		keys.root.extract(values, event)
		if !gjson.ValidBytes(event) || doubles(event) {
			return
		}
		for i, name := range names {
			want := gjson.GetBytes(event, name)
			if name == "a.b" && !gjson.GetBytes(event, "a").IsObject() {
				want = gjson.Result{}
			}
			if gjson.ParseBytes(event).IsObject() && want.Raw != string(values[i]) {
				t.Fatalf("%s: %q, want %q", name, values[i], want.Raw)
			}
		}
	})
}

// doubles reports whether one of the first two levels has a name twice, which canonical JSON forbids, or an escaped one, which
// the other parser may read otherwise.
func doubles(event []byte) bool {
	found := false
	var visit func(v gjson.Result, depth int)
	visit = func(v gjson.Result, depth int) {
		names := map[string]bool{}
		v.ForEach(func(name, value gjson.Result) bool {
			found = found || names[name.Str] || name.Raw != `"`+name.Str+`"`
			names[name.Str] = true
			if depth > 0 && value.IsObject() {
				visit(value, depth-1)
			}
			return !found
		})
	}
	if v := gjson.ParseBytes(event); v.IsObject() {
		visit(v, 1)
	}
	return found
}
