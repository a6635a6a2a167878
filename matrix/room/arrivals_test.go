package room

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/matrix/event"
)

// TestInvitationsFromElsewhere: a user is invited from another server, and declines, or joins.
func TestInvitationsFromElsewhere(t *testing.T) {
	t.Parallel()
	allVersions(t, func(t *testing.T, version string) {
		a, b := newWorld(t), newServer(t, "other")
		a.create("@alice:test", `{"preset":"private_chat","room_version":"`+version+`"}`)
		b.meet(a)
		b.refused(ChangeMembership{From: b.from("@bob:other"), Action: Leave, Target: "@bob:other"}, "M_NOT_FOUND")
		invite := func() *event.Event {
			n := len(a.entries)
			from := a.from("@alice:test")
			built := a.okay(BuildEvent{From: from, Change: ChangeMembership{From: from, Action: Invite, Target: "@bob:other"}})
			if len(a.entries) != n {
				t.Fatal("building an event appends it")
			}
			signed, err := built.Built.Sign("other", b.o.Key)
			if err != nil {
				t.Fatal(err)
			}
			b.okay(SetOutOfBand{From: b.from(""), Version: version, PDU: pduOf(signed),
				StrippedState: []byte(`[{"type":"m.room.name","state_key":"","sender":"@alice:test","content":{"name":"x"}}]`)})
			if b.m.Exists() {
				t.Fatal("an invitation makes the room exist")
			}
			a.accepts(signed)
			return signed
		}
		e := invite()
		row := b.members["@bob:other"]
		if row.Membership != "invite" || row.EventID != e.ID() || row.Pos == 0 || !strings.Contains(string(row.StrippedState), `"@bob:other"`) || len(b.outside) != 1 {
			t.Errorf("the row is %+v (%s)", row, row.StrippedState)
		}
		b.okay(ChangeMembership{From: b.from("@bob:other"), Action: Leave, Target: "@bob:other"})
		if b.members["@bob:other"].Membership != "leave" {
			t.Errorf("after declining: %+v", b.members["@bob:other"])
		}
		template := a.okay(MakeMembership{From: a.from(""), Action: Leave, Target: "@bob:other"}).Built
		a.okay(SendMembership{From: a.from(""), Origin: "other", PDU: pduOf(b.complete(template)), Action: Leave})
		invite()
		join := b.join("@bob:other", a)
		agree(t, a, b)
		if row := b.members["@bob:other"]; row.Membership != "join" || row.JoinedSeq != join.Seq || row.StrippedState != nil {
			t.Errorf("after joining: %+v", row)
		}
		b.accepts(a.say("@alice:test", "welcome").Event)
	})
}

// TestASecondCreateEventIsRejected: the server that a room began on cannot begin it again.
func TestASecondCreateEventIsRejected(t *testing.T) {
	t.Parallel()
	allVersions(t, func(t *testing.T, version string) {
		a, b := newWorld(t), newServer(t, "other")
		a.create("@alice:test", `{"preset":"public_chat","room_version":"`+version+`"}`)
		b.join("@bob:other", a)
		stateKey := ""
		p := event.Proto{Type: "m.room.create", StateKey: &stateKey, Sender: "@alice:test", RoomID: a.o.RoomID, Depth: 1,
			Content: []byte(`{"creator":"@alice:test","room_version":"` + version + `","again":true}`), OriginServerTS: 1, EventIDRandom: "again"}
		if b.m.version.RoomIDFromCreate {
			p.RoomID = "" // it is of another room then
		}
		create, err := event.Build(p, b.m.version, "test", a.o.Key)
		if err != nil {
			t.Fatal(err)
		}
		before := maps.Clone(b.current)
		if r := b.receive(create)[0]; r.Status != ResultRejected {
			t.Errorf("%+v", r)
		}
		if !maps.Equal(before, b.current) || len(b.m.Extremities()) != 1 {
			t.Error("it changes the room")
		}
	})
}

