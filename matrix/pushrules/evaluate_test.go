package pushrules

import (
	"fmt"
	"strings"
	"testing"
)

// with makes the default rules with one of the user's own before them.
func with(t *testing.T, kind, id, body string) *Ruleset {
	t.Helper()
	rules := Default(me)
	if err := rules.PutRule(kind, id, []byte(body), "", ""); err != nil {
		t.Fatal(err)
	}
	return rules
}

func TestConditions(t *testing.T) {
	t.Parallel()
	const event = `{"type":"org.example","sender":"@bob:example.org","state_key":"","content":{
		"body":"An example event.","topic":"Lunch plans","esc":"a\"\u00e9","m.federate":true,"no":false,"nothing":null,"n":-7,"big":9007199254740991,
		"m\\foo":"bs","\\x":"left","":"empty","list":[1,"1",true,null,{"a":"inner"},["@inner"],"#my:example.com"],"deep":{"a":{"b":"c"}}}}`
	match := func(key, pattern string) string {
		return fmt.Sprintf(`{"kind":"event_match","key":%s,"pattern":%s}`, quoted(key), quoted(pattern))
	}
	is := func(key, value string) string {
		return fmt.Sprintf(`{"kind":"event_property_is","key":%s,"value":%s}`, quoted(key), value)
	}
	contains := func(key, value string) string {
		return fmt.Sprintf(`{"kind":"event_property_contains","key":%s,"value":%s}`, quoted(key), value)
	}
	count := func(is string) string { return `{"kind":"room_member_count","is":"` + is + `"}` }
	for _, tc := range []struct {
		condition string
		want      bool
	}{
		{match("content.topic", "lunc?*"), true},
		{match("content.topic", "LUNCH PLANS"), true},
		{match("content.topic", "lunch"), false},
		{match("content.topic", " lunch plans"), false},
		{match("content.topic", "*"), true},
		{match("content.esc", `A"É`), true},
		{match("content.esc", `a??`), true},
		{match("content.body", "ex*ple"), true},
		{match("content.body", "EXAMPLE"), true},
		{match("content.body", "exam"), false},
		{match(`content\.body`, "*"), false},
		{match("content.nothing", "*"), false},
		{match("content.n", "*"), false},
		{match("content.absent", "*"), false},
		{match("content", "*"), false},
		{match("state_key", ""), true},
		{match("state_key", "?"), false},
		{match("room_id", room), true},
		{match("event_id", "$EVENT"), true},
		{match(`content.m\\foo`, "bs"), true},
		{match(`content.\x`, "left"), true},
		{match("content.", "empty"), true},
		{match("content.deep.a.b", "c"), true},
		{match("content.deep.a", "*"), false},
		{match("content.list.1", "*"), false},
		{match("content.list.a", "*"), false},
		{is(`content.m\.federate`, "true"), true},
		{is(`content.m\.federate`, `"true"`), false},
		{is(`content.m\.federate`, "1"), false},
		{is(`content.m.federate`, "true"), false},
		{is("content.no", "false"), true},
		{is("content.nothing", "null"), true},
		{is("content.absent", "null"), false},
		{is("content.n", "-7"), true},
		{is("content.n", `"-7"`), false},
		{is("content.big", "9007199254740991"), true},
		{is("content.topic", `"Lunch plans"`), true},
		{is("content.topic", `"lunch plans"`), false},
		{is("content.topic", `"Lunch*"`), false},
		{is("content.esc", `"a\"é"`), true},
		{contains("content.list", `"#my:example.com"`), true},
		{contains("content.list", `":example.com"`), false},
		{contains("content.list", "1"), true},
		{contains("content.list", `"1"`), true},
		{contains("content.list", "null"), true},
		{contains("content.list", "false"), false},
		{contains("content.list", `"inner"`), false},
		{contains("content.list", `"@inner"`), false},
		{contains("content.topic", `"Lunch plans"`), false},
		{contains("content.deep", `"a"`), false},
		{count("10"), true}, {count("==10"), true}, {count("9"), false},
		{count("<11"), true}, {count("<10"), false}, {count(">9"), true}, {count(">10"), false},
		{count("<=10"), true}, {count("<=9"), false}, {count(">=10"), true}, {count(">=11"), false},
		{`{"kind":"sender_notification_permission","key":"room"}`, true},
		{`{"kind":"sender_notification_permission","key":"else"}`, false},
		{`{"kind":"org.example.unknown","key":"room"}`, false},
		{`{"kind":""}`, false},
		{`{"kind":"contains_display_name"}`, false},
	} {
		rules := with(t, Override, "mine", `{"actions":["notify"],"conditions":[`+tc.condition+`]}`)
		want := silent
		if tc.want {
			want = plainN
		}
		if got := Compile(rules).Evaluate(inputOf(event)); got.Notify != want.Notify {
			t.Errorf("%s: notify = %v", tc.condition, got.Notify)
		}
	}
}

