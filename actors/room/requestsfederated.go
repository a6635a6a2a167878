package room

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"

	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/messages"
)

// federatedInputOf is inputOf for what comes from other servers, or goes there.
func federatedInputOf(body proto.Message, from func(*messages.Requester) room.From) (in room.Input, a answer, err error) {
	switch m := body.(type) {
	case *messages.ReceivePdus:
		return room.ReceivePDUs{From: from(nil), Origin: m.Origin, PDUs: pdusOf(m.Pdus)}, pduResults, nil
	case *messages.AddOutliers:
		return room.AddOutliers{From: from(nil), Origin: m.Origin, Version: m.Version, PDUs: pdusOf(m.Pdus)}, pduResults, nil
	case *messages.ReceivePduAt:
		return room.ReceivePDUAt{From: from(nil), Origin: m.Origin, PDU: pduOf(m.Pdu), StateBefore: m.StateBefore}, pduResults, nil
	case *messages.SeedRoom:
		return room.SeedRoom{From: from(nil), Version: m.Version, Join: pduOf(m.Join), StateBefore: m.StateBefore, Servers: m.ServersInRoom,
			Partial: m.Partial, Origin: m.Origin}, eventSent, nil
	case *messages.TellState:
		return room.TellState{From: from(nil), EventID: m.EventId, State: m.State}, pduResults, nil
	case *messages.Backfill:
		states := make(map[string][]string, len(m.States))
		for _, s := range m.States {
			states[s.EventId] = s.State
		}
		return room.Backfill{From: from(nil), Origin: m.Origin, Gap: m.Gap, PDUs: pdusOf(m.Pdus), States: states, Exhausted: m.Exhausted}, pduResults, nil
	case *messages.MakeMembership:
		action, ok := actions[m.Action]
		if !ok {
			return nil, nil, fmt.Errorf("room: membership action %v", m.Action)
		}
		return room.MakeMembership{From: from(nil), Action: action, Target: m.UserId, Versions: m.Versions}, membershipTemplate, nil
	case *messages.SendMembership:
		action, ok := actions[m.Action]
		if !ok {
			return nil, nil, fmt.Errorf("room: membership action %v", m.Action)
		}
		return room.SendMembership{From: from(nil), Origin: m.Origin, PDU: pduOf(m.Pdu), Action: action}, membershipSent, nil
	case *messages.BuildEvent:
		change := m.GetMembership()
		action, ok := actions[change.GetAction()]
		if !ok || change == nil {
			return nil, nil, fmt.Errorf("room: membership action %v", change.GetAction())
		}
		by := from(change.By)
		return room.BuildEvent{From: by, Change: room.ChangeMembership{
			From: by, Action: action, Target: change.Target, Reason: change.Reason, Content: change.Content}}, eventBuilt, nil
	case *messages.SetOutOfBand:
		return room.SetOutOfBand{From: from(nil), Version: m.Version, PDU: pduOf(m.Pdu), StrippedState: m.StrippedState}, eventSent, nil
	}
	return nil, nil, fmt.Errorf("room: a message of type %T", body)
}

func pduOf(p *messages.Pdu) room.PDU {
	return room.PDU{EventID: p.GetEventId(), JSON: p.GetJson(), SoftFail: p.GetSoftFail()}
}

func pdusOf(list []*messages.Pdu) []room.PDU {
	out := make([]room.PDU, len(list))
	for i, p := range list {
		out[i] = pduOf(p)
	}
	return out
}

// answer makes the message that answers a request. pos is the position of the commit that it waited for.
type answer func(r room.Reply, pos uint64) (proto.Message, error)

func done(room.Reply, uint64) (proto.Message, error) { return &messages.Done{}, nil }

func eventSent(r room.Reply, pos uint64) (proto.Message, error) {
	if r.Entry == nil {
		return &messages.EventSent{Pos: pos}, nil
	}
	return &messages.EventSent{EventId: r.Entry.Event.ID(), Seq: r.Entry.Seq, Pos: positionOf(r.Entry, pos)}, nil
}

// positionOf is the position of the commit that brought the entry.
func positionOf(e *room.Entry, pos uint64) uint64 {
	if e.Pos != 0 {
		return e.Pos
	}
	return pos
}

func pduResults(r room.Reply, pos uint64) (proto.Message, error) {
	out := &messages.PduResults{Pos: pos}
	for _, result := range r.Results {
		one := &messages.PduResult{EventId: result.EventID, Status: statuses[result.Status], Reason: result.Reason,
			MissingPrev: result.MissingPrev, MissingAuth: result.MissingAuth}
		if result.Entry != nil {
			one.Seq = result.Entry.Seq
		}
		out.Results = append(out.Results, one)
	}
	return out, nil
}

var statuses = map[room.ResultStatus]messages.PduResult_Status{
	room.ResultAccepted: messages.PduResult_ACCEPTED, room.ResultSoftFailed: messages.PduResult_SOFT_FAILED,
	room.ResultRejected: messages.PduResult_REJECTED, room.ResultKnown: messages.PduResult_KNOWN, room.ResultMissing: messages.PduResult_MISSING,
}

// membershipTemplate gives the event without what only its own server can say.
func membershipTemplate(r room.Reply, _ uint64) (proto.Message, error) {
	fields := map[string]jsontext.Value{}
	if err := json.Unmarshal(r.Built.JSON(), &fields); err != nil {
		return nil, err
	}
	for _, name := range []string{"event_id", "hashes", "signatures", "unsigned"} {
		delete(fields, name)
	}
	raw, err := json.Marshal(fields, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	return &messages.MembershipTemplate{Version: r.Built.Version().ID, Event: raw}, nil
}

func membershipSent(r room.Reply, pos uint64) (proto.Message, error) {
	e := r.Entry
	return &messages.MembershipSent{EventId: e.Event.ID(), Seq: e.Seq, Pos: positionOf(e, pos), Json: e.Event.JSON(), Version: e.Event.Version().ID}, nil
}

func eventBuilt(r room.Reply, _ uint64) (proto.Message, error) {
	return &messages.EventBuilt{Pdu: &messages.Pdu{EventId: r.Built.ID(), Json: r.Built.JSON()}, Version: r.Built.Version().ID}, nil
}
