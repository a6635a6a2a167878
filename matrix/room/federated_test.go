package room

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// newServer is a world on another server.
func newServer(t testing.TB, name string) *world {
	w := newWorld(t)
	seed := make([]byte, 32)
	copy(seed, name)
	w.o.ServerName, w.o.Key = name, signing.NewKey("test", seed)
	return w
}

func allVersions(t *testing.T, scenario func(t *testing.T, version string)) {
	for _, v := range roomversion.All() {
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			scenario(t, v.ID)
		})
	}
}

func (w *world) okay(in Input) Reply {
	w.t.Helper()
	r := w.ask(in)
	if r.Err != nil {
		w.t.Fatalf("%T is refused: %v", in, r.Err)
	}
	return r
}

func (w *world) refused(in Input, code string) {
	w.t.Helper()
	if r := w.ask(in); r.Err == nil || r.Err.Code != code {
		w.t.Fatalf("%T gives %v instead of %s", in, r.Err, code)
	}
}

// say sends a message.
func (w *world) say(userID, text string) *Entry {
	w.t.Helper()
	return w.okay(Propose{From: w.from(userID), Event: Proposal{Type: "m.room.message", Sender: userID, Content: []byte(`{"body":"` + text + `"}`)}}).Entry
}

// set sends a state event.
func (w *world) set(userID, eventType, stateKey, content string) *Entry {
	w.t.Helper()
	return w.okay(Propose{From: w.from(userID), Event: Proposal{Type: eventType, StateKey: &stateKey, Sender: userID, Content: []byte(content)}}).Entry
}

func pduOf(e *event.Event) PDU { return PDU{EventID: e.ID(), JSON: e.JSON()} }

