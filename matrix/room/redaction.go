package room

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// redacts is what a redaction's proposal wants redacted, "" for other proposals.
func (p Proposal) redacts() string {
	if p.Type != "m.room.redaction" {
		return ""
	}
	if p.Redacts != "" {
		return p.Redacts
	}
	return textAt(p.Content, "redacts")
}

// placeRedacts puts redacts where the room's version has it: beside the content before version 11, in it since
// (client-server API, "Redactions").
func (d *draft) placeRedacts(p Proposal) (Proposal, error) {
	target := p.redacts()
	if !id.ValidEventID(target) {
		return p, mxerr.InvalidParam("a redaction must name the event that it redacts")
	}
	fields := map[string]jsontext.Value{}
	if err := json.Unmarshal(p.Content, &fields); err != nil {
		return p, mxerr.BadJSON("the content of a redaction must be a JSON object")
	}
	delete(fields, "redacts")
	inContent := map[string]string{}
	if d.version.RedactsInContent {
		inContent["redacts"] = target
		p.Redacts = ""
	} else {
		p.Redacts = target
	}
	var err error
	p.Content, err = withMembers(fields, inContent)
	return p, err
}

// mayRedact refuses a redaction of ours that would have no effect, or would break the room.
func (d *draft) mayRedact(p Proposal) error {
	target := d.entryByID(p.redacts())
	if err := d.waiting(); err != nil || target == nil {
		return err
	}
	if target.Event.Type() == "m.room.create" && target.Event.IsState() {
		return mxerr.Forbidden("the create event cannot be redacted: the room would lose its meaning")
	}
	if target.Event.Sender() == p.Sender {
		return nil
	}
	power, err := d.levels()
	if err != nil {
		return err
	}
	if power.User(p.Sender).Less(power.Redact()) {
		return mxerr.Forbidden("you need power level %s to redact events of others; yours is %s", power.Redact(), power.User(p.Sender))
	}
	return nil
}

// levels are the power levels of the current state.
func (d *draft) levels() (*auth.PowerLevels, error) {
	create, content := d.Event(createTuple), d.Event(powerLevelsTuple)
	if err := d.waiting(); err != nil {
		return nil, err
	}
	return auth.Levels(d.version, create, content)
}

// redact carries out a redaction that was appended. When its target is not here, it waits for it.
func (d *draft) redact(redaction *Entry) error {
	if redaction.Event.Type() != "m.room.redaction" || redaction.Event.IsState() {
		return nil
	}
	targetID := redaction.Event.Redacts()
	if targetID == "" {
		return nil
	}
	target := d.entryByID(targetID)
	if err := d.waiting(); err != nil {
		return err
	}
	if target == nil {
		d.redactions = append(d.redactions, PendingRedaction{TargetID: targetID, RedactionID: redaction.Event.ID(), Seq: redaction.Seq})
		return nil
	}
	effective, err := d.redactionTakesEffect(redaction.Event, target.Event)
	if err != nil || !effective {
		return err
	}
	return d.prune(target, redaction.Event.ID())
}

// redactsInVain reports whether an event is a redaction that will never take effect, which users are not shown. In room versions 1 and 2 the auth
// rules have rejected those.
func (d *draft) redactsInVain(e *event.Event) (bool, error) {
	if e.Type() != "m.room.redaction" || e.IsState() || d.version.RedactionAuthRule || e.Redacts() == "" {
		return false, nil
	}
	target := d.entryByID(e.Redacts())
	if err := d.waiting(); err != nil || target == nil {
		return false, err
	}
	effective, err := d.redactionTakesEffect(e, target.Event)
	return err == nil && !effective, err
}

// redactionTakesEffect applies "Handling redactions" of the room's version. The create event stays as it is in any case.
func (d *draft) redactionTakesEffect(redaction, target *event.Event) (bool, error) {
	if target.Type() == "m.room.create" && target.IsState() {
		return false, nil
	}
	power, err := d.levels()
	return err == nil && auth.AppliesRedaction(redaction, target, power), err
}

// prune replaces the target by its redacted form, everywhere that its content shows.
func (d *draft) prune(target *Entry, redactionID string) error {
	if target.RedactedBy != "" {
		return nil
	}
	pruned := *target
	pruned.Event = target.Event.Redacted()
	pruned.RedactedBy = redactionID
	d.amended = append(d.amended, &pruned)
	if relation, ok := relationOf(target); ok {
		relation.Gone = true
		d.relations = append(d.relations, relation)
		if relation.RelType == "m.annotation" {
			d.noteAnnotation(relation.annotationKey(), false)
		}
	}
	if !target.Event.IsState() {
		return nil
	}
	current := d.stateEntry(target.Event.Tuple())
	if err := d.waiting(); err != nil {
		return err
	}
	if current != nil && current.Seq == target.Seq {
		d.head.summary.show(pruned.Event)
		d.snapshot = true
	}
	return nil
}
