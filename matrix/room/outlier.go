package room

import (
	"cmp"
	"math"
	"slices"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// outlier is one of the PDUs of AddOutliers.
type outlier struct {
	received
	version string
	event   *event.Event // nil: it is none of the room
}

// readOutliers reads the PDUs that are events of the room.
func (m *Machine) readOutliers(pdus []PDU, events []*event.Event, version *roomversion.Version) {
	for i, pdu := range pdus {
		if e, err := event.FromStored(pdu.JSON, pdu.EventID, version); err == nil && e.RoomID() == m.o.RoomID {
			events[i] = e
		}
	}
}

// authorisedFirst puts outliers after those of them that authorise them. The last one has the ticket.
func authorisedFirst(all []Input, events []*event.Event) []Input {
	byID := make(map[string]*event.Event, len(events))
	for _, e := range events {
		if e != nil {
			byID[e.ID()] = e
		}
	}
	place := make(map[string]int, len(byID))
	for i, e := range event.Ordered(byID, (*event.Event).Authorisers) {
		place[e.ID()] = i + 1
	}
	// What has no place is refused or lacks others, whatever its turn.
	slices.SortStableFunc(all, func(a, b Input) int { return cmp.Compare(placeOf(a, place), placeOf(b, place)) })
	for i, in := range all {
		o, ok := in.(outlier)
		if !ok {
			continue
		}
		if o.Ticket != 0 && i < len(all)-1 {
			last := all[len(all)-1].(outlier)
			last.Ticket, o.Ticket = o.Ticket, 0
			all[i], all[len(all)-1] = o, last
			break
		}
	}
	return all
}

func placeOf(in Input, place map[string]int) int {
	if o, ok := in.(outlier); ok && o.event != nil && place[o.event.ID()] > 0 {
		return place[o.event.ID()]
	}
	return math.MaxInt
}

// addOutlier takes in an event whose place is not known.
func (d *draft) addOutlier(in outlier) error {
	version, ok := roomversion.Get(in.version)
	if !ok {
		return UnsupportedVersion(in.version)
	}
	if d.version != nil && d.version != version {
		return mxerr.InvalidParam("the room has version %s, not %s", d.version.ID, version.ID)
	}
	d.hint = version
	r := Result{EventID: in.pdu.EventID}
	known := d.entryByID(r.EventID)
	e := in.event
	if e == nil {
		d.note(in.received, rejectedUnstored(r, "it is no event of this room"))
		return d.waiting()
	}
	auths, missing := d.citedAuth(e)
	if d.head.outliers == 0 {
		d.need.Outliers = true
	}
	if err := d.waiting(); err != nil {
		return err
	}
	switch {
	case known != nil:
		r.Status, r.Entry = ResultKnown, known
	case len(missing) > 0:
		r.Status, r.MissingAuth = ResultMissing, missing
	default:
		entry := &Entry{Seq: OutlierBase + d.head.outliers, Event: e, Status: Outlier, ReceivedTS: in.Now}
		d.head.outliers++
		status, reason, err := d.judge(e, auths, nil)
		if err != nil {
			return err
		}
		if status == Rejected {
			entry.Status, r.Status, r.Reason = Rejected, ResultRejected, reason
		}
		r.Entry = entry
		d.outliers = append(d.outliers, entry)
		if e.IsState() {
			if err := d.cites(entry); err != nil {
				return err
			}
		}
	}
	d.note(in.received, r)
	return nil
}