// complete makes an event of a template as its user's server does.
func (w *world) complete(template *event.Event) *event.Event {
	w.t.Helper()
	w.now += 10
	w.tickets++
	stateKey, _ := template.StateKey()
	e, err := event.Build(event.Proto{
		Type: template.Type(), StateKey: &stateKey, Sender: template.Sender(), RoomID: template.RoomID(), Content: template.Content(),
		PrevEvents: template.PrevEvents(), AuthEvents: template.AuthEvents(), Depth: template.Depth(), OriginServerTS: w.now,
		EventIDRandom: fmt.Sprintf("made%d", w.tickets),
	}, template.Version(), w.o.ServerName, w.o.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// stateAt lists the state with the root.
func (w *world) stateAt(root statetree.Hash) []*Entry {
	var state []*Entry
	tree := statetree.Open(root, func(h statetree.Hash) ([]byte, error) { return w.node(h), nil })
	for e, err := range tree.All() {
		if err != nil {
			w.t.Fatal(err)
		}
		state = append(state, w.entry(e.Value))
	}
	return state
}

// chain lists the auth chains of the events, and the events, each after those that authorise it.
func (w *world) chain(ids ...string) []*Entry {
	seen := map[string]*Entry{}
	for len(ids) > 0 {
		id := ids[0]
		if ids = ids[1:]; seen[id] != nil {
			continue
		}
		e := w.byID(id)
		if e == nil {
			w.t.Fatalf("%s is not there", id)
		}
		seen[id] = e
		ids = append(ids, e.Event.AuthEvents()...)
	}
	return slices.SortedFunc(maps.Values(seen), func(a, b *Entry) int { return cmp.Compare(a.Event.Depth(), b.Event.Depth()) })
}

// meet makes an empty machine for the room of another world.
func (w *world) meet(other *world) {
	if w.m == nil {
		w.o.RoomID = other.o.RoomID
		w.m = New(w.o)
		w.now = other.now
	}
}

// join joins a user through the other server, by the whole handshake.
func (w *world) join(userID string, through *world) *Entry {
	w.t.Helper()
	w.meet(through)
	made := through.okay(MakeMembership{From: through.from(""), Action: Join, Target: userID}).Built
	join := w.complete(made)
	sent := through.okay(SendMembership{From: through.from(""), Origin: w.o.ServerName, PDU: pduOf(join), Action: Join})
	state := through.stateAt(through.entry(sent.Entry.Seq).StateBefore)
	return w.seed(through, sent.Entry.Event, state)
}

func (w *world) seed(through *world, join *event.Event, state []*Entry) *Entry {
	w.t.Helper()
	ids := join.AuthEvents()
	var before []string
	for _, e := range state {
		before = append(before, e.Event.ID())
	}
	w.outliersOf(through, append(slices.Clone(before), ids...)...)
	return w.okay(SeedRoom{From: w.from(""), Version: through.m.Version(), Join: pduOf(join), StateBefore: before}).Entry
}

// outliersOf takes the events and their auth chains from the other server.
func (w *world) outliersOf(through *world, ids ...string) {
	w.t.Helper()
	request := AddOutliers{From: w.from(""), Version: through.m.Version()}
	for _, e := range through.chain(ids...) {
		request.PDUs = append(request.PDUs, pduOf(e.Event))
	}
	for _, r := range w.okay(request).Results {
		if r.Status != ResultAccepted && r.Status != ResultKnown {
			w.t.Fatalf("the outlier %s: %v %s %v", r.EventID, r.Status, r.Reason, r.MissingAuth)
		}
	}
}

// receive gives events to the world.
func (w *world) receive(events ...*event.Event) []Result {
	w.t.Helper()
	in := ReceivePDUs{From: w.from(""), Origin: "elsewhere"}
	for _, e := range events {
		in.PDUs = append(in.PDUs, pduOf(e))
	}
	return w.okay(in).Results
}

func (w *world) accepts(events ...*event.Event) {
	w.t.Helper()
	for _, r := range w.receive(events...) {
		if r.Status != ResultAccepted {
			w.t.Fatalf("%s: %v %s, missing %v %v", r.EventID, r.Status, r.Reason, r.MissingPrev, r.MissingAuth)
		}
	}
}

// agree wants both worlds to have the same current state.
func agree(t *testing.T, a, b *world) {
	t.Helper()
	if !maps.Equal(a.current, b.current) {
		t.Errorf("%s and %s do not agree:", a.o.ServerName, b.o.ServerName)
		for tuple, id := range a.current {
			if b.current[tuple] != id {
				t.Errorf("%v is %s and %s", tuple, id, b.current[tuple])
			}
		}
		for tuple, id := range b.current {
			if a.current[tuple] == "" {
				t.Errorf("%v is nothing and %s", tuple, id)
			}
		}
	}
	for _, w := range []*world{a, b} {
		state := map[event.Tuple]string{}
		for _, e := range w.stateAt(w.m.StateRoot()) {
			state[e.Event.Tuple()] = e.Event.ID()
		}
		if !maps.Equal(state, w.current) {
			t.Errorf("%s: the rows of the current state are not the state", w.o.ServerName)
		}
	}
}

// TestTwoServersShareARoom: joining, talking both ways, forks and their resolution, leaving.
func TestTwoServersShareARoom(t *testing.T) {
	t.Parallel()
	allVersions(t, func(t *testing.T, version string) {
		a, b := newWorld(t), newServer(t, "other")
		a.create("@alice:test", `{"preset":"public_chat","room_version":"`+version+`"}`)
		join := b.join("@bob:other", a)
		agree(t, a, b)
		if join.Seq < joinStep || len(b.gaps) != 1 {
			t.Errorf("the join has number %d and there are %d gaps", join.Seq, len(b.gaps))
		}
		if a.servers["other"].Joined != 1 || b.servers["test"].Joined != 1 || b.members["@bob:other"].JoinedSeq != join.Seq {
			t.Errorf("the servers are %v and %v", a.servers, b.servers)
		}
		a.outbound, b.outbound = nil, nil
		hello := b.say("@bob:other", "hello")
		a.accepts(hello.Event)
		b.accepts(a.say("@alice:test", "hi").Event)
		if !slices.Equal(b.outbound, []uint64{hello.Seq}) || len(a.outbound) != 1 {
			t.Errorf("to be sent: %v and %v", a.outbound, b.outbound)
		}
		// Both speak at once, and alice changes the state.
		topic := a.set("@alice:test", "m.room.topic", "", `{"topic":"a"}`)
		profile := b.set("@bob:other", "m.room.member", "@bob:other", `{"membership":"join","displayname":"Bob"}`)
		b.accepts(topic.Event)
		a.accepts(profile.Event)
		agree(t, a, b)
		if len(a.m.Extremities()) != 2 || len(b.m.Extremities()) != 2 {
			t.Errorf("the extremities are %v and %v", a.m.Extremities(), b.m.Extremities())
		}
		if a.summary.Topic != "a" || b.summary.Topic != "a" {
			t.Errorf("the topics are %q and %q", a.summary.Topic, b.summary.Topic)
		}
		merged := a.say("@alice:test", "merged")
		b.accepts(merged.Event)
		if len(b.m.Extremities()) != 1 {
			t.Errorf("the extremities are %v", b.m.Extremities())
		}
		leave := b.okay(ChangeMembership{From: b.from("@bob:other"), Action: Leave, Target: "@bob:other"}).Entry
		a.accepts(leave.Event)
		if a.servers["other"].Joined != 0 || a.servers["other"].LeftSeq == 0 {
			t.Errorf("after the leave: %v", a.servers)
		}
		agree(t, a, b)
		b.refused(ReceivePDUs{From: b.from(""), PDUs: []PDU{pduOf(a.say("@alice:test", "alone").Event)}}, "M_NOT_FOUND")
		b.refused(ChangeMembership{From: b.from("@bob:other"), Action: Join, Target: "@bob:other"}, "M_NOT_FOUND")
		again := b.join("@bob:other", a)
		agree(t, a, b)
		if row := b.members["@bob:other"]; row.JoinedSeq != again.Seq || row.LeftSeq != leave.Seq || row.Membership != "join" {
			t.Errorf("the row is %+v", row)
		}
	})
}
