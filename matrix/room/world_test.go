package room

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/matrix/statetree"
)

// world is a machine with a plain store around it: what an actor does, without an actor.
type world struct {
	t       testing.TB
	m       *Machine
	o       Options
	now     int64
	tickets uint64
	pos     uint64
	replies map[uint64]Reply
	typing  []string

	// What is durable.
	entries   []*Entry
	nodes     map[statetree.Hash][]byte
	members   map[string]MemberRow
	receipts  map[ReceiptKey]ReceiptRow
	relations map[uint64]RelationRow
	aliases   map[string]AliasRow
	elsewhere map[Elsewhere]bool
	summary   Summary
	outliers  map[uint64]*Entry
	servers   map[string]ServerRow
	gaps      map[uint64]Gap
	pending   map[string][]PendingRedaction
	edges     map[uint64][]uint64
	partial   *Partial
	abroad    map[string]bool
	outbound  []uint64
	current   map[event.Tuple]string
	outside   []OutOfBand
	sticky    map[uint64]Sticky
	lack      []string          // servers
	snapshots map[uint64][]byte // by the seq after which they were taken
	flight    *Batch            // is being committed
	fetched   *Facts            // were read, and are on their way to the machine
}

func newWorld(t testing.TB) *world {
	return &world{
		t: t, o: Options{ServerName: "test", Key: signing.NewKey("test", make([]byte, 32))}, now: 1_700_000_000_000,
		replies: map[uint64]Reply{}, nodes: map[statetree.Hash][]byte{}, members: map[string]MemberRow{}, receipts: map[ReceiptKey]ReceiptRow{},
		relations: map[uint64]RelationRow{}, aliases: map[string]AliasRow{}, elsewhere: map[Elsewhere]bool{}, snapshots: map[uint64][]byte{},
		outliers: map[uint64]*Entry{}, servers: map[string]ServerRow{}, gaps: map[uint64]Gap{}, pending: map[string][]PendingRedaction{},
		edges: map[uint64][]uint64{}, abroad: map[string]bool{}, sticky: map[uint64]Sticky{},
		current: map[event.Tuple]string{},
	}
}

func (w *world) from(userID string) From {
	w.tickets++
	w.now += 10
	return From{Ticket: w.tickets, UserID: userID, DeviceID: "DEV", Now: w.now}
}

