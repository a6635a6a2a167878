package room

import (
	"fmt"
	"testing"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/matrix/stateres/naive"
)

// benchMembers is how many members the room of BenchmarkResolution has, and benchConflict how many events are in conflict.
const (
	benchMembers  = 50_000
	benchConflict = 100
)

// BenchmarkResolution takes in a state event on one side of a fork, in a room with many members, in which a hundred events are in conflict;
// beside it, the same resolution in the words of the specification.
func BenchmarkResolution(b *testing.B) {
	for _, version := range []string{"10", "12"} {
		f := newForkedRoom(b, version)
		b.Run("v"+version+"/room", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.remoteState("m.bench", "", `{}`)
			}
		})
		b.Run("v"+version+"/talk", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.remote(event.Proto{Type: "m.room.message", Content: []byte(`{"body":"?"}`)})
			}
		})
		states := make([]naive.State, 0, 2)
		for _, x := range f.m.Extremities() {
			states = append(states, f.stateOf(x))
		}
		b.Run("v"+version+"/naive", func(b *testing.B) {
			for b.Loop() {
				naive.Resolve(f.v, states, f)
			}
		})
	}
}

// forkedRoom is a room, all of it in memory, with a fork: what this server did since, and what another did.
type forkedRoom struct {
	*world
	v    *roomversion.Version
	key  signing.Key
	last []string // what the other server's next event follows
	auth map[string]string
	n    int64
}

func newForkedRoom(b *testing.B, version string) *forkedRoom {
	f := &forkedRoom{world: newWorld(b), key: signing.NewKey("other", make([]byte, 32)), auth: map[string]string{}}
	f.v, _ = roomversion.Get(version)
	f.o.CacheEvents = 1 << 22
	f.create("@alice:test", `{"preset":"public_chat","room_version":"`+version+`","power_level_content_override":{"users":{"@bob:other":100`+
		map[bool]string{true: "", false: `,"@alice:test":100`}[f.v.PrivilegedCreators]+`}}}`)
	for i := range benchMembers {
		user := fmt.Sprintf("@u%d:test", i)
		f.step(ChangeMembership{From: From{Ticket: 1, UserID: user, Now: f.now}, Action: Join, Target: user})
	}
	for _, t := range []string{"m.room.create", "m.room.power_levels", "m.room.join_rules"} {
		if t != "m.room.create" || !f.v.RoomIDFromCreate {
			f.auth[t] = f.at(event.Tuple{Type: t})
		}
	}
	f.last = []string{f.m.Extremities()[0].EventID}
	f.remoteState("m.room.member", "@bob:other", `{"membership":"join"}`)
	delete(f.auth, "m.room.join_rules")
	f.auth["m.room.member"] = f.last[0]
	for i := range benchConflict / 2 {
		f.now += 10
		typ, content := fmt.Sprintf("m.test.%d", i), fmt.Sprintf(`{"n":%d}`, i)
		here := From{Ticket: 1, UserID: "@alice:test", Now: f.now}
		if i%5 == 0 { // what both sides do about the same people
			target := fmt.Sprintf("@u%d:test", i)
			f.step(ChangeMembership{From: here, Action: Kick, Target: target})
			f.auth["target"] = f.entryOf(target)
			f.remoteState("m.room.member", target, `{"membership":"ban"}`)
			delete(f.auth, "target")
			continue
		}
		empty := ""
		f.step(Propose{From: here, Event: Proposal{Type: typ, StateKey: &empty, Sender: "@alice:test", Content: []byte(content)}})
		f.remoteState(typ, "", content)
	}
	return f
}

// step runs an input that must succeed, without a store.
func (f *forkedRoom) step(in Input) {
	f.t.Helper()
	f.m.Step(in)
	r := f.m.Ready()
	if r.Batch == nil || len(r.Batch.Entries) != 1 || r.Batch.Entries[0].Status != Accepted {
		f.t.Fatalf("%T: %+v", in, r.Missing)
	}
	f.pos++
	f.m.Committed(f.pos)
}

func (f *forkedRoom) at(t event.Tuple) string {
	seq, _, err := f.m.head.state.Get(t)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.m.cache.entry(seq).Event.ID()
}

// entryOf is the join of a user, which the other server knows.
func (f *forkedRoom) entryOf(user string) string {
	for seq := f.m.Seq(); seq > 0; seq-- {
		if e := f.m.cache.entry(seq); e != nil && e.Event.Membership() == "join" && e.Event.Tuple().StateKey == user {
			return e.Event.ID()
		}
	}
	f.t.Fatal(user)
	return ""
}

func (f *forkedRoom) remoteState(typ, stateKey, content string) {
	f.t.Helper()
	f.remote(event.Proto{Type: typ, StateKey: &stateKey, Content: []byte(content)})
}

// remote receives the other server's next event.
func (f *forkedRoom) remote(p event.Proto) {
	f.t.Helper()
	f.n++
	p.Sender, p.RoomID, p.PrevEvents, p.Depth, p.OriginServerTS = "@bob:other", f.o.RoomID, f.last, benchMembers+100+f.n, f.now
	for _, id := range f.auth {
		p.AuthEvents = append(p.AuthEvents, id)
	}
	e, err := event.Build(p, f.v, "other", f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	f.m.Step(Facts{NoIDs: []string{e.ID()}})
	f.m.passing.noIDs[e.ID()], f.m.passing.pending[e.ID()] = true, nil
	f.step(ReceivePDUs{From: From{Ticket: 1, Now: f.now}, Origin: "other", PDUs: []PDU{pduOf(e)}})
	f.last = []string{e.ID()}
}

// stateOf is the state after an extremity, as the oracle wants it.
func (f *forkedRoom) stateOf(x Extremity) naive.State {
	state := naive.State{}
	for e, err := range f.m.draft().open(x.State).All() {
		if err != nil {
			f.t.Fatal(err)
		}
		state[e.Tuple] = f.m.cache.entry(e.Value).Event.ID()
	}
	return state
}

// Event implements naive.Events.
func (f *forkedRoom) Event(id string) *event.Event { return f.m.cache.byID(id).Event }

// Rejected implements naive.Events.
func (f *forkedRoom) Rejected(id string) bool { return f.m.cache.byID(id).Status == Rejected }
