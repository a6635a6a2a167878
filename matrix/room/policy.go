package room

import (
	"crypto/ed25519"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/signing"
)

// PolicyType is the type of the state event that names a room's policy server.
const PolicyType = "m.room.policy"

// PolicyKeyID is the id of the key by which policy servers vouch for events.
const PolicyKeyID = "ed25519:policy_server"

// PolicyServer is whom a room has vouch for its events (server-server API, "Policy Servers").
type PolicyServer struct {
	Name string
	Key  ed25519.PublicKey // nil if what the room says is no key: then nothing that the server signs counts
}

// PolicyServerOf reads the content of an m.room.policy event with an empty state key; it reports false for one that names no server.
// Whether the server has users in the room is for the caller to see: the room does not use it otherwise.
func PolicyServerOf(content []byte) (PolicyServer, bool) {
	via, key := gjson.GetBytes(content, "via"), gjson.GetBytes(content, "public_keys.ed25519")
	if via.Type != gjson.String || via.Str == "" || key.Type != gjson.String {
		return PolicyServer{}, false
	}
	p := PolicyServer{Name: via.Str}
	if raw, err := signing.DecodeBase64(key.Str); err == nil && len(raw) == ed25519.PublicKeySize {
		p.Key = raw
	}
	return p, true
}

// Vouches reports whether the event may be in the room as far as the policy server is concerned: it has signed it, or is not asked, because
// the event is the one by which rooms choose their policy server.
func (p PolicyServer) Vouches(e *event.Event) bool {
	if e.Type() == PolicyType && e.IsState() && e.Tuple().StateKey == "" {
		return true
	}
	return p.Key != nil && e.VerifySignature(p.Name, PolicyKeyID, p.Key) == nil
}

// Approval is an event of a local user that waits for the policy server to sign it. The answer is an Approved.
type Approval struct {
	Server PolicyServer
	Event  *event.Event
	from   origin
}

// Approved is the policy server's answer to an Approval: the signature, or why there is none.
type Approved struct {
	Approval  *Approval
	Now       int64 // ms
	Signature string
	Err       *mxerr.Error
}

func (Approved) input() {}

func (in Approved) ticket() uint64 { return in.Approval.from.from.Ticket }

// policyServer is the one that the room uses now.
func (d *draft) policyServer() (PolicyServer, bool) {
	entry := d.stateEntry(event.Tuple{Type: PolicyType})
	if entry == nil {
		return PolicyServer{}, false
	}
	p, ok := PolicyServerOf(entry.Event.Content())
	return p, ok && d.server(p.Name).Joined > 0
}

// approvalOf is the approval that an event of ours has to wait for, made of the proposal; nil if it needs none.
func (d *draft) approvalOf(e *event.Event, proposal Proposal, o origin) (*Approval, error) {
	p, ok := d.policyServer()
	if err := d.waiting(); err != nil || !ok || p.Vouches(e) {
		return nil, err
	}
	// The tip does not move before the answer is there: what is said twice in a millisecond must not become one event.
	for d.m.approving[e.ID()] {
		o.ts = e.OriginServerTS() + 1
		var err error
		if e, err = d.build(proposal, o); err != nil {
			return nil, err
		}
	}
	return &Approval{Server: p, Event: e, from: o}, nil
}

// approved appends what the policy server has signed. The room may have gone on meanwhile: then the event forks off from where it was.
func (d *draft) approved(in Approved) error {
	o := in.Approval.from
	if in.Err != nil {
		return in.Err
	}
	signed, err := in.Approval.Event.WithSignature(in.Approval.Server.Name, PolicyKeyID, in.Signature)
	if err != nil {
		return err
	}
	if p := in.Approval.Server; !p.Vouches(signed) {
		return mxerr.Forbidden("the policy server %s of this room did not sign the event with the key that the room knows", p.Name)
	}
	p := Proposal{Type: signed.Type(), Sender: signed.Sender(), Redacts: signed.Redacts()}
	if done, err := d.repeated(o.from, p, o.txnID, 0); done || err != nil {
		return err
	}
	result, err := d.take(PDU{EventID: signed.ID(), JSON: signed.JSON()}, in.Now, nil)
	if err != nil {
		return err
	}
	switch result.Status {
	case ResultAccepted:
	default:
		return mxerr.Forbidden("the room has changed while its policy server was asked: %s", result.Reason)
	}
	entry := result.Entry
	entry.DeviceID, entry.TxnID, entry.Outbound = o.from.DeviceID, o.txnID, d.shared()
	if o.txnID != "" {
		d.transactions = append(d.transactions, transactionOf(entry))
	}
	d.answer = entry
	return nil
}
