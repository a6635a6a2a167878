package pushrules

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

const (
	me    = "@alice:example.org"
	other = "@bob:example.org"
	room  = "!room:example.org"
)

// inputOf makes an input of an event in a room of ten.
func inputOf(event string) *Input {
	return &Input{Event: []byte(event), RoomID: room, EventID: "$event", Sender: other, Members: 10,
		DisplayName: func() string { return "Alice" },
		MayNotify:   func(key string) bool { return key == "room" }}
}

func message(body string) string {
	return `{"content":{"body":` + quoted(body) + `,"msgtype":"m.text"},"sender":"@bob:example.org","type":"m.room.message"}`
}

var (
	silent = Result{}
	plainN = Result{Notify: true}
	loud   = Result{Notify: true, Sound: "default"}
	light  = Result{Notify: true, Highlight: true}
	both   = Result{Notify: true, Highlight: true, Sound: "default"}
)

// check evaluates the event and compares all of the result but the raw actions.
func check(t *testing.T, e *Evaluator, in *Input, want Result) {
	t.Helper()
	got := e.Evaluate(in)
	got.Actions = nil
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", in.Event, d)
	}
}

func TestDefaultRules(t *testing.T) {
	t.Parallel()
	two := func(in *Input) { in.Members = 2 }
	powerless := func(in *Input) { in.MayNotify = func(string) bool { return false } }
	for _, tc := range []struct {
		name  string
		event string
		edit  func(*Input)
		want  Result
	}{
		{"message", message("hi"), nil, plainN},
		{"one to one", message("hi"), two, loud},
		{"own message", message("hi"), func(in *Input) { in.Sender = me }, silent},
		{"notice", `{"type":"m.room.message","content":{"msgtype":"m.notice","body":"x","m.mentions":{"user_ids":["@alice:example.org"]}}}`, nil, silent},
		{"invite for me", `{"type":"m.room.member","state_key":"@alice:example.org","content":{"membership":"invite"}}`, nil, loud},
		{"invite for another", `{"type":"m.room.member","state_key":"@carol:example.org","content":{"membership":"invite"}}`, nil, silent},
		{"join in a small room", `{"type":"m.room.member","state_key":"@bob:example.org","content":{"membership":"join"}}`, two, silent},
		{"user mention", `{"type":"m.room.message","content":{"body":"x","m.mentions":{"user_ids":["@x:y","@alice:example.org"]}}}`, nil, both},
		{"user mention in any event", `{"type":"org.example","content":{"m.mentions":{"user_ids":["@alice:example.org"]}}}`, nil, both},
		{"mention of another", `{"type":"m.room.message","content":{"body":"x","m.mentions":{"user_ids":["@alice:example.org2"]}}}`, nil, plainN},
		{"mentions of a wrong type", `{"type":"m.room.message","content":{"m.mentions":{"user_ids":"@alice:example.org"}}}`, nil, plainN},
		{"names in the body are no mentions", message("Alice, alice, @alice:example.org"), nil, plainN},
		{"@room in the body is no mention", message("hello @room"), nil, plainN},
		{"room mention", `{"type":"m.room.message","content":{"m.mentions":{"room":true}}}`, nil, light},
		{"room mention without power", `{"type":"m.room.message","content":{"m.mentions":{"room":true}}}`, powerless, plainN},
		{"room mention of a wrong type", `{"type":"m.room.message","content":{"m.mentions":{"room":"true"}}}`, nil, plainN},
		{"tombstone", `{"type":"m.room.tombstone","state_key":"","content":{}}`, nil, light},
		{"tombstone that is no state", `{"type":"m.room.tombstone","content":{}}`, nil, silent},
		{"tombstone with another key", `{"type":"m.room.tombstone","state_key":"x","content":{}}`, nil, silent},
		{"reaction", `{"type":"m.reaction","content":{"m.relates_to":{"rel_type":"m.annotation","event_id":"$x","key":"+"}}}`, two, silent},
		{"server acl", `{"type":"m.room.server_acl","state_key":"","content":{}}`, two, silent},
		{"edit", `{"type":"m.room.message","content":{"body":"x","m.relates_to":{"rel_type":"m.replace","event_id":"$x"}}}`, two, silent},
		{"edit that mentions", `{"type":"m.room.message","content":{"m.mentions":{"user_ids":["@alice:example.org"]},"m.relates_to":{"rel_type":"m.replace"}}}`, nil, both},
		{"message in a thread", `{"type":"m.room.message","content":{"body":"x","m.relates_to":{"rel_type":"m.thread","event_id":"$x"}}}`, nil, plainN},
		{"call", `{"type":"m.call.invite","content":{}}`, nil, Result{Notify: true, Sound: "ring"}},
		{"encrypted", `{"type":"m.room.encrypted","content":{}}`, nil, plainN},
		{"encrypted one to one", `{"type":"m.room.encrypted","content":{}}`, two, loud},
		{"another type", `{"type":"m.room.topic","state_key":"","content":{"topic":"x"}}`, two, silent},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			in := inputOf(tc.event)
			if tc.edit != nil {
				tc.edit(in)
			}
			check(t, Compile(Default(me)), in, tc.want)
		})
	}
}

func TestMasterRuleSilencesEverything(t *testing.T) {
	t.Parallel()
	rules := Default(me)
	if err := rules.PutRule(Override, "mine", []byte(`{"actions":["notify"],"conditions":[]}`), "", ""); err != nil {
		t.Fatal(err)
	}
	check(t, Compile(rules), inputOf(message("hi")), plainN)
	if err := rules.SetEnabled(Override, masterRule, true); err != nil {
		t.Fatal(err)
	}
	check(t, Compile(rules), inputOf(message("hi")), silent)
}

