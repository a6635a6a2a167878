package room

import (
	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/messages"
)

// mostApproving bounds how many events of one room wait for its policy server at a time, another one or this.
const mostApproving = 200

// approve has the room's policy server asked beside the actor (server-server API, "Asking for a Policy Server signature on an event"). What
// else happens in the room does not wait for it.
func (a *actor) approve(p *room.Approval) {
	answer := approved{room.Approved{Approval: p}}
	a.approving++
	switch {
	case a.deps.Approve == nil:
		answer.Err = mxerr.Forbidden("this room's policy server %s cannot be asked, since this server does not speak to others", p.Server.Name)
		a.self.Send(answer)
	case a.approving > mostApproving:
		answer.Err = mxerr.LimitExceeded(overloadedRetryMS)
		a.self.Send(answer)
	default:
		go func() {
			signature, err := a.deps.Approve(a.self.Context(), p.Server, p.Event)
			if err != nil {
				answer.Err = mxerr.From(err)
			}
			answer.Signature = signature
			a.self.Send(answer)
		}()
	}
}

// vouch has this server, as the room's policy server, look at an event beside the actor. All such questions go through the actor, so that one
// node answers them.
func (a *actor) vouch(m cluster.Message, body *messages.VouchForEvent) {
	switch {
	case a.deps.Vouch == nil || !a.machine.Exists():
		m.Fail(mxerr.NotFound("this server is not the policy server of the room %s", a.roomID))
	case a.approving >= mostApproving:
		m.Fail(mxerr.LimitExceeded(overloadedRetryMS))
	default:
		a.approving++
		ctx := a.self.Context()
		go func() {
			signature, err := a.deps.Vouch(ctx, a.roomID, body.Json)
			switch {
			case err == nil:
				m.Reply(&messages.Vouched{Signature: signature})
			case ctx.Err() != nil:
				m.Fail(cluster.Retry())
			default:
				m.Fail(err)
			}
			a.self.Send(vouched{})
		}()
	}
}
