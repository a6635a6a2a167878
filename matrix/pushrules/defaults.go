package pushrules

import "github.com/go-json-experiment/json/jsontext"

// masterRule turns all notifications off; it goes before the user's own rules.
const masterRule = ".m.rule.master"

// The actions that the default rules use.
var (
	actNotify       = jsontext.Value(`"notify"`)
	actHighlight    = jsontext.Value(`{"set_tweak":"highlight"}`)
	actSoundDefault = jsontext.Value(`{"set_tweak":"sound","value":"default"}`)
	actSoundRing    = jsontext.Value(`{"set_tweak":"sound","value":"ring"}`)
)

// Default gives the rules of a user who changed none (client-server API, "Predefined Rules").
func Default(userID string) *Ruleset {
	me := quoted(userID)
	member := match("type", "m.room.member")
	master := rule(masterRule, nil)
	master.Enabled = false
	return &Ruleset{
		userID: userID,
		Override: []Rule{
			master,
			rule(".m.rule.suppress_notices", nil, match("content.msgtype", "m.notice")),
			rule(".m.rule.invite_for_me", actions(actNotify, actSoundDefault),
				member, match("content.membership", "invite"), match("state_key", userID)),
			rule(".m.rule.member_event", nil, member),
			rule(".m.rule.is_user_mention", actions(actNotify, actSoundDefault, actHighlight),
				property("event_property_contains", `content.m\.mentions.user_ids`, me)),
			rule(".m.rule.is_room_mention", actions(actNotify, actHighlight),
				property("event_property_is", `content.m\.mentions.room`, "true"),
				jsontext.Value(`{"kind":"sender_notification_permission","key":"room"}`)),
			rule(".m.rule.tombstone", actions(actNotify, actHighlight), match("type", "m.room.tombstone"), match("state_key", "")),
			rule(".m.rule.reaction", nil, match("type", "m.reaction")),
			rule(".m.rule.room.server_acl", nil, match("type", "m.room.server_acl"), match("state_key", "")),
			rule(".m.rule.suppress_edits", nil, property("event_property_is", `content.m\.relates_to.rel_type`, `"m.replace"`)),
			rule(".org.matrix.msc3930.rule.poll_response", nil, match("type", "org.matrix.msc3381.poll.response")),
		},
		Content: []Rule{},
		Room:    []Rule{},
		Sender:  []Rule{},
		Underride: []Rule{
			rule(".m.rule.call", actions(actNotify, actSoundRing), match("type", "m.call.invite")),
			rule(".m.rule.encrypted_room_one_to_one", actions(actNotify, actSoundDefault), twoMembers, match("type", "m.room.encrypted")),
			rule(".m.rule.room_one_to_one", actions(actNotify, actSoundDefault), twoMembers, match("type", "m.room.message")),
			rule(".m.rule.message", actions(actNotify), match("type", "m.room.message")),
			rule(".m.rule.encrypted", actions(actNotify), match("type", "m.room.encrypted")),
			// Polls (MSC3930), in the spelling in which clients send them.
			rule(".org.matrix.msc3930.rule.poll_start_one_to_one", actions(actNotify, actSoundDefault), twoMembers, match("type", "org.matrix.msc3381.poll.start")),
			rule(".org.matrix.msc3930.rule.poll_start", actions(actNotify), match("type", "org.matrix.msc3381.poll.start")),
			rule(".org.matrix.msc3930.rule.poll_end_one_to_one", actions(actNotify, actSoundDefault), twoMembers, match("type", "org.matrix.msc3381.poll.end")),
			rule(".org.matrix.msc3930.rule.poll_end", actions(actNotify), match("type", "org.matrix.msc3381.poll.end")),
		},
	}
}

var twoMembers = jsontext.Value(`{"kind":"room_member_count","is":"2"}`)

func rule(id string, act []jsontext.Value, conditions ...jsontext.Value) Rule {
	if act == nil {
		act = []jsontext.Value{}
	}
	if conditions == nil {
		conditions = []jsontext.Value{}
	}
	return Rule{RuleID: id, Default: true, Enabled: true, Actions: act, Conditions: conditions}
}

func actions(list ...jsontext.Value) []jsontext.Value { return list }

func match(key, pattern string) jsontext.Value {
	return jsontext.Value(`{"kind":"event_match","key":` + quoted(key) + `,"pattern":` + quoted(pattern) + `}`)
}

// property makes an exact condition; value is JSON.
func property(kind, key, value string) jsontext.Value {
	return jsontext.Value(`{"kind":` + quoted(kind) + `,"key":` + quoted(key) + `,"value":` + value + `}`)
}

// FollowThreads adds the rules about the threads that the user follows, or does not (MSC4306). They are not among the default
// ones: with them threads are silent until somebody subscribes, which clients that know nothing of subscriptions never do. It
// reports whether they were missing.
func (s *Ruleset) FollowThreads() bool {
	if s.PostContent != nil {
		return false
	}
	s.PostContent = []Rule{
		rule(".io.element.msc4306.rule.unsubscribed_thread", nil, jsontext.Value(`{"kind":"`+threadSubscription+`","subscribed":false}`)),
		rule(".io.element.msc4306.rule.subscribed_thread", actions(actNotify, actSoundDefault), jsontext.Value(`{"kind":"`+threadSubscription+`","subscribed":true}`)),
	}
	return true
}
