package room

import (
	"fmt"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// explain makes the refusal of a local event from the rule that it breaks: which power is missing, if that is why.
func (d *draft) explain(e *event.Event, rejection *auth.Rejection) error {
	if why := d.missingPower(e); why != "" {
		return mxerr.Forbidden("%s (rule %s)", why, rejection.Rule)
	}
	if err := d.waiting(); err != nil {
		return err
	}
	if rejection.Malformed {
		return fmt.Errorf("%w: %w", mxerr.BadJSON("%s (rule %s)", rejection.Reason, rejection.Rule), rejection)
	}
	return mxerr.Forbidden("%s (rule %s)", rejection.Reason, rejection.Rule)
}

// missingPower says which power the sender lacks for the event, "" when it is not for lack of power.
func (d *draft) missingPower(e *event.Event) string {
	if d.membership(e.Sender()) != "join" {
		return ""
	}
	power, err := d.levels()
	if err != nil {
		return ""
	}
	needed, what := power.Event(e.Type(), e.IsState()), "send "+e.Type()
	if e.Type() == "m.room.member" {
		stateKey, _ := e.StateKey()
		switch membership := e.Membership(); {
		case stateKey == e.Sender():
			return ""
		case membership == "invite":
			needed, what = power.Invite(), "invite"
		case membership == "ban":
			needed, what = power.Ban(), "ban"
		case membership == "leave" && d.membership(stateKey) == "ban" && power.Kick().Less(power.Ban()):
			needed, what = power.Ban(), "unban"
		case membership == "leave":
			needed, what = power.Kick(), "kick"
		}
	}
	own := power.User(e.Sender())
	if !own.Less(needed) {
		return ""
	}
	return "you need power level " + needed.String() + " to " + what + "; yours is " + own.String()
}
