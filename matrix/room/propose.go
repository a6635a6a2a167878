package room

import (
	"math"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// propose works out a message, a state event or a redaction.
func (d *draft) propose(in Propose) error {
	if in.Event.Sender != in.UserID {
		return mxerr.Forbidden("%s cannot send events of %s", in.UserID, in.Event.Sender)
	}
	p, err := d.wellFormed(in.Event)
	if err != nil {
		return err
	}
	if p.Type == "m.room.member" && p.StateKey != nil {
		return d.proposeMember(p, in)
	}
	if done, err := d.repeated(in.From, p, in.TxnID, in.DeviceSince); done || err != nil {
		return err
	}
	if p.Type == "m.room.redaction" && p.StateKey == nil {
		if err := d.mayRedact(p); err != nil {
			return err
		}
	}
	if p.StateKey == nil {
		if err := d.refuseSecondAnnotation(p); err != nil {
			return err
		}
	}
	return d.proposeEvent(p, in.From.origin(in.TxnID, in.OriginServerTS), in.CheckOnly)
}

// proposeEvent builds, checks and appends one event. A state event that says what the sender has said already
// is answered with the one that is there.
func (d *draft) proposeEvent(p Proposal, o origin, checkOnly bool) error {
	e, err := d.build(p, o)
	if err != nil {
		return err
	}
	if err := d.allow(e); err != nil {
		return err
	}
	if checkOnly {
		return nil
	}
	if d.buildOnly {
		d.built = e
		return nil
	}
	if p.StickyMS != 0 {
		if err := d.mayStick(e.Sender(), o.now); err != nil {
			return err
		}
	}
	if e.IsState() && p.StickyMS == 0 {
		current := d.stateEntry(e.Tuple())
		if err := d.waiting(); err != nil {
			return err
		}
		if current != nil && current.Event.Sender() == e.Sender() && sameContent(current.Event, e) {
			d.answer = current
			return nil
		}
	}
	if d.approval, err = d.approvalOf(e, p, o); d.approval != nil || err != nil {
		return err
	}
	d.answer, err = d.append(e, o)
	return err
}

var errCreatedTwice = mxerr.InvalidParam("a room is created once")

// wellFormed checks what the event rules do not, and puts redacts where the room's version has it.
func (d *draft) wellFormed(p Proposal) (Proposal, error) {
	if p.Type == "" {
		return p, mxerr.InvalidParam("an event needs a type")
	}
	if !isObject(p.Content) {
		return p, mxerr.BadJSON("the content of an event must be a JSON object")
	}
	if p.Type == "m.room.create" && p.StateKey != nil {
		return p, errCreatedTwice
	}
	if p.Type == "m.room.tombstone" && textAt(p.Content, "replacement_room") == d.m.o.RoomID {
		return p, mxerr.InvalidParam("a room cannot be replaced by itself")
	}
	if p.Type == "m.room.redaction" && p.StateKey == nil {
		return d.placeRedacts(p)
	}
	if p.StateKey != nil {
		if err := checkStateContent(p.Type, p.Content); err != nil {
			return p, err
		}
	}
	return p, nil
}

// checkStateContent refuses contents of well-known state events that would do harm because they do not mean what they
// say: others would read them as absent.
func checkStateContent(eventType string, content []byte) error {
	switch eventType {
	case "m.room.member":
		return requireText(content, eventType, "membership")
	case "m.room.join_rules":
		return requireText(content, eventType, "join_rule")
	case "m.room.history_visibility":
		return requireText(content, eventType, "history_visibility")
	case "m.room.encryption":
		return requireText(content, eventType, "algorithm")
	case "m.room.power_levels":
		return checkPowerLevels(content)
	}
	return nil
}

func requireText(content []byte, eventType, key string) error {
	if textAt(content, key) == "" {
		return mxerr.BadJSON("%s needs a %s, a string", eventType, key)
	}
	return nil
}

// checkPowerLevels wants integers in every room version: the older ones read strings too, but nobody should write them.
func checkPowerLevels(content []byte) error {
	for _, key := range []string{"users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"} {
		if v := gjson.GetBytes(content, key); v.Exists() && !isInteger(v) {
			return mxerr.BadJSON("%s of m.room.power_levels must be an integer", key)
		}
	}
	for _, key := range []string{"users", "events", "notifications"} {
		levels := gjson.GetBytes(content, key)
		if !levels.Exists() {
			continue
		}
		if !levels.IsObject() {
			return mxerr.BadJSON("%s of m.room.power_levels must be an object", key)
		}
		var bad string
		levels.ForEach(func(name, v gjson.Result) bool {
			if !isInteger(v) {
				bad = name.Str
			}
			return bad == ""
		})
		if bad != "" {
			return mxerr.BadJSON("the level of %q in m.room.power_levels must be an integer", bad)
		}
	}
	return nil
}

// isInteger reports whether the value is an integer that canonical JSON can hold, which the first room versions do not ask for.
func isInteger(v gjson.Result) bool {
	if v.Type != gjson.Number || math.Abs(v.Num) > 1<<53-1 {
		return false
	}
	for i, c := range []byte(v.Raw) {
		if (c < '0' || c > '9') && (c != '-' || i > 0) {
			return false
		}
	}
	return true
}