// TestDefaultsAreTheSpecifications compares with the definitions in the specification, written down here once more.
func TestDefaultsAreTheSpecifications(t *testing.T) {
	t.Parallel()
	const spec = `{"global":{
	"override":[
	 {"rule_id":".m.rule.master","default":true,"enabled":false,"actions":[],"conditions":[]},
	 {"rule_id":".m.rule.suppress_notices","default":true,"enabled":true,"actions":[],"conditions":[{"kind":"event_match","key":"content.msgtype","pattern":"m.notice"}]},
	 {"rule_id":".m.rule.invite_for_me","default":true,"enabled":true,"actions":["notify",{"set_tweak":"sound","value":"default"}],"conditions":[
	  {"kind":"event_match","key":"type","pattern":"m.room.member"},{"kind":"event_match","key":"content.membership","pattern":"invite"},{"kind":"event_match","key":"state_key","pattern":"@alice:example.org"}]},
	 {"rule_id":".m.rule.member_event","default":true,"enabled":true,"actions":[],"conditions":[{"kind":"event_match","key":"type","pattern":"m.room.member"}]},
	 {"rule_id":".m.rule.is_user_mention","default":true,"enabled":true,"actions":["notify",{"set_tweak":"sound","value":"default"},{"set_tweak":"highlight"}],"conditions":[
	  {"kind":"event_property_contains","key":"content.m\\.mentions.user_ids","value":"@alice:example.org"}]},
	 {"rule_id":".m.rule.is_room_mention","default":true,"enabled":true,"actions":["notify",{"set_tweak":"highlight"}],"conditions":[
	  {"kind":"event_property_is","key":"content.m\\.mentions.room","value":true},{"kind":"sender_notification_permission","key":"room"}]},
	 {"rule_id":".m.rule.tombstone","default":true,"enabled":true,"actions":["notify",{"set_tweak":"highlight"}],"conditions":[
	  {"kind":"event_match","key":"type","pattern":"m.room.tombstone"},{"kind":"event_match","key":"state_key","pattern":""}]},
	 {"rule_id":".m.rule.reaction","default":true,"enabled":true,"actions":[],"conditions":[{"kind":"event_match","key":"type","pattern":"m.reaction"}]},
	 {"rule_id":".m.rule.room.server_acl","default":true,"enabled":true,"actions":[],"conditions":[
	  {"kind":"event_match","key":"type","pattern":"m.room.server_acl"},{"kind":"event_match","key":"state_key","pattern":""}]},
	 {"rule_id":".m.rule.suppress_edits","default":true,"enabled":true,"actions":[],"conditions":[{"kind":"event_property_is","key":"content.m\\.relates_to.rel_type","value":"m.replace"}]}],
	"content":[],"room":[],"sender":[],
	"underride":[
	 {"rule_id":".m.rule.call","default":true,"enabled":true,"actions":["notify",{"set_tweak":"sound","value":"ring"}],"conditions":[{"kind":"event_match","key":"type","pattern":"m.call.invite"}]},
	 {"rule_id":".m.rule.encrypted_room_one_to_one","default":true,"enabled":true,"actions":["notify",{"set_tweak":"sound","value":"default"}],"conditions":[
	  {"kind":"room_member_count","is":"2"},{"kind":"event_match","key":"type","pattern":"m.room.encrypted"}]},
	 {"rule_id":".m.rule.room_one_to_one","default":true,"enabled":true,"actions":["notify",{"set_tweak":"sound","value":"default"}],"conditions":[
	  {"kind":"room_member_count","is":"2"},{"kind":"event_match","key":"type","pattern":"m.room.message"}]},
	 {"rule_id":".m.rule.message","default":true,"enabled":true,"actions":["notify"],"conditions":[{"kind":"event_match","key":"type","pattern":"m.room.message"}]},
	 {"rule_id":".m.rule.encrypted","default":true,"enabled":true,"actions":["notify"],"conditions":[{"kind":"event_match","key":"type","pattern":"m.room.encrypted"}]}]
	}}`
	want := jsontext.Value(spec)
	if err := want.Compact(); err != nil {
		t.Fatal(err)
	}
	rules := Default(me)
	for _, kind := range []string{Override, Underride} { // those on polls are not the specification's yet
		list := rules.kind(kind)
		*list = slices.DeleteFunc(*list, func(r Rule) bool { return strings.HasPrefix(r.RuleID, ".org.matrix.msc3930.") })
	}
	got, err := rules.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "},{"), strings.Split(string(got), "},{")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Polls notify as messages do, and answers to them do not (MSC3930).
func TestPolls(t *testing.T) {
	t.Parallel()
	rules := Compile(Default(me))
	for _, test := range []struct {
		typ     string
		members int64
		notify  bool
		sound   string
	}{
		{"start", 2, true, "default"}, {"start", 3, true, ""}, {"end", 2, true, "default"}, {"end", 3, true, ""}, {"response", 2, false, ""},
	} {
		in := inputOf(`{"type":"org.matrix.msc3381.poll.` + test.typ + `","sender":"@bob:example.org","room_id":"!r","content":{}}`)
		in.Members = test.members
		if got := rules.Evaluate(in); got.Notify != test.notify || got.Sound != test.sound {
			t.Errorf("%+v: %+v", test, got)
		}
	}
}

func TestUserIDIsEscaped(t *testing.T) {
	t.Parallel()
	const odd = `@a"b\c:example.org`
	rules := Default(odd)
	b, err := rules.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, new(any)); err != nil {
		t.Fatal(err)
	}
	check(t, Compile(rules), inputOf(`{"content":{"m.mentions":{"user_ids":[`+quoted(odd)+`]}}}`), both)
}
