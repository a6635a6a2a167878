package pushrules

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// codeOf gives the status and errcode of an error, "" for none.
func codeOf(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *mxerr.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *mxerr.Error", err)
	}
	return fmt.Sprint(e.Status, " ", e.Code)
}

const (
	invalid  = "400 M_INVALID_PARAM"
	missing  = "400 M_MISSING_PARAM"
	notFound = "404 M_NOT_FOUND"
	relative = "400 M_UNKNOWN"
	tooLarge = "413 M_TOO_LARGE"
)

// own lists the ids of the user's rules of a kind.
func own(s *Ruleset, kind string) []string {
	ids := []string{}
	for _, r := range *s.kind(kind) {
		if !r.Default {
			ids = append(ids, r.RuleID)
		}
	}
	return ids
}

func copyOf(s *Ruleset) *Ruleset {
	c := *s
	for _, kind := range []string{Override, Content, Room, Sender, Underride} {
		rules := c.kind(kind)
		*rules = slices.Clone(*rules)
	}
	return &c
}

func TestPutRulePlaces(t *testing.T) {
	t.Parallel()
	const body = `{"actions":["notify"],"conditions":[]}`
	rules := Default(me)
	for _, step := range []struct {
		id, before, after string
		code              string
		want              []string
	}{
		{"a", "", "", "", []string{"a"}},
		{"b", "", "", "", []string{"b", "a"}},
		{"c", "a", "", "", []string{"b", "c", "a"}},
		{"d", "", "b", "", []string{"b", "d", "c", "a"}},
		{"e", "", "a", "", []string{"b", "d", "c", "a", "e"}},
		{"f", "b", "c", "", []string{"f", "b", "d", "c", "a", "e"}},
		{"c", "", "", "", []string{"f", "b", "d", "c", "a", "e"}},
		{"c", "f", "", "", []string{"c", "f", "b", "d", "a", "e"}},
		{"c", "", "e", "", []string{"f", "b", "d", "a", "e", "c"}},
		{"g", "nowhere", "", relative, []string{"f", "b", "d", "a", "e", "c"}},
		{"g", "", "nowhere", relative, []string{"f", "b", "d", "a", "e", "c"}},
		{"g", masterRule, "", relative, []string{"f", "b", "d", "a", "e", "c"}},
		{"g", "", ".m.rule.reaction", relative, []string{"f", "b", "d", "a", "e", "c"}},
		{"a", "a", "", relative, []string{"f", "b", "d", "a", "e", "c"}},
	} {
		err := rules.PutRule(Override, step.id, []byte(body), step.before, step.after)
		if code := codeOf(t, err); code != step.code {
			t.Errorf("%+v: %q", step, code)
		}
		if d := cmp.Diff(step.want, own(rules, Override)); d != "" {
			t.Errorf("%+v (-want +got):\n%s", step, d)
		}
		if rules.Override[0].RuleID != masterRule || rules.Override[1].Default || !rules.Override[len(rules.Override)-1].Default {
			t.Fatalf("%+v: the user's rules are not between the master rule and the other default rules", step)
		}
	}
}

