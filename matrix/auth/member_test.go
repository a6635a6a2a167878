package auth_test

import (
	"testing"

	"github.com/matrixon/matrixon/matrix/event"
)

// HARD_PLACES.md 13: the numbered rules about membership; those of the other events are in the tests beside.
func TestMembershipRules(t *testing.T) {
	t.Parallel()
	runRules(t, []rule{
		{"without a state key", "1-5:5.1 6-11:4.1 12:5.1", func(r *room) *event.Event {
			return r.build(draft{sender: member, typ: "m.room.member", content: `{"membership":"join"}`, prev: []string{"$tip:a"}})
		}},
		{"without a membership", "1-5:5.1 6-11:4.1 12:5.1", func(r *room) *event.Event {
			return r.send(member, "m.room.member", member, `{}`)
		}},
		{"an unknown membership", "1-5:5.6 6:4.6 7:4.7 8-11:4.8 12:5.8", func(r *room) *event.Event {
			return r.membership(member, member, "sleep")
		}},
		{"a knock before there was knocking", "1-5:5.6 6:4.6", func(r *room) *event.Event {
			r.joinRule("knock")
			return r.membership(stranger, stranger, "knock")
		}},
	})
}

func TestJoinRules(t *testing.T) {
	t.Parallel()
	joinUnder := func(rule, userID string) func(r *room) *event.Event {
		return func(r *room) *event.Event {
			r.joinRule(rule)
			return r.membership(userID, userID, "join")
		}
	}
	via := func(rule, authoriser string) func(r *room) *event.Event {
		return func(r *room) *event.Event {
			r.joinRule(rule)
			return r.membership(stranger, stranger, "join", `,"join_authorised_via_users_server":"`+authoriser+`"`)
		}
	}
	first := func(userID string) func(r *room) *event.Event {
		return func(r *room) *event.Event {
			create := r.state[createTuple]
			r.state = map[event.Tuple]*event.Event{create.Tuple(): create}
			stateKey := userID
			return r.build(draft{sender: userID, typ: "m.room.member", stateKey: &stateKey, content: `{"membership":"join"}`, prev: []string{create.ID()}})
		}
	}
	runRules(t, []rule{
		{"the creator's first", "1-12:ok", first(creator)},
		{"nobody else's first", "1-5:5.2.4 6-7:4.2.4 8-11:4.3.4 12:5.3.4", first(admin)},
		{"a creator that is not a user id makes no exception", "1-5:5.2.2 6-7:4.2.2 8-10:4.3.2", func(r *room) *event.Event {
			create := r.set(creator, "m.room.create", "", `{"creator":7}`)
			return r.build(draft{sender: stranger, typ: "m.room.member", stateKey: &empty, content: `{"membership":"join"}`, prev: []string{create.ID()}})
		}},
		{"for somebody else", "1-5:5.2.2 6-7:4.2.2 8-11:4.3.2 12:5.3.2", func(r *room) *event.Event {
			return r.membership(member, stranger, "join")
		}},
		{"banned", "1-5:5.2.3 6-7:4.2.3 8-11:4.3.3 12:5.3.3", joinUnder("public", banned)},
		{"uninvited", "1-5:5.2.4 6-7:4.2.4 8-11:4.3.4 12:5.3.4", joinUnder("invite", stranger)},
		{"uninvited without join rules", "1-5:5.2.4 6-7:4.2.4 8-11:4.3.4 12:5.3.4", func(r *room) *event.Event {
			delete(r.state, event.Tuple{Type: "m.room.join_rules"})
			return r.membership(stranger, stranger, "join")
		}},
		{"invited", "1-12:ok", joinUnder("invite", invited)},
		{"again", "1-12:ok", joinUnder("invite", member)},
		{"public", "1-12:ok", joinUnder("public", stranger)},
		{"rule knock, not invited", "1-5:5.2.6 6:4.2.6 7:4.2.4 8-11:4.3.4 12:5.3.4", joinUnder("knock", knocking)},
		{"rule knock, invited", "1-5:5.2.6 6:4.2.6 7-12:ok", joinUnder("knock", invited)},
		{"rule restricted, unauthorised", "1-5:5.2.6 6-7:4.2.6 8-11:4.3.5.2 12:5.3.5.2", joinUnder("restricted", stranger)},
		{"rule restricted, invited", "1-5:5.2.6 6-7:4.2.6 8-12:ok", joinUnder("restricted", invited)},
		{"rule restricted, authorised", "8-12:ok", via("restricted", admin)},
		{"rule restricted, authorised by somebody with too little power", "8-11:4.3.5.2 12:5.3.5.2", via("restricted", member)},
		{"rule restricted, authorised by somebody who is not in the room", "8-11:4.3.5.2 12:5.3.5.2", via("restricted", invited)},
		{"rule knock_restricted, authorised", "8-9:4.3.7 10-12:ok", via("knock_restricted", admin)},
		{"rule knock_restricted, unauthorised", "7:4.2.6 8-9:4.3.7 10-11:4.3.5.2 12:5.3.5.2", joinUnder("knock_restricted", stranger)},
		{"rule private", "1-5:5.2.6 6-7:4.2.6 8-11:4.3.7 12:5.3.7", joinUnder("private", invited)},
		{"a join rule that is no string", "1-5:5.2.6 6-7:4.2.6 8-11:4.3.7 12:5.3.7", func(r *room) *event.Event {
			r.set(admin, "m.room.join_rules", "", `{"join_rule":["public"]}`)
			return r.membership(stranger, stranger, "join")
		}},
	})
}

