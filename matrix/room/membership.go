package room

import (
	"bytes"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// memberships are what each action makes of its target.
var memberships = map[Action]string{
	Join: "join", Refresh: "join", Invite: "invite", Knock: "knock",
	Leave: "leave", Kick: "leave", Unban: "leave", Ban: "ban",
}

// changeMembership works out what a membership endpoint asks for.
func (d *draft) changeMembership(in ChangeMembership) error {
	membership, ok := memberships[in.Action]
	if !ok {
		return mxerr.InvalidParam("there is no such membership change")
	}
	content, err := memberContent(membership, in.Reason, in.Content)
	if err != nil {
		return err
	}
	return d.member(in, content, 0, false)
}

// proposeMember works out a member event that was sent as a state event, as the action that it is.
func (d *draft) proposeMember(p Proposal, in Propose) error {
	change := ChangeMembership{From: in.From, Target: *p.StateKey, TxnID: in.TxnID}
	switch textAt(p.Content, "membership") {
	case "join":
		change.Action = Join
		if d.membership(change.Target) == "join" {
			change.Action = Refresh
		}
	case "invite":
		change.Action = Invite
	case "knock":
		change.Action = Knock
	case "ban":
		change.Action = Ban
	case "leave":
		change.Action = d.leaveAction(in.UserID, change.Target)
	default:
		return mxerr.BadJSON("the membership must be join, invite, knock, leave or ban")
	}
	if err := d.waiting(); err != nil {
		return err
	}
	return d.member(change, p.Content, in.OriginServerTS, in.CheckOnly)
}

// leaveAction is what a leave is, by whom it concerns.
func (d *draft) leaveAction(sender, target string) Action {
	switch {
	case sender == target:
		return Leave
	case d.membership(target) == "ban":
		return Unban
	}
	return Kick
}

// member works out a membership change with the given content.
func (d *draft) member(in ChangeMembership, content []byte, ts int64, checkOnly bool) error {
	if _, _, err := id.ParseUser(in.Target); err != nil {
		return mxerr.InvalidParam("%q is not a user id", in.Target)
	}
	p := Proposal{Type: "m.room.member", StateKey: &in.Target, Sender: in.UserID, Content: content}
	if done, err := d.repeated(in.From, p, in.TxnID, 0); done || err != nil {
		return err
	}
	current := d.stateEntry(memberTuple(in.Target))
	if err := d.waiting(); err != nil {
		return err
	}
	if err := d.requireMember(current); err != nil {
		return err
	}
	done, err := d.checkAction(in, current)
	if err != nil {
		return err
	}
	if done {
		d.answer = current
		return nil
	}
	fields, err := unauthorised(content)
	if err != nil {
		return err
	}
	if in.Action == Join {
		p.Content, err = d.authoriseJoin(in.UserID, fields)
	} else {
		p.Content, err = withMembers(fields, nil)
	}
	if err != nil {
		return err
	}
	return d.proposeEvent(p, in.From.origin(in.TxnID, ts), checkOnly)
}

// checkAction refuses what makes no sense for the target's membership, where the event rules would allow it or say
// something less helpful. It reports done when there is nothing left to do.
func (d *draft) checkAction(in ChangeMembership, current *Entry) (done bool, err error) {
	was := ""
	if current != nil {
		was = current.Event.Membership()
	}
	own := in.UserID == in.Target
	switch in.Action {
	case Join:
		return d.checkJoin(in, was, own)
	case Refresh:
		if !own {
			return false, mxerr.Forbidden("%s cannot change the profile of %s", in.UserID, in.Target)
		}
		if was != "join" {
			return false, mxerr.Forbidden("%s is not in this room", in.Target)
		}
	case Invite:
		return false, checkInvite(in.Target, was)
	case Knock:
		return false, d.checkKnock(in, was, own)
	case Leave:
		return checkLeave(in, was, own)
	case Kick:
		return false, checkKick(in.Target, was)
	case Unban:
		if was != "ban" {
			return false, mxerr.Forbidden("%s is not banned from this room", in.Target)
		}
	}
	return false, nil
}

func (d *draft) checkJoin(in ChangeMembership, was string, own bool) (done bool, err error) {
	switch {
	case !own:
		return false, mxerr.Forbidden("%s cannot join on behalf of %s", in.UserID, in.Target)
	case was == "ban":
		return false, bannedError(in.Target)
	}
	return was == "join", nil
}

func checkInvite(target, was string) error {
	switch was {
	case "join":
		return mxerr.Forbidden("%s is already in the room", target)
	case "ban":
		return mxerr.Forbidden("%s is banned from the room", target)
	}
	return nil
}

func (d *draft) checkKnock(in ChangeMembership, was string, own bool) error {
	switch {
	case !own:
		return mxerr.Forbidden("%s cannot knock on behalf of %s", in.UserID, in.Target)
	case was == "ban":
		return bannedError(in.Target)
	case was == "join":
		return mxerr.Forbidden("%s is already in the room", in.Target)
	case was == "invite":
		return mxerr.Forbidden("%s is already invited to the room, and may join", in.Target)
	}
	rule := d.joinRule()
	if err := d.waiting(); err != nil {
		return err
	}
	if rule != "knock" && rule != "knock_restricted" {
		return mxerr.Forbidden("this room does not let people knock: its join rule is %q", rule)
	}
	return nil
}

func checkLeave(in ChangeMembership, was string, own bool) (done bool, err error) {
	switch {
	case !own:
		return false, mxerr.Forbidden("%s cannot leave on behalf of %s", in.UserID, in.Target)
	case was == "ban":
		return false, bannedError(in.Target)
	case was == "":
		return false, mxerr.Forbidden("%s is not in this room", in.Target)
	}
	return was == "leave", nil
}

func checkKick(target, was string) error {
	switch was {
	case "", "leave":
		return mxerr.Forbidden("%s is not in the room", target)
	case "ban":
		return mxerr.Forbidden("%s is banned from the room: to lift the ban, unban", target)
	}
	return nil
}

func bannedError(userID string) error {
	return mxerr.Forbidden("%s is banned from this room", userID)
}

// joinRule is the current join rule; without the event it is invite.
func (d *draft) joinRule() string {
	e := d.Event(joinRulesTuple)
	if e == nil {
		return "invite"
	}
	return textAt(e.Content(), "join_rule")
}

// memberContent is the content of a member event. What else the caller gives cannot override the membership.
func memberContent(membership, reason string, further []byte) ([]byte, error) {
	content := map[string]jsontext.Value{}
	if len(bytes.TrimSpace(further)) > 0 {
		if err := json.Unmarshal(further, &content); err != nil {
			return nil, mxerr.BadJSON("the content of a member event must be a JSON object")
		}
	}
	return withMembers(content, map[string]string{"membership": membership, "reason": reason})
}

// withMembers sets string members of a JSON object, those that are not empty, and gives its bytes.
func withMembers(content map[string]jsontext.Value, members map[string]string) ([]byte, error) {
	for name, text := range members {
		if text == "" {
			continue
		}
		quoted, err := jsontext.AppendQuote(nil, text)
		if err != nil {
			return nil, mxerr.BadJSON("%s is not valid Unicode", name)
		}
		content[name] = quoted
	}
	raw, err := json.Marshal(content, json.Deterministic(true))
	if err != nil {
		return nil, mxerr.BadJSON("the content is not valid JSON")
	}
	return raw, nil
}
