package room

import (
	"errors"
	"net/http"
	"slices"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// A room that is joined without its members (server-server API, PUT /send_join/{roomId}/{eventId}, members_omitted; MSC3902) has states that
// are partial: all is in them but those members whom nobody has told of. Members become known as they act, since the auth events of
// what they send tell of them. Once the whole state before the join is told, everything since is worked out again from there, as if it had
// been known at the time.

// Partial is what a room lacks whose members are not all known (table partial_rooms). It is not changed in place.
type Partial struct {
	Seq    uint64  // of the join, before which nothing is partial
	Points []Point // the first is the join
	// Servers are those that the other server says are in the room. Until the members are known each is counted as one user more than are known.
	Servers []string
	Origin  string // the server through which the room was joined
}

// Point is an event whose previous events are not here, so that the whole state before it must be told.
type Point struct {
	EventID string
	State   statetree.Hash // as far as it has been told
	Told    bool           // all of it has
}

// The bounds of a partial state. An event beyond the bound of points waits until the members are known; servers beyond it are not sent
// anything before that.
const (
	maxPoints         = 32
	maxPartialServers = 20_000
)

// CodePartial is the error of what cannot be told before the members of a room are known (MSC3895).
const CodePartial = "M_UNABLE_DUE_TO_PARTIAL_STATE"

// PartialState refuses what needs members of the room who are not known yet.
func PartialState(roomID string) *mxerr.Error {
	return mxerr.New(http.StatusForbidden, CodePartial, "this server does not know all members of the room %s yet", roomID)
}

// notFullyJoined refuses handshakes with other servers, which find one that can do better.
func notFullyJoined(roomID string) *mxerr.Error {
	return mxerr.NotFound("this server has not fully joined the room %s yet", roomID)
}

// KnowPartial is like KnowServer.
func (m *Machine) KnowPartial(p Partial) { m.partial = &p }

// Partial is what the room lacks at the speculative tip, nil when nothing.
func (m *Machine) Partial() *Partial { return m.partial }

// lacking is what the room lacks, nil when its members are known.
func (d *draft) lacking() *Partial {
	if d.partialChanged {
		return d.partial
	}
	return d.m.partial
}

func (d *draft) setPartial(p *Partial) { d.partial, d.partialChanged = p, true }

// with is the partial state with another point, or one that was told.
func (p *Partial) with(point Point) *Partial {
	changed := *p
	changed.Points = slices.Clone(p.Points)
	if i := p.point(point.EventID); i >= 0 {
		changed.Points[i] = point
	} else {
		changed.Points = append(changed.Points, point)
	}
	return &changed
}

func (p *Partial) point(eventID string) int {
	return slices.IndexFunc(p.Points, func(point Point) bool { return point.EventID == eventID })
}

// told reports whether the states before all points are known.
func (p *Partial) told() bool {
	return !slices.ContainsFunc(p.Points, func(point Point) bool { return !point.Told })
}

// beginPartial notes that the room begins with a partial state, and counts the servers in it.
func (d *draft) beginPartial(in SeedRoom, join *Entry) {
	p := &Partial{Seq: join.Seq, Points: []Point{{EventID: join.Event.ID(), State: join.StateBefore}}, Origin: in.Origin}
	for _, server := range in.Servers {
		if server != d.m.o.ServerName && !slices.Contains(p.Servers, server) && len(p.Servers) < maxPartialServers {
			p.Servers = append(p.Servers, server)
			d.countServer(server, 1, 1)
		}
	}
	d.setPartial(p)
}

// abandonPartial ends a partial state that nobody of this server needs any more; see fold.
func (d *draft) abandonPartial(seq uint64) {
	if p := d.lacking(); p != nil {
		d.setPartial(nil)
		d.uncountServers(p, seq)
		d.abandoned = p
	}
}

// fold makes those members part of the current state of an abandoned room who have been told, so that it is what its rows say.
func (d *draft) fold() error {
	if d.abandoned == nil {
		return nil
	}
	told := d.open(d.abandoned.Points[0].State)
	state := d.head.state
	var failed error
	err := statetree.Diff(state, told, func(c statetree.Change) bool {
		if c.Old == 0 {
			d.head.state, failed = d.head.state.Set(c.Tuple, c.New)
		}
		return failed == nil
	})
	if err = errors.Join(err, failed); err != nil {
		return d.treeError(err)
	}
	d.keepNodes(d.head.state.Fresh(state))
	d.snapshot = true
	return d.waiting()
}

// become takes in that somebody is a member, as was told of the state before the join, though the current state does not say so yet.
func (d *draft) become(member, join *Entry) error {
	_, known, err := d.head.state.Get(member.Event.Tuple())
	if err != nil {
		d.needPath(member.Event.Tuple())
		return errMissing
	}
	if known {
		return nil
	}
	return d.change(member.Event.Tuple(), member, nil, join)
}

// toldNumber is the number of the event that has been told to be in a place, which the current state may not have yet; 0 for none.
func (d *draft) toldNumber(t event.Tuple) uint64 {
	p := d.lacking()
	if p == nil || t.Type != memberTuple("").Type {
		return 0
	}
	if root := p.Points[0].State; d.told.Root() != root {
		d.told = d.open(root)
	}
	number, _, err := d.told.Get(t)
	if err != nil {
		return 0 // the missing node was noted
	}
	return number
}

func (d *draft) uncountServers(p *Partial, seq uint64) {
	for _, server := range p.Servers {
		d.countServer(server, -1, seq)
	}
}

// adopt adds to the state before an event those members whom its auth events tell of and the state does not.
func (d *draft) adopt(before statetree.Tree, auths []*Entry) (statetree.Tree, error) {
	for _, a := range auths {
		if a.Event.Type() != memberTuple("").Type || !a.Event.IsState() || a.Status == Rejected {
			continue
		}
		_, known, err := before.Get(a.Event.Tuple())
		if err == nil && !known {
			before, err = d.set(before, a.Event.Tuple(), a.number())
		}
		if err != nil {
			return before, d.treeError(err)
		}
	}
	return before, nil
}

// requireMember refuses a change of a membership that is not known yet.
func (d *draft) requireMember(current *Entry) error {
	if current == nil && d.lacking() != nil {
		return PartialState(d.m.o.RoomID)
	}
	return nil
}

// receiveUnplaced takes in an event of a partial room whose previous events cannot be had: the state before the join stands in for the one
// before it until that is told.
func (d *draft) receiveUnplaced(in ReceivePDUAt, e *event.Event) error {
	p := d.lacking()
	_, missingPrev := d.citedPrev(e)
	join := d.entryByID(p.Points[0].EventID)
	if err := d.waiting(); err != nil {
		return err
	}
	if len(p.Points) >= maxPoints && p.point(e.ID()) < 0 {
		d.results = []Result{{EventID: e.ID(), Status: ResultMissing, MissingPrev: missingPrev}}
		return nil
	}
	state := d.open(join.StateBefore)
	result, err := d.take(in.PDU, in.Now, &state)
	if err != nil {
		return err
	}
	if result.Entry != nil && result.Status != ResultKnown {
		d.setPartial(p.with(Point{EventID: e.ID()}))
	}
	d.results = []Result{result}
	return nil
}
