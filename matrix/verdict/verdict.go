// Package verdict judges events by the rules of those who run a policy server (server-server API, "Policy Servers"; what a policy server
// looks at is its own affair).
package verdict

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/glob"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/serveracl"
)

// Rules are what an event must keep to. The zero value lets everything pass.
type Rules struct {
	// ExemptPower is the power level from which on nothing that a user does is refused.
	ExemptPower int64
	Users       []*glob.Glob     // who may do nothing but leave
	Servers     []*glob.Glob     // likewise, of all their users; ports do not count
	Types       []string         // types of events, and of messages (msgtype), that nobody may send
	Text        []*regexp.Regexp // what no text of an event's content may match
	MaxText     int              // bytes of a message's text; 0: no bound
	MaxMentions int              // users that one event mentions; 0: no bound
	NewcomerMS  int64            // how long someone is new in a room
	NewTypes    []string         // Types for those who are new
}

// Facts are what the rules want to know of the sender in the room.
type Facts struct {
	Power    int64
	Infinite bool  // more power than any number (room version 12)
	JoinedMS int64 // how long ago; 0: is not in the room
}

// Rule names a rule, for figures and logs.
type Rule string

// The rules.
const (
	Users    Rule = "users"
	Servers  Rule = "servers"
	Types    Rule = "types"
	Text     Rule = "text"
	MaxText  Rule = "max_text"
	Mentions Rule = "max_mentions"
	Newcomer Rule = "newcomers"
	Rate     Rule = "rate" // which is for whoever counts events to apply, to those that pass and are not Free
)

// All are the rules.
var All = [...]Rule{Users, Servers, Types, Text, MaxText, Mentions, Newcomer, Rate}

// Refusal is why an event does not pass.
type Refusal struct {
	Rule   Rule
	Reason string // for the sender; holds nothing of the event's content
}

func (r *Refusal) Error() string { return r.Reason }

func refuse(rule Rule, format string, args ...any) *Refusal {
	return &Refusal{rule, fmt.Sprintf(format, args...)}
}

// Judge gives why an event is to be refused, nil if it passes. An event whose content hash is wrong cannot be judged.
func (r *Rules) Judge(e *event.Event, f Facts) *Refusal {
	if r.Free(e, f) {
		return nil
	}
	content := gjson.ParseBytes(e.Content())
	types := []string{e.Type()}
	if e.Type() == "m.room.message" {
		types = append(types, content.Get("msgtype").Str, content.Get("m\\.new_content.msgtype").Str)
	}
	blocked := func(list []string) string {
		for _, typ := range types {
			if typ != "" && slices.Contains(list, typ) {
				return typ
			}
		}
		return ""
	}
	switch server := serveracl.Host(id.ServerOf(e.Sender())); {
	case matches(r.Users, e.Sender()):
		return refuse(Users, "%s may not send anything here", e.Sender())
	case matches(r.Servers, server):
		return refuse(Servers, "users of %s may not send anything here", server)
	}
	if typ := blocked(r.Types); typ != "" {
		return refuse(Types, "%s may not be sent here", typ)
	}
	if r.MaxText > 0 && longest(content) > r.MaxText {
		return refuse(MaxText, "the text is longer than %d bytes", r.MaxText)
	}
	if r.MaxMentions > 0 && mentions(content) > r.MaxMentions {
		return refuse(Mentions, "more than %d users are mentioned", r.MaxMentions)
	}
	if r.forbidden(e.Type(), content) {
		return refuse(Text, "the text holds something that may not be sent here")
	}
	if typ := blocked(r.NewTypes); typ != "" && f.JoinedMS < r.NewcomerMS {
		return refuse(Newcomer, "%s can be sent here only by those who have been in the room for a while", typ)
	}
	return nil
}

// Free reports whether no rule holds for the event: its sender has the power, or does nothing but leave.
func (r *Rules) Free(e *event.Event, f Facts) bool {
	return f.Infinite || f.Power >= r.ExemptPower || leaves(e)
}

// leaves reports whether somebody leaves, which nobody is kept from.
func leaves(e *event.Event) bool {
	stateKey, isState := e.StateKey()
	return isState && e.Type() == "m.room.member" && stateKey == e.Sender() && e.Membership() == "leave"
}

func matches(globs []*glob.Glob, text string) bool {
	return slices.ContainsFunc(globs, func(g *glob.Glob) bool { return g.Whole(text) })
}