func TestContainsDisplayName(t *testing.T) {
	t.Parallel()
	rules := with(t, Override, "mine", `{"actions":["notify",{"set_tweak":"highlight"}],"conditions":[{"kind":"contains_display_name"}]}`)
	e := Compile(rules)
	for _, tc := range []struct {
		name, body string
		want       Result
	}{
		{"Alice", "hello ALICE!", light},
		{"Alice", "malice", plainN},
		{"Al*", "Alice", plainN},
		{"Al*", "it is al*, is it", light},
		{"Ælfrǣd the Great", "who is ÆLFRǢD THE GREAT?", light},
		{"", "anything", plainN},
	} {
		in := inputOf(message(tc.body))
		in.DisplayName = func() string { return tc.name }
		check(t, e, in, tc.want)
	}
	in := inputOf(message("Alice"))
	in.DisplayName = nil
	check(t, e, in, plainN)
}

// TestOrder puts one rule more into the ruleset each time; each is to win over those of the kinds below.
func TestOrder(t *testing.T) {
	t.Parallel()
	sound := func(name string) string { return `["notify",{"set_tweak":"sound","value":"` + name + `"}]` }
	rules := Default(me)
	for _, step := range []struct{ kind, id, rest string }{
		{Underride, "u", `"conditions":[]`},
		{Sender, other, ``},
		{Room, room, ``},
		{Content, "c1", `"pattern":"tea"`},
		{Content, "c2", `"pattern":"time"`},
		{Override, "o", `"conditions":[]`},
	} {
		body := `{"actions":` + sound(step.id)
		if step.rest != "" {
			body += "," + step.rest
		}
		if err := rules.PutRule(step.kind, step.id, []byte(body+"}"), "", ""); err != nil {
			t.Fatal(err)
		}
		check(t, Compile(rules), inputOf(message("It's time for tea")), Result{Notify: true, Sound: step.id})
	}
	for _, step := range []struct{ kind, id, next string }{
		{Override, "o", "c2"}, {Content, "c2", "c1"}, {Content, "c1", room}, {Room, room, other}, {Sender, other, "u"}, {Underride, "u", ""},
	} {
		if err := rules.SetEnabled(step.kind, step.id, false); err != nil {
			t.Fatal(err)
		}
		check(t, Compile(rules), inputOf(message("It's time for tea")), Result{Notify: true, Sound: step.next})
	}
}

func TestTweaks(t *testing.T) {
	t.Parallel()
	for actions, want := range map[string]Result{
		`[]`:                    silent,
		`["dont_notify"]`:       silent,
		`["coalesce","notify"]`: plainN,
		`["notify",{"set_tweak":"highlight","value":false}]`: plainN,
		`["notify",{"set_tweak":"highlight","value":true}]`:  light,
		`["notify",{"set_tweak":"highlight","value":"yes"}]`: plainN,
		`["notify",{"set_tweak":"sound","value":"bing"}]`:    {Notify: true, Sound: "bing"},
		`["notify",{"set_tweak":"sound"}]`:                   plainN,
		`["notify",{"set_tweak":"org.example","value":{}}]`:  plainN,
	} {
		check(t, Compile(with(t, Room, room, `{"actions":`+actions+`}`)), inputOf(message("x")), want)
	}
}

func TestManyKeysNeedNoInlineRoom(t *testing.T) {
	t.Parallel()
	rules := Default(me)
	for i := range 3 * inlineSlots {
		body := fmt.Sprintf(`{"actions":["notify",{"set_tweak":"sound","value":"s%d"}],"conditions":[{"kind":"event_property_is","key":"content.k%d","value":1}]}`, i, i)
		if err := rules.PutRule(Override, fmt.Sprint("r", i), []byte(body), "", ""); err != nil {
			t.Fatal(err)
		}
	}
	e := Compile(rules)
	for i := range 3 * inlineSlots {
		check(t, e, inputOf(fmt.Sprintf(`{"content":{"k%d":1}}`, i)), Result{Notify: true, Sound: fmt.Sprint("s", i)})
	}
}

func BenchmarkEvaluate(b *testing.B) {
	event := `{"auth_events":["$` + strings.Repeat("a", 43) + `","$` + strings.Repeat("b", 43) + `","$` + strings.Repeat("c", 43) +
		`"],"content":{"body":"` + strings.Repeat("a few words of text ", 12) + `","m.mentions":{"user_ids":["@carol:example.org"]},"msgtype":"m.text"},"depth":1234,"hashes":{"sha256":"` +
		strings.Repeat("d", 43) + `"},"origin_server_ts":1700000000000,"prev_events":["$` + strings.Repeat("e", 43) + `"],"room_id":"!room:example.org","sender":"@bob:example.org","signatures":{"example.org":{"ed25519:abc":"` +
		strings.Repeat("f", 86) + `"}},"type":"m.room.message"}`
	keywords := Default(me)
	for i := range 20 {
		if err := keywords.PutRule(Content, fmt.Sprint(i), []byte(fmt.Sprintf(`{"actions":["notify"],"pattern":"keyword%d"}`, i)), "", ""); err != nil {
			b.Fatal(err)
		}
	}
	globs := Default(me)
	if err := globs.PutRule(Content, "glob", []byte(`{"actions":["notify"],"pattern":"cake*lie"}`), "", ""); err != nil {
		b.Fatal(err)
	}
	for name, rules := range map[string]*Ruleset{"default": Default(me), "20 keywords": keywords, "a glob": globs} {
		b.Run(name, func(b *testing.B) {
			e, in := Compile(rules), inputOf(event)
			b.ReportAllocs()
			for b.Loop() {
				if !e.Evaluate(in).Notify {
					b.Fatal("does not notify")
				}
			}
		})
	}
}
