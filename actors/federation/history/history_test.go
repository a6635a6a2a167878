package history

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/persistence/schema"
)

func TestMissingEventsAreFetchedFromWhoSentTheEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6)
	w.stage(5)
	w.has(1, 6)
	if w.count("b.example get_missing_events") != 1 || w.count("c.example get_missing_events") != 0 {
		t.Fatal(w)
	}
}

// HARD_PLACES.md 22: a gap of 200.
func TestALargeGapIsFetchedInSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 202)
	w.stage(201)
	w.has(1, 202)
	if n := w.count("b.example get_missing_events"); n != 10 {
		t.Fatalf("asked %d times", n)
	}
}

func TestBeyondTheBoundTheRoomGoesOnFromTheStateThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1000)
	w.stage(999)
	w.has(1000-1-rounds*w.most, 1000)
	oldest := w.line[1000-1-rounds*w.most].ID()
	if state := w.states[oldest]; len(w.states) != 1 || len(state) != 1 || state[0] != w.line[0].ID() {
		t.Fatalf("%v", w.states)
	}
}

func TestAnotherServerHelpsWhenTheFirstDoesNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6)
	w.refuses["b.example"] = true
	w.stage(5)
	w.has(1, 6)
	if w.count("c.example get_missing_events") != 1 {
		t.Fatal(w)
	}
}

func TestAServerThatHasNoMissingEventsTellsTheState(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6)
	w.blind["b.example"] = true
	w.stage(5)
	w.has(5, 6)
}

func TestAuthChainsAreFetched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.mu.Lock()
	delete(w.known, w.line[0].ID()) // the create event, which authorises the others
	w.mu.Unlock()
	w.stage(1)
	w.has(1, 2)
	if w.count("b.example event_auth") != 1 {
		t.Fatal(w)
	}
}

func TestWhatCannotBePlacedIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6)
	w.refuses["b.example"], w.refuses["c.example"] = true, true
	w.stage(5)
	left := w.staged()
	if len(left) != 1 || left[0].Attempts != 1 || left[0].NextTS != w.now.Add(firstPause).UnixMilli() {
		t.Fatalf("%+v", left)
	}
	w.refuses = map[string]bool{}
	again := func() {
		if err := w.sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		w.running.Wait()
	}
	again()
	if len(w.placed) != 1 {
		t.Fatal("it was tried before its time")
	}
	w.now = w.now.Add(firstPause)
	again()
	w.has(1, 6)
}

// An event whose signatures cannot be checked, since its sender's server does not answer, waits for its keys; one that turns out to be forged
// goes nowhere.
func TestWhatCannotBeCheckedWaitsForItsKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.keys.gone.Store(true)
	w.stage(1)
	if left := w.staged(); len(left) != 1 || left[0].Attempts != 1 || len(w.placed) != 1 {
		t.Fatalf("%+v", left)
	}
	forged := strings.Replace(string(w.line[2].JSON()), `"ed25519:k":"`, `"ed25519:k":"AAAA`, 1)
	w.write(schema.StagedPDUs.Put(schema.StagedPDU{RoomID: roomID, EventID: w.line[2].ID(), Origin: "b.example", JSON: []byte(forged)}))
	w.keys.gone.Store(false)
	w.now = w.now.Add(firstPause)
	if err := w.sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.running.Wait()
	w.has(1, 2)
	if left := w.staged(); len(left) != 0 || len(w.placed) != 2 {
		t.Fatalf("%+v %v", left, w.placed)
	}
}

func TestWhatCannotBePlacedIsGivenUpInTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6)
	w.refuses["b.example"], w.refuses["c.example"] = true, true
	w.stage(5)
	for range mostAttempts - 1 {
		w.now = w.now.Add(firstPause << mostAttempts)
		if err := w.sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		w.running.Wait()
	}
	if left := w.staged(); len(left) != 0 {
		t.Fatalf("%+v", left)
	}
}

// The node that staged an event has ended: its row is there, and nobody works on it.
func TestWhatANodeLeftBehindIsTakenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6)
	w.write(schema.StagedPDUs.Put(schema.StagedPDU{RoomID: roomID, EventID: w.line[5].ID(), Origin: "b.example", JSON: w.line[5].JSON(), NextTS: w.now.Add(lease).UnixMilli()}))
	for i := range 2 {
		if err := w.sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		w.running.Wait()
		if taken := len(w.placed) > 1; taken != (i == 1) {
			t.Fatalf("after %d sweeps: %v", i+1, taken)
		}
		w.now = w.now.Add(lease)
	}
	w.has(1, 6)
}

func TestARoomHasABoundedNumberOfWaitingEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6)
	for i := range mostStaged - 1 {
		w.write(schema.StagedPDUs.Put(schema.StagedPDU{RoomID: roomID, EventID: "$" + string(rune('a'+i%26)) + w.line[1].ID() + string(rune(1000+i)), JSON: w.line[4].JSON(), Attempts: 1, NextTS: 1 << 60}))
	}
	w.refuses["b.example"], w.refuses["c.example"] = true, true
	w.stage(4, 5)
	if n := len(w.staged()); n != mostStaged {
		t.Fatalf("%d are staged", n)
	}
}