func TestInviteRules(t *testing.T) {
	t.Parallel()
	invite := func(sender, target string) func(r *room) *event.Event {
		return func(r *room) *event.Event { return r.membership(sender, target, "invite") }
	}
	runRules(t, []rule{
		{"by a stranger", "1-5:5.3.2 6-7:4.3.2 8-11:4.4.2 12:5.4.2", invite(stranger, "@x:c")},
		{"of a member", "1-5:5.3.3 6-7:4.3.3 8-11:4.4.3 12:5.4.3", invite(admin, member)},
		{"of somebody banned", "1-5:5.3.3 6-7:4.3.3 8-11:4.4.3 12:5.4.3", invite(admin, banned)},
		{"with the power", "1-12:ok", invite(moderator, stranger)},
		{"again", "1-12:ok", invite(moderator, invited)},
		{"of somebody who knocks", "7-12:ok", invite(moderator, knocking)},
		{"with too little power", "1-5:5.3.5 6-7:4.3.5 8-11:4.4.5 12:5.4.5", invite(member, stranger)},
	})
}

func TestLeaveRules(t *testing.T) {
	t.Parallel()
	leave := func(sender, target string) func(r *room) *event.Event {
		return func(r *room) *event.Event { return r.membership(sender, target, "leave") }
	}
	runRules(t, []rule{
		{"a member", "1-12:ok", leave(member, member)},
		{"somebody invited", "1-12:ok", leave(invited, invited)},
		{"somebody who knocks", "1-5:5.4.1 6:4.4.1 7-12:ok", leave(knocking, knocking)},
		{"somebody banned", "1-5:5.4.1 6-7:4.4.1 8-11:4.5.1 12:5.5.1", leave(banned, banned)},
		{"a stranger", "1-5:5.4.1 6-7:4.4.1 8-11:4.5.1 12:5.5.1", leave(stranger, stranger)},
		{"a kick by a stranger", "1-5:5.4.2 6-7:4.4.2 8-11:4.5.2 12:5.5.2", leave(stranger, member)},
		{"an unban with the kick level only", "1-5:5.4.3 6-7:4.4.3 8-11:4.5.3 12:5.5.3", leave(moderator, banned)},
		{"an unban", "1-12:ok", leave(admin, banned)},
		{"a kick", "1-12:ok", leave(moderator, member)},
		{"a kick with too little power", "1-5:5.4.5 6-7:4.4.5 8-11:4.5.5 12:5.5.5", leave(member, invited)},
		{"a kick of somebody as powerful", "1-5:5.4.5 6-7:4.4.5 8-11:4.5.5 12:5.5.5", func(r *room) *event.Event {
			r.set(creator, "m.room.power_levels", "", `{"users":{"@member:b":50,"@moderator:b":50}}`)
			return r.membership(moderator, member, "leave")
		}},
		{"a kick of the creator", "1-11:ok 12:5.5.5", leave(admin, creator)},
		{"an unban with the ban level only", "1-5:5.4.5 6-7:4.4.5 8-11:4.5.5 12:5.5.5", func(r *room) *event.Event {
			r.set(creator, "m.room.power_levels", "", `{"ban":10,"kick":50,"users":{"@moderator:b":20}}`)
			return r.membership(moderator, banned, "leave")
		}},
	})
}

func TestBanRules(t *testing.T) {
	t.Parallel()
	ban := func(sender, target string) func(r *room) *event.Event {
		return func(r *room) *event.Event { return r.membership(sender, target, "ban") }
	}
	runRules(t, []rule{
		{"by a stranger", "1-5:5.5.1 6-7:4.5.1 8-11:4.6.1 12:5.6.1", ban(stranger, member)},
		{"of a member", "1-12:ok", ban(admin, member)},
		{"of a stranger", "1-12:ok", ban(admin, stranger)},
		{"with too little power", "1-5:5.5.3 6-7:4.5.3 8-11:4.6.3 12:5.6.3", ban(moderator, member)},
		{"of somebody as powerful", "1-5:5.5.3 6-7:4.5.3 8-11:4.6.3 12:5.6.3", ban(admin, admin)},
		{"of the admin by the creator", "1-5:5.5.3 6-7:4.5.3 8-11:4.6.3 12:ok", ban(creator, admin)},
	})
}

func TestKnockRules(t *testing.T) {
	t.Parallel()
	knockUnder := func(rule, sender, target string) func(r *room) *event.Event {
		return func(r *room) *event.Event {
			r.joinRule(rule)
			return r.membership(sender, target, "knock")
		}
	}
	runRules(t, []rule{
		{"in a public room", "7:4.6.1 8-11:4.7.1 12:5.7.1", knockUnder("public", stranger, stranger)},
		{"under knock_restricted", "7:4.6.1 8-9:4.7.1 10-12:ok", knockUnder("knock_restricted", stranger, stranger)},
		{"for somebody else", "7:4.6.2 8-11:4.7.2 12:5.7.2", knockUnder("knock", member, stranger)},
		{"by a stranger", "7-12:ok", knockUnder("knock", stranger, stranger)},
		{"again", "7-12:ok", knockUnder("knock", knocking, knocking)},
		{"banned", "7:4.6.4 8-11:4.7.4 12:5.7.4", knockUnder("knock", banned, banned)},
		{"invited", "7:4.6.4 8-11:4.7.4 12:5.7.4", knockUnder("knock", invited, invited)},
		{"joined", "7:4.6.4 8-11:4.7.4 12:5.7.4", knockUnder("knock", member, member)},
	})
}
