package room

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/messages"
)

// inputOf is the machine's form of a request, and how it is answered.
func inputOf(body proto.Message, ticket uint64, now int64) (in room.Input, a answer, err error) {
	from := func(by *messages.Requester) room.From {
		return room.From{Ticket: ticket, UserID: by.GetUserId(), DeviceID: by.GetDeviceId(), Now: now}
	}
	switch m := body.(type) {
	case *messages.CreateRoom:
		return room.Create{
			From: from(m.By), Version: m.Version, Create: m.CreateEvent, Events: proposalsOf(m.Events), Alias: m.Alias, Published: m.Published,
		}, eventSent, nil
	case *messages.SendEvent:
		return room.Propose{From: from(m.By), Event: proposalOf(m.Event), TxnID: m.TxnId, DeviceSince: m.DeviceSince, OriginServerTS: m.OriginServerTs}, eventSent, nil
	case *messages.CheckEvent:
		return room.Propose{From: from(m.By), Event: proposalOf(m.Event), CheckOnly: true}, done, nil
	case *messages.ChangeMembership:
		action, ok := actions[m.Action]
		if !ok {
			return nil, nil, fmt.Errorf("room: membership action %v", m.Action)
		}
		return room.ChangeMembership{
			From: from(m.By), Action: action, Target: m.Target, Reason: m.Reason, Content: m.Content, TxnID: m.TxnId,
		}, eventSent, nil
	case *messages.Forget:
		return room.Forget{From: from(m.By)}, done, nil
	case *messages.SetTyping:
		return room.SetTyping{From: from(m.By), Typing: m.Typing, TimeoutMS: m.TimeoutMs}, done, nil
	case *messages.SendReceipt:
		return room.SendReceipt{From: from(m.By), Type: m.ReceiptType, EventID: m.EventId, ThreadID: m.ThreadId}, done, nil
	case *messages.ReceiveReceipt:
		return room.SendReceipt{From: from(&messages.Requester{UserId: m.UserId}), Type: "m.read", EventID: m.EventId, ThreadID: m.ThreadId,
			Remote: true, TS: m.Ts}, done, nil
	case *messages.CreateAlias:
		return room.CreateAlias{From: from(m.By), Alias: m.Alias}, done, nil
	case *messages.DeleteAlias:
		return room.DeleteAlias{From: from(m.By), Alias: m.Alias, Admin: m.Admin}, done, nil
	case *messages.MoveAliases:
		return room.MoveAliases{From: from(m.By), To: m.ToRoom, Admin: m.Admin}, done, nil
	case *messages.SetPublished:
		return room.SetPublished{From: from(m.By), Published: m.Published, Admin: m.Admin}, done, nil
	}
	return federatedInputOf(body, from)
}

var actions = map[messages.ChangeMembership_Action]room.Action{
	messages.ChangeMembership_JOIN: room.Join, messages.ChangeMembership_INVITE: room.Invite,
	messages.ChangeMembership_KNOCK: room.Knock, messages.ChangeMembership_LEAVE: room.Leave,
	messages.ChangeMembership_KICK: room.Kick, messages.ChangeMembership_BAN: room.Ban,
	messages.ChangeMembership_UNBAN: room.Unban, messages.ChangeMembership_REFRESH: room.Refresh,
}

func proposalOf(p *messages.Proposal) room.Proposal {
	if p == nil {
		return room.Proposal{}
	}
	return room.Proposal{Type: p.Type, StateKey: p.StateKey, Sender: p.Sender, Content: p.Content, Redacts: p.Redacts, StickyMS: p.StickyMs}
}

func proposalsOf(list []*messages.Proposal) []room.Proposal {
	out := make([]room.Proposal, len(list))
	for i, p := range list {
		out[i] = proposalOf(p)
	}
	return out
}
