package auth

import (
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
)

// checkMember is the rule on m.room.member. Whether the server of join_authorised_via_users_server has signed is checked
// with the event's other signatures, see Signers.
func (c *checker) checkMember() error {
	target, isState := c.e.StateKey()
	membership := c.content.Get("membership")
	if !isState || membership.Type != gjson.String {
		return c.reject("a membership needs a state key and a membership", c.member, 1)
	}
	first := 2 // the rule for join; from room version 8 on one stands before it
	if c.v.Restricted {
		first++
	}
	switch {
	case membership.Str == "join":
		return c.checkJoin(target, first)
	case membership.Str == "invite":
		return c.checkInvite(target, first+1)
	case membership.Str == "leave":
		return c.checkLeave(target, first+2)
	case membership.Str == "ban":
		return c.checkBan(target, first+3)
	case membership.Str == "knock" && c.v.Knock:
		return c.checkKnock(target, first+4)
	}
	if c.v.Knock {
		first++
	}
	return c.reject("the membership is not known", c.member, first+4)
}

func (c *checker) checkJoin(target string, rule int) error {
	e := c.e
	prev, creators := e.PrevEvents(), Creators(c.v, c.create)
	if len(prev) == 1 && prev[0] == c.create.ID() && len(creators) > 0 && creators[0] == target {
		return nil
	}
	if e.Sender() != target {
		return c.reject("nobody can join for somebody else", c.member, rule, 2)
	}
	before := c.membership(target)
	if before == "ban" {
		return c.reject(target+" is banned from the room", c.member, rule, 3)
	}
	in := before == "join" || before == "invite"
	joinRule := c.joinRule()
	switch {
	case joinRule == "invite", joinRule == "knock" && c.v.Knock:
		if !in {
			return c.reject(target+" is not invited to the room", c.member, rule, 4)
		}
		return nil
	case joinRule == "restricted" && c.v.Restricted, joinRule == "knock_restricted" && c.v.KnockRestricted:
		return c.checkRestrictedJoin(in, rule)
	case joinRule == "public":
		return nil
	}
	last := 6
	if c.v.Restricted {
		last++
	}
	return c.reject("the join rule "+joinRule+" lets nobody join", c.member, rule, last)
}

func (c *checker) checkRestrictedJoin(in bool, rule int) error {
	if in {
		return nil
	}
	via := c.content.Get("join_authorised_via_users_server")
	if via.Type != gjson.String || c.membership(via.Str) != "join" || c.levels.User(via.Str).Less(c.levels.Invite()) {
		return c.reject("nobody in the room who may invite has authorised the join", c.member, rule, 5, 2)
	}
	return nil
}

// joinRule is the room's join rule; without an event it is invite.
func (c *checker) joinRule() string {
	e := c.state.Event(event.Tuple{Type: typeJoinRules})
	if e == nil {
		return "invite"
	}
	return gjson.GetBytes(e.Content(), "join_rule").Str
}

func (c *checker) checkInvite(target string, rule int) error {
	if invite := c.content.Get("third_party_invite"); invite.Exists() {
		return c.checkThirdPartyInvite(target, invite, rule)
	}
	if c.membership(c.e.Sender()) != "join" {
		return c.reject("the sender "+c.e.Sender()+" is not in the room", c.member, rule, 2)
	}
	if m := c.membership(target); m == "join" || m == "ban" {
		return c.reject(target+" has the membership "+m+" already", c.member, rule, 3)
	}
	if c.levels.User(c.e.Sender()).Less(c.levels.Invite()) {
		return c.reject(c.lacks("invite", c.levels.Invite()), c.member, rule, 5)
	}
	return nil
}

func (c *checker) checkThirdPartyInvite(target string, invite gjson.Result, rule int) error {
	signed := invite.Get("signed")
	mxid, token := signed.Get("mxid"), signed.Get("token")
	switch {
	case c.membership(target) == "ban":
		return c.reject(target+" is banned from the room", c.member, rule, 1, 1)
	case !signed.IsObject():
		return c.reject("the third-party invite is not signed", c.member, rule, 1, 2)
	case mxid.Type != gjson.String || token.Type != gjson.String:
		return c.reject("the third-party invite lacks mxid or token", c.member, rule, 1, 3)
	case mxid.Str != target:
		return c.reject("the third-party invite is for somebody else", c.member, rule, 1, 4)
	}
	promise := c.state.Event(event.Tuple{Type: typeThirdParty, StateKey: token.Str})
	if promise == nil {
		return c.reject("the room has no third-party invite with that token", c.member, rule, 1, 5)
	}
	if promise.Sender() != c.e.Sender() {
		return c.reject("the third-party invite was made by somebody else", c.member, rule, 1, 6)
	}
	if !signedByAny(signed, thirdPartyKeys(promise.Content())) {
		return c.reject("no signature of the third-party invite is by a key of the room's", c.member, rule, 1, 8)
	}
	return nil
}

func (c *checker) checkLeave(target string, rule int) error {
	sender := c.e.Sender()
	before := c.membership(target)
	if sender == target {
		if before == "invite" || before == "join" || before == "knock" && c.v.Knock {
			return nil
		}
		return c.reject(target+" is not in the room", c.member, rule, 1)
	}
	if c.membership(sender) != "join" {
		return c.reject("the sender "+sender+" is not in the room", c.member, rule, 2)
	}
	level := c.levels.User(sender)
	if before == "ban" && level.Less(c.levels.Ban()) {
		return c.reject(c.lacks("unban", c.levels.Ban()), c.member, rule, 3)
	}
	if level.Less(c.levels.Kick()) {
		return c.reject(c.lacks("kick", c.levels.Kick()), c.member, rule, 5)
	}
	if !c.levels.User(target).Less(level) {
		return c.reject(target+" has at least as much power as "+sender, c.member, rule, 5)
	}
	return nil
}

func (c *checker) checkBan(target string, rule int) error {
	sender := c.e.Sender()
	if c.membership(sender) != "join" {
		return c.reject("the sender "+sender+" is not in the room", c.member, rule, 1)
	}
	level := c.levels.User(sender)
	if level.Less(c.levels.Ban()) {
		return c.reject(c.lacks("ban", c.levels.Ban()), c.member, rule, 3)
	}
	if !c.levels.User(target).Less(level) {
		return c.reject(target+" has at least as much power as "+sender, c.member, rule, 3)
	}
	return nil
}

func (c *checker) checkKnock(target string, rule int) error {
	joinRule := c.joinRule()
	if joinRule != "knock" && (joinRule != "knock_restricted" || !c.v.KnockRestricted) {
		return c.reject("the room cannot be knocked on: its join rule is "+joinRule, c.member, rule, 1)
	}
	if c.e.Sender() != target {
		return c.reject("nobody can knock for somebody else", c.member, rule, 2)
	}
	if m := c.membership(target); m == "ban" || m == "invite" || m == "join" {
		return c.reject(target+" has the membership "+m+" already", c.member, rule, 4)
	}
	return nil
}