// create makes the room as a client asks for it.
func (w *world) create(creator, body string) Reply {
	w.t.Helper()
	var req CreateRequest
	if err := json.Unmarshal([]byte(body), &req); err != nil {
		w.t.Fatal(err)
	}
	plan, err := PlanCreate(req, creator, "test", map[string]Profile{creator: {DisplayName: "The Creator"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.build(plan)
}

func (w *world) build(plan *CreatePlan) Reply {
	w.t.Helper()
	stateKey := ""
	proto := event.Proto{Type: "m.room.create", StateKey: &stateKey, Sender: plan.Creator, Content: plan.Create, Depth: 1, OriginServerTS: w.now}
	if !plan.Version.RoomIDFromCreate {
		proto.RoomID = "!room:test"
	}
	if plan.Version.EventIDFormat == roomversion.EventIDField {
		proto.EventIDRandom = "create"
	}
	e, err := event.Build(proto, plan.Version, "test", w.o.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	w.o.RoomID = e.RoomID()
	w.m = New(w.o)
	return w.ask(Create{
		From: w.from(plan.Creator), Version: plan.Version.ID, Create: e.JSON(), Events: plan.Events, Alias: plan.Alias, Published: plan.Published,
	})
}

// ask gives the input to the machine and runs it until it is answered.
func (w *world) ask(in Input) Reply {
	w.t.Helper()
	w.m.Step(in)
	w.settle()
	r, ok := w.replies[ticketOf(in)]
	if !ok {
		w.t.Fatalf("%#v was not answered", in)
	}
	return r
}

// settle carries out what is ready until nothing is.
func (w *world) settle() {
	w.finish()
	for w.begin() {
		w.finish()
	}
}

// begin takes one Ready, answers what can be answered and reads what is missing; it reports whether something was begun.
func (w *world) begin() bool {
	r := w.m.Ready()
	for _, reply := range r.Replies {
		w.replies[reply.Ticket] = reply
	}
	if r.TypingChanged {
		w.typing = r.Typing
	}
	if r.Batch != nil {
		w.flight = r.Batch
	}
	if r.Missing != nil {
		f := w.facts(r.Missing)
		w.fetched = &f
	}
	return r.Batch != nil || r.Missing != nil
}

// finish ends what was begun.
func (w *world) finish() {
	w.learn()
	w.land()
}

func (w *world) learn() {
	if f := w.fetched; f != nil {
		w.fetched = nil
		w.m.Step(*f)
	}
}

func (w *world) land() {
	if b := w.flight; b != nil {
		w.flight = nil
		w.commit(b)
	}
}

// commit makes the batch durable, unless it claims an alias that exists.
func (w *world) commit(b *Batch) {
	if w.taken(b) {
		w.m.Taken()
		for _, r := range b.Replies {
			w.replies[r.Ticket] = Reply{Ticket: r.Ticket, Err: AliasTaken(b.Aliases[0].Alias)}
		}
		return
	}
	w.store(b)
	for _, r := range w.m.Committed(w.pos).Replies {
		w.replies[r.Ticket] = r
	}
}

// taken reports whether the batch claims an alias that exists.
func (w *world) taken(b *Batch) bool {
	for _, c := range b.Aliases {
		if _, exists := w.aliases[c.Alias]; exists && c.Claim {
			return true
		}
	}
	return false
}

func (w *world) store(b *Batch) {
	w.pos++
	for _, e := range b.Entries {
		if n := len(w.entries); n > 0 && e.Seq <= w.entries[n-1].Seq {
			w.t.Fatalf("entry %d comes after %d", e.Seq, w.entries[n-1].Seq)
		}
		if n := len(w.entries); n > 0 && e.ReceivedTS < w.entries[n-1].ReceivedTS {
			w.t.Fatalf("entry %d was received before the one before it", e.Seq)
		}
		kept := *e
		kept.Pos, kept.PrevMembership = w.pos, ""
		w.entries = append(w.entries, &kept)
	}
	for _, e := range slices.Concat(b.Older, b.Outliers) {
		kept := *e
		kept.Pos, kept.PrevMembership = w.pos, ""
		w.put(&kept)
	}
	for _, s := range b.State {
		if s.Entry == nil {
			delete(w.current, s.Tuple)
		} else {
			w.current[s.Tuple] = s.Entry.Event.ID()
		}
	}
	for _, edge := range b.Edges {
		w.edges[edge.Number] = edge.Cites
	}
	maps.Copy(w.servers, b.Servers)
	if b.PartialChanged {
		w.partial = b.Partial
	}
	for seq, gap := range b.Gaps {
		if gap == nil {
			delete(w.gaps, seq)
		} else {
			w.gaps[seq] = *gap
		}
	}
	for _, r := range b.Redactions {
		w.pending[r.TargetID] = append(w.pending[r.TargetID], r)
	}
	for _, e := range b.Entries {
		if e.Outbound {
			w.outbound = append(w.outbound, e.Seq)
		}
	}
	w.outside = append(w.outside, b.Outside...)
	for _, s := range b.Sticky {
		w.sticky[s.Seq] = s
	}
	for _, seq := range b.Unstuck {
		delete(w.sticky, seq)
	}
	w.lack = append(w.lack, b.Lack...)
	for _, e := range b.Amended {
		if e.Outbound {
			w.outbound = append(w.outbound, e.Seq)
		}
		if e.Pos == 0 || e.Pos == w.pos {
			w.t.Fatalf("the amended entry %d has position %d", e.Seq, e.Pos)
		}
		kept := *e
		kept.PrevMembership = ""
		w.put(&kept)
	}
	for _, n := range b.Nodes {
		w.nodes[n.Hash] = n.Bytes
	}
	for _, c := range b.Members {
		row := c.Row
		if row.Pos == 0 {
			row.Pos = w.pos
		}
		w.members[c.UserID] = row
	}
	for _, r := range b.Receipts {
		w.receipts[r.ReceiptKey] = r
	}
	for _, r := range b.Relations {
		if r.Gone {
			delete(w.relations, r.Seq)
		} else {
			w.relations[r.Seq] = r
		}
	}
	for _, c := range b.Aliases {
		if c.Remove || c.From != "" {
			delete(w.aliases, c.Alias)
		} else {
			w.aliases[c.Alias] = AliasRow{Alias: c.Alias, RoomID: c.RoomID, Creator: c.Creator, CreatedTS: c.CreatedTS}
		}
	}
	if b.Summary != nil {
		w.summary = *b.Summary
	}
	if b.SnapshotNeeded {
		// Older ones no longer lead to the present.
		w.snapshots = map[uint64][]byte{}
	}
	w.snapshots[uint64(len(w.entries))] = b.Snapshot()
}

// put writes an entry over the one that has its number, or where the order of numbers wants it.
func (w *world) put(e *Entry) {
	if e.outlier() {
		w.outliers[e.Seq] = e
		return
	}
	i, ok := slices.BinarySearchFunc(w.entries, e.Seq, func(e *Entry, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	if ok {
		w.entries[i] = e
	} else {
		w.entries = slices.Insert(w.entries, i, e)
	}
}

func (w *world) node(h statetree.Hash) []byte {
	b, ok := w.nodes[h]
	if !ok {
		w.t.Fatalf("the node %x was never stored", h)
	}
	return b
}

// byID is the entry with the event id, its place before the outlier that it was.
func (w *world) byID(id string) *Entry {
	for _, e := range w.entries {
		if e.Event.ID() == id {
			return w.entry(e.Seq)
		}
	}
	for _, e := range w.outliers {
		if e.Event.ID() == id {
			return w.entry(e.Seq)
		}
	}
	return nil
}

// facts answers as the store would.
func (w *world) facts(missing *Missing) Facts {
	f := Facts{
		Members: map[string]MemberRow{}, Receipts: map[ReceiptKey]ReceiptRow{}, Annotations: map[AnnotationKey]bool{},
		Aliases: map[string]AliasRow{}, Elsewhere: map[Elsewhere]bool{}, Edges: map[uint64][]uint64{}, Pending: map[string][]PendingRedaction{},
	}
	for _, key := range missing.State {
		tree := statetree.Open(key.Root, func(h statetree.Hash) ([]byte, error) {
			b, ok := w.nodes[h]
			if !ok {
				return nil, fmt.Errorf("node %x was never stored", h)
			}
			f.Nodes = append(f.Nodes, statetree.Node{Hash: h, Bytes: b})
			return b, nil
		})
		seq, ok, err := tree.Get(key.Tuple)
		if err != nil {
			w.t.Fatal(err)
		}
		if ok {
			f.Entries = append(f.Entries, w.entry(seq))
		}
	}
	for _, seq := range missing.Seqs {
		f.Entries = append(f.Entries, w.entry(seq))
	}
	for _, id := range missing.IDs {
		if e := w.byID(id); e != nil {
			f.Entries = append(f.Entries, e)
		} else {
			f.NoIDs = append(f.NoIDs, id)
		}
	}
	for _, h := range missing.Nodes {
		f.Nodes = append(f.Nodes, statetree.Node{Hash: h, Bytes: w.node(h)})
	}
	for _, root := range missing.Trees {
		for _, err := range statetree.Open(root, func(h statetree.Hash) ([]byte, error) {
			f.Nodes = append(f.Nodes, statetree.Node{Hash: h, Bytes: w.node(h)})
			return w.node(h), nil
		}).All() {
			if err != nil {
				w.t.Fatal(err)
			}
		}
	}
	for waiting := slices.Clone(missing.Chains); len(waiting) > 0; {
		number := waiting[0]
		if waiting = waiting[1:]; f.Edges[number] != nil {
			continue
		}
		cites, ok := w.edges[number]
		if !ok {
			w.t.Fatalf("the auth events of %d were never stored", number)
		}
		f.Edges[number] = append([]uint64{}, cites...)
		waiting = append(waiting, cites...)
	}
	for _, id := range missing.Pending {
		f.Pending[id] = w.pending[id]
	}
	if missing.Since != 0 {
		for _, e := range w.entries {
			if e.Seq >= missing.Since {
				f.Since = append(f.Since, e.Seq)
				f.Entries = append(f.Entries, w.entry(e.Seq))
			}
		}
	}
	if missing.Outliers {
		f.Outliers = uint64(len(w.outliers)) + 1
	}
	for _, userID := range missing.Members {
		f.Members[userID] = w.members[userID]
	}
	for _, key := range missing.Receipts {
		f.Receipts[key] = w.receipts[key]
	}
	for _, key := range missing.Annotations {
		f.Annotations[key] = w.annotated(key)
	}
	for _, alias := range missing.Aliases {
		f.Aliases[alias] = w.aliases[alias]
	}
	for _, key := range missing.Elsewhere {
		f.Elsewhere[key] = w.elsewhere[key]
	}
	if missing.RoomAliases {
		for _, row := range w.aliases {
			f.RoomAliases = append(f.RoomAliases, row)
		}
	}
	if missing.LocalJoined {
		for userID, row := range w.members {
			if row.Membership == "join" && strings.HasSuffix(userID, ":test") {
				f.LocalJoined = append(f.LocalJoined, userID)
			}
		}
	}
	return f
}

func (w *world) annotated(key AnnotationKey) bool {
	for _, r := range w.relations {
		if r.RelType == "m.annotation" && r.annotationKey() == key {
			return true
		}
	}
	return false
}

// entry is a copy, as it would come from a store.
func (w *world) entry(seq uint64) *Entry {
	if e := w.outliers[seq]; e != nil {
		for _, placed := range w.entries {
			if placed.Number == seq {
				e = placed
			}
		}
		copied := *e
		return &copied
	}
	i, ok := slices.BinarySearchFunc(w.entries, seq, func(e *Entry, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	if !ok {
		w.t.Fatalf("there is no entry %d", seq)
	}
	e := *w.entries[i]
	return &e
}

// reload makes the machine anew from the snapshot taken at or before seq and the journal after it.
func (w *world) reload(snapshotSeq uint64) *Machine {
	w.t.Helper()
	m, err := Restore(w.o, w.snapshots[snapshotSeq])
	if err != nil {
		w.t.Fatal(err)
	}
	for name, row := range w.servers {
		m.KnowServer(name, row)
	}
	for _, gap := range w.gaps {
		m.KnowGap(gap)
	}
	for _, s := range w.sticky {
		m.KnowSticky(s)
	}
	if w.partial != nil {
		m.KnowPartial(*w.partial)
	}
	for _, e := range w.entries[:snapshotSeq] {
		m.Remember(e)
	}
	for _, e := range w.entries[snapshotSeq:] {
		for {
			missing, err := m.Replay(w.entry(e.Seq))
			if err != nil {
				w.t.Fatal(err)
			}
			if missing == nil {
				break
			}
			m.Learn(w.facts(missing))
		}
	}
	return m
}