// TestRedactionsBeforeTheirTargets: in whatever order a redaction and its target come, in one transaction or two, the target is pruned.
// HARD_PLACES.md 11: redaction first, target later.
func TestRedactionsBeforeTheirTargets(t *testing.T) {
	t.Parallel()
	allVersions(t, func(t *testing.T, version string) {
		for _, together := range []bool{true, false} {
			a, b := newWorld(t), newServer(t, "other")
			a.create("@alice:test", `{"preset":"public_chat","room_version":"`+version+`"}`)
			b.join("@bob:other", a)
			// Two ends of the graph, so that the redaction does not follow its target.
			base := a.m.Extremities()[0]
			build := func(p event.Proto) *event.Event {
				p.RoomID, p.Sender, p.PrevEvents, p.Depth, p.OriginServerTS = a.o.RoomID, "@alice:test", []string{base.EventID}, base.Depth+1, a.now
				for _, tuple := range []event.Tuple{createTuple, powerLevelsTuple, memberTuple("@alice:test")} {
					if tuple != createTuple || !a.m.version.RoomIDFromCreate {
						p.AuthEvents = append(p.AuthEvents, a.current[tuple])
					}
				}
				e, err := event.Build(p, a.m.version, "test", a.o.Key)
				if err != nil {
					t.Fatal(err)
				}
				return e
			}
			said := build(event.Proto{Type: "m.room.message", Content: []byte(`{"body":"secret"}`), EventIDRandom: "said"})
			redaction := build(event.Proto{Type: "m.room.redaction", Content: []byte(`{}`), Redacts: said.ID(), EventIDRandom: "redaction"})
			if together {
				b.accepts(redaction, said)
			} else {
				b.accepts(redaction)
				b.accepts(said)
			}
			if e := b.byID(said.ID()); e.RedactedBy != redaction.ID() || strings.Contains(string(e.Event.JSON()), "secret") {
				t.Errorf("together %v: the event is %s, redacted by %q", together, e.Event.JSON(), e.RedactedBy)
			}
		}
	})
}

// TestLateEventsBringNoOldStateBack: an event that comes after those that follow it changes nothing of the present.
func TestLateEventsBringNoOldStateBack(t *testing.T) {
	t.Parallel()
	allVersions(t, func(t *testing.T, version string) {
		a, b := newWorld(t), newServer(t, "other")
		a.create("@alice:test", `{"preset":"public_chat","room_version":"`+version+`"}`)
		b.join("@bob:other", a)
		late := a.set("@alice:test", "m.room.topic", "", `{"topic":"old"}`)
		next := a.set("@alice:test", "m.room.topic", "", `{"topic":"new"}`)
		var before []string
		for _, e := range a.stateAt(next.StateBefore) {
			before = append(before, e.Event.ID())
		}
		b.outliersOf(a, before...)
		r := b.okay(ReceivePDUAt{From: b.from(""), Origin: "test", PDU: pduOf(next.Event), StateBefore: before}).Results[0]
		if r.Status != ResultAccepted || len(b.gaps) != 2 {
			t.Fatalf("%+v, gaps %v", r, b.gaps)
		}
		b.accepts(a.say("@alice:test", "and on").Event)
		extremities := len(b.m.Extremities())
		b.accepts(late.Event)
		if b.summary.Topic != "new" || len(b.m.Extremities()) != extremities || len(b.gaps) != 1 {
			t.Errorf("the topic is %q; extremities %v, gaps %v", b.summary.Topic, b.m.Extremities(), b.gaps)
		}
		agree(t, a, b)
	})
}