func (w *world) gap(wanted int) uint64 {
	ids, err := json.Marshal([]string{w.line[wanted].ID()})
	if err != nil {
		w.t.Fatal(err)
	}
	const seq = 1 << 40
	w.write(schema.RoomGaps.Put(schema.RoomGap{RoomID: roomID, Seq: seq, Next: seq - 1, Wanted: ids}))
	return seq
}

func TestBackfillBringsAPageWithTheStateBeforeIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 60)
	gap := w.gap(50)
	if err := w.Backfill(context.Background(), roomID, gap); err != nil {
		t.Fatal(err)
	}
	filled := w.gaps[gap]
	if len(filled) != 1 || len(filled[0].Pdus) != w.most || filled[0].Exhausted {
		t.Fatalf("%v", filled)
	}
	oldest := w.line[51-w.most].ID()
	if states := filled[0].States; len(states) != 1 || states[0].EventId != oldest || len(states[0].State) != 1 {
		t.Fatalf("%v", states)
	}
	if filled[0].Pdus[0].EventId != oldest {
		t.Fatal("predecessors must come first")
	}
}

// The beginning of the room is at the end of the page: it has no predecessors, and the create event is here already.
func TestBackfillToTheBeginningAsksForNoState(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	gap := w.gap(8)
	if err := w.Backfill(context.Background(), roomID, gap); err != nil {
		t.Fatal(err)
	}
	if filled := w.gaps[gap]; len(filled) != 1 || len(filled[0].Pdus) != 9 || len(filled[0].States) != 0 {
		t.Fatalf("%v", filled)
	}
}

func TestAGapThatNobodyCanFillIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	gap := w.gap(8)
	w.blind["b.example"], w.blind["c.example"] = true, true
	if err := w.Backfill(context.Background(), roomID, gap); err != nil {
		t.Fatal(err)
	}
	if filled := w.gaps[gap]; len(filled) != 1 || !filled[0].Exhausted {
		t.Fatalf("%v", filled)
	}
}

func TestAGapIsNotClosedBecauseNobodyCanBeReached(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	gap := w.gap(8)
	w.refuses["b.example"], w.refuses["c.example"] = true, true
	err := w.Backfill(context.Background(), roomID, gap)
	if err == nil || mxerr.From(err).Status != 502 || len(w.gaps) != 0 {
		t.Fatalf("%v %v", err, w.gaps)
	}
}

func TestAGapThatIsFilledNeedsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	if err := w.Backfill(context.Background(), roomID, 77); err != nil || len(w.asked) != 0 {
		t.Fatal(err, w)
	}
}

func TestEventsOfAnotherRoomAreNotTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 6)
	foreign := newWorld(t, 4)
	set, err := w.before(context.Background(), "b.example", room{"!other:b.example", foreign.version}, []string{w.line[3].ID()}, 10)
	if err != nil || len(set.Events) != 0 {
		t.Fatal(err, set)
	}
}

// A hostile server that never answers costs a room's turn once, not once for each of its events.
func TestAServerThatDoesNotAnswerIsAskedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 40)
	w.refuses["b.example"], w.blind["c.example"] = true, true
	w.stage(10, 20, 30)
	if n := w.count("b.example get_missing_events"); n != 1 {
		t.Fatalf("asked %d times", n)
	}
}

func TestServersTakeTurnsInARoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	var rows []schema.StagedPDU
	events := map[string]*event.Event{}
	for i, origin := range []string{"evil", "evil", "evil", "evil", "good", "good"} {
		e := w.line[i+1]
		events[e.ID()] = e
		rows = append(rows, schema.StagedPDU{EventID: e.ID(), Origin: origin})
	}
	var order []string
	for _, row := range inTurns(rows, events) {
		order = append(order, row.Origin)
	}
	if got := strings.Join(order, " "); got != "evil good evil good evil evil" {
		t.Fatal(got)
	}
}

// What lies below events that are here is history, and not what is missing: the other server does not know where that begins when this one
// has gone on by itself.
func TestWhatIsBelowKnownEventsIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8)
	w.placed, w.known = nil, map[string]bool{} // it was joined at the fourth event
	w.keep(w.line[0], schema.OutlierBase+1, schema.Outlier)
	w.take(w.line[3])
	own, err := event.Build(event.Proto{Type: "m.room.message", Sender: "@u:a.example", RoomID: roomID, Content: []byte("{}"), Depth: 5,
		PrevEvents: []string{w.line[3].ID()}, AuthEvents: []string{w.line[0].ID()}}, w.version, "a.example", key)
	if err != nil {
		t.Fatal(err)
	}
	w.take(own)
	w.stage(7)
	if want := []string{w.line[3].ID(), own.ID(), w.line[4].ID(), w.line[5].ID(), w.line[6].ID(), w.line[7].ID()}; !slices.Equal(w.placed, want) {
		t.Fatalf("placed: %v, not %v", w.placed, want)
	}
}

// Events that lack the same are helped by one request.
func TestOneAuthChainIsFetchedForAllThatLackIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 12)
	w.mu.Lock()
	delete(w.known, w.line[0].ID()) // the create event, which authorises the others
	w.mu.Unlock()
	w.stage(11)
	w.has(1, 12)
	if n := w.count("b.example event_auth"); n != 1 {
		t.Fatalf("%d auth chains were fetched", n)
	}
}