func TestPutRuleRefuses(t *testing.T) {
	t.Parallel()
	const body = `{"actions":[]}`
	condition := func(c string) string { return `{"actions":[],"conditions":[` + c + `]}` }
	for _, tc := range []struct{ kind, id, body, code string }{
		{Override, "ok", body, ""},
		{Override, "ok", condition(`{"kind":"org.example.unknown","whatever":[1]}`), ""},
		{Content, "ok", `{"actions":[],"pattern":"x"}`, ""},
		{"unknown", "x", body, invalid},
		{"", "x", body, invalid},
		{Override, "", body, invalid},
		{Override, ".mine", body, invalid},
		{Override, masterRule, body, invalid},
		{Override, "a/b", body, invalid},
		{Override, `a\b`, body, invalid},
		{Override, strings.Repeat("x", maxRuleID+1), body, invalid},
		{Override, "x", `[]`, invalid},
		{Override, "x", `{`, invalid},
		{Override, "x", `{}`, missing},
		{Override, "x", `{"actions":null}`, missing},
		{Override, "x", `{"actions":"notify"}`, invalid},
		{Override, "x", `{"actions":["explode"]}`, invalid},
		{Override, "x", `{"actions":[1]}`, invalid},
		{Override, "x", `{"actions":[{}]}`, invalid},
		{Override, "x", `{"actions":[{"set_tweak":1}]}`, invalid},
		{Override, "x", `{"actions":[` + strings.Repeat(`"notify",`, maxActions) + `"notify"]}`, invalid},
		{Content, "x", body, missing},
		{Content, "x", `{"actions":[],"pattern":1}`, invalid},
		{Content, "x", `{"actions":[],"pattern":"` + strings.Repeat("x", maxPattern+1) + `"}`, invalid},
		{Override, "x", condition(`1`), invalid},
		{Override, "x", condition(`{}`), invalid},
		{Override, "x", condition(`{"kind":1}`), invalid},
		{Override, "x", condition(`{"kind":"event_match","key":"type"}`), invalid},
		{Override, "x", condition(`{"kind":"event_match","pattern":"type"}`), invalid},
		{Override, "x", condition(`{"kind":"event_match","key":"type","pattern":"` + strings.Repeat("x", maxPattern+1) + `"}`), invalid},
		{Override, "x", condition(`{"kind":"event_property_is","key":"type"}`), invalid},
		{Override, "x", condition(`{"kind":"event_property_is","key":"type","value":{}}`), invalid},
		{Override, "x", condition(`{"kind":"event_property_is","key":"type","value":1.5}`), invalid},
		{Override, "x", condition(`{"kind":"event_property_contains","key":"type","value":9007199254740992}`), invalid},
		{Override, "x", condition(`{"kind":"event_property_contains","value":1}`), invalid},
		{Override, "x", condition(`{"kind":"sender_notification_permission"}`), invalid},
		{Override, "x", condition(`{"kind":"room_member_count"}`), invalid},
		{Override, "x", condition(`{"kind":"room_member_count","is":"=2"}`), invalid},
		{Override, "x", condition(`{"kind":"room_member_count","is":"-2"}`), invalid},
		{Override, "x", condition(`{"kind":"room_member_count","is":"2.0"}`), invalid},
		{Override, "x", condition(`{"kind":"room_member_count","is":2}`), invalid},
		{Override, "x", condition(strings.Repeat(`{"kind":"x"},`, maxConditions) + `{"kind":"x"}`), invalid},
	} {
		rules := Default(me)
		if code := codeOf(t, rules.PutRule(tc.kind, tc.id, []byte(tc.body), "", "")); code != tc.code {
			t.Errorf("%s %s %.80s: %q, want %q", tc.kind, tc.id, tc.body, code, tc.code)
		}
		if tc.code != "" {
			if d := cmp.Diff(Default(me), rules, cmp.AllowUnexported(Ruleset{})); d != "" {
				t.Errorf("%s %s %.80s was refused, and yet (-want +got):\n%s", tc.kind, tc.id, tc.body, d)
			}
		}
	}
}