// HARD_PLACES.md 19: the state before an event is that of all its previous events, whatever a server tells that withholds one of them.
func TestToldStateUndoesNothingThatIsKnown(t *testing.T) {
	t.Parallel()
	allVersions(t, func(t *testing.T, version string) {
		a, b, evil := newWorld(t), newServer(t, "other"), newServer(t, "evil")
		a.create("@alice:test", `{"preset":"public_chat","room_version":"`+version+`"}`)
		b.join("@bob:other", a)
		evil.join("@mallory:evil", a)
		b.accepts(a.entries[len(a.entries)-1].Event)
		evil.join("@trent:evil", a)
		b.accepts(a.entries[len(a.entries)-1].Event)
		var before []string
		for _, e := range a.stateAt(a.entries[len(a.entries)-1].StateAfter) {
			before = append(before, e.Event.ID())
		}
		ban := a.set("@alice:test", "m.room.member", "@mallory:evil", `{"membership":"ban"}`)
		b.accepts(ban.Event)
		for i, c := range []struct {
			sender string
			prev   []string
			want   ResultStatus
		}{
			{"@mallory:evil", []string{ban.Event.ID(), "$withheld"}, ResultRejected},
			{"@mallory:evil", []string{"$withheld"}, ResultSoftFailed},
			{"@trent:evil", []string{ban.Event.ID(), "$withheld"}, ResultAccepted},
			{"@trent:evil", []string{"$withheld"}, ResultAccepted},
		} {
			auths := []string{a.current[powerLevelsTuple], evil.current[memberTuple(c.sender)]}
			if !a.m.version.RoomIDFromCreate {
				auths = append(auths, a.current[createTuple])
			}
			e, err := event.Build(event.Proto{Type: "m.room.message", Sender: c.sender, RoomID: a.o.RoomID, Content: []byte(`{"body":"x"}`),
				PrevEvents: c.prev, AuthEvents: auths, Depth: 100, OriginServerTS: a.now + 10, EventIDRandom: fmt.Sprint("e", i)}, b.m.version, "evil", evil.o.Key)
			if err != nil {
				t.Fatal(err)
			}
			r := b.okay(ReceivePDUAt{From: b.from(""), Origin: "evil", PDU: pduOf(e), StateBefore: before}).Results[0]
			if r.Status != c.want {
				t.Errorf("by %s after %v: %+v", c.sender, c.prev, r)
			}
			if b.current[memberTuple("@mallory:evil")] != ban.Event.ID() {
				t.Fatalf("by %s after %v the ban is undone", c.sender, c.prev)
			}
		}
		b.accepts(a.say("@alice:test", "and on").Event)
		agree(t, a, b)
	})
}

// TestTheEndOfAnInviteIsSentToItsServer: and nothing else of the room is.
func TestTheEndOfAnInviteIsSentToItsServer(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newServer(t, "other")
	a.create("@alice:test", `{"preset":"private_chat","room_version":"11"}`)
	b.meet(a)
	from := a.from("@alice:test")
	built := a.okay(BuildEvent{From: from, Change: ChangeMembership{From: from, Action: Invite, Target: "@bob:other"}})
	signed, err := built.Built.Sign("other", b.o.Key)
	if err != nil {
		t.Fatal(err)
	}
	a.accepts(signed)
	if row := a.servers["other"]; row.JoinedSeq != 0 {
		t.Fatalf("before the end: %+v", row)
	}
	from = a.from("@alice:test")
	end := a.okay(ChangeMembership{From: from, Action: Kick, Target: "@bob:other"}).Entry
	a.say("@alice:test", "among ourselves")
	if row := a.servers["other"]; row.Joined != 0 || row.JoinedSeq != end.Seq || row.LeftSeq != end.Seq || !slices.Equal(a.outbound, []uint64{end.Seq}) {
		t.Errorf("%+v, outbound %v, the end is %d", row, a.outbound, end.Seq)
	}
}

// TestAPageOlderThanItsGapStaysOutOfIt: what a server gives besides what a gap wants belongs before what is here.
func TestAPageOlderThanItsGapStaysOutOfIt(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newServer(t, "other")
	a.create("@alice:test", `{"preset":"public_chat","room_version":"11"}`)
	before := a.say("@alice:test", "before bob came")
	b.join("@bob:other", a)
	known := a.say("@alice:test", "known")
	b.accepts(known.Event)
	missed := a.say("@alice:test", "missed")
	last := a.say("@alice:test", "last")
	var state []string
	for _, e := range a.stateAt(last.StateBefore) {
		state = append(state, e.Event.ID())
	}
	b.outliersOf(a, state...)
	r := b.okay(ReceivePDUAt{From: b.from(""), Origin: "test", PDU: pduOf(last.Event), StateBefore: state}).Results[0]
	gap := r.Entry.Seq
	results := b.okay(Backfill{From: b.from(""), Origin: "test", Gap: gap, PDUs: []PDU{pduOf(missed.Event), pduOf(known.Event), pduOf(before.Event)}}).Results
	if results[0].Status != ResultAccepted || results[1].Status != ResultKnown || results[2].Status != ResultRejected || results[2].Entry != nil {
		t.Fatalf("%+v", results)
	}
	if _, open := b.gaps[gap]; open || b.byID(before.Event.ID()) != nil {
		t.Error("the gap is still open, or has what is older than it")
	}
}
