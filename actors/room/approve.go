package room

import (
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
)

// mostApproving bounds how many events of one room wait for its policy server at a time.
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
			signature, err := a.deps.Approve(a.self.Context(), p.Server.Name, p.Event)
			if err != nil {
				answer.Err = mxerr.From(err)
			}
			answer.Signature = signature
			a.self.Send(answer)
		}()
	}
}