func TestPutRuleReplaces(t *testing.T) {
	t.Parallel()
	rules := with(t, Content, "x", `{"actions":["notify"],"pattern":"a","conditions":[{"kind":"x"}]}`)
	if err := rules.SetEnabled(Content, "x", false); err != nil {
		t.Fatal(err)
	}
	if err := rules.PutRule(Content, "x", []byte(`{"actions":["dont_notify"],"pattern":"b"}`), "", ""); err != nil {
		t.Fatal(err)
	}
	got, err := rules.Rule(Content, "x")
	if err != nil {
		t.Fatal(err)
	}
	want := Rule{RuleID: "x", Actions: []jsontext.Value{jsontext.Value(`"dont_notify"`)}, Pattern: new("b")}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestBoundsOnRules(t *testing.T) {
	t.Parallel()
	rules := Default(me)
	const body = `{"actions":[]}`
	for i := range maxRules {
		if err := rules.PutRule(Room, fmt.Sprint("r", i), []byte(body), "", ""); err != nil {
			t.Fatal(err)
		}
	}
	if code := codeOf(t, rules.PutRule(Room, "more", []byte(body), "", "")); code != tooLarge {
		t.Errorf("one rule too many: %q", code)
	}
	if err := rules.PutRule(Room, "r1", []byte(`{"actions":["notify"]}`), "", ""); err != nil {
		t.Errorf("replacing one when there is no room for more: %v", err)
	}
	pattern := strings.Repeat("x", maxPattern)
	var code string
	n := 0
	for ; code == "" && n < maxRules; n++ {
		code = codeOf(t, rules.PutRule(Content, fmt.Sprint(n), []byte(`{"actions":[],"pattern":"`+pattern+`"}`), "", ""))
	}
	if code != tooLarge || n < 50 {
		t.Errorf("after %d long patterns: %q", n, code)
	}
	long := `["notify",{"set_tweak":"sound","value":"` + strings.Repeat("x", maxPattern) + `"}]`
	if code := codeOf(t, rules.SetActions(Content, "0", []byte(long))); code != tooLarge {
		t.Errorf("long actions: %q", code)
	}
	if code := codeOf(t, rules.SetActions(Content, "0", []byte(`[]`))); code != "" {
		t.Errorf("fewer actions: %q", code)
	}
}

func TestDeleteRule(t *testing.T) {
	t.Parallel()
	rules := with(t, Sender, other, `{"actions":[]}`)
	for _, tc := range []struct{ kind, id, code string }{
		{Sender, other, ""},
		{Sender, other, notFound},
		{Room, other, notFound},
		{"unknown", other, invalid},
		{Override, ".m.rule.reaction", invalid},
		{Underride, ".m.rule.reaction", notFound},
	} {
		if code := codeOf(t, rules.DeleteRule(tc.kind, tc.id)); code != tc.code {
			t.Errorf("%s %s: %q, want %q", tc.kind, tc.id, code, tc.code)
		}
	}
	if d := cmp.Diff(Default(me), rules, cmp.AllowUnexported(Ruleset{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestDefaultRulesCanBeChanged(t *testing.T) {
	t.Parallel()
	rules := Default(me)
	if err := errors.Join(
		rules.SetEnabled(Underride, ".m.rule.message", false),
		rules.SetActions(Underride, ".m.rule.call", []byte(`["coalesce","notify"]`)),
	); err != nil {
		t.Fatal(err)
	}
	e := Compile(rules)
	check(t, e, inputOf(message("x")), silent)
	check(t, e, inputOf(`{"type":"m.call.invite","content":{}}`), plainN)
	for _, tc := range []struct{ kind, id, actions, code string }{
		{Underride, "absent", `[]`, notFound},
		{"unknown", "absent", `[]`, invalid},
		{Underride, ".m.rule.call", `null`, invalid},
		{Underride, ".m.rule.call", `{}`, invalid},
		{Underride, ".m.rule.call", `["explode"]`, invalid},
		{Underride, ".m.rule.call", ``, invalid},
	} {
		if code := codeOf(t, rules.SetActions(tc.kind, tc.id, []byte(tc.actions))); code != tc.code {
			t.Errorf("%+v: %q", tc, code)
		}
	}
	if code := codeOf(t, rules.SetEnabled(Override, "absent", true)); code != notFound {
		t.Errorf("switching an absent rule: %q", code)
	}
	if got, err := rules.Rule(Underride, ".m.rule.call"); err != nil || len(got.Actions) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestStored(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, content string
		check         func(*Ruleset) bool
	}{
		{"nothing", `{}`, func(s *Ruleset) bool { return cmp.Equal(s.Override, Default(me).Override) }},
		{"null", `{"global":null}`, func(s *Ruleset) bool { return len(s.Underride) == 9 }},
		{"new defaults appear", `{"global":{"override":[{"rule_id":".m.rule.master","default":true,"enabled":true,"actions":[]}]}}`,
			func(s *Ruleset) bool { return len(s.Override) == 11 && s.Override[0].Enabled && s.Override[9].Enabled }},
		{"old defaults go", `{"global":{"override":[{"rule_id":".m.rule.contains_display_name","default":true,"enabled":true,"actions":["notify"],"conditions":[]}]}}`,
			func(s *Ruleset) bool { return cmp.Equal(s.Override, Default(me).Override) }},
		{"conditions of defaults are the server's", `{"global":{"override":[{"rule_id":".m.rule.reaction","enabled":false,"actions":["notify"],"conditions":[]}]}}`,
			func(s *Ruleset) bool {
				r, err := s.Rule(Override, ".m.rule.reaction")
				return err == nil && !r.Enabled && r.Default && len(r.Actions) == 1 && len(r.Conditions) == 1
			}},
		{"own rules are never default", `{"global":{"room":[{"rule_id":"!a","default":true,"enabled":true}]}}`,
			func(s *Ruleset) bool { return len(s.Room) == 1 && !s.Room[0].Default && s.Room[0].Actions != nil }},
		{"order stays, doubles go", `{"global":{"sender":[{"rule_id":"b"},{"rule_id":"a"},{"rule_id":"b"}]}}`,
			func(s *Ruleset) bool { return slices.Equal(own(s, Sender), []string{"b", "a"}) }},
		{"content without a pattern", `{"global":{"content":[{"rule_id":"b","enabled":true}]}}`,
			func(s *Ruleset) bool { return *s.Content[0].Pattern == "" }},
	} {
		rules, err := Stored(me, []byte(tc.content))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if !tc.check(rules) {
			b, _ := rules.JSON()
			t.Errorf("%s: %s", tc.name, b)
		}
		Compile(rules).Evaluate(inputOf(message("x")))
	}
	for _, content := range []string{`[]`, `{"global":1}`, `{"global":{"room":{}}}`, `{"global":{"room":[{"rule_id":1}]}}`, `{`} {
		if _, err := Stored(me, []byte(content)); codeOf(t, err) != "400 M_BAD_JSON" {
			t.Errorf("%s: %v", content, err)
		}
	}
}

// TestStoredIsWhatWasWritten changes rules at random and reads back what they are written as.
func TestStoredIsWhatWasWritten(t *testing.T) {
	t.Parallel()
	kinds := rapid.SampledFrom([]string{Override, Content, Room, Sender, Underride})
	ids := rapid.SampledFrom([]string{"a", "b", "c", ".m.rule.message", ".m.rule.reaction", masterRule})
	bodies := rapid.SampledFrom([]string{
		`{"actions":[]}`, `{"actions":["notify"],"pattern":"x"}`,
		`{"actions":["notify",{"set_tweak":"sound","value":"x"}],"pattern":"é*","conditions":[{"kind":"unknown","n":1},{"kind":"event_match","key":"type","pattern":"x"}]}`})
	rapid.Check(t, func(rt *rapid.T) {
		rules := Default(me)
		for range rapid.IntRange(0, 8).Draw(rt, "steps") {
			kind, id := kinds.Draw(rt, "kind"), ids.Draw(rt, "id")
			before := copyOf(rules)
			var err error
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				err = rules.PutRule(kind, id, []byte(bodies.Draw(rt, "body")), rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "before"), "")
			case 1:
				err = rules.DeleteRule(kind, id)
			case 2:
				err = rules.SetEnabled(kind, id, rapid.Bool().Draw(rt, "enabled"))
			case 3:
				err = rules.SetActions(kind, id, []byte(`["notify"]`))
			}
			if err != nil && !reflect.DeepEqual(before, rules) {
				rt.Fatalf("refused (%v), and yet changed", err)
			}
		}
		b, err := rules.JSON()
		if err != nil {
			rt.Fatal(err)
		}
		again, err := Stored(me, b)
		if err != nil {
			rt.Fatal(err)
		}
		if !reflect.DeepEqual(rules, again) {
			rt.Fatalf("(-want +got):\n%s", cmp.Diff(rules, again, cmp.AllowUnexported(Ruleset{})))
		}
	})
}

func FuzzStored(f *testing.F) {
	b, err := Default(me).JSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, []byte(message("x")))
	f.Add([]byte(`{"global":{"content":[{"rule_id":"x","enabled":true,"pattern":"*a?","actions":[null,1,"\ud800"]}]}}`), []byte(`{"content":{"body":"aab`))
	f.Fuzz(func(t *testing.T, content, event []byte) {
		rules, err := Stored(me, content)
		if err != nil {
			return
		}
		Compile(rules).Evaluate(inputOf(string(event)))
		if _, err := rules.JSON(); err != nil {
			t.Fatal(err)
		}
	})
}
